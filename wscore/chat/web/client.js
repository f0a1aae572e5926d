// @ts-check
/**
 * Client of the wscore chat protocol, version 1. Imports nothing and knows no DOM, so it runs wherever there is a
 * WebSocket: a page, a worker, node.
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
 * | `presence` | `{room, count, user?, state?}`                                                                      |
 * | `typing`   | `{user, room?, to?}`                                                                                |
 * | `error`    | `{code, reason, room?}`: the server broke a rule (`hole`, `repeat`, `malformed`), or answered an    |
 * |            | unnumbered request with an error                                                                    |
 *
 * @typedef {{epoch: string, offset: number}} Position
 * @typedef {{offset: number, from: string, text: string, time: string, id: string, room?: string, to?: string}} Message
 * @typedef {Position & {messages: Message[], gap: boolean, more: boolean}} Slice
 * @typedef {{id: string, epoch: string, offset: number, time: string, duplicate: boolean}} Acknowledgement
 * @typedef {"stopped" | "connecting" | "online" | "waiting"} State
 * @typedef {{[field: string]: any}} Json
 */

export const SUBPROTOCOL = "chat.wscore.v1";

/** Close codes after which connecting again would only repeat the fault (or needs a new token). */
const FINAL_CLOSE_CODES = new Set([1003, 1007, 1009, 4003]);
/** Error codes that say "not now": the same request is sent again after a while. */
const TEMPORARY_ERRORS = new Set(["rate_limited", "unavailable"]);

const BACKOFF_BASE = 500; // milliseconds, like all that follow
const BACKOFF_CAP = 30_000;
const STABLE_AFTER = 5_000; // a connection that lived this long starts the back-off anew
const ANSWER_TIMEOUT = 10_000; // for connecting, and for a ping
const HEARTBEAT = 15_000; // silence for this long is asked about
const TRY_AGAIN = 1_000;
const TYPING_INTERVAL = 2_000;

/** A request was refused, or its connection ended before the reply (`code` is then `disconnected`). */
export class ChatError extends Error {
  /** @param {Json} reply an error reply of the server */
  constructor(reply) {
    super(reply.reason ?? reply.code);
    this.name = "ChatError";
    /** @type {string} */
    this.code = reply.code;
  }
}

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

/** One offset did not follow the other. */
class BrokenLog extends Error {
  /** @param {number} got @param {number} last */
  constructor(got, last) {
    super(`offset ${got} after ${last}`);
    this.code = got > last ? "hole" : "repeat";
  }
}

/** One log as this client sees it: a room, or the inbox, with what is still to be written to it. */
class Log {
  /** @param {string | null} room @param {Position | null} position */
  constructor(room, position) {
    this.room = room;
    this.position = position;
    /** Whether the current connection gets its pushes. */
    this.ready = false;
    /** @type {Outgoing[]} written, not yet acknowledged; the first may be on its way */
    this.queue = [];
    this.sending = false;
    /** @type {{resolve: (value: string) => void, reject: (error: Error) => void}[]} callers of join */
    this.waiting = [];
  }

  /**
   * Take a slice asked for from `asked`, and return its messages.
   * @param {Slice} slice @param {Position | null} asked
   * @throws {BrokenLog}
   */
  begin(slice, asked) {
    const { messages } = slice;
    const continues = asked !== null && !slice.gap;
    if (continues && slice.epoch !== asked.epoch) throw new BrokenLog(slice.offset, asked.offset);
    let last = slice.offset;
    if (continues) last = asked.offset;
    else if (messages.length > 0) last = messages[0].offset - 1;
    for (const { offset } of messages) {
      if (offset !== last + 1) throw new BrokenLog(offset, last);
      last = offset;
    }
    const complete = !(continues && slice.more);
    if (complete && last !== slice.offset) throw new BrokenLog(slice.offset, last);
    this.position = { epoch: slice.epoch, offset: last };
    return { messages, continues, gap: slice.gap };
  }

  /** @param {Message} message @throws {BrokenLog} */
  follow(message) {
    const { epoch, offset } = /** @type {Position} */ (this.position); // set by the slice before
    if (message.offset !== offset + 1) throw new BrokenLog(message.offset, offset);
    this.position = { epoch, offset: message.offset };
    return this.position;
  }
}

/**
 * @typedef {{request: Json, resolve: (value: Acknowledgement) => void, reject: (error: Error) => void}} Outgoing
 *
 * @typedef {object} Options
 * @property {string} [user] the name to ask for; needs `session`
 * @property {string} [session] secret of that name, 22-128 characters, kept by the caller (see `randomId`)
 * @property {string} [token] in place of both, where the server wants tokens
 * @property {Position | null} [position] where to resume the inbox
 * @property {new (url: string, protocol: string) => any} [WebSocket]
 * @property {(callback: () => void, milliseconds: number) => any} [setTimeout]
 * @property {(timer: any) => void} [clearTimeout]
 * @property {() => number} [random] in [0, 1), for jitter only
 * @property {() => number} [now] milliseconds
 * @property {EventTarget | null} [network] says `online` when the network is back; the window by default
 */

export class ChatClient extends EventTarget {
  /** @type {any} */ #socket = null;
  /** @type {State} */ #state = "stopped";
  #attempt = 0;
  #count = 0;
  #heard = false;
  /** @type {Log} */ #inbox;
  /** @type {Map<string, Log>} by folded name */ #rooms = new Map();
  /** @type {Map<string, (reply: Json) => void>} what this connection still has to answer */ #requests = new Map();
  /** @type {Set<any>} timers that end with the connection */ #timers = new Set();
  /** @type {Map<string, number>} when typing was last told, by room or person */ #typed = new Map();
  #options;
  #url;

  /** @param {string} url of the WebSocket @param {Options} options */
  constructor(url, options) {
    super();
    this.#url = url;
    this.#options = {
      WebSocket: globalThis.WebSocket,
      setTimeout: (/** @type {() => void} */ callback, /** @type {number} */ ms) => setTimeout(callback, ms),
      clearTimeout: (/** @type {any} */ timer) => clearTimeout(timer),
      random: Math.random,
      now: Date.now,
      network: typeof globalThis.addEventListener === "function" ? /** @type {any} */ (globalThis) : null,
      ...options,
    };
    this.#inbox = new Log(null, options.position ?? null);
    /** The name in the server's spelling, after the first welcome. */
    this.user = options.user ?? "";
    /** @type {Record<string, number>} */
    this.limits = {};
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /** Connect, and stay connected until `stop`. */
  start() {
    if (this.#state !== "stopped") return;
    this.#options.network?.addEventListener("online", this.#online);
    this.#attempt = 0;
    this.#connect();
  }

  /** End for good. What was not acknowledged stays queued for a later `start`. */
  stop() {
    const socket = this.#socket;
    this.#end("stopped", {});
    socket?.close(1000);
  }

  /** Do not wait for the back-off: connect now. */
  retryNow() {
    if (this.#state !== "waiting") return;
    this.#clearTimers();
    this.#connect();
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
      if (this.#state === "online") this.#join(log);
    });
  }

  /** @param {string} room */
  leave(room) {
    const log = this.#rooms.get(foldName(room));
    if (log === undefined) return;
    if (this.#state === "online") this.#request({ type: "leave", room: log.room }, () => {});
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
    return this.#enqueue(log, { type: "post", id, room: log.room, text });
  }

  /**
   * Write to a person, present or away.
   * @param {string} to @param {string} text @param {string} [id] of an earlier attempt
   * @returns {Promise<Acknowledgement>} stored, for good; the offset is that of the own inbox
   */
  direct(to, text, id = randomId()) {
    return this.#enqueue(this.#inbox, { type: "direct", id, to, text });
  }

  /**
   * Older messages, ascending.
   * @param {string | null} room null for the inbox @param {{before?: number, limit?: number}} [range]
   * @returns {Promise<{messages: Message[], more: boolean}>}
   */
  history(room, { before, limit } = {}) {
    const log = room === null ? { inbox: true } : { room };
    return /** @type {Promise<any>} */ (this.#ask({ type: "history", ...log, before, limit }));
  }

  /** @returns {Promise<{room: string, count: number, offset: number}[]>} rooms of the server, most present first */
  rooms() {
    return this.#ask({ type: "rooms" }).then((reply) => reply.rooms);
  }

  /** @param {{room: string} | {to: string}} target told at most once in two seconds */
  typing(target) {
    const key = JSON.stringify(target);
    const now = this.#options.now();
    if (this.#state !== "online" || now - (this.#typed.get(key) ?? -Infinity) < TYPING_INTERVAL) return;
    this.#typed.set(key, now);
    this.#send({ type: "typing", ...target });
  }

  // ---- connection ----

  #connect() {
    this.#setState("connecting", {});
    const socket = new this.#options.WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    this.#after(ANSWER_TIMEOUT, () => this.#abandon("no answer while connecting"));
    socket.onopen = () => this.#hello();
    socket.onmessage = (/** @type {any} */ event) => this.#receive(event.data);
    socket.onclose = (/** @type {any} */ event) => this.#lost(event.code, event.reason);
    socket.onerror = () => {}; // a close follows, which says more
  }

  #hello() {
    const { user, session, token } = this.#options;
    const identity = token === undefined ? { user, session } : { token };
    const asked = this.#inbox.position;
    this.#request({ type: "hello", ...identity, position: asked ?? undefined }, (reply) => {
      if (reply.type === "ok") this.#welcome(reply, asked);
      else if (TEMPORARY_ERRORS.has(reply.code) || reply.code === "internal") this.#abandon(reply.reason);
      else if (reply.code !== "disconnected") {
        const socket = this.#socket;
        this.#end("stopped", { code: reply.code, reason: reply.reason });
        socket.close(1000);
      }
    });
  }

  /** @param {Json} reply @param {Position | null} asked */
  #welcome(reply, asked) {
    const rooms = [...this.#rooms.values()]; // without those that a listener joins below
    this.#clearTimers();
    this.#after(STABLE_AFTER, () => (this.#attempt = 0));
    this.#watch();
    this.user = reply.user;
    this.limits = reply.limits ?? {};
    this.#setState("online", {});
    this.#emit("welcome", { user: reply.user, session: reply.session, limits: this.limits });
    if (!this.#begin(this.#inbox, reply.inbox, asked)) return;
    for (const log of rooms) this.#join(log);
    this.#flush(this.#inbox);
  }

  /** Ask for a sign of life after silence; the browser itself would notice a vanished network only after minutes. */
  #watch() {
    this.#heard = false;
    this.#after(HEARTBEAT, () => {
      if (!this.#heard) this.#probe();
      this.#watch();
    });
  }

  #probe() {
    let answered = false;
    this.#request({ type: "ping" }, () => (answered = true));
    this.#after(ANSWER_TIMEOUT, () => {
      if (!answered) this.#abandon("the server does not answer");
    });
  }

  /** Give the connection up without waiting for the other side. @param {string} reason */
  #abandon(reason) {
    const socket = this.#socket;
    this.#lost(1006, reason);
    socket.close();
  }

  /** @param {number} code @param {string} reason */
  #lost(code, reason) {
    if (FINAL_CLOSE_CODES.has(code)) return this.#end("stopped", { code, reason });
    const ceiling = Math.min(BACKOFF_CAP, BACKOFF_BASE * 2 ** this.#attempt);
    const delay = Math.round((ceiling / 2) * (1 + this.#options.random()));
    this.#attempt += 1;
    this.#end("waiting", { delay, code, reason });
    this.#after(delay, () => this.#connect());
  }

  /** @param {State} state @param {Json} detail */
  #end(state, detail) {
    this.#clearTimers();
    if (this.#socket !== null) Object.assign(this.#socket, { onopen: null, onmessage: null, onclose: null });
    this.#socket = null;
    for (const log of [this.#inbox, ...this.#rooms.values()]) log.ready = log.sending = false;
    const unanswered = [...this.#requests.values()];
    this.#requests.clear();
    if (state === "stopped") this.#options.network?.removeEventListener("online", this.#online);
    this.#setState(state, detail);
    for (const done of unanswered) done({ type: "error", code: "disconnected", reason: "the connection ended" });
  }

  #online = () => {
    if (this.#state === "online")
      this.#probe(); // another network: the old connection may be dead
    else this.retryNow();
  };

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
      this.#abandon(error.message);
      return false;
    }
  }

  /** @param {Log} log */
  #join(log) {
    const asked = log.position;
    this.#request({ type: "join", room: log.room, position: asked ?? undefined }, (reply) => {
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
    this.#request(request, (reply) => {
      if (this.#wants(log)) {
        if (reply.code === "disconnected") return; // goes out again after the reconnect
        if (TEMPORARY_ERRORS.has(reply.code)) return this.#again(reply, () => this.#resume(log));
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

  /** @param {Json} reply @param {() => void} action */
  #again(reply, action) {
    const wait = typeof reply.retry_after === "number" ? reply.retry_after * 1000 : TRY_AGAIN;
    this.#after(wait * (1 + this.#options.random() / 4), action);
  }

  // ---- messages ----

  /** @param {string} data */
  #receive(data) {
    this.#heard = true;
    /** @type {Json} */
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      message = {};
    }
    const { type, ...detail } = message ?? {};
    if (type === undefined) return this.#emit("error", { code: "malformed", reason: "the server sent no message" });
    if (type === "ok" || type === "error") return this.#answer(message);
    if (type === "direct") return this.#follow(this.#inbox, /** @type {any} */ (message));
    if (type === "presence" || type === "typing") return this.#emit(type, detail);
    if (type !== "message") return; // of a later version
    const log = this.#rooms.get(foldName(message.room));
    if (log !== undefined) this.#follow(log, /** @type {any} */ (message));
  }

  /** @param {Json} reply */
  #answer(reply) {
    const done = this.#requests.get(reply.id);
    this.#requests.delete(reply.id);
    if (done !== undefined) done(reply);
    else if (reply.type === "error") this.#emit("error", { code: reply.code, reason: reply.reason });
  }

  /** @param {Json} request @returns {Promise<Json>} */
  #ask(request) {
    return new Promise((resolve, reject) => {
      if (this.#state !== "online") return reject(new ChatError({ code: "disconnected" }));
      this.#request(request, (reply) => (reply.type === "ok" ? resolve(reply) : reject(new ChatError(reply))));
    });
  }

  /** @param {Json} request @param {(reply: Json) => void} done called once, at once with the reply or the loss */
  #request(request, done) {
    const id = request.id ?? `r${(this.#count += 1)}`;
    this.#requests.set(id, done);
    this.#send({ ...request, id });
  }

  /** @param {Json} message */
  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  // ---- timers and events ----

  /** @param {number} milliseconds @param {() => void} action */
  #after(milliseconds, action) {
    const timer = this.#options.setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, milliseconds);
    this.#timers.add(timer);
  }

  #clearTimers() {
    for (const timer of this.#timers) this.#options.clearTimeout(timer);
    this.#timers.clear();
  }

  /** @param {State} state @param {Json} detail */
  #setState(state, detail) {
    this.#state = state;
    this.#emit("state", { state, ...detail });
  }

  /** @param {string} type @param {Json} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
