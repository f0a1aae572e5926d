// @ts-check
/**
 * Where a text holds web addresses. Pure; imports nothing. What is a link is decided narrowly: http and https only, no
 * user names in them (`https://bank.example@evil.example`), and nothing that turns the direction of writing around.
 *
 * @typedef {{text: string, href?: string}} Piece
 */

// Up to white space, quotes, angle brackets, control characters and the characters that steer bidirectional text.
const ADDRESS = /\bhttps?:\/\/[^\s<>"'`\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+/giu;
/** What stands behind an address belongs to the sentence around it. */
const SENTENCE_END = /[.,:;!?*_~\u2019\u201d\u2026\u3001\u3002\u300b\u300d\u300f\u3011\uff01\uff09\uff0c\uff1a\uff1b\uff1f]+$/u;
const LONGEST = 2048;

/** @param {string} text @returns {Piece[]} which joined give the text again */
export function piecesOf(text) {
  /** @type {Piece[]} */
  const pieces = [];
  let done = 0;
  for (const { 0: found, index } of text.matchAll(ADDRESS)) {
    const address = withoutSentence(found);
    const href = hrefOf(address);
    if (href === null) continue;
    if (index > done) pieces.push({ text: text.slice(done, index) });
    pieces.push({ text: address, href });
    done = index + address.length;
  }
  if (done < text.length) pieces.push({ text: text.slice(done) });
  return pieces;
}

/** Without the punctuation of the sentence, and without a bracket that was opened before the address. */
function withoutSentence(/** @type {string} */ found) {
  let address = found;
  for (let before = ""; before !== address; ) {
    before = address;
    address = address.replace(SENTENCE_END, "");
    for (const [opening, closing] of ["()", "[]", "{}"]) {
      const surplus = address.split(closing).length > address.split(opening).length;
      if (address.endsWith(closing) && surplus) address = address.slice(0, -1);
    }
  }
  return address;
}

/** @param {string} address @returns {string | null} */
function hrefOf(address) {
  if (address.length > LONGEST || !URL.canParse(address)) return null;
  const { protocol, username, password, href } = new URL(address);
  const isWeb = protocol === "http:" || protocol === "https:";
  return isWeb && username === "" && password === "" ? href : null;
}
