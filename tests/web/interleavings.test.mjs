/**
 * The client under generated interleavings: a model of the server, a network that delays and cuts, and users who join,
 * leave and write at any moment. Whatever happens, logs stay whole and what was written is stored once.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as soon } from "node:timers/promises";

import { makeClient } from "./fakes.mjs";

const RUNS = Number(process.env.WSCORE_INTERLEAVINGS ?? 300);
const STEPS = 120;
const ROOMS = ["lobby", "annex"];

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The server by the protocol: logs, their epochs, and what each connection gets, in order. */
class ModelServer {
  lives = new Map(); // log name -> entries of each epoch, the last one live
  refusals = []; // error codes for the next posts

  constructor(random) {
    this.random = random;
  }

  life(log) {
    if (!this.lives.has(log)) this.lives.set(log, [[]]);
    return this.lives.get(log);
  }

  entries(log) {
    return this.life(log).at(-1);
  }

  position(log) {
    return { epoch: `e${this.life(log).length}`, offset: this.entries(log).length };
  }

  store(log, entry) {
    const known = this.entries(log).find(({ from, id }) => from === entry.from && id === entry.id);
    if (known !== undefined) return { ...this.position(log), offset: known.offset, duplicate: true };
    const stored = { time: "2026-11-21T10:00:00.000Z", ...entry, offset: this.entries(log).length + 1 };
    this.entries(log).push(stored);
    this.connection?.tell(log, stored);
    return this.position(log);
  }

  slice(log, asked) {
    const { epoch, offset } = this.position(log);
    const entries = this.entries(log);
    if (asked === undefined) return { epoch, offset, messages: entries.slice(-3), gap: false, more: false };
    const reachable = asked.epoch === epoch && asked.offset <= offset && offset - asked.offset <= 8;
    if (!reachable) return { epoch, offset, messages: entries.slice(-3), gap: true, more: false };
    const messages = entries.slice(asked.offset, asked.offset + 2);
    return { epoch, offset, messages, gap: false, more: asked.offset + 2 < offset };
  }
}

/** One connection's two queues. What is in them when it is cut is lost. */
class ModelConnection {
  taken = 0; // messages of the client that have reached the server
  outbox = [];
  logs = new Set();

  constructor(server, socket) {
    Object.assign(this, { server, socket });
    server.connection = this;
  }

  tell(log, entry) {
    if (this.logs.has(log)) this.outbox.push(entry);
  }

  /** Let the client's next message reach the server. */
  take() {
    const request = this.socket.sent[this.taken];
    if (request === undefined) return false;
    this.taken += 1;
    const { type, id, room, to, text } = request;
    const log = type === "hello" || type === "direct" ? "inbox" : room;
    if (type === "hello" || type === "join") {
      const slice = this.server.slice(log, request.position);
      const more =
        type === "hello"
          ? { user: "ada", session: "", inbox: slice, limits: {} }
          : { room, count: 1, members: [], ...slice };
      this.outbox.push({ type: "ok", id, ...more });
      if (slice.more) {
        const sent = request.position.offset + slice.messages.length;
        this.outbox.push(...this.server.entries(log).slice(sent));
      }
      this.logs.add(log);
    } else if (type === "leave") {
      this.logs.delete(room);
      this.outbox.push({ type: "ok", id });
    } else if (type === "post" || type === "direct") {
      this.#store(request, log, type === "post" ? { type: "message", room } : { type: "direct", to });
    } else {
      this.outbox.push({ type: "ok", id });
    }
    return text !== null;
  }

  #store({ id, text }, log, kind) {
    const code = this.server.refusals.pop();
    if (code !== undefined) return this.outbox.push({ type: "error", id, code, reason: code, retry_after: 0.1 });
    if (!this.logs.has(log)) return this.outbox.push({ type: "error", id, code: "not_joined", reason: "" });
    // The reply and the push come in either order.
    const early = this.server.random() < 0.5;
    const before = this.outbox.length;
    const stored = this.server.store(log, { ...kind, from: "ada", text, id });
    const ok = { type: "ok", id, time: "t", ...stored };
    if (early) this.outbox.splice(before, 0, ok);
    else this.outbox.push(ok);
  }

  /** Let the server's next message reach the client. */
  deliver() {
    const message = this.outbox.shift();
    if (message !== undefined) this.socket.push(message);
    return message !== undefined;
  }
}

/** Everything that may happen next, by chance. */
function makeRun(seed) {
  const random = seeded(seed);
  const server = new ModelServer(random);
  const chat = makeClient({ random });
  const written = []; // by the user: {log, id, state}
  const joined = new Set();
  const left = new Set(); // rooms that were not joined all the time
  let connection = null;
  let count = 0;
  const pick = (list) => list[Math.floor(random() * list.length)];

  const connect = () => {
    const socket = chat.socket;
    if (chat.client.state === "waiting") chat.clock.advance(chat.of("state").at(-1).delay);
    else if (chat.client.state === "connecting" && connection?.socket !== socket) {
      connection = new ModelConnection(server, socket);
      socket.onopen();
    }
  };
  const cut = (code) => {
    if (chat.client.state !== "connecting" && chat.client.state !== "online") return;
    server.connection = undefined;
    chat.socket.end(code);
  };
  const write = (log, promise) => {
    const entry = { log, state: "pending" };
    written.push(entry);
    promise.then(
      (stored) => Object.assign(entry, { state: "stored", stored }),
      (error) => Object.assign(entry, { state: error.code }),
    );
  };
  const restart = () => {
    server.connection = undefined;
    chat.client.stop();
    chat.client.start();
  };
  const leave = () => {
    const room = pick(ROOMS);
    left.add(room);
    chat.client.leave(room);
  };
  // A listener may do all that, too.
  for (const type of ["state", "welcome", "joined", "left", "messages", "held"]) {
    chat.client.addEventListener(type, () => {
      if (random() < 0.01) pick([restart, leave, () => chat.client.join(pick(ROOMS)).catch(() => {})])();
    });
  }
  const steps = [
    connect,
    () => connection?.socket === chat.socket && connection.take(),
    () => connection?.socket === chat.socket && connection.take(),
    () => connection?.socket === chat.socket && connection.deliver(),
    () => connection?.socket === chat.socket && connection.deliver(),
    () => connection?.socket === chat.socket && connection.deliver(),
    () => chat.clock.advance(pick([50, 200, 1500])),
    () => {
      const room = pick(ROOMS);
      server.store(room, { type: "message", room, from: "bob", text: `text ${(count += 1)}`, id: `bob-${count}` });
    },
    () => server.store("inbox", { type: "direct", to: "ada", from: "bob", text: "psst", id: `bob-${(count += 1)}` }),
    () => {
      const room = pick(ROOMS);
      joined.add(room);
      chat.client.join(room).catch(() => {});
    },
    () => random() < 0.2 && leave(),
    () => {
      const room = pick(ROOMS);
      if (!joined.has(room)) left.add(room);
      write(room, chat.client.post(room, `own ${(count += 1)}`));
    },
    () => write("inbox", chat.client.direct("bob", `own ${(count += 1)}`)),
    () => random() < 0.3 && cut(pick([1001, 1006, 1012, 4000])),
    () => random() < 0.1 && restart(),
    () => random() < 0.3 && server.refusals.push(pick(["rate_limited", "unavailable"])),
    () => {
      if (random() > 0.05) return;
      server.life(pick([...ROOMS, "inbox"])).push([]);
      cut(1012);
    },
  ];
  return {
    chat,
    server,
    written,
    left,
    step: () => pick(steps)(),
    /** Let everything arrive, over as many connections as it takes. */
    async settle() {
      server.refusals.length = 0;
      for (let quiet = 0, turns = 0; quiet < 3; turns += 1) {
        assert.ok(turns < 10_000, "it never comes to rest");
        connect();
        const live = connection?.socket === chat.socket;
        const moved = live && (connection.take() || connection.deliver());
        if (!moved) {
          quiet += chat.client.state === "online" ? 1 : 0;
          chat.clock.advance(1_500);
          await soon();
        } else quiet = 0;
      }
    },
  };
}

/** Arrivals follow each other, but for announced breaks, and are what the server stored. */
function checkArrivals({ chat, server }) {
  const ends = new Map();
  for (const { event, room, epoch, messages, continues } of chat.events) {
    if (event === "left") ends.delete(room);
    if (event !== "messages") continue;
    const log = room ?? "inbox";
    const entries = server.life(log)[Number(epoch.slice(1)) - 1];
    let last = continues ? ends.get(log) : undefined;
    if (continues) assert.equal(epoch, last.epoch);
    for (const { offset, text, id } of messages) {
      if (last !== undefined) assert.equal(offset, last.offset + 1);
      assert.deepEqual([text, id], [entries[offset - 1].text, entries[offset - 1].id]);
      last = { epoch, offset };
    }
    ends.set(log, last ?? { epoch, offset: 0 });
  }
  return ends;
}

test(`${RUNS} generated interleavings keep every log whole and store what was written once`, async () => {
  let stored = 0;
  let resumed = 0;
  for (let seed = 1; seed <= RUNS; seed += 1) {
    const run = makeRun(seed);
    const { chat, server, written } = run;
    try {
      chat.client.start();
      for (let step = 0; step < STEPS; step += 1) {
        run.step();
        if (step % 5 === 0) await soon();
      }
      await run.settle();
      assert.deepEqual(chat.of("error"), []);
      for (const [log, { epoch, offset }] of checkArrivals(run)) {
        assert.deepEqual({ epoch, offset }, server.position(log), `the end of ${log}`);
      }
      for (const entry of written) {
        const refused = entry.state !== "stored"; // only ever because the room was left
        assert.ok(!refused || run.left.has(entry.log), `${entry.state} in ${entry.log}`);
        if (refused) continue;
        const { epoch, offset, id } = entry.stored;
        assert.equal(server.life(entry.log)[Number(epoch.slice(1)) - 1][offset - 1].id, id);
        stored += 1;
      }
      for (const lives of server.lives.values()) {
        for (const entries of lives) {
          const own = entries.filter(({ from }) => from === "ada").map(({ text }) => Number(text.slice(4)));
          assert.deepEqual(own, [...new Set(own)].sort((a, b) => a - b), "own messages once, in the order written");
        }
      }
      resumed += chat.sockets.length - 1;
    } catch (error) {
      error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
  }
  assert.ok(stored > RUNS && resumed > RUNS, `the runs did too little: ${stored} stored, ${resumed} reconnects`);
});
