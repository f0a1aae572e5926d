// @ts-check
/**
 * One connection that comes back: back-off with jitter, the hello, requests and their replies, and a sign of life
 * asked for after silence. Knows nothing of rooms; imports nothing.
 *
 * @typedef {"stopped" | "connecting" | "online" | "waiting"} State
 * @typedef {{[field: string]: any}} Json
 *
 * @typedef {object} Options
 * @property {string} [user] the name to ask for; needs `session`
 * @property {string} [session] secret of that name, 22-128 characters, kept by the caller (see `randomId`)
 * @property {string | (() => string | Promise<string>)} [token] in place of both, where the server wants tokens; a
 * function is asked before each connection, so also after a token has expired
 * @property {import("./log.js").Position | null} [position] where to resume the inbox
 * @property {new (url: string, protocol: string) => any} [WebSocket]
 * @property {(callback: () => void, milliseconds: number) => any} [setTimeout]
 * @property {(timer: any) => void} [clearTimeout]
 * @property {() => number} [random] in [0, 1), for jitter only
 * @property {() => number} [now] milliseconds
 * @property {EventTarget | null} [network] says `online` when the network is back; the window by default
 *
 * @typedef {object} Owner what a connection tells
 * @property {() => Json} hello the fields of the hello besides the identity
 * @property {(reply: Json) => void} welcome the hello was accepted
 * @property {(message: Json | null) => void} push a message that answers nothing; null where it was none
 * @property {(state: State, detail: Json) => void} changed
 * @property {() => void} lost the connection is gone, its requests are about to be answered with `disconnected`
 */

export const SUBPROTOCOL = "chat.wscore.v1";

/** Error codes that say "not now": the same request is sent again after a while. */
export const TEMPORARY_ERRORS = new Set(["rate_limited", "unavailable"]);
/** Close codes after which connecting again would only repeat the fault. */
const FINAL_CLOSE_CODES = new Set([1003, 1007, 1008, 1009]);
const TOKEN_EXPIRED = 4003;

const BACKOFF_BASE = 500; // milliseconds, like all that follow
const BACKOFF_CAP = 30_000;
const STABLE_AFTER = 5_000; // a connection that lived this long starts the back-off anew
const ANSWER_TIMEOUT = 10_000; // for connecting, and for a ping
const HEARTBEAT = 15_000; // silence for this long is asked about

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

export class Connection {
  /** @type {any} */ #socket = null;
  #attempt = 0;
  #count = 0;
  #heard = false;
  /** @type {Map<string, (reply: Json) => void>} what this connection still has to answer */ #requests = new Map();
  /** @type {Set<any>} timers that end with the connection */ #timers = new Set();
  #options;
  #owner;
  #url;

  /** @param {string} url of the WebSocket @param {Options} options @param {Owner} owner */
  constructor(url, options, owner) {
    this.#url = url;
    this.#owner = owner;
    this.#options = {
      WebSocket: globalThis.WebSocket,
      setTimeout: (/** @type {() => void} */ callback, /** @type {number} */ ms) => setTimeout(callback, ms),
      clearTimeout: (/** @type {any} */ timer) => clearTimeout(timer),
      random: Math.random,
      now: Date.now,
      network: typeof globalThis.addEventListener === "function" ? /** @type {any} */ (globalThis) : null,
      ...options,
    };
    /** @type {State} */
    this.state = "stopped";
  }

  /** Milliseconds of the clock in use. */
  get now() {
    return this.#options.now();
  }

  /** A number in [0, 1), for jitter. */
  get random() {
    return this.#options.random();
  }

  /** Connect, and stay connected until `stop`. */
  start() {
    if (this.state !== "stopped") return;
    this.#options.network?.addEventListener("online", this.#online);
    this.#attempt = 0;
    this.#connect();
  }

  /** End for good. */
  stop() {
    const socket = this.#socket;
    this.#end("stopped", {});
    socket?.close(1000);
  }

  /** Do not wait for the back-off: connect now. */
  retryNow() {
    if (this.state !== "waiting") return;
    this.#clearTimers();
    this.#connect();
  }

  /** Give the connection up without waiting for the other side, and come back. @param {string} reason */
  abandon(reason) {
    const socket = this.#socket;
    this.#lost(1006, reason);
    socket?.close();
  }

  /** @param {Json} request @param {(reply: Json) => void} done called once: with the reply, or with the loss */
  request(request, done) {
    const id = request.id ?? `r${(this.#count += 1)}`;
    this.#requests.set(id, done);
    this.send({ ...request, id });
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

  // ---- coming and going ----

  #connect() {
    this.#setState("connecting", {});
    this.after(ANSWER_TIMEOUT, () => this.abandon("no answer while connecting"));
    const { token } = this.#options;
    if (typeof token === "function") this.#fetchToken(token);
    else this.#open(token);
  }

  /** @param {() => string | Promise<string>} fetch */
  async #fetchToken(fetch) {
    const attempt = this.#attempt;
    const stale = () => this.state !== "connecting" || this.#socket !== null || this.#attempt !== attempt;
    try {
      const token = await fetch();
      if (!stale()) this.#open(token);
    } catch (error) {
      if (!stale()) this.#lost(TOKEN_EXPIRED, `no token: ${/** @type {Error} */ (error).message}`);
    }
  }

  /** @param {string | undefined} token */
  #open(token) {
    const socket = new this.#options.WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    socket.onopen = () => this.#hello(token);
    socket.onmessage = (/** @type {any} */ event) => this.#receive(event.data);
    socket.onclose = (/** @type {any} */ event) => this.#lost(event.code, event.reason);
    socket.onerror = () => {}; // a close follows, which says more
  }

  /** @param {string | undefined} token */
  #hello(token) {
    const { user, session } = this.#options;
    const identity = token === undefined ? { user, session } : { token };
    this.request({ type: "hello", ...identity, ...this.#owner.hello() }, (reply) => {
      if (reply.type === "ok") this.#welcome(reply);
      else if (TEMPORARY_ERRORS.has(reply.code) || reply.code === "internal") this.abandon(reply.reason);
      else if (reply.code !== "disconnected") {
        const socket = this.#socket;
        this.#end("stopped", { code: reply.code, reason: reply.reason });
        socket.close(1000);
      }
    });
  }

  /** @param {Json} reply */
  #welcome(reply) {
    this.#clearTimers();
    this.after(STABLE_AFTER, () => (this.#attempt = 0));
    this.#watch();
    this.#setState("online", {});
    this.#owner.welcome(reply);
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

  /** @param {number} code @param {string} reason */
  #lost(code, reason) {
    const renewable = typeof this.#options.token === "function";
    if (FINAL_CLOSE_CODES.has(code) || (code === TOKEN_EXPIRED && !renewable)) {
      return this.#end("stopped", { code, reason });
    }
    const ceiling = Math.min(BACKOFF_CAP, BACKOFF_BASE * 2 ** this.#attempt);
    const delay = Math.round((ceiling / 2) * (1 + this.#options.random()));
    this.#attempt += 1;
    this.#end("waiting", { delay, code, reason });
    this.after(delay, () => this.#connect());
  }

  /** @param {State} state @param {Json} detail */
  #end(state, detail) {
    this.#clearTimers();
    if (this.#socket !== null) Object.assign(this.#socket, { onopen: null, onmessage: null, onclose: null });
    this.#socket = null;
    this.#owner.lost();
    const unanswered = [...this.#requests.values()];
    this.#requests.clear();
    if (state === "stopped") this.#options.network?.removeEventListener("online", this.#online);
    this.#setState(state, detail);
    for (const done of unanswered) done({ type: "error", code: "disconnected", reason: "the connection ended" });
  }

  #online = () => {
    if (this.state === "online")
      this.#probe(); // another network: the old connection may be dead
    else this.retryNow();
  };

  // ---- messages ----

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
