// @ts-check
/**
 * What the browser remembers: who this window is, and for each name its secret, rooms, read positions, drafts and
 * unacknowledged messages. Imports the client's name folding only. Where the browser keeps nothing (storage blocked,
 * full, or private), the page still remembers as long as it is open.
 *
 * The active user is kept for the window (sessionStorage), so that two windows can be two people; the rest for the
 * browser (localStorage), so that a name can be taken up again. What was not acknowledged stays with its window, else
 * two of them would send it.
 *
 * @typedef {{id: string, key: string, name: string, text: string, time: string}} Unsent
 * @typedef {{name: string, session: string, rooms: string[], read: Record<string, {epoch: string, offset: number}>,
 *   drafts: Record<string, string>}} Account
 */

import { foldName } from "./client.js";

const ACTIVE = "wscore.chat.active";
const TOKEN = "wscore.chat.token";
const OPEN = "wscore.chat.open.";
const UNSENT = "wscore.chat.unsent.";
const ACCOUNT = "wscore.chat.account.";

/** A storage that never throws: what it cannot keep stays in this page. */
class Shelf {
  /** @type {Map<string, string | null>} what the browser did not take; null where it was removed */ #own = new Map();
  /** @type {Storage | null} */ #storage = null;

  /** @param {() => Storage} open throws where the browser allows no storage */
  constructor(open) {
    try {
      this.#storage = open();
      this.#storage.getItem(ACTIVE); // some browsers throw only here
    } catch {
      this.#storage = null;
    }
  }

  /** Whether everything so far is kept by the browser. */
  get isKept() {
    return this.#storage !== null && this.#own.size === 0;
  }

  /** @returns {string[]} */
  keys() {
    const kept = Array.from({ length: this.#storage?.length ?? 0 }, (_, index) => this.#storage?.key(index) ?? "");
    return [...new Set([...kept, ...this.#own.keys()])].filter((key) => this.get(key) !== null);
  }

  /** @param {string} key @returns {string | null} */
  get(key) {
    const own = this.#own.get(key);
    return own !== undefined ? own : (this.#storage?.getItem(key) ?? null);
  }

  /** @param {string} key @param {string | null} value null removes it */
  set(key, value) {
    try {
      if (value === null) this.#storage?.removeItem(key);
      else if (this.#storage === null) throw new Error("no storage");
      else this.#storage.setItem(key, value);
      this.#own.delete(key);
    } catch {
      this.#own.set(key, value);
    }
  }

  /** @param {string} key @returns {any} null too where somebody else wrote there */
  read(key) {
    try {
      return JSON.parse(this.get(key) ?? "null");
    } catch {
      return null;
    }
  }
}

export class Memory {
  #browser;
  #window;

  /** @param {() => Storage} browser opens what windows share @param {() => Storage} window opens this window's */
  constructor(browser, window) {
    this.#browser = new Shelf(browser);
    this.#window = new Shelf(window);
  }

  /** Whether a name can be taken up again after this page is closed. */
  get isKept() {
    return this.#browser.isKept;
  }

  /** @returns {string | null} the name this window uses */
  get active() {
    return this.#window.get(ACTIVE);
  }

  set active(name) {
    if (name !== this.active) this.#window.set(ACTIVE, name);
  }

  /** @returns {string | null} the access token of this window's user, where the server wants one */
  get token() {
    return this.#window.get(TOKEN);
  }

  set token(token) {
    this.#window.set(TOKEN, token);
  }

  /** @returns {string[]} names this browser holds the secret of */
  get names() {
    return this.#browser
      .keys()
      .flatMap((key) => (key.startsWith(ACCOUNT) ? [this.#browser.read(key)?.name] : []))
      .filter((name) => typeof name === "string")
      .sort();
  }

  /** @param {string} name @returns {Account | null} */
  account(name) {
    const stored = this.#browser.read(ACCOUNT + foldName(name));
    if (typeof stored?.session !== "string") return null;
    return { name, rooms: [], read: {}, drafts: {}, ...stored };
  }

  /** Change some fields of an account, made on first use. @param {string} name @param {Partial<Account>} fields */
  update(name, fields) {
    const account = { name, ...this.account(name), ...fields };
    this.#browser.set(ACCOUNT + foldName(name), JSON.stringify(account));
  }

  /** @param {string} name */
  forget(name) {
    this.#browser.set(ACCOUNT + foldName(name), null);
  }

  /** Whether a change of the browser's storage, made by another window, is one of this account. */
  isAccount(/** @type {string} */ name, /** @type {string | null} */ key) {
    return key === ACCOUNT + foldName(name);
  }

  /** @param {string} name @returns {string | null} key of the conversation this window shows */
  opened(name) {
    return this.#window.get(OPEN + foldName(name));
  }

  /** @param {string} name @param {string} key */
  keepOpened(name, key) {
    this.#window.set(OPEN + foldName(name), key);
  }

  /** @param {string} name @returns {Unsent[]} */
  unsent(name) {
    return this.#window.read(UNSENT + foldName(name)) ?? [];
  }

  /** @param {string} name @param {Unsent[]} messages */
  keepUnsent(name, messages) {
    this.#window.set(UNSENT + foldName(name), messages.length === 0 ? null : JSON.stringify(messages));
  }
}
