// @ts-check
// SPDX-FileCopyrightText: 2026 wscore contributors
// SPDX-License-Identifier: MIT
/**
 * Client of the wscore chat protocol, version 1, in one file that imports nothing: copy it to wherever it is needed.
 * Without the DOM, it runs wherever there is a WebSocket: a page, a worker, node 22 and later.
 *
 *     import { ChatClient } from "./client.js";
 *
 *     const chat = new ChatClient("wss://chat.example/ws", { user: "ada" });
 *     chat.addEventListener("messages", ({ detail }) => console.log(detail.room, detail.messages));
 *     chat.start();
 *     await chat.join("lobby");
 *     await chat.post("lobby", "hello"); // stored, for good
 *
 * It keeps one position per log (each room, and the inbox), reconnects with jittered back-off, resumes from those
 * positions, sends again what was not acknowledged under the same ids, and checks by arithmetic that no message was
 * left out or came twice.
 *
 * @typedef {object} Options
 * @property {string} [user] the name to ask for
 * @property {string} [session] secret that makes the name yours, 22-128 characters; keep it to have the name again
 * (`randomId` makes one, and does so where none is given)
 * @property {string | (() => string | Promise<string>)} [token] in place of both, where the server wants tokens; a
 * function is asked before each connection, so also after a token has expired
 * @property {Position | null} [position] where to resume the inbox
 * @property {new (url: string, protocol: string) => any} [WebSocket] the global one by default
 * @property {(callback: () => void, milliseconds: number) => any} [setTimeout]
 * @property {(timer: any) => void} [clearTimeout]
 * @property {() => number} [random] in [0, 1), for jitter only
 * @property {() => number} [now] milliseconds, of a clock that is not set back
 * @property {EventTarget | null} [network] says `online` when the network is back; the window by default
 *
 * @typedef {"stopped" | "connecting" | "online" | "waiting"} State `waiting` is followed by another attempt
 * @typedef {{epoch: string, offset: number}} Position
 * @typedef {{offset: number, from: string, text: string, time: string, id: string, room?: string, to?: string}} Message
 * @typedef {{id: string, epoch: string, offset: number, time: string, duplicate: boolean}} Acknowledgement
 *
 * @typedef {object} Events each a `CustomEvent`, with this as its `detail`
 * @property {{state: State, delay?: number, code?: string | number, reason?: string}} state `delay` in milliseconds
 * with `waiting`. `stopped` with a `code` is for good: the hello was refused (an error code), the URL is none
 * (`invalid_url`), the client is at fault (1003, 1007, 1008, 1009), or the token has expired and `token` is no function
 * that could say a new one (4003); what was still to be answered rejects with that code
 * @property {{user: string, session: string, limits: Record<string, number>}} welcome
 * @property {{room: string, count: number, members: string[]}} joined also after each reconnect
 * @property {{room: string, code?: string, reason?: string}} left by `leave`, or because the server refused the join
 * @property {{room: string | null, epoch: string, messages: Message[], continues: boolean, gap: boolean}} messages
 * `room` is null for the inbox; without `continues` they do not follow what came before; `gap` says that some in
 * between cannot be given
 * @property {{id: string, room: string | null, code: string, delay: number}} held the server takes the message only
 * later; it is sent again after `delay` milliseconds, by itself
 * @property {{room: string, count: number, user?: string, state?: "joined" | "left"}} presence
 * @property {{user: string, room?: string, to?: string}} typing
 * @property {{code: string, reason: string, room?: string | null}} error the server broke a rule (`hole`, `repeat`,
 * `malformed`), or answered an unnumbered request with an error
 *
 * @typedef {Parameters<EventTarget["addEventListener"]>[2]} ListenerOptions
 * @typedef {{
 *   addEventListener<T extends keyof Events>(
 *     type: T, listener: (event: CustomEvent<Events[T]>) => void, options?: ListenerOptions): void,
 *   removeEventListener<T extends keyof Events>(
 *     type: T, listener: (event: CustomEvent<Events[T]>) => void, options?: ListenerOptions): void,
 *   dispatchEvent(event: Event): boolean,
 * }} ChatEventTarget
 */

export const SUBPROTOCOL = "chat.wscore.v1";

export class ChatClient extends /** @type {new () => ChatEventTarget} */ (EventTarget) {
  #connection;
  /** @type {Log} */ #inbox;
  /** @type {Map<string, Log>} by folded name */ #rooms = new Map();
  /** @type {Map<string, number>} when typing was last told, by room or person */ #typed = new Map();
  /** @type {ChatError | null} what stopped it for good */ #fault = null;

  /**
   * @param {string} url of the WebSocket @param {Options} options
   * @throws {TypeError} where there is no WebSocket
   */
  constructor(url, options) {
    super();
    this.#connection = new Connection(url, options, {
      position: () => this.#inbox.position,
      welcome: (reply) => this.#welcome(reply),
      push: (message) => this.#receive(message),
      changed: (state, detail) => this.#changed(state, detail),
      lost: () => this.#logs.forEach((log) => log.disconnect()),
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

  /** Disconnect. Rooms, positions and what was not acknowledged are kept for a later `start`. */
  stop() {
    this.#connection.stop();
  }

  /** Do not wait for the back-off: connect now. */
  retryNow() {
    this.#connection.retryNow();
  }

  /**
   * Join a room and stay in it over reconnects.
   * @param {string} room @param {Position | null} [position] where to resume, of the first call for the room
   * @returns {Promise<string>} the room's name in the server's spelling
   * @throws {ChatError} the server refused, or `leave` came first (`not_joined`)
   */
  join(room, position = null) {
    if (this.#fault !== null) return Promise.reject(this.#fault);
    const log = this.#rooms.get(foldName(room)) ?? new Log(room, position);
    if (log.ready) return Promise.resolve(/** @type {string} */ (log.room));
    return new Promise((resolve, reject) => {
      log.joins.push({ resolve, reject });
      this.#rooms.set(foldName(room), log);
      this.#join(log);
    });
  }

  /** @param {string} room */
  leave(room) {
    const log = this.#rooms.get(foldName(room));
    if (log === undefined) return;
    this.#leave(/** @type {string} */ (log.room));
    this.#forget(log, {});
  }

  /**
   * Write to a joined room. Sent again under the same id until the server has answered.
   * @param {string} room @param {string} text @param {string} [id] of an earlier attempt
   * @returns {Promise<Acknowledgement>} stored, for good
   * @throws {ChatError} not stored; with `disconnected`, or the number of a close, it may be
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
   * @throws {ChatError} as of `post`
   */
  direct(to, text, id = randomId()) {
    this.#typed.delete(typingKey({ to }));
    return this.#enqueue(this.#inbox, { type: "direct", id, to, text });
  }

  /**
   * Older messages, ascending.
   * @param {string | null} room null for the inbox @param {{before?: number, limit?: number}} [range]
   * @returns {Promise<{messages: Message[], more: boolean}>}
   * @throws {ChatError} refused, or `disconnected`: it is not asked again
   */
  history(room, { before, limit } = {}) {
    const log = room === null ? { inbox: true } : { room };
    return /** @type {Promise<any>} */ (this.#connection.ask({ type: "history", ...log, before, limit }));
  }

  /**
   * @returns {Promise<{room: string, count: number, offset: number}[]>} rooms of the server, most present first
   * @throws {ChatError} as of `history`
   */
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

  // ---- what the connection tells; a listener may stop the client or leave a room at any event ----

  /** @param {State} state @param {Json} detail */
  #changed(state, detail) {
    this.#fault = state === "stopped" && detail.code !== undefined ? new ChatError(detail) : null;
    if (this.#fault !== null) for (const log of this.#logs) log.reject(this.#fault);
    this.#emit("state", { state, ...detail });
  }

  /** @param {Json} reply */
  #welcome(reply) {
    this.user = reply.user;
    this.limits = reply.limits ?? {};
    this.#emit("welcome", { user: reply.user, session: reply.session, limits: this.limits });
    if (this.state !== "online") return;
    if (!this.#arrive(this.#inbox, () => this.#inbox.begin(reply.inbox, this.#inbox.position))) return;
    for (const log of this.#rooms.values()) this.#join(log);
    this.#flush(this.#inbox);
  }

  /** @param {Json | null} message */
  #receive(message) {
    if (message === null) return this.#emit("error", { code: "malformed", reason: "the server sent no message" });
    const { type, ...detail } = message;
    if (type === "error") return this.#emit("error", { code: message.code, reason: message.reason });
    if (type === "presence" || type === "typing") return this.#emit(type, /** @type {any} */ (detail));
    if (type !== "message" && type !== "direct") return; // of a later version
    const log = type === "direct" ? this.#inbox : this.#rooms.get(foldName(`${message.room}`));
    if (log?.ready) this.#arrive(log, () => log.follow(/** @type {any} */ (message))); // else of a room left meanwhile
  }

  // ---- rooms ----

  get #logs() {
    return [this.#inbox, ...this.#rooms.values()];
  }

  /** @param {Log} log that is joined as soon as there is a connection */
  #join(log) {
    if (log.ready || log.asked || this.state !== "online") return;
    log.asked = true;
    const { position } = log;
    this.#connection.request({ type: "join", room: log.room, position: position ?? undefined }, (reply) => {
      if (reply.code === "disconnected" || !this.#wants(log)) return;
      if (TEMPORARY_ERRORS.has(reply.code)) {
        this.#again(reply, () => {
          log.asked = false;
          if (this.#wants(log)) this.#join(log);
        });
        return;
      }
      if (reply.type === "error") return this.#forget(log, reply);
      const room = String(reply.room ?? log.room);
      const named = this.#rename(log, room);
      this.#emit("joined", { room, count: reply.count, members: reply.members });
      if (this.state !== "online" || !this.#wants(named)) return;
      if (!named.ready && !this.#arrive(named, () => named.begin(/** @type {any} */ (reply), position))) return;
      for (const { resolve } of named.joins.splice(0)) resolve(room);
      this.#flush(named);
    });
  }

  /** @param {Log} log whether it is still to be followed */
  #wants(log) {
    return log.room === null || this.#rooms.get(foldName(log.room)) === log;
  }

  /** Take over the server's spelling, which may turn out to be that of a room already joined. */
  #rename(/** @type {Log} */ log, /** @type {string} */ room) {
    this.#rooms.delete(foldName(/** @type {string} */ (log.room)));
    const named = this.#rooms.get(foldName(room)) ?? log;
    if (named !== log) {
      named.joins.push(...log.joins);
      named.queue.push(...log.queue);
    }
    named.room = room;
    this.#rooms.set(foldName(room), named);
    return named;
  }

  /** @param {string} room */
  #leave(room) {
    if (this.state !== "online") return;
    this.#connection.request({ type: "leave", room }, (reply) => {
      if (!TEMPORARY_ERRORS.has(reply.code)) return;
      this.#again(reply, () => this.#rooms.has(foldName(room)) || this.#leave(room));
    });
  }

  /** @param {Log} log @param {Json} reply why, where it was not the caller's wish */
  #forget(log, { code, reason }) {
    this.#rooms.delete(foldName(/** @type {string} */ (log.room)));
    log.ready = false;
    log.reject(new ChatError({ code: code ?? "not_joined", reason }));
    this.#emit("left", { room: /** @type {string} */ (log.room), code, reason });
  }

  // ---- messages ----

  /** Tell of messages; where the arithmetic fails, of that, and resume from the last good position. */
  #arrive(/** @type {Log} */ log, /** @type {() => Arrival} */ take) {
    try {
      const arrival = take();
      log.ready = true;
      if (arrival.messages.length > 0 || !arrival.continues) this.#emit("messages", { room: log.room, ...arrival });
      return true;
    } catch (error) {
      if (!(error instanceof BrokenLog)) throw error;
      this.#emit("error", { code: error.code, reason: error.message, room: log.room });
      this.#connection.abandon(error.message);
      return false;
    }
  }

  /** @param {Log} log @param {Json} request @returns {Promise<Acknowledgement>} */
  #enqueue(log, request) {
    if (this.#fault !== null) return Promise.reject(this.#fault);
    return new Promise((resolve, reject) => {
      log.queue.push({ request, resolve, reject });
      this.#flush(log);
    });
  }

  /** One at a time for each log: a "not now" for one message must not let a later one overtake it. */
  #flush(/** @type {Log} */ log) {
    if (!log.ready || log.sending || log.held || log.queue.length === 0) return;
    log.sending = true;
    const { request, resolve, reject } = log.queue[0];
    this.#connection.request(request, (reply) => {
      const again = this.#wants(log);
      if (again && reply.code === "disconnected") return; // goes out again after the reconnect
      log.sending = false;
      if (again && TEMPORARY_ERRORS.has(reply.code)) return this.#hold(log, request.id, reply);
      log.queue.shift();
      if (reply.type === "ok") resolve({ duplicate: false, .../** @type {any} */ (reply) });
      else reject(new ChatError(reply));
      this.#flush(log);
    });
  }

  /** @param {Log} log @param {string} id of its first message @param {Json} reply why */
  #hold(log, id, reply) {
    log.held = true;
    const delay = this.#again(reply, () => {
      log.held = false;
      this.#flush(log);
    });
    this.#emit("held", { id, room: log.room, code: reply.code, delay });
  }

  /** @param {Json} reply @param {() => void} action @returns {number} after how many milliseconds */
  #again(reply, action) {
    const wait = typeof reply.retry_after === "number" ? reply.retry_after * 1000 : RETRY;
    const delay = Math.ceil(Math.min(wait, RETRY_CAP) * (1 + this.#connection.random / 4));
    this.#connection.after(delay, action);
    return delay;
  }

  /** @template {keyof Events} T @param {T} type @param {Events[T]} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * A request was refused, its connection ended before the reply (`code` is then `disconnected`), or the client has
 * stopped for good (the code of that `state`, which is a number where it is that of a close).
 */
export class ChatError extends Error {
  /** @param {{[field: string]: any}} reply with `code` and perhaps `reason` */
  constructor(reply) {
    super(reply.reason || String(reply.code));
    this.name = "ChatError";
    /** @type {string | number} */
    this.code = reply.code;
  }
}

const RETRY = 1_000; // milliseconds, like all that follow; where the server does not say when
const RETRY_CAP = 60_000;
const TYPING_INTERVAL = 2_000;

/** Error codes that say "not now": the same request is sent again after a while. */
const TEMPORARY_ERRORS = new Set(["rate_limited", "unavailable"]);

/** @param {{room?: string, to?: string}} target */
function typingKey({ room, to }) {
  return room === undefined ? `to ${to}` : `room ${room}`;
}

// ---- the connection: comes back by itself; knows nothing of rooms ----

/** Close codes after which connecting again would only repeat the fault. */
const FINAL_CLOSE_CODES = new Set([1003, 1007, 1008, 1009]);
const TOKEN_EXPIRED = 4003;
const MESSAGE_BYTES = 128 * 1024; // the server closes with 1009 above

const BACKOFF_BASE = 500;
const BACKOFF_CAP = 30_000;
const STABLE_AFTER = 5_000; // a connection that lived this long starts the back-off anew
const ANSWER_TIMEOUT = 10_000; // for connecting, and for a ping
const HEARTBEAT = 15_000; // silence for this long is asked about

const ignore = () => {};

/**
 * @typedef {{[field: string]: any}} Json
 * @typedef {object} Owner what a connection tells
 * @property {() => Position | null} position where to resume the inbox
 * @property {(reply: Json) => void} welcome the hello was accepted
 * @property {(message: Json | null) => void} push a message that answers nothing; null where it was none
 * @property {(state: State, detail: Json) => void} changed comes last in all that changes the state
 * @property {() => void} lost the connection is gone, its requests are about to be answered with `disconnected`
 */

class Connection {
  /** @type {State} */ state = "stopped";
  /** @type {any} */ #socket = null;
  #attempt = 0;
  #ended = 0; // how many connections and attempts have ended
  #heard = false;
  /** @type {Map<string, (reply: Json) => void>} what this connection still has to answer */ #requests = new Map();
  /** @type {Set<any>} timers that end with the connection */ #timers = new Set();
  #options;
  #owner;
  #url;

  /** @param {string} url @param {Options} options @param {Owner} owner */
  constructor(url, options, owner) {
    const scope = /** @type {any} */ (globalThis);
    const {
      user,
      token,
      session = randomId(),
      WebSocket = globalThis.WebSocket,
      setTimeout = (callback, milliseconds) => globalThis.setTimeout(callback, milliseconds),
      clearTimeout = (timer) => globalThis.clearTimeout(timer),
      random = Math.random,
      now = () => performance.now(),
      network = "addEventListener" in scope ? scope : null,
    } = options;
    if (typeof WebSocket !== "function") throw new TypeError("no global WebSocket: give one as option `WebSocket`");
    this.#url = url;
    this.#owner = owner;
    this.#options = { user, token, session, WebSocket, setTimeout, clearTimeout, random, now, network };
  }

  get now() {
    return this.#options.now();
  }

  get random() {
    return this.#options.random();
  }

  start() {
    if (this.state !== "stopped") return;
    this.#options.network?.addEventListener("online", this.#online);
    this.#attempt = 0;
    this.#connect();
  }

  stop() {
    if (this.state !== "stopped") this.#end("stopped", {});
  }

  retryNow() {
    if (this.state === "waiting") this.#connect();
  }

  /** Give the connection up without waiting for the other side, and come back. @param {string} reason */
  abandon(reason) {
    if (this.state === "connecting" || this.state === "online") this.#lost(1006, reason);
  }

  /** @param {Json} request @param {(reply: Json) => void} done called once: with the reply, or with the loss */
  request(request, done) {
    const id = request.id ?? randomId();
    const text = JSON.stringify({ ...request, id });
    if (new TextEncoder().encode(text).length > MESSAGE_BYTES) return done({ type: "error", code: "too_long" });
    this.#requests.set(id, done);
    this.#socket.send(text);
  }

  /** @param {Json} request @returns {Promise<Json>} the reply @throws {ChatError} */
  ask(request) {
    return new Promise((resolve, reject) => {
      if (this.state !== "online") return reject(new ChatError({ code: "disconnected" }));
      this.request(request, (reply) => (reply.type === "ok" ? resolve(reply) : reject(new ChatError(reply))));
    });
  }

  /** @param {Json} message */
  send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  /** A timer that ends with the connection. @param {number} milliseconds @param {() => void} action */
  after(milliseconds, action) {
    const timer = this.#options.setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, milliseconds);
    this.#timers.add(timer);
  }

  #connect() {
    const ended = this.#ended;
    this.#clearTimers();
    this.after(ANSWER_TIMEOUT, () => this.abandon("no answer while connecting"));
    this.#setState("connecting", {});
    if (ended !== this.#ended) return; // by who was told just now
    const { token } = this.#options;
    if (typeof token === "function") this.#fetchToken(token);
    else this.#open(token);
  }

  /** @param {() => string | Promise<string>} fetch */
  async #fetchToken(fetch) {
    const ended = this.#ended;
    let token;
    try {
      token = await fetch();
    } catch (/** @type {any} */ error) {
      if (ended === this.#ended) this.#lost(TOKEN_EXPIRED, `no token: ${error?.message ?? error}`);
      return;
    }
    if (ended === this.#ended) this.#open(token);
  }

  /** @param {string | undefined} token */
  #open(token) {
    /** @type {any} */
    let socket;
    try {
      socket = this.#socket = new this.#options.WebSocket(this.#url, SUBPROTOCOL);
    } catch (/** @type {any} */ error) {
      return this.#end("stopped", { code: "invalid_url", reason: error.message });
    }
    socket.onopen = () => {
      socket.onerror = ignore; // from now on a close follows, which says more
      this.#hello(token);
    };
    socket.onmessage = (/** @type {any} */ event) => this.#receive(event.data);
    socket.onclose = (/** @type {any} */ event) => this.#lost(event.code, event.reason);
    // Before node 24 no close follows where there was no connection.
    socket.onerror = (/** @type {any} */ event) => this.#lost(1006, event.message ?? "");
  }

  /** @param {string | undefined} token */
  #hello(token) {
    const { user, session } = this.#options;
    const identity = token === undefined ? { user, session } : { token };
    const position = this.#owner.position() ?? undefined;
    this.request({ type: "hello", ...identity, position }, (reply) => {
      if (reply.type === "ok") this.#welcome(reply);
      else if (TEMPORARY_ERRORS.has(reply.code) || reply.code === "internal") this.abandon(reply.reason);
      else if (reply.code !== "disconnected") this.#end("stopped", { code: reply.code, reason: reply.reason });
    });
  }

  /** @param {Json} reply */
  #welcome(reply) {
    this.#clearTimers();
    this.after(STABLE_AFTER, () => (this.#attempt = 0));
    this.#watch();
    this.#setState("online", {});
    if (this.state === "online") this.#owner.welcome(reply);
  }

  /** Ask for a sign of life after silence; the browser itself would notice a vanished network only after minutes. */
  #watch() {
    this.#heard = false;
    this.after(HEARTBEAT, () => {
      if (!this.#heard) this.#probe();
      this.#watch();
    });
  }

  #probe() {
    let answered = false;
    this.request({ type: "ping" }, () => (answered = true));
    this.after(ANSWER_TIMEOUT, () => {
      if (!answered) this.abandon("the server does not answer");
    });
  }

  #online = () => {
    if (this.state === "online")
      this.#probe(); // another network: the old connection may be dead
    else this.retryNow();
  };

  /** @param {string} data */
  #receive(data) {
    this.#heard = true;
    /** @type {any} */
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      message = null;
    }
    const done = this.#requests.get(message?.id);
    if (done === undefined || (message.type !== "ok" && message.type !== "error")) {
      return this.#owner.push(typeof message?.type === "string" ? message : null);
    }
    this.#requests.delete(message.id);
    done(message);
  }

  /** @param {number} code @param {string} reason */
  #lost(code, reason) {
    const renewable = typeof this.#options.token === "function";
    if (FINAL_CLOSE_CODES.has(code) || (code === TOKEN_EXPIRED && !renewable)) {
      return this.#end("stopped", { code, reason });
    }
    const ceiling = Math.min(BACKOFF_CAP, BACKOFF_BASE * 2 ** this.#attempt);
    this.#attempt += 1;
    this.#end("waiting", { delay: Math.round((ceiling / 2) * (1 + this.random)), code, reason });
  }

  /** @param {"stopped" | "waiting"} state @param {Json} detail with `delay` until the next attempt, if there is one */
  #end(state, detail) {
    const socket = this.#socket;
    this.#socket = null;
    this.#ended += 1;
    this.#clearTimers();
    if (state === "stopped") this.#options.network?.removeEventListener("online", this.#online);
    else this.after(detail.delay, () => this.#connect());
    if (socket !== null) {
      Object.assign(socket, { onopen: null, onmessage: null, onclose: null, onerror: ignore });
      socket.close(1000);
    }
    this.#owner.lost();
    const unanswered = [...this.#requests.values()];
    this.#requests.clear();
    for (const done of unanswered) done({ type: "error", code: "disconnected", reason: "the connection ended" });
    this.#setState(state, detail);
  }

  #clearTimers() {
    for (const timer of this.#timers) this.#options.clearTimeout(timer);
    this.#timers.clear();
  }

  /** @param {State} state @param {Json} detail */
  #setState(state, detail) {
    this.state = state;
    this.#owner.changed(state, detail);
  }
}

// ---- one log: the position reached, the check that nothing is left out or repeated, and what is to be written ----

/**
 * @typedef {Position & {messages: Message[], gap: boolean, more: boolean}} Slice
 * @typedef {Omit<Events["messages"], "room">} Arrival
 * @typedef {{request: Json, resolve: (value: Acknowledgement) => void, reject: (error: Error) => void}} Outgoing
 */

/** One offset did not follow the other. */
class BrokenLog extends Error {
  /** @param {unknown} got @param {number} last */
  constructor(got, last) {
    super(`offset ${got} after ${last}`);
    this.code = typeof got !== "number" ? "malformed" : got > last ? "hole" : "repeat";
  }
}

/** A room, or the inbox. */
class Log {
  ready = false; // whether the current connection gets its pushes
  asked = false; // whether it has asked for them
  sending = false; // whether the first of the queue is on its way
  held = false; // whether it waits until the server takes it
  /** @type {Outgoing[]} written, not yet acknowledged */ queue = [];
  /** @type {{resolve: (value: string) => void, reject: (error: Error) => void}[]} callers of join */ joins = [];

  /** @param {string | null} room null for the inbox @param {Position | null} position */
  constructor(room, position) {
    this.room = room;
    this.position = position;
  }

  disconnect() {
    this.ready = this.asked = this.sending = this.held = false;
  }

  /** Reject all that waits; what is on its way is still answered. @param {Error} error */
  reject(error) {
    for (const { reject } of [...this.joins.splice(0), ...this.queue.splice(this.sending ? 1 : 0)]) reject(error);
  }

  /** Take a slice asked for from `asked`. @param {Slice} slice @param {Position | null} asked @throws {BrokenLog} */
  begin(slice, asked) {
    const { epoch, offset, messages, gap, more } = slice ?? {};
    if (!Array.isArray(messages)) throw new BrokenLog(undefined, asked?.offset ?? 0);
    const continues = asked !== null && !gap;
    if (continues && epoch !== asked.epoch) throw new BrokenLog(offset, asked.offset);
    let last = offset;
    if (continues) last = asked.offset;
    else if (messages.length > 0) last = messages[0]?.offset - 1;
    for (const message of messages) last = follow(message, last);
    const complete = !(continues && more);
    if (complete && last !== offset) throw new BrokenLog(offset, last);
    this.position = { epoch, offset: last };
    return { epoch, messages, continues, gap };
  }

  /** Take one pushed message. @param {Message} message @throws {BrokenLog} */
  follow(message) {
    const { epoch, offset } = /** @type {Position} */ (this.position); // set by the slice before
    this.position = { epoch, offset: follow(message, offset) };
    return { epoch, messages: [message], continues: true, gap: false };
  }
}

/** @param {Message | null} message @param {number} last @returns {number} its offset @throws {BrokenLog} */
function follow(message, last) {
  if (message?.offset !== last + 1) throw new BrokenLog(message?.offset, last);
  return message.offset;
}

// ---- names and ids ----

/**
 * A fresh id or session secret: 128 random bits as 32 hexadecimal digits. (`crypto.randomUUID` does not exist on
 * pages that came over plain HTTP from another host; `getRandomValues` does.)
 */
export function randomId() {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * The form under which names are compared here. The server folds case more thoroughly, and its spelling wins.
 * @param {string} name
 */
export function foldName(name) {
  return name.normalize("NFC").toLowerCase();
}
