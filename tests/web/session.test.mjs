/** One user's stay: what a browser remembers from one page to the next, and what the user's verbs lead to. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as soon } from "node:timers/promises";

import { Session } from "../../wscore/chat/web/session.js";
import { Memory } from "../../wscore/chat/web/storage.js";
import { direct, fakeWorld, message, slice } from "./fakes.mjs";

/** What the browsers' Storage does, as far as it is used. */
class FakeStorage {
  #items = new Map();
  get length() {
    return this.#items.size;
  }
  key = (index) => [...this.#items.keys()][index] ?? null;
  getItem = (key) => this.#items.get(key) ?? null;
  setItem = (key, value) => void this.#items.set(key, String(value));
  removeItem = (key) => void this.#items.delete(key);
}

/** A browser whose pages come and go; `visit` loads the page in a window and says hello. */
function makeBrowser() {
  const browser = new FakeStorage();
  return {
    browser,
    window: new FakeStorage(),
    visit(name = "ada", { window = this.window, inbox = slice(0) } = {}) {
      const world = fakeWorld();
      const memory = new Memory(() => browser, () => window);
      const session = new Session("ws://chat.test/ws", name, memory, world.options);
      session.start();
      const [socket] = world.sockets;
      socket.onopen();
      if (inbox !== null) socket.answer("hello", { user: name, session: "", inbox, limits: {} });
      return { ...world, session, socket, memory };
    },
  };
}

async function join(visit, room, fields = slice(0)) {
  const joining = visit.session.joinRoom(room);
  visit.socket.answer("join", { room, count: 1, members: ["ada"], ...fields });
  await joining;
  return visit.session.active;
}

test("the secret of a name is kept in the browser, before it is sent, and used again", () => {
  const place = makeBrowser();
  const first = place.visit("Ada", { inbox: null });
  const [{ session }] = first.socket.sent;
  assert.match(session, /^[0-9a-f]{32}$/);
  const second = place.visit("ada", { window: new FakeStorage() });
  assert.equal(second.socket.sent[0].session, session);
  assert.notEqual(place.visit("bob").socket.sent[0].session, session);
  assert.deepEqual(second.memory.names, ["Ada", "bob"]);
});

test("a name that turns out to be taken is not remembered; one's own is, whatever the server says later", () => {
  const place = makeBrowser();
  place.visit("ada", { inbox: null }).socket.refuse("hello", "name_taken");
  const own = place.visit("bob");
  assert.deepEqual(own.memory.names, ["bob"]);
  place.visit("bob", { inbox: null }).socket.refuse("hello", "name_taken");
  assert.deepEqual(own.memory.names, ["bob"]);
});

test("rooms, read positions, drafts and the open conversation come back", async () => {
  const place = makeBrowser();
  const first = place.visit();
  await join(first, "lobby", slice(1, [message(1)]));
  await join(first, "annex");
  first.session.draft("half a thought", true);
  first.session.open(first.session.model.open("room", "lobby"));
  first.socket.push(message(2));
  first.session.see();
  first.session.open(first.session.model.open("room", "annex"));
  first.session.stop();

  const { session, socket } = place.visit();
  const joins = socket.requests("join");
  assert.deepEqual(
    joins.map(({ room }) => room),
    ["lobby", "annex"],
  );
  const found = slice(4, [message(1), message(2), message(3), message(4)]);
  socket.push({ type: "ok", id: joins[0].id, room: "lobby", count: 1, members: [], ...found });
  socket.push({ type: "ok", id: joins[1].id, room: "annex", count: 1, members: [], ...slice(0) });
  assert.equal(session.active.name, "annex");
  assert.equal(session.active.draft, "half a thought");
  const lobby = session.model.open("room", "lobby");
  assert.equal(session.model.unread(lobby), 2);
  session.open(lobby);
  assert.equal(lobby.marker, 2);
});

test("a room that was left stays left", async () => {
  const place = makeBrowser();
  const first = place.visit();
  const room = await join(first, "lobby");
  first.session.leave(room);
  assert.equal(first.session.active, null);
  assert.deepEqual(place.visit().socket.requests("join"), []);
});

test("what was not acknowledged goes out again after a reload, under its id, from its own window only", async () => {
  const place = makeBrowser();
  const first = place.visit();
  await join(first, "lobby");
  first.session.send("to the room");
  first.session.openDirect("bob");
  first.session.send("to bob");
  const ids = [first.socket.requests("post")[0].id, first.socket.requests("direct")[0].id];
  first.session.stop();

  const other = place.visit("ada", { window: new FakeStorage() });
  assert.deepEqual(other.socket.requests("direct"), []);
  const again = place.visit();
  again.socket.answer("join", { room: "lobby", count: 1, members: [], ...slice(0) });
  assert.deepEqual([again.socket.requests("post")[0].id, again.socket.requests("direct")[0].id], ids);
  again.socket.answer("post", { epoch: "e1", offset: 1, time: "t" });
  again.socket.answer("direct", { epoch: "e1", offset: 1, time: "t" });
  await soon();
  assert.deepEqual(again.memory.unsent("ada"), []);
});

test("what was not acknowledged when the token ran out goes out with the next one, under its id", async () => {
  const place = makeBrowser();
  const first = place.visit();
  await join(first, "lobby");
  first.session.send("precious");
  const [{ id }] = first.socket.requests("post");
  first.socket.end(4003, "the token has expired");
  await soon();
  assert.deepEqual([first.session.connection.state, first.session.connection.code], ["stopped", 4003]);
  const { socket } = place.visit();
  socket.answer("join", { room: "lobby", count: 1, members: ["ada"], ...slice(0) });
  assert.deepEqual(
    socket.requests("post").map((request) => [request.id, request.text]),
    [[id, "precious"]],
  );
});

test("a refused message can be tried again under its id, or discarded", async () => {
  const { session, socket, memory } = makeBrowser().visit();
  session.openDirect("nobody");
  session.send("hello?");
  const [{ id }] = socket.requests("direct");
  socket.refuse("direct", "unknown_user");
  await soon();
  assert.equal(session.active.pending[0].state, "failed");
  session.retry(id);
  assert.deepEqual(
    socket.requests("direct").map((request) => request.id),
    [id, id],
  );
  socket.refuse("direct", "unknown_user");
  await soon();
  session.discard(id);
  assert.deepEqual([session.active.pending, memory.unsent("ada")], [[], []]);
});

test("older messages of a person are looked for through the inbox until some are found", async () => {
  const { session, socket } = makeBrowser().visit("ada", { inbox: slice(500, [direct(500)]) });
  session.openDirect("eve");
  const loading = session.loadOlder();
  assert.deepEqual([socket.requests("history")[0].inbox, socket.requests("history")[0].before], [true, 500]);
  socket.answer("history", { messages: [direct(498), direct(499)], more: true });
  await soon();
  assert.equal(socket.requests("history")[1].before, 498);
  socket.answer("history", { messages: [direct(496, { from: "eve" }), direct(497)], more: true });
  await loading;
  assert.deepEqual(
    session.active.messages.map(({ offset }) => offset),
    [496],
  );
  assert.equal(socket.requests("history").length, 2);
});

test("a message of somebody who was read on another day is unread on the next visit", () => {
  const place = makeBrowser();
  const first = place.visit("ada", { inbox: slice(1, [direct(1)]) });
  first.session.openDirect("bob");
  first.session.see();
  const { session } = place.visit("ada", { window: new FakeStorage(), inbox: slice(2, [direct(1), direct(2)]) });
  assert.equal(session.model.unread(session.model.open("direct", "bob")), 1);
});

test("memory survives what somebody else wrote there", () => {
  const place = makeBrowser();
  place.browser.setItem("wscore.chat.account.ada", "{");
  place.browser.setItem("wscore.chat.account.bob", "7");
  const memory = new Memory(() => place.browser, () => place.window);
  assert.deepEqual([memory.names, memory.account("ada"), memory.account("bob")], [[], null, null]);
});

const refusals = {
  "is blocked": () => {
    throw new DOMException("denied", "SecurityError");
  },
  "throws at each use": () => {
    const refuse = () => {
      throw new DOMException("denied", "SecurityError");
    };
    return { length: 0, key: refuse, getItem: refuse, setItem: refuse, removeItem: refuse };
  },
  "is full": () => {
    const storage = new FakeStorage();
    storage.setItem = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
    return storage;
  },
};
for (const [name, open] of Object.entries(refusals)) {
  test(`where the browser's storage ${name}, the page remembers as long as it is open`, async () => {
    const memory = new Memory(open, open);
    const world = fakeWorld();
    const session = new Session("ws://chat.test/ws", "ada", memory, world.options);
    session.start();
    const [socket] = world.sockets;
    socket.onopen();
    socket.answer("hello", { user: "ada", session: "", inbox: slice(0), limits: {} });
    memory.active = "ada";
    await join({ session, socket }, "lobby");
    session.draft("half a thought", true);
    session.send("whole");
    assert.deepEqual([memory.active, memory.names, memory.isKept], ["ada", ["ada"], false]);
    assert.deepEqual(memory.account("ada").drafts, { "room:lobby": "half a thought" });
    assert.equal(memory.unsent("ada")[0].text, "whole");
    memory.forget("ada");
    memory.active = null;
    assert.deepEqual([memory.active, memory.names], [null, []]);
  });
}

test("what could be kept later is kept", () => {
  const browser = new FakeStorage();
  const keep = browser.setItem;
  browser.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  const memory = new Memory(
    () => browser,
    () => new FakeStorage(),
  );
  memory.update("ada", { session: "s" });
  browser.setItem = keep;
  memory.update("ada", { rooms: ["lobby"] });
  assert.ok(memory.isKept);
  assert.deepEqual(JSON.parse(browser.getItem("wscore.chat.account.ada")).rooms, ["lobby"]);
});

test("two windows of one user: what one reads, joins and leaves, the other sees", async () => {
  const place = makeBrowser();
  const first = place.visit();
  const second = place.visit("ada", { window: new FakeStorage() });
  const key = "wscore.chat.account.ada";
  await join(first, "lobby", slice(1, [message(1)]));
  second.session.remember(key);
  assert.equal(second.socket.requests("join")[0].room, "lobby");
  second.socket.answer("join", { room: "lobby", count: 1, members: ["ada"], ...slice(1, [message(1)]) });
  await soon();
  const lobby = second.session.model.open("room", "lobby");
  for (const { socket } of [first, second]) socket.push(message(2));
  assert.equal(second.session.model.unread(lobby), 1);
  first.session.see();
  second.session.remember(key);
  assert.equal(second.session.model.unread(lobby), 0);
  first.session.leave(first.session.active);
  second.session.remember("something else");
  assert.deepEqual(second.socket.requests("leave"), []);
  second.session.remember(key);
  assert.equal(second.socket.requests("leave")[0].room, "lobby");
});

test("a refused room whose messages were not sent stays to be seen", async () => {
  const place = makeBrowser();
  const first = place.visit();
  await join(first, "lobby");
  first.session.send("precious");
  first.session.stop();
  const { session, socket } = place.visit();
  socket.refuse("join", "forbidden");
  await soon();
  const lobby = session.model.conversations.get("room:lobby");
  assert.deepEqual([lobby.pending[0].state, lobby.pending[0].text], ["failed", "precious"]);
});

test("a fault of the server is kept for the user to see", async () => {
  const visit = makeBrowser().visit();
  await join(visit, "lobby", slice(1, [message(1)]));
  visit.socket.push(message(7));
  assert.deepEqual([visit.session.fault.code, visit.session.fault.room], ["hole", "lobby"]);
});
