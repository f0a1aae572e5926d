/** Whatever a listener does at whatever event: a stopped client stays stopped, a running one has one connection. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { direct, makeClient, message, slice } from "./fakes.mjs";

/** Bring about each event in turn: `act` comes at the first one that `picks`. */
function live(chat, picks, act) {
  let acted = false;
  for (const type of ["state", "welcome", "joined", "left", "messages", "held", "error"]) {
    chat.client.addEventListener(type, ({ detail }) => {
      if (acted || !picks(type, detail)) return;
      acted = true;
      act(chat.client);
    });
  }
  for (const room of ["lobby", "closed"]) chat.client.join(room).catch(() => {});
  chat.client.post("lobby", "hello").catch(() => {});
  chat.client.start();
  const reply = (type, fields, room) => {
    const request = chat.socket?.requests(type).find((request) => request.room === room);
    if (request !== undefined) chat.socket.push({ type: "ok", id: request.id, ...fields });
  };
  chat.socket?.onopen?.();
  reply("hello", { user: "ada", session: "", inbox: slice(1, [direct(1)]), limits: {} });
  reply("join", { type: "error", code: "forbidden", reason: "" }, "closed");
  reply("join", { room: "lobby", count: 1, members: [], ...slice(1, [message(1)]) }, "lobby");
  reply("post", { type: "error", code: "rate_limited", reason: "", retry_after: 1 }, "lobby");
  chat.socket?.push(message(7)); // a hole
  assert.ok(acted, "the event did not come");
}

const moments = {
  connecting: (type, { state }) => type === "state" && state === "connecting",
  online: (type, { state }) => type === "state" && state === "online",
  welcome: (type) => type === "welcome",
  "messages of the inbox": (type, { room }) => type === "messages" && room === null,
  left: (type, { code }) => type === "left" && code === "forbidden",
  joined: (type) => type === "joined",
  "messages of a room": (type, { room }) => type === "messages" && room === "lobby",
  held: (type) => type === "held",
  error: (type) => type === "error",
  waiting: (type, { state }) => type === "state" && state === "waiting",
};

const open = ({ sockets }) => sockets.filter(({ closed }) => closed === null);

for (const [moment, picks] of Object.entries(moments)) {
  test(`stop at ${moment} is for good, and leaves no timer and no connection`, () => {
    const chat = makeClient();
    live(chat, picks, (client) => client.stop());
    assert.deepEqual([chat.client.state, chat.clock.pending, open(chat).length], ["stopped", 0, 0]);
    const { length } = chat.sockets;
    chat.clock.advance(600_000);
    assert.equal(chat.sockets.length, length);
    assert.equal(chat.of("state").at(-1).state, "stopped");
  });

  test(`stop and start at ${moment} give one new connection, which resumes`, () => {
    const chat = makeClient();
    live(chat, picks, (client) => {
      client.stop();
      client.start();
    });
    if (chat.client.state === "waiting") chat.clock.advance(chat.of("state").at(-1).delay);
    assert.equal(open(chat).length, 1);
    chat.socket.onopen();
    const inbox = slice(2, [direct(1), direct(2)].slice(chat.socket.sent[0].position?.offset ?? 0));
    chat.socket.answer("hello", { user: "ada", session: "", inbox, limits: {} });
    const lobby = chat.socket.requests("join").filter(({ room }) => room === "lobby");
    assert.equal(lobby.length, 1);
    const missed = [message(1), message(2)].slice(lobby[0].position?.offset ?? 0);
    chat.socket.push({ type: "ok", id: lobby[0].id, room: "lobby", count: 1, members: [], ...slice(2, missed) });
    for (const room of [null, "lobby"]) assert.deepEqual(chat.offsets(room), [1, 2]);
    assert.equal(chat.socket.requests("post").length, 1);
  });

  test(`a room asked for at ${moment} is joined once`, () => {
    const chat = makeClient();
    live(chat, picks, (client) => ["lobby", "annex"].map((room) => client.join(room).catch(() => {})));
    if (chat.client.state === "waiting") chat.reconnect(slice(1));
    for (const socket of chat.sockets) {
      const asked = socket.requests("join").map(({ room }) => room);
      assert.deepEqual(asked, [...new Set(asked)]);
    }
    for (const room of ["lobby", "annex"]) assert.ok(chat.socket.requests("join").some((join) => join.room === room));
  });

  test(`a room left at ${moment} is not told of any more, and what was to be said there is refused`, async () => {
    const chat = makeClient();
    live(chat, picks, (client) => client.leave("lobby"));
    const events = chat.events.filter(({ room }) => room === "lobby").map(({ event }) => event);
    assert.deepEqual(events.slice(events.indexOf("left")), ["left"]);
    await assert.rejects(chat.client.post("lobby", "x"), { code: "not_joined" });
  });
}

test("retryNow at waiting connects once", () => {
  const chat = makeClient();
  live(chat, moments.waiting, (client) => client.retryNow());
  chat.clock.advance(5_000);
  assert.deepEqual([chat.client.state, chat.sockets.length, open(chat).length], ["connecting", 2, 1]);
});
