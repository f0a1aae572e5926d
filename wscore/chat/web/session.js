// @ts-check
/**
 * One user's stay: the protocol client, the model and the browser's memory tied together. No DOM; the views read the
 * model, call the verbs below, and draw anew at each `change` event.
 *
 * @typedef {import("./model.js").Conversation} Conversation
 * @typedef {import("./client.js").Events} Events
 */

import { ChatClient, foldName, randomId } from "./client.js";
import { conversationKey, Model } from "./model.js";

const PAGE = 50; // messages of history asked for at a time
const INBOX_PAGE = 200; // the inbox holds all direct conversations, so one of them needs more of it
const TYPING_REDRAW = 5_100; // milliseconds until a typing notice is over

export class Session extends EventTarget {
  /**
   * @param {string} url of the WebSocket @param {string} name the user's @param {import("./storage.js").Memory} memory
   * @param {import("./client.js").Options} [options] of the client; `token` where the server wants one
   */
  constructor(url, name, memory, options = {}) {
    super();
    this.memory = memory;
    this.name = name;
    const known = memory.account(name);
    this.isNew = known === null;
    // Kept before it is sent: were the answer lost, the name would be nobody's.
    const session = known?.session ?? randomId();
    memory.update(name, { session });
    this.model = new Model(name);
    this.client = new ChatClient(url, { user: name, session, ...options });
    /** @type {{code: string, reason: string, room: string | null} | null} a fault that the user should know of */
    this.fault = null;
    /** @type {Conversation | null} */
    this.active = null;
    /** @type {Events["state"] & {since: number}} */
    this.connection = { state: "stopped", since: 0 };
    this.welcomed = false;
    this.loading = false;
    this.#listen();
    this.#recall();
  }

  start() {
    this.client.start();
  }

  stop() {
    this.client.stop();
  }

  #listen() {
    /** @type {{[T in keyof Events]: (detail: Events[T]) => void}} */
    const handlers = {
      state: (detail) => this.#connectionChanged(detail),
      welcome: ({ user }) => this.#welcome(user),
      joined: ({ room, count, members }) => this.model.setMembers(room, count, members),
      left: ({ room, code, reason }) => this.#left(room, code, reason),
      messages: (arrival) => this.#arrived(arrival),
      presence: (change) => this.model.presence(change),
      typing: (notice) => this.#typing(notice),
      held: ({ id, code, delay }) => this.#held(id, code, delay),
      error: ({ code, reason, room }) => this.#failed(code, reason, room ?? null),
    };
    for (const type of /** @type {(keyof Events)[]} */ (Object.keys(handlers))) {
      this.client.addEventListener(type, ({ detail }) => {
        handlers[type](/** @type {any} */ (detail));
        this.#changed();
      });
    }
  }

  /** Take up what the browser remembers: rooms, read positions, drafts, and what was not acknowledged. */
  #recall() {
    const { rooms = [], read = {}, drafts = {} } = this.memory.account(this.name) ?? {};
    for (const room of rooms) this.#enter(room).catch(() => {}); // a refusal comes as `left`
    this.#rooms = rooms;
    for (const unsent of this.memory.unsent(this.name)) {
      const kind = unsent.key.startsWith("room:") ? "room" : "direct";
      const conversation = this.model.open(kind, unsent.name);
      this.#write(conversation, unsent);
    }
    this.#stored = { read, drafts };
  }

  /** @type {{read: Record<string, any>, drafts: Record<string, string>}} */
  #stored = { read: {}, drafts: {} };
  /** @type {string[]} rooms of the account, as last seen in the memory */
  #rooms = [];

  /** Another window of the same user read, joined or left. @param {string | null} key that changed */
  remember(key) {
    const account = this.memory.account(this.name);
    if (!this.memory.isAccount(this.name, key) || account === null) return;
    for (const conversation of this.model.conversations.values()) {
      const read = account.read[conversation.key];
      const isNews = read?.epoch === conversation.epoch && read.offset > (conversation.read?.offset ?? 0);
      if (isNews) conversation.read = read;
    }
    const left = this.#rooms.filter((room) => !account.rooms.includes(room));
    this.#rooms = account.rooms;
    for (const room of left) this.client.leave(room);
    for (const room of account.rooms) this.#enter(room).catch(() => {});
    this.#changed();
  }

  /** Conversations come up one by one; each takes over what is remembered of it. */
  #adopt() {
    for (const conversation of this.model.conversations.values()) {
      const { key } = conversation;
      conversation.read ??= this.#stored.read[key] ?? null;
      conversation.draft ||= this.#stored.drafts[key] ?? "";
      delete this.#stored.drafts[key];
    }
  }

  // ---- what the client says ----

  /** @param {Events["state"]} detail */
  #connectionChanged(detail) {
    this.connection = { ...detail, since: Date.now() };
    if (detail.state === "stopped" && detail.code !== undefined && this.isNew) this.memory.forget(this.name);
  }

  /** @param {string} user the server's spelling */
  #welcome(user) {
    this.welcomed = true;
    this.isNew = false;
    this.model.user = user;
  }

  /** @param {Events["messages"]} arrival */
  #arrived(arrival) {
    if (arrival.room === null)
      for (const message of arrival.messages) this.model.open("direct", this.model.peer(message));
    this.#adopt();
    const waiting = this.#unsent().length;
    this.model.arrive(arrival);
    if (waiting > 0) this.#keepUnsent();
    const room = this.model.conversations.get(conversationKey("room", arrival.room ?? ""));
    if (room !== undefined && !arrival.continues) this.#keepRead(room); // where reading begins
    if (this.active === null) this.#openWhatWasOpen();
  }

  #openWhatWasOpen() {
    const opened = this.model.conversations.get(this.memory.opened(this.name) ?? "");
    if (opened !== undefined) this.open(opened);
  }

  /** @param {Events["typing"]} notice */
  #typing(notice) {
    this.model.typing(notice, Date.now());
    setTimeout(() => this.#changed(), TYPING_REDRAW);
  }

  /** @param {string} id @param {string} code @param {number} delay milliseconds */
  #held(id, code, delay) {
    this.model.hold(id, code, Date.now() + delay);
    setTimeout(() => this.#changed(), delay);
  }

  /** @param {string} code @param {string} reason @param {string | null} room */
  #failed(code, reason, room) {
    console.warn("chat:", code, reason, room ?? "");
    this.fault = { code, reason, room };
  }

  /** @param {string} room @param {string} [code] @param {string} [reason] */
  #left(room, code, reason) {
    const key = conversationKey("room", room);
    // Refused with something written: it stays to be seen.
    const written = code !== undefined && this.model.conversations.get(key)?.pending.length;
    if (!written) this.model.conversations.delete(key);
    if (this.active?.kind === "room" && !this.model.conversations.has(this.active.key)) this.active = null;
    this.#keepRoom(room, false);
    if (code !== undefined) this.dispatchEvent(new CustomEvent("evicted", { detail: { room, code, reason } }));
  }

  // ---- what the user does ----

  /** @param {Conversation} conversation */
  open(conversation) {
    if (this.active === conversation) return;
    this.active = conversation;
    this.#adopt();
    conversation.marker = this.model.unread(conversation) > 0 ? (conversation.read?.offset ?? 0) : Infinity;
    this.memory.keepOpened(this.name, conversation.key);
    this.#changed();
  }

  /** @param {string} person */
  openDirect(person) {
    this.open(this.model.open("direct", person));
  }

  /** @param {string} name @throws {import("./client.js").ChatError} when the server refuses */
  async joinRoom(name) {
    this.open(this.model.open("room", await this.#enter(name)));
  }

  /** @param {string} name */
  async #enter(name) {
    const room = await this.client.join(name);
    this.model.open("room", room);
    this.#adopt();
    this.#keepRoom(room, true);
    return room;
  }

  /** @param {Conversation} room */
  leave(room) {
    this.client.leave(room.name);
  }

  /** @param {string} text */
  send(text) {
    if (this.active === null) return;
    this.active.marker = Infinity;
    this.#write(this.active, { id: randomId(), text, time: new Date().toISOString() });
    this.#changed();
  }

  /** Try a failed message again, under its id. @param {string} id */
  retry(id) {
    const conversation = this.active;
    const failed = conversation?.pending.find((message) => message.id === id);
    if (conversation === null || failed === undefined) return;
    this.model.discard(conversation, id);
    this.#write(conversation, failed);
    this.#changed();
  }

  /** @param {string} id */
  discard(id) {
    if (this.active !== null) this.model.discard(this.active, id);
    this.#keepUnsent();
    this.#changed();
  }

  /** @param {Conversation} conversation @param {{id: string, text: string, time: string}} message */
  async #write(conversation, { id, text, time }) {
    this.model.write(conversation, { id, text, time });
    this.#keepUnsent();
    const { kind, name } = conversation;
    try {
      const stored = await (kind === "room" ? this.client.post(name, text, id) : this.client.direct(name, text, id));
      this.model.acknowledge(conversation, id, stored.offset);
    } catch (error) {
      this.model.fail(conversation, id, /** @type {any} */ (error).code ?? "other");
    }
    this.#keepUnsent();
    this.#changed();
  }

  /** Load messages before those shown, until there are some or none are left. */
  async loadOlder() {
    const { active: conversation, client, model } = this;
    if (conversation === null || this.loading || !conversation.older || client.state !== "online") return;
    this.loading = true;
    this.#changed();
    const room = conversation.kind === "room" ? conversation.name : null;
    const before = conversation.messages.length;
    try {
      while (conversation.older && conversation.messages.length === before) {
        const { from, epoch } = conversation;
        const limit = room === null ? INBOX_PAGE : PAGE;
        const { messages, more } = await client.history(room, { before: from, limit });
        // A reconnect may have brought another page, or another life of the log, meanwhile.
        if (conversation.from !== from || conversation.epoch !== epoch) break;
        model.prepend(room, from, messages, more);
      }
    } catch (error) {
      console.warn("chat: no history:", /** @type {any} */ (error).code);
    } finally {
      this.loading = false;
      this.#adopt();
      this.#changed();
    }
  }

  /** The user looks at the end of the open conversation. */
  see() {
    const { active, model } = this;
    if (active === null || model.unread(active) === 0) return;
    model.markRead(active);
    this.#keepRead(active);
    this.#changed();
  }

  /** The user looks away: what comes from now on is new. */
  lookAway() {
    if (this.active !== null && this.model.unread(this.active) === 0) this.active.marker = this.active.last;
  }

  /** The user is back; where nothing came, nothing is new. */
  lookBack() {
    if (this.active !== null && this.model.unread(this.active) === 0) this.active.marker = Infinity;
    this.#changed();
  }

  /** @param {string} text @param {boolean} byHand whether the user is typing it just now */
  draft(text, byHand) {
    const { active } = this;
    if (active === null) return;
    active.draft = text;
    const drafts = { ...this.memory.account(this.name)?.drafts, [active.key]: text };
    if (text === "") delete drafts[active.key];
    this.memory.update(this.name, { drafts });
    if (byHand && text !== "") this.client.typing(active.kind === "room" ? { room: active.name } : { to: active.name });
  }

  // ---- memory ----

  /** @param {string} room @param {boolean} joined */
  #keepRoom(room, joined) {
    const known = this.memory.account(this.name)?.rooms ?? [];
    if (joined && known.includes(room)) return; // windows that tell each other must come to rest
    const others = known.filter((name) => foldName(name) !== foldName(room));
    this.#rooms = joined ? [...others, room] : others;
    this.memory.update(this.name, { rooms: this.#rooms });
  }

  /** @returns {import("./storage.js").Unsent[]} */
  #unsent() {
    return [...this.model.conversations.values()].flatMap(({ key, name, pending }) =>
      pending.filter(({ state }) => state !== "sent").map(({ id, text, time }) => ({ id, key, name, text, time })),
    );
  }

  /** @param {Conversation} conversation */
  #keepRead({ key, read }) {
    this.#stored.read = { ...this.memory.account(this.name)?.read, [key]: read };
    this.memory.update(this.name, { read: this.#stored.read });
  }

  #keepUnsent() {
    this.memory.keepUnsent(this.name, this.#unsent());
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
