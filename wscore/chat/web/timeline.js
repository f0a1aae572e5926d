// @ts-check
/**
 * A conversation as rows to be shown: days, the mark of the first unread message, messages grouped by sender. Pure.
 *
 * @typedef {import("./model.js").Conversation} Conversation
 * @typedef {{kind: "day", key: string, time: string} | {kind: "unread", key: string} | {kind: "gap", key: string}
 *   | {kind: "start", key: string}
 *   | {kind: "message", key: string, id: string, from: string, text: string, time: string, head: boolean,
 *      own: boolean, state: "stored" | "sending" | "sent" | "failed", reason: string}} Row
 */

/** Messages of one sender form a group while no more than this lies between two of them, in milliseconds. */
const GROUP_SPAN = 5 * 60_000;

/**
 * @param {Conversation} conversation @param {{user: string, isMe: (name: string) => boolean}} model
 * @returns {Row[]}
 */
export function rowsOf(conversation, model) {
  /** @type {Row[]} */
  const rows = [];
  if (conversation.gap && conversation.older) rows.push({ kind: "gap", key: "gap" });
  else if (!conversation.older) rows.push({ kind: "start", key: "start" });
  const stored = conversation.messages.map((message) => ({ ...message, state: "stored", reason: "" }));
  const pending = conversation.pending.map((message) => ({ from: model.user, offset: 0, reason: "", ...message }));
  /** @type {{from: string, time: string} | null} */
  let previous = null;
  let marked = false;
  for (const message of [...stored, ...pending]) {
    const own = model.isMe(message.from);
    if (previous === null || dayOf(previous.time) !== dayOf(message.time)) {
      rows.push({ kind: "day", key: `day ${dayOf(message.time)} ${message.id}`, time: message.time });
      previous = null;
    }
    if (!marked && !own && message.offset > conversation.marker) {
      rows.push({ kind: "unread", key: "unread" });
      marked = true;
      previous = null;
    }
    const head = previous === null || previous.from !== message.from || spanOf(previous, message) > GROUP_SPAN;
    const { id, from, text, time, state, reason } = message;
    // The key of a message does not change when it is stored, so that its element stays.
    rows.push(
      /** @type {Row} */ ({ kind: "message", key: `${from}/${id}`, id, from, text, time, head, own, state, reason }),
    );
    previous = message;
  }
  return rows;
}

/** @param {{time: string}} earlier @param {{time: string}} later */
function spanOf(earlier, later) {
  return Date.parse(later.time) - Date.parse(earlier.time);
}

/** The local calendar day, as a string that is equal for equal days. @param {string} time */
export function dayOf(time) {
  const date = new Date(time);
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}
