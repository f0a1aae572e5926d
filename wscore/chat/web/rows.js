// @ts-check
/** The elements of a conversation's rows: messages, days, and what stands between them. */

import { avatar, element, icon } from "./dom.js";
import { piecesOf } from "./links.js";
import { describeError, language, strings } from "./strings.js";

/**
 * @typedef {import("./session.js").Session} Session
 * @typedef {import("./timeline.js").Row & {note: string}} NotedRow
 * @typedef {import("./timeline.js").MessageRow & {note: string}} NotedMessage
 */

const clockTime = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });
const fullTime = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "medium" });
const longDay = new Intl.DateTimeFormat(language, { weekday: "long", day: "numeric", month: "long" });
const otherYear = new Intl.DateTimeFormat(language, { dateStyle: "long" });

/** One to three pictures and nothing else are shown larger. */
const PICTURE = String.raw`\p{Extended_Pictographic}[\ufe0f\u{1f3fb}-\u{1f3ff}]*`;
const FLAG = String.raw`[\u{1f1e6}-\u{1f1ff}]{2}`;
const PICTURES = new RegExp(String.raw`^(?:(?:${PICTURE}(?:\u200d${PICTURE})*|${FLAG})\s?){1,3}$`, "u");

/** @param {NotedRow} row @param {Session} session @returns {HTMLElement} */
export function elementOf(row, session) {
  switch (row.kind) {
    case "message":
      return messageOf(row, session);
    case "start":
      return startOf(session, row.whole);
    case "gap":
      return divider("gap", row.lost ? strings.gapLost : strings.gap);
    case "unread":
      return divider("unread", strings.unread);
    case "day":
      return divider("day", dayName(row.time, row.age));
  }
}

/** @param {string} kind @param {string} text */
function divider(kind, text) {
  return element("p", { class: `divider ${kind}` }, element("span", {}, text));
}

/** @param {string} time @param {number} age in days */
function dayName(time, age) {
  if (age === 0) return strings.today;
  if (age === 1) return strings.yesterday;
  const date = new Date(time);
  return (date.getFullYear() === new Date().getFullYear() ? longDay : otherYear).format(date);
}

/** @param {Session} session @param {boolean} whole whether the conversation really begins here */
function startOf({ active, model }, whole) {
  if (active === null) return element("div");
  const isRoom = active.kind === "room";
  const text = isRoom ? strings.startRoom : model.isMe(active.name) ? strings.startSelf : strings.startDirect;
  return element(
    "div",
    { class: "start" },
    isRoom ? element("span", { class: "avatar", "aria-hidden": "true" }, "#") : avatar(active.name),
    element("h2", { dir: "auto" }, active.name),
    element("p", { class: "muted" }, whole || !isRoom ? text : strings.startKept),
  );
}

/** @param {NotedMessage} row @param {Session} session */
function messageOf(row, session) {
  const when = new Date(row.time);
  const time = element("time", { datetime: row.time, title: fullTime.format(when) }, clockTime.format(when));
  const made = element("article", {
    class: `message ${row.state}${row.head ? " head" : ""}${row.own ? " own" : ""}`,
    "data-id": row.id,
  });
  const sender = element("bdi", { class: row.head ? "sender" : "visually-hidden" }, row.from);
  const text = element("p", { class: PICTURES.test(row.text) ? "text pictures" : "text", dir: "auto" });
  text.append(...piecesOf(row.text).map(pieceOf));
  if (row.head) made.append(avatar(row.from), element("header", {}, sender, time), text);
  else made.append(time, sender, text);
  if (row.state === "sending") made.append(sign("clock", strings.sending));
  if (row.state === "failed") made.append(failureOf(row, session));
  else if (row.note !== "") made.append(element("p", { class: "note" }, row.note));
  return made;
}

/** @param {import("./links.js").Piece} piece */
function pieceOf({ text, href }) {
  if (href === undefined) return text;
  return element("a", { href, target: "_blank", rel: "noopener noreferrer nofollow", dir: "ltr" }, text);
}

/** @param {string} name @param {string} text */
function sign(name, text) {
  const made = element("span", { class: "sign", title: text }, icon(name));
  made.append(element("span", { class: "visually-hidden" }, text));
  return made;
}

/** @param {NotedMessage} row @param {Session} session */
function failureOf(row, session) {
  const button = (/** @type {string} */ text, /** @type {() => void} */ click) =>
    element("button", { type: "button", class: "link", click }, text);
  return element(
    "p",
    { class: "note" },
    icon("alert"),
    element("span", {}, describeError(row.reason)),
    button(strings.retry, () => session.retry(row.id)),
    button(strings.discard, () => session.discard(row.id)),
  );
}
