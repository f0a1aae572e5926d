/** A server, a clock and a network made by hand, so that the client's tests wait for nothing. */

import { ChatClient } from "../../wscore/chat/web/client.js";

export class Clock {
  now = 0;
  #timers = [];

  setTimeout = (callback, milliseconds) => {
    const timer = { at: this.now + milliseconds, callback };
    this.#timers.push(timer);
    return timer;
  };

  clearTimeout = (timer) => {
    this.#timers = this.#timers.filter((other) => other !== timer);
  };

  /** How many timers run. */
  get pending() {
    return this.#timers.length;
  }

  /** Let time pass, running what falls due in its order. */
  advance(milliseconds) {
    const end = this.now + milliseconds;
    for (;;) {
      const [next] = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.clearTimeout(next);
      this.now = next.at;
      next.callback();
    }
    this.now = end;
  }
}

/** The server's end of one connection. */
class FakeSocket {
  sent = [];
  closed = null;

  constructor(url, protocol) {
    Object.assign(this, { url, protocol });
  }

  send(text) {
    if (this.closed !== null) throw new Error("sent on a closed socket");
    this.sent.push(JSON.parse(text));
  }

  close(code) {
    this.closed = code ?? 1005;
  }

  /** The requests of one type that came, oldest first. */
  requests(type) {
    return this.sent.filter((message) => message.type === type);
  }

  push(message) {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  /** Answer the newest request of a type. */
  answer(type, reply) {
    const { id } = this.requests(type).at(-1);
    this.push({ type: "ok", id, ...reply });
  }

  refuse(type, code, more = {}) {
    this.answer(type, { type: "error", code, reason: `because ${code}`, ...more });
  }

  end(code, reason = "") {
    this.closed = code;
    this.onclose?.({ code, reason });
  }
}

export const slice = (offset, messages = [], more = {}) => ({
  epoch: "e1",
  offset,
  messages,
  gap: false,
  more: false,
  ...more,
});

export const message = (offset, more = {}) => ({
  type: "message",
  room: "lobby",
  offset,
  from: "bob",
  text: `text ${offset}`,
  time: "2026-11-21T10:00:00.000Z",
  id: `id-${offset}`,
  ...more,
});

export const direct = (offset, more = {}) => {
  const { room, ...fields } = message(offset, { type: "direct", to: "ada" });
  return { ...fields, ...more };
};

/** Options of a client that lives in a world made by hand; `sockets` collects those it opens. */
export function fakeWorld() {
  const clock = new Clock();
  const network = new EventTarget();
  const sockets = [];
  class Socket extends FakeSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const { setTimeout, clearTimeout } = clock;
  const options = { WebSocket: Socket, setTimeout, clearTimeout, random: () => 0.5, now: () => clock.now, network };
  return { clock, network, sockets, options };
}

/** A client on a fake clock, with every event it emits and every socket it opened. */
export function makeClient(more = {}) {
  const { clock, network, sockets, options } = fakeWorld();
  const client = new ChatClient("ws://chat.test/ws", { user: "ada", session: "s".repeat(22), ...options, ...more });
  const events = [];
  for (const type of ["state", "welcome", "joined", "left", "messages", "held", "presence", "typing", "error"]) {
    client.addEventListener(type, ({ detail }) => events.push({ event: type, ...detail }));
  }
  return {
    client,
    clock,
    network,
    sockets,
    events,
    get socket() {
      return sockets.at(-1);
    },
    of: (type) => events.filter(({ event }) => event === type),
    /** Offsets of a log in the order of their arrival. */
    offsets: (room) =>
      events
        .filter((event) => event.event === "messages" && event.room === room)
        .flatMap(({ messages }) => messages.map(({ offset }) => offset)),
    /** Open the newest socket and answer its hello. */
    welcome(inbox = slice(0)) {
      const socket = sockets.at(-1);
      socket.onopen();
      socket.answer("hello", { user: "ada", session: "s".repeat(22), inbox, limits: { text: 4000 } });
      return socket;
    },
    joined(room, fields = slice(0)) {
      sockets.at(-1).answer("join", { room, count: 1, members: ["ada"], ...fields });
    },
    /** Start, and be in the lobby whose log ends at `offset`. */
    async inLobby(offset = 0) {
      client.start();
      this.welcome();
      const joining = client.join("lobby");
      this.joined("lobby", slice(offset));
      await joining;
      return sockets.at(-1);
    },
    /** Wait out the back-off and be connected again. */
    reconnect(inbox) {
      clock.advance(this.of("state").at(-1).delay);
      return this.welcome(inbox);
    },
  };
}
