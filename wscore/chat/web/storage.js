// @ts-check
/**
 * What the browser remembers: who this window is, and for each name its secret, rooms, read positions, drafts and
 * unacknowledged messages. Imports the client's name folding only.
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
const OPEN = "wscore.chat.open.";
const UNSENT = "wscore.chat.unsent.";
const ACCOUNT = "wscore.chat.account.";

export class Memory {
  /** @param {Storage} browser @param {Storage} window */
  constructor(browser, window) {
    this.browser = browser;
    this.window = window;
  }

  /** @returns {string | null} the name this window uses */
  get active() {
    return this.window.getItem(ACTIVE);
  }

  set active(name) {
    if (name === null) this.window.removeItem(ACTIVE);
    else this.window.setItem(ACTIVE, name);
  }

  /** @returns {string[]} names this browser holds the secret of */
  get names() {
    const keys = Array.from({ length: this.browser.length }, (_, index) => this.browser.key(index) ?? "");
    return keys
      .flatMap((key) => (key.startsWith(ACCOUNT) ? [this.#read(this.browser, key)?.name] : []))
      .filter((name) => typeof name === "string")
      .sort();
  }

  /** @param {string} name @returns {Account | null} */
  account(name) {
    const stored = this.#read(this.browser, ACCOUNT + foldName(name));
    if (typeof stored?.session !== "string") return null;
    return { name, rooms: [], read: {}, drafts: {}, ...stored };
  }

  /** Change some fields of an account, made on first use. @param {string} name @param {Partial<Account>} fields */
  update(name, fields) {
    const account = { name, ...this.account(name), ...fields };
    this.browser.setItem(ACCOUNT + foldName(name), JSON.stringify(account));
  }

  /** @param {string} name */
  forget(name) {
    this.browser.removeItem(ACCOUNT + foldName(name));
  }

  /** @param {string} name @returns {string | null} key of the conversation this window shows */
  opened(name) {
    return this.window.getItem(OPEN + foldName(name));
  }

  /** @param {string} name @param {string} key */
  keepOpened(name, key) {
    this.window.setItem(OPEN + foldName(name), key);
  }

  /** @param {string} name @returns {Unsent[]} */
  unsent(name) {
    return this.#read(this.window, UNSENT + foldName(name)) ?? [];
  }

  /** @param {string} name @param {Unsent[]} messages */
  keepUnsent(name, messages) {
    if (messages.length === 0) this.window.removeItem(UNSENT + foldName(name));
    else this.window.setItem(UNSENT + foldName(name), JSON.stringify(messages));
  }

  /** @param {Storage} storage @param {string} key @returns {any} null too where somebody else wrote there */
  #read(storage, key) {
    try {
      return JSON.parse(storage.getItem(key) ?? "null");
    } catch {
      return null;
    }
  }
}
