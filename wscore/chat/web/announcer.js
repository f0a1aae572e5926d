// @ts-check
/**
 * What a screen reader is told, politely: messages as they arrive, and what a sighted user sees appear. The log itself
 * is no live region, since scrolling through it adds elements too.
 */

import { byId, element } from "./dom.js";
import { strings } from "./strings.js";

/** More messages at once are only counted. */
const READ_OUT = 3;
const LONGEST = 300; // characters of one message
const REMEMBERED = 5;

/** @param {string} text */
export function announce(text) {
  const place = byId("announcer");
  place.append(element("p", { dir: "auto" }, text));
  while (place.children.length > REMEMBERED) place.firstChild?.remove();
}

export class Announcer {
  /** @type {import("./session.js").Session | null} */ #session = null;
  /** @type {import("./model.js").Conversation | null} */ #active = null;
  /** @type {Map<string, number>} conversation to the last offset told of, or shown */ #told = new Map();

  /** @param {import("./session.js").Session} session */
  draw(session) {
    const isNew = session !== this.#session;
    if (isNew) this.#told.clear();
    this.#session = session;
    const { active, model } = session;
    for (const conversation of model.conversations.values()) {
      const { key, kind, name, last } = conversation;
      // Somebody who writes for the first time is news, a room that one just joined is not.
      const told = this.#told.get(key) ?? (kind === "direct" && !isNew && session.welcomed ? 0 : last);
      this.#told.set(key, last);
      if (last <= told || (conversation === active && active !== this.#active)) continue;
      const fresh = newer(conversation.messages, told).filter(({ from }) => !model.isMe(from));
      if (fresh.length === 0) continue;
      if (conversation !== active) {
        if (kind === "direct") announce(strings.directFrom(name));
      } else if (fresh.length > READ_OUT) announce(strings.newMessages(fresh.length));
      else for (const { from, text } of fresh) announce(`${from}: ${text.slice(0, LONGEST)}`);
    }
    this.#active = active;
  }
}

/** @param {import("./client.js").Message[]} messages ascending @param {number} offset */
function newer(messages, offset) {
  let first = messages.length;
  while (first > 0 && messages[first - 1].offset > offset) first -= 1;
  return messages.slice(first);
}
