// @ts-check
/**
 * A part of a conversation as rows to be shown: days, the mark of the first unread message, messages grouped by sender.
 * Pure.
 *
 * @typedef {import("./model.js").Conversation} Conversation
 * @typedef {{kind: "message", key: string, id: string, from: string, text: string, time: string, head: boolean,
 *   own: boolean, state: "stored" | "sending" | "sent" | "failed", reason: string,
 *   held: {code: string, until: number} | null}} MessageRow
 * @typedef {{kind: "day", key: string, time: string, age: number} | {kind: "unread", key: string}
 *   | {kind: "gap", key: string, lost: boolean} | {kind: "start", key: string, whole: boolean} | MessageRow} Row
 */

/** Messages of one sender form a group while no more than this lies between two of them, in milliseconds. */
const GROUP_SPAN = 5 * 60_000;

/**
 * @param {Conversation} conversation @param {{user: string, isMe: (name: string) => boolean}} model
 * @param {{start?: number, end?: number, now?: Date}} [part] indices into the messages followed by the pending ones
 * @returns {Row[]}
 */
export function rowsOf(conversation, model, { start = 0, end = Infinity, now = new Date() } = {}) {
  /** @type {Row[]} */
  const rows = start === 0 ? [...topOf(conversation)] : [];
  const stored = conversation.messages.slice(start, end);
  const after = conversation.messages.length;
  const pending = conversation.pending.slice(Math.max(0, start - after), Math.max(0, end - after));
  const unread = firstUnread(conversation, model);
  /** @type {{from: string, time: string} | null} */
  let previous = null;
  for (const message of [...stored, ...pending]) {
    const from = "from" in message ? message.from : model.user;
    const { id, text, time } = message;
    if (previous === null || dayOf(previous.time) !== dayOf(time)) {
      rows.push({ kind: "day", key: `day ${dayOf(time)} ${id}`, time, age: ageOf(time, now) });
      previous = null;
    }
    if (message === unread) {
      rows.push({ kind: "unread", key: "unread" });
      previous = null;
    }
    const head = previous === null || previous.from !== from || spanOf(previous, message) > GROUP_SPAN;
    // The key of a message does not change when it is stored, so that its element stays.
    rows.push({
      kind: "message",
      key: `${from}/${id}`,
      id,
      from,
      text,
      time,
      head,
      own: model.isMe(from),
      state: "state" in message ? message.state : "stored",
      reason: ("reason" in message && message.reason) || "",
      held: ("held" in message && message.held) || null,
    });
    previous = { from, time };
  }
  return rows;
}

/** What stands above the first message held. @param {Conversation} conversation @returns {Row[]} */
function topOf({ gap, older, messages }) {
  if (gap) return [{ kind: "gap", key: "gap", lost: !older }];
  return older ? [] : [{ kind: "start", key: "start", whole: (messages[0]?.offset ?? 1) === 1 }];
}

/** @param {Conversation} conversation @param {{isMe: (name: string) => boolean}} model */
function firstUnread({ messages, marker }, model) {
  let first;
  for (let index = messages.length - 1; index >= 0 && messages[index].offset > marker; index -= 1) {
    if (!model.isMe(messages[index].from)) first = messages[index];
  }
  return first;
}

/** @param {{time: string}} earlier @param {{time: string}} later */
function spanOf(earlier, later) {
  return Date.parse(later.time) - Date.parse(earlier.time);
}

/** The local calendar day, as a string that is equal for equal days. @param {string | Date} time */
function dayOf(time) {
  const date = new Date(time);
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}

/** How many local calendar days ago: 0 is today. @param {string} time @param {Date} now */
function ageOf(time, now) {
  const date = new Date(time);
  const midnight = (/** @type {Date} */ day) => Date.UTC(day.getFullYear(), day.getMonth(), day.getDate());
  return Math.round((midnight(now) - midnight(date)) / 86_400_000);
}
