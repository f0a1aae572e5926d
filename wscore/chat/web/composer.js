// @ts-check
/** The field in which a message is written: drafts, growth, length, sending. */

import { announce } from "./announcer.js";
import { byId } from "./dom.js";
import { strings } from "./strings.js";

/** @typedef {import("./session.js").Session} Session */

const DEFAULT_LIMIT = 4000; // code points, until the server has said otherwise
const COUNTED = 200; // so many characters before the limit they are counted

export class Composer {
  /** @type {Session | null} */ #session = null;
  /** @type {import("./model.js").Conversation | null} */ #shown = null;
  #text = byId("text");

  constructor() {
    this.#text.addEventListener("input", () => {
      this.#session?.draft(this.#text.value, true);
      this.#measure();
    });
    this.#text.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      // While an input method composes, Enter takes its suggestion.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    byId("composer").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#send();
      this.#text.focus();
    });
  }

  focus() {
    this.#text.focus();
  }

  /** @param {Session} session */
  draw(session) {
    this.#session = session;
    const { active, model } = session;
    if (active === null) return void (this.#shown = null);
    const typists = model.typists(active, Date.now());
    const typing = byId("typing");
    const text = typists.length > 0 ? strings.typing(typists) : "";
    if (typing.textContent !== text) typing.textContent = text;
    this.#text.placeholder = strings.writeTo(active.kind === "room" ? `#${active.name}` : active.name);
    this.#text.setAttribute("aria-label", this.#text.placeholder);
    if (active === this.#shown) return;
    this.#shown = active;
    this.#text.value = active.draft;
    this.#measure();
  }

  #send() {
    const session = this.#session;
    const text = this.#text.value.trimEnd();
    if (session === null || text.trim() === "" || this.#excess(text) > 0) return;
    // A lone surrogate is no character, and the server takes none.
    session.send(text.toWellFormed?.() ?? text);
    session.draft("", false);
    this.#text.value = "";
    this.#measure();
  }

  /** @param {string} text @returns {number} characters over the limit */
  #excess(text) {
    return [...text].length - (this.#session?.client.limits.text ?? DEFAULT_LIMIT);
  }

  #measure() {
    const text = this.#text.value.trimEnd();
    const excess = this.#excess(text);
    const over = byId("over");
    if (excess > 0 && !over.classList.contains("error")) announce(strings.tooLong(excess)); // once, not at each key
    over.textContent = excess > 0 ? strings.tooLong(excess) : excess > -COUNTED ? strings.left(-excess) : "";
    over.classList.toggle("error", excess > 0);
    this.#text.setAttribute("aria-invalid", String(excess > 0));
    byId("send").disabled = text.trim() === "" || excess > 0;
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }
}
