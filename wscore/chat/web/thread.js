// @ts-check
/**
 * The messages of the open conversation: which part of it is in the document, and where the view is scrolled to. At
 * most `SHOWN` messages are, however long the conversation is.
 */

import { byId, reconcile } from "./dom.js";
import { elementOf } from "./rows.js";
import { strings } from "./strings.js";
import { rowsOf } from "./timeline.js";

/** @typedef {import("./session.js").Session} Session @typedef {import("./model.js").Conversation} Conversation */

/** Messages in the document at a time. */
const SHOWN = 200;
/** So many come in at one end, and go at the other, when the view gets there. */
const STEP = 50;
/** Within this many pixels of the end the view follows new messages. */
const AT_END = 48;
/** Within this many pixels of what is shown more is brought in. */
const NEAR = 400;

export class Thread {
  /** @type {Session | null} */ #session = null;
  /** @type {Conversation | null} */ #shown = null;
  /** Whether the view follows the end. */ #follows = true;
  /** Offset of the first message shown, while the view does not follow. */ #first = -Infinity;
  /** Index of the first message shown, and of the one after the last. */ #part = { start: 0, end: 0 };
  #arrivedBelow = 0;
  #seenLast = 0;
  #scroller = byId("scroller");
  #log = byId("log");
  #speaker = byId("speaker");

  constructor() {
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    byId("latest").addEventListener("click", () => {
      this.toEnd();
      this.#scroller.focus({ preventScroll: true }); // the button is about to vanish
    });
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
    if (active !== this.#shown) this.#turnTo(active);
    active.browsed = !this.#follows;
    const fresh = active.messages.filter(({ offset, from }) => offset > this.#seenLast && !model.isMe(from)).length;
    this.#seenLast = Math.max(active.last, this.#seenLast);
    byId("loading").hidden = !session.loading;
    const anchor = this.#follows ? null : this.#anchor();
    this.#choosePart(active);
    reconcile(
      this.#log,
      rowsOf(active, model, this.#part).map((row) => ({ ...row, note: noteOf(row, session) })),
      ({ key }) => key,
      (row) => elementOf(row, session),
    );
    if (this.#follows) this.#jump();
    else this.#restore(anchor);
    this.#nameSpeaker();

    this.#arrivedBelow = this.#follows ? 0 : this.#arrivedBelow + fresh;
    byId("latest").hidden = this.#follows;
    const below = this.#arrivedBelow > 0 ? strings.newMessages(this.#arrivedBelow) : strings.toLatest;
    if (byId("latest-text").textContent !== below) byId("latest-text").textContent = below;
    if (this.#scroller.scrollHeight <= this.#scroller.clientHeight + NEAR) this.#loadOlder();
  }

  toEnd() {
    this.#follows = true;
    if (this.#session !== null) this.draw(this.#session);
    this.#session?.lookBack();
  }

  /** @param {Conversation} conversation */
  #turnTo(conversation) {
    if (this.#shown !== null) this.#shown.browsed = false;
    this.#shown = conversation;
    this.#follows = true;
    this.#seenLast = conversation.last;
    this.#log.replaceChildren();
  }

  // ---- the part that is shown ----

  /** @param {Conversation} conversation */
  #choosePart({ messages, pending }) {
    const total = messages.length + pending.length;
    let start = this.#follows ? Math.max(0, total - SHOWN) : indexOf(messages, this.#first);
    if (!this.#follows) {
      const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
      if (scrollTop < NEAR) start = Math.max(0, start - STEP);
      else if (scrollHeight - scrollTop - clientHeight < NEAR && start + SHOWN < total) start += STEP;
    }
    this.#first = start === 0 ? -Infinity : (messages[start]?.offset ?? Infinity);
    // Where older messages come in above the first, these are to be next.
    if (start === 0 && messages.length > 0) this.#first = messages[0].offset;
    this.#part = { start, end: Math.min(total, start + SHOWN) };
  }

  get #isWhole() {
    const total = (this.#shown?.messages.length ?? 0) + (this.#shown?.pending.length ?? 0);
    return this.#part.end >= total;
  }

  #scrolled() {
    this.#nameSpeaker();
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const below = scrollHeight - scrollTop - clientHeight;
    // What has arrived and is not drawn yet does not end the following.
    const follows = below < AT_END && (this.#follows || this.#isWhole);
    if (follows !== this.#follows) {
      this.#follows = follows;
      if (this.#shown !== null) this.#shown.browsed = !follows;
      this.#session?.lookBack();
    }
    if (follows || this.#session === null) return;
    const movesUp = scrollTop < NEAR && this.#part.start > 0;
    if (movesUp || (below < NEAR && !this.#isWhole)) this.draw(this.#session);
    else if (scrollTop < NEAR) this.#loadOlder();
  }

  #loadOlder() {
    const session = this.#session;
    if (session !== null && session.active === this.#shown && this.#part.start === 0) session.loadOlder();
  }

  // ---- where the view is ----

  #jump() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** The first message in view and where it is, so that what comes above it does not move it. */
  #anchor() {
    const first = this.#firstBelow(this.#scroller.getBoundingClientRect().top);
    return first === undefined ? null : { key: first.rowKey, top: first.getBoundingClientRect().top };
  }

  /** The first message that reaches below a height. @param {number} height */
  #firstBelow(height) {
    return [...this.#log.querySelectorAll(".message")].find((child) => child.getBoundingClientRect().bottom > height);
  }

  /** A long group has its name in view, too, and where the head is not, it is said at the top edge. */
  #nameSpeaker() {
    const { top, bottom } = this.#speaker.getBoundingClientRect();
    const first = this.#firstBelow(bottom);
    const head = first?.querySelector("header")?.getBoundingClientRect().top ?? -Infinity;
    const isNeeded = first !== undefined && head < top;
    this.#speaker.classList.toggle("seen", isNeeded);
    if (!isNeeded) return;
    this.#speaker.classList.toggle("own", first.classList.contains("own"));
    this.#speaker.firstElementChild.textContent = first.querySelector(".sender, .visually-hidden").textContent;
  }

  /** @param {{key: string, top: number} | null} anchor */
  #restore(anchor) {
    const child = [...this.#log.children].find((row) => row.rowKey === anchor?.key);
    if (child !== undefined && anchor !== null) {
      this.#scroller.scrollTop += child.getBoundingClientRect().top - anchor.top;
    }
  }
}

/** Index of the first message from an offset on. @param {{offset: number}[]} messages @param {number} offset */
function indexOf(messages, offset) {
  let low = 0;
  let high = messages.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (messages[middle].offset < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * What is said below a message that is not stored yet.
 * @param {import("./timeline.js").Row} row @param {Session} session @returns {string}
 */
function noteOf(row, { connection, active }) {
  if (row.kind !== "message" || row.state !== "sending") return "";
  if (connection.state !== "online") return row.id === active?.pending.at(-1)?.id ? strings.queued : "";
  if (row.held === null) return "";
  return strings.held(row.held.code, Math.max(1, Math.ceil((row.held.until - Date.now()) / 1000)));
}
