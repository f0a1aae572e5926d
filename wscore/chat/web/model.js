// @ts-check
/**
 * The conversations of one user and what is in them: a plain model, told what happened, asked by the views. Imports
 * the client's name folding only; no DOM, no network.
 *
 * @typedef {import("./client.js").Message} Message
 * @typedef {{id: string, text: string, time: string, state: "sending" | "sent" | "failed", offset?: number,
 *   reason?: string, held?: {code: string, until: number} | null}} Pending
 */

import { foldName } from "./client.js";
import { byName } from "./names.js";

/** Of a conversation at whose end the user is, so many messages are kept; older ones can be loaded again. */
const KEPT = 500;
/** A typing notice holds for this many milliseconds; they come every two seconds. */
const TYPING_LASTS = 5_000;

export class Conversation {
  /** @param {"room" | "direct"} kind @param {string} name */
  constructor(kind, name) {
    this.kind = kind;
    this.name = name;
    /** @type {Message[]} ascending by offset */
    this.messages = [];
    /** Every message of the conversation from this offset of its log on is in `messages`. */
    this.from = Infinity;
    /** Whether the user reads older messages, so that none may be dropped. */
    this.browsed = false;
    /** @type {Pending[]} own ones that are not in `messages` yet */
    this.pending = [];
    /** @type {Map<string, string>} folded name to name, of a room; the first 200 where there are more */
    this.members = new Map();
    this.count = 0;
    /** Whether there may be older messages on the server. */
    this.older = false;
    /** Whether messages between the last seen ones and the first here could not be given. */
    this.gap = false;
    /** Names this life of the log behind the conversation. */
    this.epoch = "";
    /** @type {{epoch: string, offset: number} | null} up to where the user has read */
    this.read = null;
    /** Offset up to where the user had read when the conversation was opened. */
    this.marker = Infinity;
    this.draft = "";
    /** @type {Map<string, number>} name to when the notice ends */
    this.typing = new Map();
  }

  get key() {
    return conversationKey(this.kind, this.name);
  }

  get last() {
    return this.messages.at(-1)?.offset ?? 0;
  }
}

/** @param {"room" | "direct"} kind @param {string} name */
export function conversationKey(kind, name) {
  return `${kind}:${foldName(name)}`;
}

export class Model {
  /** @param {string} user */
  constructor(user) {
    this.user = user;
    /** @type {Map<string, Conversation>} by key */
    this.conversations = new Map();
    /** Offset from which on the inbox has been seen; it is one log behind all direct conversations. */
    this.inboxFrom = Infinity;
    this.inboxOlder = false;
  }

  /** @param {"room" | "direct"} kind @returns {Conversation[]} rooms by name, persons by their last message */
  list(kind) {
    const found = [...this.conversations.values()].filter((conversation) => conversation.kind === kind);
    if (kind === "room") return found.sort((a, b) => byName(a.name, b.name));
    return found.sort((a, b) => b.last - a.last || byName(a.name, b.name));
  }

  /** @param {"room" | "direct"} kind @param {string} name the server's spelling replaces an earlier one */
  open(kind, name) {
    const key = conversationKey(kind, name);
    let conversation = this.conversations.get(key);
    if (conversation === undefined) {
      conversation = new Conversation(kind, name);
      this.conversations.set(key, conversation);
      if (kind === "direct") Object.assign(conversation, { from: this.inboxFrom, older: this.inboxOlder });
    }
    conversation.name = name;
    return conversation;
  }

  /** @param {string | undefined} name */
  isMe(name) {
    return name !== undefined && foldName(name) === foldName(this.user);
  }

  /** The other side of a direct message. @param {Message} message */
  peer(message) {
    return this.isMe(message.from) ? /** @type {string} */ (message.to) : message.from;
  }

  /**
   * New messages of one log.
   * @param {{room: string | null, epoch: string, messages: Message[], continues: boolean, gap: boolean}} arrival
   * @returns {Conversation[]} the conversations that changed
   */
  arrive({ room, epoch, messages, continues, gap }) {
    /** @type {Set<Conversation>} */
    const changed = new Set();
    if (!continues) {
      const first = messages[0]?.offset ?? Infinity;
      const older = first > 1 && first < Infinity;
      for (const conversation of room !== null ? [this.open("room", room)] : this.list("direct")) {
        changed.add(Object.assign(conversation, { messages: [], from: first, older, gap }));
      }
      if (room === null) Object.assign(this, { inboxFrom: first, inboxOlder: older });
    } else if (room === null && this.inboxFrom === Infinity) {
      this.inboxFrom = messages[0]?.offset ?? Infinity; // the first ever
    }
    for (const message of messages) {
      const conversation = room !== null ? this.open("room", room) : this.open("direct", this.peer(message));
      conversation.messages.push(message);
      conversation.from = Math.min(conversation.from, message.offset);
      conversation.typing.delete(message.from);
      changed.add(conversation);
      if (this.isMe(message.from)) this.#settle(message, changed);
    }
    for (const conversation of changed) {
      this.#checkRead(conversation, epoch, room !== null && !continues);
      if (!conversation.browsed && conversation.messages.length > 2 * KEPT) this.#shed(conversation);
    }
    return [...changed];
  }

  /** Drop the oldest messages held. @param {Conversation} conversation */
  #shed(conversation) {
    conversation.messages.splice(0, conversation.messages.length - KEPT);
    Object.assign(conversation, { from: conversation.messages[0].offset, older: true, gap: false });
  }

  /** @param {Conversation} conversation @param {string} epoch @param {boolean} fresh whether the log was just joined */
  #checkRead(conversation, epoch, fresh) {
    conversation.epoch = epoch;
    // What was read of an earlier life of the log says nothing of this one.
    if (conversation.read !== null && conversation.read.epoch !== epoch) conversation.read = { epoch, offset: 0 };
    if (conversation.read === null && fresh) conversation.read = { epoch, offset: conversation.last };
  }

  /** A message of one's own has come back: it is no longer pending, wherever it was. */
  #settle(/** @type {Message} */ message, /** @type {Set<Conversation>} */ changed) {
    for (const conversation of this.conversations.values()) {
      const index = conversation.pending.findIndex(({ id }) => id === message.id);
      if (index < 0) continue;
      conversation.pending.splice(index, 1);
      changed.add(conversation);
    }
  }

  /**
   * A page of history.
   * @param {string | null} room @param {number} before what was asked for @param {Message[]} messages ascending
   * @param {boolean} more whether there are older ones
   */
  prepend(room, before, messages, more) {
    const first = messages[0]?.offset ?? before;
    if (room === null) {
      for (const message of messages) this.open("direct", this.peer(message));
      if (before >= this.inboxFrom) this.inboxFrom = Math.min(this.inboxFrom, first);
      if (first <= this.inboxFrom) this.inboxOlder = more;
    }
    for (const conversation of room !== null ? [this.open("room", room)] : this.list("direct")) {
      const { from, key } = conversation;
      if (from < first || from > before) continue; // it has the page, or not yet what follows it
      const page = messages.filter(
        (message) => message.offset < from && (room !== null || conversationKey("direct", this.peer(message)) === key),
      );
      conversation.messages.unshift(...page);
      Object.assign(conversation, { from: first, older: more });
    }
  }

  /** @param {Conversation} conversation @param {{id: string, text: string, time: string}} message */
  write(conversation, message) {
    conversation.pending.push({ ...message, state: "sending" });
  }

  /** @param {Conversation} conversation @param {string} id @param {number} offset */
  acknowledge(conversation, id, offset) {
    const pending = conversation.pending.find((message) => message.id === id);
    if (pending === undefined) return;
    Object.assign(pending, { state: "sent", offset });
    // Older than what is shown, and not in it: a repeat of one stored long ago.
    if (offset <= conversation.last) this.discard(conversation, id);
  }

  /** @param {Conversation} conversation @param {string} id @param {string} reason */
  fail(conversation, id, reason) {
    const pending = conversation.pending.find((message) => message.id === id);
    if (pending !== undefined) Object.assign(pending, { state: "failed", reason, held: null });
  }

  /** The server takes a message only later. @param {string} id @param {string} code @param {number} until */
  hold(id, code, until) {
    for (const { pending } of this.conversations.values()) {
      const found = pending.find((message) => message.id === id);
      if (found !== undefined) found.held = { code, until };
    }
  }

  /** @param {Conversation} conversation @param {string} id */
  discard(conversation, id) {
    conversation.pending = conversation.pending.filter((message) => message.id !== id);
  }

  // ---- reading ----

  /** How many messages of others came after the read position. @param {Conversation} conversation */
  unread(conversation) {
    const { messages, read } = conversation;
    const from = read?.offset ?? 0;
    let loaded = 0;
    for (let index = messages.length - 1; index >= 0 && messages[index].offset > from; index -= 1) {
      if (!this.isMe(messages[index].from)) loaded += 1;
    }
    const first = messages[0]?.offset ?? 0;
    const beyond = conversation.kind === "room" && conversation.older ? Math.max(0, first - 1 - from) : 0;
    return loaded + beyond;
  }

  /** @param {Conversation} conversation */
  markRead(conversation) {
    const offset = Math.max(conversation.last, conversation.read?.offset ?? 0);
    conversation.read = { epoch: conversation.epoch, offset };
  }

  // ---- people ----

  /** @param {string} room @param {number} count @param {string[]} members */
  setMembers(room, count, members) {
    const conversation = this.open("room", room);
    conversation.count = count;
    conversation.members = new Map(members.map((name) => [foldName(name), name]));
    return conversation;
  }

  /** @param {{room: string, count: number, user?: string, state?: string}} change */
  presence({ room, count, user, state }) {
    const conversation = this.conversations.get(conversationKey("room", room));
    if (conversation === undefined) return undefined;
    conversation.count = count;
    if (user !== undefined && state === "joined") conversation.members.set(foldName(user), user);
    else if (user !== undefined) conversation.members.delete(foldName(user));
    return conversation;
  }

  /** Whether a person is present in a room that we are in, too. @param {string} name */
  isPresent(name) {
    return this.list("room").some(({ members }) => members.has(foldName(name)));
  }

  /** @param {{user: string, room?: string}} notice @param {number} now milliseconds */
  typing({ user, room }, now) {
    const key = room === undefined ? conversationKey("direct", user) : conversationKey("room", room);
    this.conversations.get(key)?.typing.set(user, now + TYPING_LASTS);
    return this.conversations.get(key);
  }

  /** @param {Conversation} conversation @param {number} now milliseconds @returns {string[]} */
  typists(conversation, now) {
    for (const [name, until] of conversation.typing) if (until <= now) conversation.typing.delete(name);
    return [...conversation.typing.keys()];
  }
}
