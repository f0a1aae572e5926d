// @ts-check
/**
 * The conversations of one user and what is in them: a plain model, told what happened, asked by the views. Imports
 * the client's name folding only; no DOM, no network.
 *
 * @typedef {import("./client.js").Message} Message
 * @typedef {{id: string, text: string, time: string, state: "sending" | "sent" | "failed", offset?: number,
 *   reason?: string}} Pending
 */

import { foldName } from "./client.js";

/** A typing notice holds for this many milliseconds; they come every two seconds. */
const TYPING_LASTS = 5_000;

export class Conversation {
  /** @param {"room" | "direct"} kind @param {string} name */
  constructor(kind, name) {
    this.kind = kind;
    this.name = name;
    /** @type {Message[]} ascending by offset */
    this.messages = [];
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
    /** Offset of the first inbox message held; the inbox is one log behind all direct conversations. */
    this.inboxFirst = Infinity;
    this.inboxOlder = false;
  }

  /** @param {"room" | "direct"} kind @returns {Conversation[]} rooms by name, persons by their last message */
  list(kind) {
    const found = [...this.conversations.values()].filter((conversation) => conversation.kind === kind);
    if (kind === "room") return found.sort((a, b) => a.name.localeCompare(b.name));
    return found.sort((a, b) => b.last - a.last || a.name.localeCompare(b.name));
  }

  /** @param {"room" | "direct"} kind @param {string} name the server's spelling replaces an earlier one */
  open(kind, name) {
    const key = conversationKey(kind, name);
    const conversation = this.conversations.get(key) ?? new Conversation(kind, name);
    conversation.name = name;
    this.conversations.set(key, conversation);
    if (kind === "direct") conversation.older ||= this.inboxOlder;
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
    const first = messages[0]?.offset ?? Infinity;
    /** @type {Set<Conversation>} */
    const changed = new Set();
    if (room !== null) {
      const conversation = this.open("room", room);
      if (!continues) Object.assign(conversation, { messages: [], older: first > 1 && first < Infinity, gap });
      changed.add(conversation);
    } else if (!continues) {
      this.inboxFirst = first;
      this.inboxOlder = first > 1 && first < Infinity;
      for (const conversation of this.list("direct")) {
        Object.assign(conversation, { messages: [], older: this.inboxOlder, gap });
        changed.add(conversation);
      }
    } else {
      this.inboxFirst = Math.min(this.inboxFirst, first);
    }
    for (const message of messages) {
      const conversation = room !== null ? this.open("room", room) : this.open("direct", this.peer(message));
      conversation.messages.push(message);
      conversation.typing.delete(message.from);
      changed.add(conversation);
      if (this.isMe(message.from)) this.#settle(message, changed);
    }
    for (const conversation of changed) this.#checkRead(conversation, epoch, room !== null && !continues);
    return [...changed];
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
   * A page of history, just before what is held.
   * @param {string | null} room @param {Message[]} messages ascending @param {boolean} more
   */
  prepend(room, messages, more) {
    if (room !== null) {
      const conversation = this.open("room", room);
      conversation.messages.unshift(...messages);
      conversation.older = more;
      return;
    }
    this.inboxOlder = more;
    this.inboxFirst = messages[0]?.offset ?? this.inboxFirst;
    for (const message of messages.toReversed?.() ?? [...messages].reverse()) {
      this.open("direct", this.peer(message)).messages.unshift(message);
    }
    for (const conversation of this.list("direct")) conversation.older = more;
  }

  /** Offset before which to ask for older messages. @param {Conversation} conversation */
  before(conversation) {
    return conversation.kind === "room" ? conversation.messages[0]?.offset : this.inboxFirst;
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
    if (pending !== undefined) Object.assign(pending, { state: "failed", reason });
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
    const first = messages[0]?.offset ?? 0;
    const loaded = messages.filter(({ offset, from: sender }) => offset > from && !this.isMe(sender)).length;
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
    return [...conversation.typing].filter(([, until]) => until > now).map(([name]) => name);
  }
}
