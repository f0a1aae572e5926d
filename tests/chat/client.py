"""A small client of the chat protocol for the tests, and a server to talk to in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import trio
import trio.testing

from wscore.chat import ChatServer
from wscore.trio import ConnectionClosed, WebSocketConnection, wrap_client_stream

SESSION = "a-session-of-22-chars!"
Json = dict[str, Any]

_ids = count(1)


class ChatClient:
    """Sends requests, and keeps pushes apart from replies."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection
        self.pushes: list[Json] = []
        self.replies: dict[str | None, Json] = {}

    async def send(self, type: str, **fields: Any) -> str:
        """Send a request and return its id."""
        id = fields.pop("id", None) or f"id-{next(_ids)}"
        await self.connection.send_message(json.dumps({"type": type, "id": id, **fields}))
        return id

    async def receive(self) -> Json:
        """The next message of any kind."""
        message = await self.connection.get_message()
        assert isinstance(message, str)
        assert len(message.encode()) <= 128 * 1024
        found = json.loads(message)
        assert isinstance(found, dict)
        return found

    async def reply(self, id: str | None) -> Json:
        """Wait for the reply to a request; whatever comes first is kept."""
        while id not in self.replies:
            message = await self.receive()
            if message["type"] in ("ok", "error"):
                assert message["id"] not in self.replies
                self.replies[message["id"]] = message
            else:
                self.pushes.append(message)
        return self.replies.pop(id)

    async def ask(self, type: str, **fields: Any) -> Json:
        """Send a request and wait for its reply, of either kind."""
        return await self.reply(await self.send(type, **fields))

    async def ok(self, type: str, **fields: Any) -> Json:
        """Send a request and wait for its ``ok``."""
        reply = await self.ask(type, **fields)
        assert reply["type"] == "ok", reply
        return reply

    async def error(self, type: str, **fields: Any) -> str:
        """Send a request and wait for its error; returns the code."""
        reply = await self.ask(type, **fields)
        assert reply["type"] == "error", reply
        assert reply["reason"]
        code = reply["code"]
        assert isinstance(code, str)
        return code

    async def hello(self, user: str, **fields: Any) -> Json:
        return await self.ok("hello", user=user, **{"session": SESSION, **fields})

    async def push(self, type: str | None = None) -> Json:
        """The next push, kept or new; with a type, others before it are passed over."""
        while True:
            message = self.pushes.pop(0) if self.pushes else await self.receive()
            if type is None or message["type"] == type:
                return message

    async def sync(self) -> list[Json]:
        """Wait until every request has taken effect; returns all pushes up to there."""
        await self.ok("history", inbox=True, limit=1)
        pushes, self.pushes = self.pushes, []
        return pushes

    async def closed(self) -> int:
        """Read until the connection is closed, and return the code."""
        try:
            while True:
                self.pushes.append(await self.receive())
        except ConnectionClosed as error:
            return error.reason.code


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener whose clients are in the same program."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](100)
        self._clients: list[trio.abc.Stream] = []

    async def accept(self) -> trio.abc.Stream:
        return await self._receive.receive()

    async def aclose(self) -> None:
        await self._receive.aclose()

    def connect(self, *, blocking: bool = False) -> trio.abc.Stream:
        """A client's stream; a blocking one holds up the server until what it sent is read."""
        pair = (
            trio.testing.lockstep_stream_pair() if blocking else trio.testing.memory_stream_pair()
        )
        self._send.send_nowait(pair[1])
        self._clients.append(pair[0])
        return pair[0]

    async def hang_up(self) -> None:
        """Lose every client, so that no server waits for one to take its leave."""
        for stream in self._clients:
            await trio.aclose_forcefully(stream)


class SilentStream(trio.abc.Stream):
    """A stream that, once ``silent``, neither hears nor says anything, but is not closed."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.silent = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.silent:
            await trio.sleep_forever()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        if self.silent:
            await trio.sleep_forever()
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


class Chat:
    """A running server, and its door."""

    def __init__(self, server: ChatServer, nursery: trio.Nursery) -> None:
        self.server = server
        self.listener = MemoryListener()
        self.nursery = nursery
        self.stopped = trio.Event()

    async def connect(
        self, *, blocking: bool = False, stream: trio.abc.Stream | None = None
    ) -> ChatClient:
        """A client that has not said hello; over the listener's stream, or one around it."""
        connection = await wrap_client_stream(
            self.nursery,
            stream or self.listener.connect(blocking=blocking),
            "chat.example",
            "/ws",
            subprotocols=["chat.wscore.v1"],
        )
        return ChatClient(connection)

    async def user(self, name: str, *, room: str | None = None, **fields: Any) -> ChatClient:
        """A client that has said hello, and joined the room if one is given."""
        client = await self.connect()
        await client.hello(name, **fields)
        if room is not None:
            await client.ok("join", room=room)
        return client


@asynccontextmanager
async def running(server: ChatServer) -> AsyncIterator[Chat]:
    """Run a server in memory."""
    async with trio.open_nursery() as clients, trio.open_nursery() as nursery:
        chat = Chat(server, clients)
        await nursery.start(_serve, chat)
        yield chat
        await chat.listener.hang_up()
        nursery.cancel_scope.cancel()
        clients.cancel_scope.cancel()


async def _serve(chat: Chat, *, task_status: Any) -> None:
    await chat.server.serve_listeners([chat.listener], task_status=task_status)
    chat.stopped.set()
