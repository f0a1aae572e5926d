/** The model of conversations, and the rows it is shown as. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Model } from "../../wscore/chat/web/model.js";
import { rowsOf } from "../../wscore/chat/web/timeline.js";
import { direct, message } from "./fakes.mjs";

const arrival = (room, messages, more = {}) => ({ room, epoch: "e1", messages, continues: true, gap: false, ...more });
const offsets = ({ messages }) => messages.map(({ offset }) => offset);

test("joining a room for the first time leaves nothing unread; what follows is unread until seen", () => {
  const model = new Model("ada");
  const [room] = model.arrive(arrival("lobby", [message(1), message(2)], { continues: false }));
  assert.equal(model.unread(room), 0);
  model.arrive(arrival("lobby", [message(3), message(4, { from: "Ada" })]));
  assert.equal(model.unread(room), 1, "one's own count for nothing");
  model.markRead(room);
  assert.equal(model.unread(room), 0);
});

test("what came while away is unread, also what is not loaded yet", () => {
  const model = new Model("ada");
  const room = model.open("room", "lobby");
  room.read = { epoch: "e1", offset: 10 };
  model.arrive(arrival("lobby", [message(71), message(72)], { continues: false }));
  assert.equal(model.unread(room), 62);
});

test("a new epoch makes everything unread", () => {
  const model = new Model("ada");
  const room = model.open("room", "lobby");
  room.read = { epoch: "e0", offset: 500 };
  model.arrive(arrival("lobby", [message(1), message(2)], { continues: false, gap: true }));
  assert.equal(model.unread(room), 2);
});

test("the inbox falls apart into conversations, the newest first", () => {
  const model = new Model("ada");
  model.arrive(
    arrival(
      null,
      [
        direct(5, { from: "bob" }),
        direct(6, { from: "Ada", to: "eve" }),
        direct(7, { from: "eve" }),
        direct(8, { from: "ada", to: "ada" }),
      ],
      { continues: false },
    ),
  );
  const found = model.list("direct").map((conversation) => [conversation.name, offsets(conversation)]);
  assert.deepEqual(found, [
    ["ada", [8]],
    ["eve", [6, 7]],
    ["bob", [5]],
  ]);
  assert.equal(model.unread(model.open("direct", "eve")), 1);
  assert.ok(model.open("direct", "mallory").older, "there may be older ones with anybody");
});

test("a page after a gap replaces what was shown", () => {
  const model = new Model("ada");
  model.arrive(arrival("lobby", [message(1)], { continues: false }));
  const [room] = model.arrive(arrival("lobby", [message(90), message(91)], { continues: false, gap: true }));
  assert.deepEqual(offsets(room), [90, 91]);
  assert.ok(room.older);
  assert.equal(rowsOf(room, model)[0].kind, "gap");
});

test("history goes before what is there, for a room and for the inbox", () => {
  const model = new Model("ada");
  const [room] = model.arrive(arrival("lobby", [message(3)], { continues: false }));
  assert.equal(room.from, 3);
  model.prepend("lobby", 3, [message(1), message(2)], false);
  assert.deepEqual([offsets(room), room.older], [[1, 2, 3], false]);

  const [bob] = model.arrive(arrival(null, [direct(9)], { continues: false }));
  model.prepend(null, 9, [direct(6), direct(7, { from: "eve" }), direct(8)], true);
  assert.deepEqual(offsets(bob), [6, 8, 9]);
  assert.deepEqual(offsets(model.open("direct", "eve")), [7]);
  assert.deepEqual([bob.from, bob.older], [6, true]);
});

test("at the end of a long conversation only the newest messages are kept, and the others can be loaded again", () => {
  const model = new Model("ada");
  const arriving = (from, to, make) => {
    for (let offset = from; offset <= to; offset += 1) model.arrive(arrival(null, [make(offset)]));
  };
  model.arrive(arrival(null, [direct(1), direct(2, { from: "eve" })], { continues: false }));
  arriving(3, 1100, (offset) => direct(offset));
  const bob = model.open("direct", "bob");
  const eve = model.open("direct", "eve");
  assert.ok(bob.messages.length <= 1000, `${bob.messages.length} are held`);
  assert.ok(bob.older && !eve.older);
  const before = bob.from;
  const page = (from) => [...Array(200).keys()].map((index) => direct(from + index)).filter(({ offset }) => offset > 2);
  model.prepend(null, before, page(before - 200), true);
  assert.deepEqual(offsets(eve), [2], "what was never dropped is not there twice");
  while (bob.older) model.prepend(null, bob.from, page(Math.max(1, bob.from - 200)), bob.from > 203);
  assert.deepEqual(
    offsets(bob),
    [...Array(1098).keys()].map((index) => index + 3),
  );
});

test("messages that the user is reading are not dropped", () => {
  const model = new Model("ada");
  const [room] = model.arrive(arrival("lobby", [message(1)], { continues: false }));
  room.browsed = true;
  for (let offset = 2; offset <= 1500; offset += 1) model.arrive(arrival("lobby", [message(offset)]));
  assert.equal(room.messages.length, 1500);
  room.browsed = false;
  model.arrive(arrival("lobby", [message(1501)]));
  assert.ok(room.messages.length <= 1000);
  assert.equal(room.from, room.messages[0].offset);
});

test("what stands above the first message says whether there is more, and whether something is missing", () => {
  const model = new Model("ada");
  const [room] = model.arrive(arrival("lobby", [message(8), message(9)], { continues: false }));
  const top = () => rowsOf(room, model)[0];
  assert.equal(top().kind, "day");
  model.prepend("lobby", 8, [message(5), message(6), message(7)], false);
  assert.deepEqual([top().kind, top().whole], ["start", false], "older ones are no longer kept");
  model.arrive(arrival("lobby", [message(90)], { continues: false, gap: true }));
  assert.deepEqual([top().kind, top().lost], ["gap", false]);
  model.prepend("lobby", 90, [message(88), message(89)], false);
  assert.deepEqual([top().kind, top().lost], ["gap", true]);
});

test("a part of a conversation has rows of its own: its day at the top, groups and the unread mark as in the whole", () => {
  const model = new Model("ada");
  const many = [...Array(300).keys()].map((index) => message(index + 1));
  const [room] = model.arrive(arrival("lobby", many, { continues: false }));
  room.marker = 250;
  model.write(room, { id: "own", text: "x", time: many[0].time });
  const kinds = (part) => rowsOf(room, model, part).map(({ kind }) => kind);
  assert.deepEqual(kinds({ start: 100, end: 102 }), ["day", "message", "message"]);
  assert.deepEqual(kinds({ start: 248, end: 252 }), ["day", "message", "message", "unread", "message", "message"]);
  assert.deepEqual(kinds({ start: 260, end: 262 }), ["day", "message", "message"]);
  assert.equal(rowsOf(room, model, { start: 299 }).at(-1).id, "own");
  assert.deepEqual(kinds({ start: 0, end: 1 }), ["start", "day", "message"]);
});

test("a message is pending until it is acknowledged or comes back, whichever is first, and shown once", () => {
  const model = new Model("ada");
  const [room] = model.arrive(arrival("lobby", [message(1)], { continues: false }));
  const own = (offset) => message(offset, { from: "ada", id: `own-${offset}` });
  const shown = () =>
    rowsOf(room, model)
      .filter(({ kind }) => kind === "message")
      .map(({ id, state }) => [id, state]);
  model.write(room, { id: "own-2", text: "x", time: own(2).time });
  assert.deepEqual(shown(), [
    ["id-1", "stored"],
    ["own-2", "sending"],
  ]);
  model.acknowledge(room, "own-2", 2);
  assert.deepEqual(shown().at(-1), ["own-2", "sent"]);
  model.arrive(arrival("lobby", [own(2)]));
  assert.deepEqual(shown(), [
    ["id-1", "stored"],
    ["own-2", "stored"],
  ]);

  model.write(room, { id: "own-3", text: "x", time: own(3).time });
  model.arrive(arrival("lobby", [own(3)]));
  model.acknowledge(room, "own-3", 3);
  assert.deepEqual(shown().length, 3);
});

test("a message that turns out to be stored before what is shown does not stay at the end", () => {
  const model = new Model("ada");
  const [room] = model.arrive(arrival("lobby", [message(90), message(91)], { continues: false, gap: true }));
  model.write(room, { id: "own", text: "x", time: message(1).time });
  model.acknowledge(room, "own", 40);
  assert.deepEqual(room.pending, []);
});

test("a failed message keeps its place at the end, with the reason", () => {
  const model = new Model("ada");
  const nobody = model.open("direct", "nobody");
  model.write(nobody, { id: "a", text: "x", time: "2026-11-21T10:00:00.000Z" });
  model.fail(nobody, "a", "unknown_user");
  const row = rowsOf(nobody, model).at(-1);
  assert.deepEqual([row.state, row.reason], ["failed", "unknown_user"]);
  model.discard(nobody, "a");
  assert.deepEqual(nobody.pending, []);
});

test("presence keeps the members; beyond the server's limit only the count", () => {
  const model = new Model("ada");
  const room = model.setMembers("lobby", 1, ["ada"]);
  model.presence({ room: "lobby", user: "bob", state: "joined", count: 2 });
  assert.ok(model.isPresent("Bob"));
  model.presence({ room: "lobby", user: "bob", state: "left", count: 1 });
  assert.ok(!model.isPresent("bob"));
  model.presence({ room: "lobby", count: 300 });
  assert.deepEqual([room.count, [...room.members.values()]], [300, ["ada"]]);
  assert.equal(model.presence({ room: "elsewhere", count: 3 }), undefined);
});

test("a message that is put off says why until it is stored", () => {
  const model = new Model("ada");
  const room = model.open("room", "lobby");
  model.write(room, { id: "a", text: "x", time: "2026-11-21T10:00:00.000Z" });
  model.hold("a", "rate_limited", 5000);
  assert.deepEqual(rowsOf(room, model).at(-1).held, { code: "rate_limited", until: 5000 });
  model.acknowledge(room, "a", 1);
  assert.equal(rowsOf(room, model).at(-1).state, "sent");
});

test("typing passes with time, and ends with the message", () => {
  const model = new Model("ada");
  const [room] = model.arrive(arrival("lobby", [], { continues: false }));
  model.typing({ room: "lobby", user: "bob" }, 1000);
  assert.deepEqual(model.typists(room, 5999), ["bob"]);
  assert.deepEqual(model.typists(room, 6000), []);
  model.typing({ room: "lobby", user: "bob" }, 7000);
  model.arrive(arrival("lobby", [message(1)]));
  assert.deepEqual(model.typists(room, 7001), []);
});

test("rows: days, groups of one sender within five minutes, and the first unread one", () => {
  const model = new Model("ada");
  const at = (time) => ({ time: new Date(2026, 10, 20, ...time).toISOString() });
  const [room] = model.arrive(
    arrival(
      "lobby",
      [
        message(1, at([23, 50])),
        message(2, at([23, 54])),
        message(3, at([23, 59, 30])),
        message(4, { ...at([24, 1]), from: "eve" }),
        message(5, at([24, 2])),
        message(6, at([24, 3])),
      ],
      { continues: false },
    ),
  );
  room.marker = 5;
  const rows = rowsOf(room, model).map((row) => (row.kind === "message" ? (row.head ? "head" : "more") : row.kind));
  assert.deepEqual(rows, ["start", "day", "head", "more", "head", "day", "head", "head", "unread", "head"]);
  const keys = rowsOf(room, model).map(({ key }) => key);
  assert.equal(new Set(keys).size, keys.length);
});
