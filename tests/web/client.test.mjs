/** The protocol client against a server made by hand: what it sends, what it says, and what it does when cut off. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as soon } from "node:timers/promises";

import { ChatError, foldName, randomId, SUBPROTOCOL } from "../../wscore/chat/web/client.js";
import { direct, makeClient, message, slice } from "./fakes.mjs";

test("says hello with its name and session, on the subprotocol", () => {
  const chat = makeClient();
  chat.client.start();
  chat.welcome();
  assert.equal(chat.socket.protocol, SUBPROTOCOL);
  const [hello] = chat.socket.sent;
  assert.deepEqual(
    [hello.type, hello.user, hello.session, hello.position],
    ["hello", "ada", "s".repeat(22), undefined],
  );
  assert.equal(chat.client.state, "online");
  assert.deepEqual(chat.client.limits, { text: 4000 });
});

test("says hello with a token alone where it has one", () => {
  const chat = makeClient({ token: "jwt" });
  chat.client.start();
  chat.socket.onopen();
  const [hello] = chat.socket.sent;
  assert.deepEqual([hello.token, hello.user, hello.session], ["jwt", undefined, undefined]);
});

test("a function for tokens is asked before each connection, so that an expired one is replaced", async () => {
  let count = 0;
  const chat = makeClient({ token: async () => `token ${(count += 1)}` });
  chat.client.start();
  await soon();
  chat.welcome();
  chat.socket.end(4003, "expired");
  assert.equal(chat.client.state, "waiting");
  chat.clock.advance(chat.of("state").at(-1).delay);
  await soon();
  chat.welcome();
  assert.deepEqual(
    chat.sockets.map(({ sent }) => sent[0].token),
    ["token 1", "token 2"],
  );
});

test("a token that cannot be had is asked for again later, and none is used after stop", async () => {
  const answers = [Promise.reject(new Error("offline")), Promise.resolve("late")];
  const chat = makeClient({ token: () => answers.shift() });
  chat.client.start();
  await soon();
  assert.equal(chat.of("state").at(-1).reason, "no token: offline");
  chat.clock.advance(chat.of("state").at(-1).delay);
  chat.client.stop();
  await soon();
  assert.deepEqual([chat.sockets.length, chat.client.state], [0, "stopped"]);
});

test("resumes the inbox from a position of the caller", () => {
  const chat = makeClient({ position: { epoch: "e1", offset: 4 } });
  chat.client.start();
  chat.welcome(slice(6, [direct(5), direct(6)]));
  assert.deepEqual(chat.socket.sent[0].position, { epoch: "e1", offset: 4 });
  assert.deepEqual(chat.offsets(null), [5, 6]);
});

test("a refused hello stops it, and says why", () => {
  const chat = makeClient();
  chat.client.start();
  chat.socket.onopen();
  chat.socket.refuse("hello", "name_taken");
  assert.equal(chat.client.state, "stopped");
  assert.equal(chat.of("state").at(-1).code, "name_taken");
  chat.clock.advance(120_000);
  assert.equal(chat.sockets.length, 1);
});

test("a hello that cannot be served now is tried again", () => {
  const chat = makeClient();
  chat.client.start();
  chat.socket.onopen();
  chat.socket.refuse("hello", "unavailable");
  assert.equal(chat.client.state, "waiting");
  chat.reconnect();
  assert.equal(chat.client.state, "online");
});

test("join resolves with the server's spelling; pushes follow", async () => {
  const chat = makeClient();
  chat.client.start();
  chat.welcome();
  const joining = chat.client.join("LOBBY");
  chat.joined("Lobby", slice(2, [message(1, { room: "Lobby" }), message(2, { room: "Lobby" })]));
  assert.equal(await joining, "Lobby");
  chat.socket.push(message(3, { room: "Lobby" }));
  assert.deepEqual(chat.offsets("Lobby"), [1, 2, 3]);
  assert.equal(await chat.client.join("lobby"), "Lobby");
  assert.equal(chat.socket.requests("join").length, 1);
});

test("a room asked for before the welcome, or within it, is joined once", () => {
  const chat = makeClient();
  chat.client.join("early");
  chat.client.addEventListener("welcome", () => chat.client.join("late"));
  chat.client.start();
  chat.welcome();
  assert.deepEqual(
    chat.socket
      .requests("join")
      .map(({ room }) => room)
      .sort(),
    ["early", "late"],
  );
});

test("a name that the server folds onto a room already joined becomes that room", async () => {
  const chat = makeClient();
  chat.client.start();
  chat.welcome();
  const first = chat.client.join("straße");
  chat.joined("straße", slice(1, [message(1, { room: "straße" })]));
  await first;
  const second = chat.client.join("STRASSE"); // toLowerCase knows no casefold
  chat.joined("straße", slice(1, [message(1, { room: "straße" })]));
  assert.equal(await second, "straße");
  chat.socket.push(message(2, { room: "straße" }));
  assert.equal(chat.of("messages").at(-1).messages[0].offset, 2);
});

test("a refused join rejects, and is not repeated after a reconnect", async () => {
  const chat = makeClient();
  chat.client.start();
  chat.welcome();
  const joining = chat.client.join("secret");
  chat.socket.refuse("join", "forbidden");
  await assert.rejects(joining, (error) => error instanceof ChatError && error.code === "forbidden");
  assert.equal(chat.of("left").at(-1).code, "forbidden");
  chat.socket.end(1006);
  chat.reconnect();
  assert.deepEqual(chat.socket.requests("join"), []);
});

test("a join that cannot be served now is tried again", async () => {
  const chat = makeClient();
  chat.client.start();
  chat.welcome();
  const joining = chat.client.join("lobby");
  chat.socket.refuse("join", "unavailable");
  chat.clock.advance(2_000);
  assert.equal(chat.socket.requests("join").length, 2);
  chat.joined("lobby");
  assert.equal(await joining, "lobby");
});

test("leave tells the server, drops late pushes, and is not undone by a reconnect", async () => {
  const chat = makeClient();
  await chat.inLobby();
  chat.client.leave("lobby");
  assert.equal(chat.socket.requests("leave")[0].room, "lobby");
  chat.socket.push(message(1));
  assert.deepEqual(chat.offsets("lobby"), []);
  assert.deepEqual(chat.of("error"), []);
  chat.socket.end(1006);
  chat.reconnect();
  assert.deepEqual(chat.socket.requests("join"), []);
  await assert.rejects(chat.client.post("lobby", "x"), { code: "not_joined" });
});

test("post resolves with what was stored; a refusal rejects", async () => {
  const chat = makeClient();
  await chat.inLobby();
  const posting = chat.client.post("lobby", "hi");
  const [request] = chat.socket.requests("post");
  assert.deepEqual([request.room, request.text, request.id.length], ["lobby", "hi", 32]);
  chat.socket.answer("post", { epoch: "e1", offset: 1, time: "t" });
  assert.deepEqual(await posting.then(({ offset, duplicate, id }) => [offset, duplicate, id]), [1, false, request.id]);

  const refused = chat.client.direct("nobody", "hi");
  chat.socket.refuse("direct", "unknown_user");
  await assert.rejects(refused, { code: "unknown_user" });
});

test("one post of a log is under way at a time, so that `rate_limited` cannot reorder them", async () => {
  const chat = makeClient();
  await chat.inLobby();
  const posting = [chat.client.post("lobby", "one"), chat.client.post("lobby", "two")];
  chat.socket.refuse("post", "rate_limited", { retry_after: 3 });
  const [{ id, room, code, delay }] = chat.of("held");
  assert.deepEqual([id, room, code], [chat.socket.requests("post")[0].id, "lobby", "rate_limited"]);
  assert.ok(delay >= 3_000 && delay <= 3_750, String(delay));
  chat.clock.advance(2_900);
  assert.equal(chat.socket.requests("post").length, 1);
  chat.clock.advance(2_000);
  chat.socket.answer("post", { epoch: "e1", offset: 1, time: "t" });
  chat.socket.answer("post", { epoch: "e1", offset: 2, time: "t" });
  assert.deepEqual(
    (await Promise.all(posting)).map(({ offset }) => offset),
    [1, 2],
  );
  const ids = chat.socket.requests("post").map(({ id }) => id);
  assert.deepEqual(
    chat.socket.requests("post").map(({ text }) => text),
    ["one", "one", "two"],
  );
  assert.equal(ids[0], ids[1]);
});

test("after a cut it resumes every log from its position and sends again what was not acknowledged", async () => {
  const chat = makeClient();
  const before = await chat.inLobby(7);
  chat.socket.push(message(8));
  chat.socket.push(direct(1));
  const posting = chat.client.post("lobby", "lost?");
  const telling = chat.client.direct("bob", "psst");
  before.end(1006);
  const later = chat.client.post("lobby", "written while away");
  const socket = chat.reconnect(slice(2, [direct(2)]));
  assert.deepEqual(socket.requests("hello")[0].position, { epoch: "e1", offset: 1 });
  assert.deepEqual(socket.requests("join")[0].position, { epoch: "e1", offset: 8 });
  assert.deepEqual(socket.requests("post"), [], "not before the join is answered");
  chat.joined("lobby", slice(10, [message(9), message(10)]));
  assert.equal(socket.requests("post")[0].id, before.requests("post")[0].id);
  assert.equal(socket.requests("direct")[0].id, before.requests("direct")[0].id);
  socket.answer("post", { epoch: "e1", offset: 9, time: "t", duplicate: true });
  socket.answer("direct", { epoch: "e1", offset: 3, time: "t" });
  assert.equal((await posting).duplicate, true);
  assert.equal((await telling).offset, 3);
  assert.equal(socket.requests("post")[1].text, "written while away");
  socket.answer("post", { epoch: "e1", offset: 11, time: "t" });
  await later;
  assert.deepEqual(chat.offsets("lobby"), [8, 9, 10]);
  assert.deepEqual(chat.offsets(null), [1, 2]);
});

test("a long continuation goes on in pushes", async () => {
  const chat = makeClient();
  await chat.inLobby(1);
  chat.socket.end(1012);
  chat.reconnect();
  chat.joined("lobby", slice(5, [message(2), message(3)], { more: true }));
  chat.socket.push(message(4));
  chat.socket.push(message(5));
  chat.socket.push(message(6));
  assert.deepEqual(chat.offsets("lobby"), [2, 3, 4, 5, 6]);
  assert.deepEqual(chat.of("error"), []);
});

test("a gap is announced, and the newest page does not pass for a continuation", async () => {
  const chat = makeClient();
  await chat.inLobby(1);
  chat.socket.end(1012);
  chat.reconnect();
  chat.joined("lobby", slice(90, [message(89), message(90)], { epoch: "e2", gap: true }));
  const { gap, continues, messages } = chat.of("messages").at(-1);
  assert.deepEqual([gap, continues, messages.length], [true, false, 2]);
  chat.socket.end(1012);
  chat.reconnect();
  assert.deepEqual(chat.socket.requests("join")[0].position, { epoch: "e2", offset: 90 });
});

const broken = {
  "a hole in the pushes": ["hole", (chat) => chat.socket.push(message(3))],
  "a repeat in the pushes": ["repeat", (chat) => chat.socket.push(message(1))],
};
for (const [name, [code, act]] of Object.entries(broken)) {
  test(`${name} is an error, is dropped, and is mended by resuming`, async () => {
    const chat = makeClient();
    await chat.inLobby(1);
    act(chat);
    assert.equal(chat.of("error")[0].code, code);
    assert.equal(chat.of("error")[0].room, "lobby");
    assert.deepEqual(chat.offsets("lobby"), []);
    assert.notEqual(chat.sockets[0].closed, null);
    chat.reconnect();
    assert.deepEqual(chat.socket.requests("join")[0].position, { epoch: "e1", offset: 1 });
    chat.joined("lobby", slice(3, [message(2), message(3)]));
    assert.deepEqual(chat.offsets("lobby"), [2, 3]);
  });
}

const brokenSlices = {
  "a hole inside": slice(4, [message(2), message(4)]),
  "a hole before the first": slice(4, [message(3), message(4)]),
  "a repeat at its start": slice(2, [message(1), message(2)]),
  "an end before its offset": slice(4, [message(2), message(3)]),
  "another epoch without a gap": slice(2, [message(2)], { epoch: "e2" }),
};
for (const [name, bad] of Object.entries(brokenSlices)) {
  test(`a slice with ${name} is an error`, async () => {
    const chat = makeClient();
    await chat.inLobby(1);
    chat.socket.end(1006);
    chat.reconnect();
    chat.joined("lobby", bad);
    assert.equal(chat.of("error").length, 1);
    assert.equal(chat.client.state, "waiting");
    assert.deepEqual(chat.offsets("lobby"), []);
  });
}

for (const code of [1003, 1007, 1008, 1009, 4003]) {
  test(`close code ${code} stops it`, async () => {
    const chat = makeClient();
    await chat.inLobby();
    chat.socket.end(code, "why");
    chat.clock.advance(600_000);
    assert.equal(chat.sockets.length, 1);
    const { state, code: said, reason } = chat.of("state").at(-1);
    assert.deepEqual([state, said, reason], ["stopped", code, "why"]);
  });
}

for (const code of [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4000]) {
  test(`after close code ${code} it connects again`, async () => {
    const chat = makeClient();
    await chat.inLobby();
    chat.socket.end(code);
    assert.equal(chat.client.state, "waiting");
    chat.reconnect();
    assert.equal(chat.client.state, "online");
  });
}

test("a connection that cannot be made is lost at once, whether or not a close follows the error", () => {
  const chat = makeClient();
  chat.client.start();
  chat.socket.onerror({ message: "connection refused" });
  chat.socket.end(1006);
  const { state, reason } = chat.of("state").at(-1);
  assert.deepEqual([state, reason, chat.of("state").length], ["waiting", "connection refused", 2]);
  chat.reconnect();
  assert.equal(chat.client.state, "online");

  chat.socket.onerror({ message: "broken" }); // of a connection there was: its close says why
  chat.socket.end(1008, "policy");
  assert.equal(chat.of("state").at(-1).code, 1008);
});

test("the back-off doubles with jitter up to half a minute, and starts anew after a stable connection", () => {
  const chat = makeClient({ random: () => 0.999999 });
  chat.client.start();
  const delays = [];
  for (let round = 0; round < 9; round += 1) {
    chat.socket.end(1006);
    delays.push(chat.of("state").at(-1).delay);
    chat.clock.advance(delays.at(-1));
  }
  assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  chat.welcome();
  chat.clock.advance(5_000);
  chat.socket.end(1006);
  assert.equal(chat.of("state").at(-1).delay, 500);

  const jittered = makeClient({ random: () => 0 });
  jittered.client.start();
  jittered.socket.end(1006);
  assert.equal(jittered.of("state").at(-1).delay, 250);
});

test("a connection that is accepted and cut at once does not shorten the back-off", () => {
  const chat = makeClient({ random: () => 0.999999 });
  chat.client.start();
  for (const delay of [500, 1000, 2000]) {
    chat.welcome();
    chat.socket.end(4000);
    assert.equal(chat.of("state").at(-1).delay, delay);
    chat.clock.advance(delay);
  }
});

test("`online` of the network, and retryNow, connect at once", () => {
  for (const act of [({ network }) => network.dispatchEvent(new Event("online")), ({ client }) => client.retryNow()]) {
    const chat = makeClient();
    chat.client.start();
    chat.socket.end(1006);
    act(chat);
    act(chat);
    assert.equal(chat.sockets.length, 2);
    chat.clock.advance(400); // the old timer is gone
    assert.equal(chat.sockets.length, 2);
  }
});

test("silence is asked about, and a server that does not answer is given up", async () => {
  const chat = makeClient();
  await chat.inLobby();
  const first = chat.socket;
  chat.clock.advance(15_000);
  assert.equal(first.requests("ping").length, 0, "there was an answer in these 15 s");
  chat.clock.advance(15_000);
  assert.equal(first.requests("ping").length, 1);
  first.answer("ping", {});
  chat.clock.advance(10_000);
  assert.equal(chat.client.state, "online");
  chat.clock.advance(20_000);
  assert.equal(first.requests("ping").length, 2);
  chat.clock.advance(10_000);
  assert.notEqual(first.closed, null);
  assert.notEqual(chat.client.state, "online");
});

test("a network that is back is no proof that the old connection lives", async () => {
  const chat = makeClient();
  await chat.inLobby();
  chat.network.dispatchEvent(new Event("online"));
  assert.equal(chat.socket.requests("ping").length, 1);
  chat.clock.advance(10_000);
  assert.equal(chat.client.state, "waiting");
});

test("an attempt that nobody answers is given up after ten seconds", () => {
  const chat = makeClient();
  chat.client.start();
  chat.clock.advance(9_999);
  assert.equal(chat.client.state, "connecting");
  chat.clock.advance(1);
  assert.equal(chat.client.state, "waiting");
});

test("stop ends for good; what was not acknowledged goes out after the next start", async () => {
  const chat = makeClient();
  const first = await chat.inLobby();
  const posting = chat.client.post("lobby", "hi");
  chat.client.stop();
  assert.equal(first.closed, 1000);
  chat.network.dispatchEvent(new Event("online"));
  chat.clock.advance(600_000);
  assert.equal(chat.sockets.length, 1);
  chat.client.start();
  chat.welcome();
  chat.joined("lobby");
  assert.equal(chat.socket.requests("post")[0].id, first.requests("post")[0].id);
  chat.socket.answer("post", { epoch: "e1", offset: 1, time: "t" });
  assert.equal((await posting).offset, 1);
});

test("history and rooms answer, and reject when the connection ends first", async () => {
  const chat = makeClient();
  await chat.inLobby(9);
  const older = chat.client.history("lobby", { before: 5, limit: 2 });
  assert.deepEqual(
    { ...chat.socket.requests("history")[0], id: "" },
    { type: "history", room: "lobby", before: 5, limit: 2, id: "" },
  );
  chat.socket.answer("history", { messages: [message(3), message(4)], more: true });
  assert.equal((await older).messages.length, 2);

  const inbox = chat.client.history(null);
  assert.equal(chat.socket.requests("history")[1].inbox, true);
  const rooms = chat.client.rooms();
  chat.socket.end(1006);
  await assert.rejects(inbox, { code: "disconnected" });
  await assert.rejects(rooms, { code: "disconnected" });
  await assert.rejects(chat.client.rooms(), { code: "disconnected" });
});

test("typing is told at most once in two seconds for each room or person, and never offline", async () => {
  const chat = makeClient();
  chat.client.typing({ room: "lobby" });
  await chat.inLobby();
  chat.client.typing({ room: "lobby" });
  chat.client.typing({ room: "lobby" });
  chat.client.typing({ to: "bob" });
  chat.clock.advance(2_000);
  chat.client.typing({ room: "lobby" });
  assert.deepEqual(chat.socket.requests("typing"), [
    { type: "typing", room: "lobby" },
    { type: "typing", to: "bob" },
    { type: "typing", room: "lobby" },
  ]);
  chat.client.post("lobby", "said");
  chat.client.typing({ room: "lobby" });
  assert.equal(chat.socket.requests("typing").length, 4, "after a message it begins anew");
});

test("what is no message is an error; what a later version sends is passed over", async () => {
  const chat = makeClient();
  await chat.inLobby();
  for (const bad of ["{", "null", "[]", "3", '"x"']) chat.socket.push(bad);
  assert.deepEqual(
    chat.of("error").map(({ code }) => code),
    Array(5).fill("malformed"),
  );
  chat.socket.push({ type: "reaction", room: "lobby" });
  chat.socket.push({ type: "error", id: null, code: "malformed", reason: "typing without a room" });
  assert.equal(chat.of("error").at(-1).reason, "typing without a room");
  assert.equal(chat.client.state, "online");
});

test("presence and typing pass through", async () => {
  const chat = makeClient();
  await chat.inLobby();
  chat.socket.push({ type: "presence", room: "lobby", user: "bob", state: "joined", count: 2 });
  chat.socket.push({ type: "typing", room: "lobby", user: "bob" });
  assert.deepEqual(chat.of("presence")[0], {
    event: "presence",
    room: "lobby",
    user: "bob",
    state: "joined",
    count: 2,
  });
  assert.deepEqual(chat.of("typing")[0], { event: "typing", room: "lobby", user: "bob" });
});

test("ids are 128 random bits, long enough for a session secret", () => {
  const ids = new Set(Array.from({ length: 1000 }, () => randomId()));
  assert.equal(ids.size, 1000);
  for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
});

test("names fold by normal form and case", () => {
  assert.equal(foldName("Zoe\u0308"), foldName("ZO\u00cb"));
});
