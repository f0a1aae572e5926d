"""Ways from the Python client to a server in memory: they can be cut, held up and refused."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import trio
import trio.testing
from chat.client import MemoryListener

from wscore.chat.client import ChatClient, open_chat
from wscore.trio import WebSocketConnection, wrap_client_stream


class Door:
    """Connects clients to a listener.

    Attributes:
        is_blocking: whether the server is held up by a client who does not read.
        listener: of the server; another one after a restart, None while there is no server.
        streams: the clients' ends of all connections so far.
        tries: how often somebody tried to connect.
    """

    def __init__(self, listener: MemoryListener | None, *, is_blocking: bool = False) -> None:
        self.listener = listener
        self.is_blocking = is_blocking
        self.streams: list[trio.abc.Stream] = []
        self.tries = 0

    async def connect(self) -> WebSocketConnection:
        self.tries += 1
        await trio.lowlevel.checkpoint()
        if self.listener is None:
            raise OSError("nobody listens")
        stream = self.listener.connect(blocking=self.is_blocking)
        self.streams.append(stream)
        return await wrap_client_stream(
            None, stream, "chat.example", "/ws", subprotocols=["chat.wscore.v1"]
        )

    async def cut(self) -> None:
        """Lose all connections."""
        while self.streams:
            await trio.aclose_forcefully(self.streams.pop())

    def open_chat(
        self, user: str | None, **options: Any
    ) -> AbstractAsyncContextManager[ChatClient]:
        """A client that comes through this door."""
        return open_chat("ws://chat.example/ws", user, connect=self.connect, **options)
