"""One connected user, from the first message to the end; imports the layers below and wscore.trio.

There is one task, which reads. What is sent is sent by whoever has something to say, see `outbox`;
pings, dead peers and the closing handshake are the transport's matter.
"""

from __future__ import annotations

import trio

from wscore.trio import ConnectionClosed, WebSocketConnection

from .conversation import Conversation
from .exchange import Exchange
from .outbox import Outbox
from .protocol import CloseCode

_HELLO_SECONDS = 10


class Peer:
    """Joins a WebSocket connection to a conversation.

    Args:
        connection: an open connection; closed when `run` returns.
        exchange: what all connections share.
    """

    __slots__ = ("_connection", "_conversation", "_outbox")

    def __init__(self, connection: WebSocketConnection, exchange: Exchange) -> None:
        self._connection = connection
        self._outbox = Outbox(connection)
        self._conversation = Conversation(exchange, self._outbox)

    @property
    def bytes_unsent(self) -> int:
        """Bytes that wait to be sent."""
        return self._connection.bytes_unsent

    def dismiss(self, code: int, reason: str) -> None:
        """Take no more requests, answer the posts that are on their way to the store, and close."""
        self._conversation.dismiss(code, reason)

    async def run(self) -> None:
        """Serve the connection until either side ends it."""
        try:
            await self._wait_for_hello()
            while True:
                await self._take(await self._connection.get_message())
        except ConnectionClosed:
            pass
        finally:
            self._conversation.close()
        await self._connection.aclose()

    async def _wait_for_hello(self) -> None:
        deadline = trio.current_time() + _HELLO_SECONDS
        while not self._conversation.has_greeted:
            with trio.move_on_at(deadline) as waiting:
                message = await self._connection.get_message()
            if waiting.cancelled_caught:
                self._outbox.close(CloseCode.POLICY, "no hello in time")
            self._outbox.require_open()
            await self._take(message)

    async def _take(self, message: str | bytes) -> None:
        """Handle a message, and wait while its sender does not read what it caused."""
        if isinstance(message, bytes):
            self._outbox.close(CloseCode.UNSUPPORTED, "only text messages")
            return
        await self._conversation.receive(message)
        if not self._outbox.is_low:
            await self._outbox.low()
