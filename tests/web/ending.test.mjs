/** How things end: every promise is settled, every timer cleared, and what the client is given wrong is said clearly. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as soon } from "node:timers/promises";

import { ChatClient, ChatError } from "../../wscore/chat/web/client.js";
import { makeClient, message, slice } from "./fakes.mjs";

const refused = (code) => (error) => error instanceof ChatError && error.code === code;

// ---- stopping ----

const states = {
  connecting: (chat) => chat.client.start(),
  online: (chat) => chat.inLobby(),
  waiting: (chat) => {
    chat.client.start();
    chat.socket.end(1006);
  },
};
for (const [state, bring] of Object.entries(states)) {
  test(`stop while ${state} clears every timer, and a second one does nothing`, async () => {
    const chat = makeClient();
    await bring(chat);
    assert.equal(chat.client.state, state);
    chat.client.stop();
    chat.client.stop();
    assert.equal(chat.clock.pending, 0);
    assert.notEqual(chat.socket.closed, null);
    assert.equal(chat.of("state").filter((event) => event.state === "stopped").length, 1);
  });
}

test("stop before start does nothing; start and start again connect once", () => {
  const chat = makeClient();
  chat.client.stop();
  assert.deepEqual(chat.events, []);
  chat.client.start();
  chat.client.start();
  assert.equal(chat.sockets.length, 1);
});

test("stop after a refused hello does not take back why", () => {
  const chat = makeClient();
  chat.client.start();
  chat.socket.onopen();
  chat.socket.refuse("hello", "name_taken");
  chat.client.stop();
  assert.equal(chat.of("state").at(-1).code, "name_taken");
});

const fatal = {
  name_taken: (chat) => {
    chat.socket.onopen();
    chat.socket.refuse("hello", "name_taken");
  },
  1008: (chat) => {
    chat.welcome();
    chat.socket.end(1008, "policy");
  },
};
for (const [code, end] of Object.entries(fatal)) {
  test(`when it stops for good with ${code}, whoever waits is told, and so is who comes later`, async () => {
    const chat = makeClient();
    const ask = () => [chat.client.join("lobby"), chat.client.direct("bob", "hi")];
    const asked = ask();
    asked.push(chat.client.post("lobby", "hi"));
    chat.client.start();
    end(chat);
    for (const promise of [...asked, ...ask()]) await assert.rejects(promise, refused(Number(code) || code));
    assert.deepEqual(chat.of("left"), [], "the room stays for another start");

    chat.client.start();
    const joining = chat.client.join("lobby");
    chat.welcome();
    chat.joined("lobby");
    assert.equal(await joining, "lobby");
    assert.deepEqual(chat.socket.requests("post"), []);
  });
}

test("stop by hand keeps what waits for another start", async () => {
  const chat = makeClient();
  const joining = chat.client.join("lobby");
  chat.client.start();
  chat.client.stop();
  chat.client.start();
  chat.welcome();
  chat.joined("lobby");
  assert.equal(await joining, "lobby");
});

// ---- what it is given ----

for (const token of [undefined, async () => "jwt"]) {
  test(`a URL that is none stops it, and says so${token ? ", after the token too" : ""}`, async () => {
    class WebSocket {
      constructor(url) {
        throw new DOMException(`the URL '${url}' is invalid`, "SyntaxError");
      }
    }
    const chat = makeClient({ WebSocket, token });
    const joining = chat.client.join("lobby");
    chat.client.start();
    await assert.rejects(joining, refused("invalid_url"));
    const { state, reason } = chat.of("state").at(-1);
    assert.deepEqual([state, reason], ["stopped", "the URL 'ws://chat.test/ws' is invalid"]);
    assert.equal(chat.clock.pending, 0);
  });
}

test("without any WebSocket it cannot be made; one given as undefined is the global one", (t) => {
  const before = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  t.after(() => (before ? Object.defineProperty(globalThis, "WebSocket", before) : delete globalThis.WebSocket));
  const define = (value) => Object.defineProperty(globalThis, "WebSocket", { value, configurable: true });
  define(undefined);
  assert.throws(() => new ChatClient("ws://chat.test/ws", { user: "ada" }), {
    name: "TypeError",
    message: /WebSocket/,
  });
  let opened = 0;
  define(class {
    constructor() {
      opened += 1;
    }
    close() {}
  });
  const client = new ChatClient("ws://chat.test/ws", { user: "ada", WebSocket: undefined, setTimeout: undefined });
  client.start();
  client.stop();
  assert.equal(opened, 1);
});

test("without a session it makes one, and keeps it over reconnects", () => {
  const chat = makeClient({ session: undefined });
  chat.client.start();
  chat.welcome();
  chat.socket.end(1006);
  chat.reconnect();
  const [first, second] = chat.sockets.map(({ sent }) => sent[0].session);
  assert.match(first, /^[0-9a-f]{32}$/);
  assert.equal(first, second);
});

test("a function for tokens may throw whatever it likes", async () => {
  for (const thrown of [undefined, null, "offline"]) {
    const chat = makeClient({ token: () => Promise.reject(thrown) });
    chat.client.start();
    await soon();
    assert.deepEqual([chat.client.state, chat.of("state").at(-1).reason], ["waiting", `no token: ${thrown}`]);
  }
});

test("a token that was asked for before stop is not used after start", async () => {
  const tokens = [];
  const chat = makeClient({ token: () => new Promise((resolve, reject) => tokens.push({ resolve, reject })) });
  const again = () => {
    chat.client.stop();
    chat.client.start();
  };
  chat.client.start();
  again();
  again();
  tokens[0].resolve("old");
  tokens[1].reject(new Error("old"));
  await soon();
  assert.deepEqual([chat.client.state, chat.sockets.length], ["connecting", 0]);
  tokens[2].resolve("new");
  await soon();
  chat.socket.onopen();
  assert.equal(chat.socket.sent[0].token, "new");
});

test("a message that is too long for the server is refused here, before it costs the connection", async () => {
  const chat = makeClient();
  await chat.inLobby();
  const posting = [chat.client.post("lobby", "é".repeat(70_000)), chat.client.post("lobby", "short")];
  await assert.rejects(posting[0], refused("too_long"));
  assert.deepEqual(
    chat.socket.requests("post").map(({ text }) => text),
    ["short"],
  );
  chat.socket.answer("post", { epoch: "e1", offset: 1, time: "t" });
  assert.equal((await posting[1]).offset, 1);
});

// ---- what the server says ----

test("what is held back in a room that is left is refused, whatever becomes of the connection", async () => {
  const chat = makeClient();
  await chat.inLobby();
  const posting = chat.client.post("lobby", "hi");
  chat.socket.refuse("post", "rate_limited", { retry_after: 3 });
  chat.client.leave("lobby");
  chat.socket.end(1006);
  await assert.rejects(posting, refused("not_joined"));
});

test("what is on its way when its room is left is answered", async () => {
  const chat = makeClient();
  await chat.inLobby();
  const posting = [chat.client.post("lobby", "one"), chat.client.post("lobby", "two")];
  chat.client.leave("lobby");
  await assert.rejects(posting[1], refused("not_joined"));
  chat.socket.answer("post", { epoch: "e1", offset: 1, time: "t" });
  assert.equal((await posting[0]).offset, 1);
});

test("a leave that cannot be served now is tried again, unless the room was joined meanwhile", async () => {
  const chat = makeClient();
  await chat.inLobby();
  chat.client.leave("lobby");
  chat.socket.refuse("leave", "rate_limited", { retry_after: 1 });
  chat.clock.advance(2_000);
  assert.equal(chat.socket.requests("leave").length, 2);
  chat.socket.refuse("leave", "rate_limited", { retry_after: 1 });
  chat.client.join("lobby");
  chat.clock.advance(2_000);
  assert.equal(chat.socket.requests("leave").length, 2);
});

test("a server that says to come again in a year is asked in a minute or so", async () => {
  const chat = makeClient();
  await chat.inLobby();
  chat.client.post("lobby", "hi");
  chat.socket.refuse("post", "rate_limited", { retry_after: 365 * 24 * 3600 });
  assert.ok(chat.of("held")[0].delay <= 75_000);
});

test("the clock that `typing` goes by is not the one that people set", async (t) => {
  const chat = makeClient({ now: undefined });
  await chat.inLobby();
  let passed = 0;
  t.mock.method(performance, "now", () => passed);
  t.mock.method(Date, "now", () => 1e12 - passed);
  chat.client.typing({ room: "lobby" });
  passed += 2_000;
  chat.client.typing({ room: "lobby" });
  assert.equal(chat.socket.requests("typing").length, 2);
});

const malformed = {
  "a hello without an inbox": (chat) => {
    chat.client.start();
    chat.welcome(null);
  },
  "a join without a slice": (chat) => {
    chat.client.start();
    chat.welcome();
    chat.client.join("lobby");
    chat.socket.answer("join", {});
  },
  "a slice of nothing": (chat) => {
    chat.client.start();
    chat.welcome(slice(1, [null]));
  },
  "a message without an offset": async (chat) => {
    await chat.inLobby();
    chat.socket.push(message(undefined));
  },
};
for (const [name, act] of Object.entries(malformed)) {
  test(`${name} is an error, and no exception`, async () => {
    const chat = makeClient();
    await act(chat);
    assert.deepEqual(
      chat.of("error").map(({ code }) => code),
      ["malformed"],
    );
    assert.equal(chat.client.state, "waiting");
  });
}

test("a message without a room is passed over", async () => {
  const chat = makeClient();
  await chat.inLobby();
  chat.socket.push(message(1, { room: undefined }));
  assert.deepEqual([chat.client.state, chat.of("messages").length], ["online", 2]);
});
