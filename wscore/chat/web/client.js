// @ts-check
/**
 * Client of the wscore chat protocol, version 1: the one module to import. Without dependencies and without the DOM,
 * it runs wherever there is a WebSocket: a page, a worker, node.
 *
 *     import { ChatClient, randomId } from "./client.js";
 *
 *     const chat = new ChatClient("wss://chat.example/ws", { user: "ada", session: randomId() });
 *     chat.addEventListener("messages", ({ detail }) => console.log(detail.room, detail.messages));
 *     chat.start();
 *     await chat.join("lobby");
 *     await chat.post("lobby", "hello"); // stored, for good
 *
 * It keeps one position per log (each room, and the inbox), reconnects with jittered back-off, resumes from those
 * positions, sends again what was not acknowledged under the same ids, and checks by arithmetic that no message was
 * left out or came twice.
 *
 * Events (all `CustomEvent`, what they carry is in `detail`):
 *
 * | type       | detail                                                                                              |
 * |------------|-----------------------------------------------------------------------------------------------------|
 * | `state`    | `{state, delay?, code?, reason?}`: `delay` in milliseconds with `waiting`; `code` with `stopped`    |
 * | `welcome`  | `{user, session, limits}`                                                                           |
 * | `joined`   | `{room, count, members}`, also after each reconnect                                                 |
 * | `left`     | `{room, code?, reason?}`: by `leave`, or because the server refused the join                        |
 * | `messages` | `{room, epoch, messages, continues, gap}`: `room` is null for the inbox; without `continues` they   |
 * |            | do not follow what came before; `gap` says that some in between cannot be given                     |
 * | `held`     | `{id, room, code, delay}`: the server takes the message only later; it is sent again after `delay`  |
 * |            | milliseconds, by itself                                                                             |
 * | `presence` | `{room, count, user?, state?}`                                                                      |
 * | `typing`   | `{user, room?, to?}`                                                                                |
 * | `error`    | `{code, reason, room?}`: the server broke a rule (`hole`, `repeat`, `malformed`), or answered an    |
 * |            | unnumbered request with an error                                                                    |
 *
 * Of the states, `waiting` is followed by another attempt; `stopped` with a code is not: the hello was refused (an
 * error code), the client is at fault (1003, 1007, 1008, 1009), or the token has expired and `token` is no function
 * that could say a new one (4003).
 *
 * @typedef {import("./connection.js").Json} Json
 * @typedef {import("./connection.js").Options} Options
 * @typedef {import("./connection.js").State} State
 * @typedef {import("./log.js").Acknowledgement} Acknowledgement
 * @typedef {import("./log.js").Message} Message
 * @typedef {import("./log.js").Position} Position
 * @typedef {import("./log.js").Slice} Slice
 */

import { ChatError, Connection, SUBPROTOCOL, TEMPORARY_ERRORS } from "./connection.js";
import { BrokenLog, Log } from "./log.js";
import { foldName, randomId } from "./names.js";

export { ChatError, foldName, randomId, SUBPROTOCOL };

const TRY_AGAIN = 1_000; // milliseconds
const TYPING_INTERVAL = 2_000;

/** @param {{room?: string, to?: string}} target */
function typingKey({ room, to }) {
  return room === undefined ? `to ${to}` : `room ${room}`;
}

export class ChatClient extends EventTarget {
  /** @type {Log} */ #inbox;
  /** @type {Position | null} that the hello under way asks for */ #asked = null;
  /** @type {Map<string, Log>} by folded name */ #rooms = new Map();
  /** @type {Map<string, number>} when typing was last told, by room or person */ #typed = new Map();
  #connection;

  /** @param {string} url of the WebSocket @param {Options} options */
  constructor(url, options) {
    super();
    this.#connection = new Connection(url, options, {
      hello: () => ({ position: (this.#asked = this.#inbox.position) ?? undefined }),
      welcome: (reply) => this.#welcome(reply),
      push: (message) => this.#receive(message),
      changed: (state, detail) => this.#emit("state", { state, ...detail }),
      lost: () => {
        for (const log of [this.#inbox, ...this.#rooms.values()]) log.ready = log.sending = false;
      },
    });
    this.#inbox = new Log(null, options.position ?? null);
    /** The name in the server's spelling, after the first welcome. */
    this.user = options.user ?? "";
    /** @type {Record<string, number>} */
    this.limits = {};
  }

  /** @returns {State} */
  get state() {
    return this.#connection.state;
  }

  /** Connect, and stay connected until `stop`. */
  start() {
    this.#connection.start();
  }

  /** End for good. What was not acknowledged stays queued for a later `start`. */
  stop() {
    this.#connection.stop();
  }

  /** Do not wait for the back-off: connect now. */
  retryNow() {
    this.#connection.retryNow();
  }

  /**
   * Join a room and stay in it over reconnects.
   * @param {string} room @param {Position | null} [position] where to resume
   * @returns {Promise<string>} the room's name in the server's spelling
   */
  join(room, position = null) {
    const known = this.#rooms.get(foldName(room));
    if (known?.ready) return Promise.resolve(/** @type {string} */ (known.room));
    const log = known ?? new Log(room, position);
    return new Promise((resolve, reject) => {
      log.waiting.push({ resolve, reject });
      if (known !== undefined) return;
      this.#rooms.set(foldName(room), log);
      if (this.state === "online") this.#join(log);
    });
  }

  /** @param {string} room */
  leave(room) {
    const log = this.#rooms.get(foldName(room));
    if (log === undefined) return;
    if (this.state === "online") this.#connection.request({ type: "leave", room: log.room }, () => {});
    this.#forget(log, {});
  }

  /**
   * Write to a joined room. Sent again under the same id until the server has answered.
   * @param {string} room @param {string} text @param {string} [id] of an earlier attempt
   * @returns {Promise<Acknowledgement>} stored, for good
   */
  post(room, text, id = randomId()) {
    const log = this.#rooms.get(foldName(room));
    if (log === undefined) return Promise.reject(new ChatError({ code: "not_joined" }));
    this.#typed.delete(typingKey({ room }));
    return this.#enqueue(log, { type: "post", id, room: log.room, text });
  }

  /**
   * Write to a person, present or away.
   * @param {string} to @param {string} text @param {string} [id] of an earlier attempt
   * @returns {Promise<Acknowledgement>} stored, for good; the offset is that of the own inbox
   */
  direct(to, text, id = randomId()) {
    this.#typed.delete(typingKey({ to }));
    return this.#enqueue(this.#inbox, { type: "direct", id, to, text });
  }

  /**
   * Older messages, ascending.
   * @param {string | null} room null for the inbox @param {{before?: number, limit?: number}} [range]
   * @returns {Promise<{messages: Message[], more: boolean}>}
   */
  history(room, { before, limit } = {}) {
    const log = room === null ? { inbox: true } : { room };
    return /** @type {Promise<any>} */ (this.#connection.ask({ type: "history", ...log, before, limit }));
  }

  /** @returns {Promise<{room: string, count: number, offset: number}[]>} rooms of the server, most present first */
  rooms() {
    return this.#connection.ask({ type: "rooms" }).then((reply) => reply.rooms);
  }

  /** @param {{room: string} | {to: string}} target told at most once in two seconds, and anew after a message */
  typing(target) {
    const key = typingKey(target);
    const now = this.#connection.now;
    if (this.state !== "online" || now - (this.#typed.get(key) ?? -Infinity) < TYPING_INTERVAL) return;
    this.#typed.set(key, now);
    this.#connection.send({ type: "typing", ...target });
  }

  // ---- what the connection tells ----

  /** @param {Json} reply */
  #welcome(reply) {
    const rooms = [...this.#rooms.values()]; // without those that a listener joins below
    this.user = reply.user;
    this.limits = reply.limits ?? {};
    this.#emit("welcome", { user: reply.user, session: reply.session, limits: this.limits });
    if (!this.#begin(this.#inbox, reply.inbox, this.#asked)) return;
    for (const log of rooms) this.#join(log);
    this.#flush(this.#inbox);
  }

  /** @param {Json | null} message */
  #receive(message) {
    if (message === null) return this.#emit("error", { code: "malformed", reason: "the server sent no message" });
    const { type, ...detail } = message;
    if (type === "error") return this.#emit("error", { code: message.code, reason: message.reason });
    if (type === "direct") return this.#follow(this.#inbox, /** @type {any} */ (message));
    if (type === "presence" || type === "typing") return this.#emit(type, detail);
    if (type !== "message") return; // of a later version
    const log = this.#rooms.get(foldName(message.room));
    if (log !== undefined) this.#follow(log, /** @type {any} */ (message));
  }

  // ---- logs ----

  /** @param {Log} log @param {Slice} slice @param {Position | null} asked */
  #begin(log, slice, asked) {
    return this.#checked(log, () => {
      const { messages, continues, gap } = log.begin(slice, asked);
      log.ready = true;
      if (messages.length === 0 && continues) return;
      this.#emit("messages", { room: log.room, epoch: slice.epoch, messages, continues, gap });
    });
  }

  /** @param {Log} log @param {Message} message */
  #follow(log, message) {
    if (!log.ready) return; // of a room left meanwhile
    this.#checked(log, () => {
      const { epoch } = log.follow(message);
      this.#emit("messages", { room: log.room, epoch, messages: [message], continues: true, gap: false });
    });
  }

  /** Run `step`; where the arithmetic fails, say so and resume from the last good position. */
  #checked(/** @type {Log} */ log, /** @type {() => void} */ step) {
    try {
      step();
      return true;
    } catch (error) {
      if (!(error instanceof BrokenLog)) throw error;
      this.#emit("error", { code: error.code, reason: error.message, room: log.room });
      this.#connection.abandon(error.message);
      return false;
    }
  }

  /** @param {Log} log */
  #join(log) {
    const asked = log.position;
    this.#connection.request({ type: "join", room: log.room, position: asked ?? undefined }, (reply) => {
      if (reply.code === "disconnected" || !this.#wants(log)) return;
      if (TEMPORARY_ERRORS.has(reply.code)) return this.#again(reply, () => this.#wants(log) && this.#join(log));
      if (reply.type === "error") return this.#forget(log, reply);
      const named = this.#rename(log, reply.room);
      this.#emit("joined", { room: reply.room, count: reply.count, members: reply.members });
      if (!this.#begin(named, /** @type {any} */ (reply), asked)) return;
      for (const { resolve } of named.waiting.splice(0)) resolve(reply.room);
      this.#flush(named);
    });
  }

  /** @param {Log} log */
  #wants(log) {
    return log.room === null || this.#rooms.get(foldName(log.room)) === log;
  }

  /** Take over the server's spelling, which may turn out to be that of a room already joined. */
  #rename(/** @type {Log} */ log, /** @type {string} */ room) {
    this.#rooms.delete(foldName(/** @type {string} */ (log.room)));
    const named = this.#rooms.get(foldName(room)) ?? log;
    if (named !== log) {
      named.waiting.push(...log.waiting);
      named.queue.push(...log.queue);
    }
    named.room = room;
    this.#rooms.set(foldName(room), named);
    return named;
  }

  /** @param {Log} log @param {Json} reply why, where it was not the caller's wish */
  #forget(log, reply) {
    this.#rooms.delete(foldName(/** @type {string} */ (log.room)));
    log.ready = false;
    const error = new ChatError({ ...reply, code: reply.code ?? "not_joined" });
    for (const { reject } of [...log.waiting.splice(0), ...log.queue.splice(log.sending ? 1 : 0)]) reject(error);
    this.#emit("left", { room: log.room, code: reply.code, reason: reply.reason });
  }

  /** @param {Log} log @param {Json} request @returns {Promise<Acknowledgement>} */
  #enqueue(log, request) {
    return new Promise((resolve, reject) => {
      log.queue.push({ request, resolve, reject });
      this.#flush(log);
    });
  }

  /** One at a time for each log: a "not now" for one message must not let a later one overtake it. */
  #flush(/** @type {Log} */ log) {
    if (!log.ready || log.sending || log.queue.length === 0) return;
    log.sending = true;
    const { request, resolve, reject } = log.queue[0];
    this.#connection.request(request, (reply) => {
      if (this.#wants(log)) {
        if (reply.code === "disconnected") return; // goes out again after the reconnect
        if (TEMPORARY_ERRORS.has(reply.code)) {
          const delay = this.#again(reply, () => this.#resume(log));
          return this.#emit("held", { id: request.id, room: log.room, code: reply.code, delay });
        }
      }
      log.sending = false;
      log.queue.shift();
      if (reply.type === "ok") resolve({ duplicate: false, .../** @type {any} */ (reply) });
      else reject(new ChatError(reply));
      this.#flush(log);
    });
  }

  /** @param {Log} log */
  #resume(log) {
    log.sending = false;
    if (this.#wants(log)) return this.#flush(log);
    for (const { reject } of log.queue.splice(0)) reject(new ChatError({ code: "not_joined" }));
  }

  /** @param {Json} reply @param {() => void} action @returns {number} after how many milliseconds */
  #again(reply, action) {
    const wait = typeof reply.retry_after === "number" ? reply.retry_after * 1000 : TRY_AGAIN;
    const delay = Math.ceil(wait * (1 + this.#connection.random / 4));
    this.#connection.after(delay, action);
    return delay;
  }

  /** @param {string} type @param {Json} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
