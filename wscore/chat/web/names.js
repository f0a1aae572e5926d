// @ts-check
/** Names and ids. Imports nothing. */

/**
 * A fresh id or session secret: 128 random bits as 32 hexadecimal digits. (`crypto.randomUUID` does not exist on
 * pages that came over plain HTTP from another host; `getRandomValues` does.)
 */
export function randomId() {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * The form under which names are compared here. The server folds case more thoroughly, and its spelling wins.
 * @param {string} name
 */
export function foldName(name) {
  return name.normalize("NFC").toLowerCase();
}

const collator = new Intl.Collator(undefined, { numeric: true });

/**
 * The order of names in lists: that of the browser's language, numbers by their value.
 * @param {string} a @param {string} b @returns {number}
 */
export function byName(a, b) {
  return collator.compare(a, b);
}
