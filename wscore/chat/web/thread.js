// @ts-check
/** The messages of the open conversation: drawing them, and where the view is scrolled to. */

import { avatar, byId, element, icon, reconcile } from "./dom.js";
import { describeError, language, strings } from "./strings.js";
import { dayOf, rowsOf } from "./timeline.js";

/** @typedef {import("./session.js").Session} Session @typedef {import("./timeline.js").Row} Row */

/** Within this many pixels of the end the view follows new messages. */
const AT_END = 48;
/** Within this many pixels of the start older messages are loaded. */
const AT_START = 240;

const clockTime = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });
const fullTime = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "medium" });
const longDay = new Intl.DateTimeFormat(language, { weekday: "long", day: "numeric", month: "long" });
const otherYear = new Intl.DateTimeFormat(language, { dateStyle: "long" });

export class Thread {
  /** @type {Session | null} */ #session = null;
  /** @type {import("./model.js").Conversation | null} */ #shown = null;
  /** Whether the view follows the end. */ #follows = true;
  #arrivedBelow = 0;
  #seenLast = 0;
  #scroller = byId("scroller");
  #log = byId("log");

  constructor() {
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    byId("latest").addEventListener("click", () => this.toEnd());
    // The composer grows, the keyboard of a phone opens: stay at the end if that is where we were.
    new ResizeObserver(() => this.#follows && this.#jump()).observe(this.#scroller);
  }

  /** Whether the end of the conversation is in view. */
  get atEnd() {
    return this.#follows;
  }

  /** @param {Session} session */
  draw(session) {
    this.#session = session;
    const { active, model } = session;
    if (active === null) return;
    const turned = active !== this.#shown;
    this.#shown = active;
    if (turned) {
      this.#follows = true;
      this.#seenLast = active.last;
      this.#log.replaceChildren();
    }
    const fresh = active.messages.filter(({ offset, from }) => offset > this.#seenLast && !model.isMe(from)).length;
    this.#seenLast = Math.max(active.last, this.#seenLast);
    byId("loading").hidden = !session.loading;
    const offline = session.connection.state !== "online";
    const rows = rowsOf(active, model).map((row) => ({
      ...row,
      offline: offline && row.kind === "message" && row.state === "sending",
    }));

    // A screen reader is told of what arrives, not of a whole conversation turned to or of older pages.
    this.#log.setAttribute("aria-busy", String(turned || session.loading));
    const anchor = this.#follows ? undefined : this.#anchor();
    reconcile(
      this.#log,
      rows,
      ({ key }) => key,
      (row) => this.#row(row),
    );
    if (this.#follows) this.#jump();
    else this.#restore(anchor);
    this.#log.setAttribute("aria-busy", "false");

    this.#arrivedBelow = this.#follows ? 0 : this.#arrivedBelow + fresh;
    byId("latest").hidden = this.#follows;
    byId("latest-text").textContent =
      this.#arrivedBelow > 0 ? strings.newMessages(this.#arrivedBelow) : strings.toLatest;
    if (this.#scroller.scrollHeight <= this.#scroller.clientHeight + AT_START) this.#loadOlder();
  }

  toEnd() {
    this.#follows = true;
    this.#jump();
    this.#session?.lookBack();
  }

  #jump() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** The first message in view and where it is, so that what comes above it does not move it. */
  #anchor() {
    const top = this.#scroller.getBoundingClientRect().top;
    const first = [...this.#log.children].find(
      (child) => child.classList.contains("message") && child.getBoundingClientRect().bottom > top,
    );
    return first && { key: /** @type {any} */ (first).rowKey, top: first.getBoundingClientRect().top };
  }

  /** @param {{key: string, top: number} | undefined} anchor */
  #restore(anchor) {
    const child = [...this.#log.children].find((row) => /** @type {any} */ (row).rowKey === anchor?.key);
    if (child !== undefined && anchor !== undefined) {
      this.#scroller.scrollTop += child.getBoundingClientRect().top - anchor.top;
    }
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const follows = scrollHeight - scrollTop - clientHeight < AT_END;
    if (follows !== this.#follows) {
      this.#follows = follows;
      this.#session?.lookBack();
    }
    if (scrollTop < AT_START) this.#loadOlder();
  }

  #loadOlder() {
    const session = this.#session;
    if (session !== null && session.active === this.#shown) session.loadOlder();
  }

  // ---- rows ----

  /** @param {Row & {offline: boolean}} row */
  #row(row) {
    if (row.kind === "message") return this.#message(row);
    if (row.kind === "start") return this.#start();
    const text = { gap: strings.gap, unread: strings.unread, day: row.kind === "day" ? dayName(row.time) : "" }[
      row.kind
    ];
    return element("p", { class: `divider ${row.kind}` }, element("span", {}, text));
  }

  #start() {
    const conversation = /** @type {import("./model.js").Conversation} */ (this.#shown);
    const own = this.#session?.model.isMe(conversation.name);
    const text = conversation.kind === "room" ? strings.startRoom : own ? strings.startSelf : strings.startDirect;
    return element(
      "div",
      { class: "start" },
      conversation.kind === "room"
        ? element("span", { class: "avatar", "aria-hidden": "true" }, "#")
        : avatar(conversation.name),
      element("h2", {}, conversation.name),
      element("p", { class: "muted" }, text),
    );
  }

  /** @param {Extract<Row, {kind: "message"}> & {offline: boolean}} row */
  #message(row) {
    const when = new Date(row.time);
    const time = element("time", { datetime: row.time, title: fullTime.format(when) }, clockTime.format(when));
    const made = element("article", {
      class: `message ${row.state}${row.head ? " head" : ""}${row.own ? " own" : ""}`,
      "data-id": row.id,
    });
    const sender = element("span", { class: row.head ? "sender" : "visually-hidden" }, row.from);
    const text = element("p", { class: "text", dir: "auto" }, row.text);
    if (row.head) made.append(avatar(row.from), element("header", {}, sender, time), text);
    else made.append(time, sender, text);
    if (row.state === "sending") made.append(note("clock", row.offline ? strings.queued : strings.sending));
    if (row.state === "failed") made.append(this.#failure(row));
    return made;
  }

  /** @param {Extract<Row, {kind: "message"}>} row */
  #failure(row) {
    const made = note("alert", describeError(row.reason));
    made.append(
      element("button", { type: "button", class: "link", click: () => this.#session?.retry(row.id) }, strings.retry),
      element(
        "button",
        { type: "button", class: "link", click: () => this.#session?.discard(row.id) },
        strings.discard,
      ),
    );
    return made;
  }
}

/** @param {string} name @param {string} text */
function note(name, text) {
  return element("p", { class: "note" }, icon(name), element("span", {}, text));
}

/** @param {string} time */
function dayName(time) {
  const date = new Date(time);
  const now = new Date();
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (dayOf(time) === dayOf(now.toISOString())) return strings.today;
  if (dayOf(time) === dayOf(yesterday.toISOString())) return strings.yesterday;
  return (date.getFullYear() === now.getFullYear() ? longDay : otherYear).format(date);
}
