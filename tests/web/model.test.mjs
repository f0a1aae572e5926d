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
  assert.equal(model.before(room), 3);
  model.prepend("lobby", [message(1), message(2)], false);
  assert.deepEqual([offsets(room), room.older], [[1, 2, 3], false]);

  const [bob] = model.arrive(arrival(null, [direct(9)], { continues: false }));
  model.prepend(null, [direct(6), direct(7, { from: "eve" }), direct(8)], true);
  assert.deepEqual(offsets(bob), [6, 8, 9]);
  assert.deepEqual(offsets(model.open("direct", "eve")), [7]);
  assert.deepEqual([model.before(bob), bob.older], [6, true]);
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
