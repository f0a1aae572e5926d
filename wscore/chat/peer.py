"""One connected user: reader, writer, and their end; imports the layers below and wscore.trio."""

from __future__ import annotations

import trio

from wscore.trio import ConnectionClosed, HTTPRequest, WebSocketConnection

from .conversation import Conversation
from .exchange import Exchange
from .outbox import Outbox
from .protocol import CloseCode

_HELLO_SECONDS = 10
_CLOSE_SECONDS = 5
_PING_INTERVAL = 20
_PONG_TIMEOUT = 20


class Peer:
    """Joins a WebSocket connection to a conversation.

    A reader hands what arrives to the conversation; a writer sends what is in the outbox. The
    reader pauses while the outbox is not low, so that nobody fills it with replies they do not
    read.

    Args:
        connection: an open connection; closed when `run` returns.
        exchange: what all connections share.
    """

    def __init__(self, connection: WebSocketConnection, exchange: Exchange) -> None:
        self._connection = connection
        self._exchange = exchange
        self._outbox = Outbox(self._too_slow)
        self._life = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._farewell: tuple[int, str] | None = None

    @property
    def farewell(self) -> int | None:
        """The close code, if it was this end that began to close."""
        return None if self._farewell is None else self._farewell[0]

    @property
    def queued(self) -> int:
        """Bytes that wait to be sent."""
        return self._outbox.waiting

    def close(self, code: int, reason: str) -> None:
        """Begin to close: reading ends, what waits is sent, and all of it within five seconds."""
        if self._farewell is None:
            self._farewell = code, reason
            self._life.deadline = trio.current_time() + _CLOSE_SECONDS
            self._reading.cancel()

    def _upgrade(self) -> HTTPRequest:
        """The request by which the connection was opened, made anew where somebody asks."""
        opened = self._connection
        headers = list(opened.handshake_headers)
        return HTTPRequest("GET", opened.path, headers, opened.remote, opened.local)

    def _too_slow(self) -> None:
        self.close(CloseCode.SLOW, "too slow: reconnect and resume")

    async def run(self) -> None:
        """Serve the connection until either side ends it."""
        with self._life:
            async with trio.open_nursery() as nursery:
                conversation = Conversation(
                    self._exchange, self._outbox, nursery.start_soon, self.close, self._upgrade
                )
                nursery.start_soon(self._write)
                nursery.start_soon(self._keep_alive)
                try:
                    with self._reading:
                        await self._read(conversation)
                finally:
                    conversation.close()
                if self._farewell is not None:
                    await conversation.settled()
                    await self._outbox.drained()
                    await self._connection.aclose(*self._farewell)
                nursery.cancel_scope.cancel()
        if self._life.cancelled_caught:  # too late for taking leave: nobody listens
            with trio.move_on_after(0):
                await self._connection.aclose(*(self._farewell or ()))

    async def _read(self, conversation: Conversation) -> None:
        deadline = trio.current_time() + _HELLO_SECONDS
        try:
            while not conversation.has_greeted:
                with trio.move_on_at(deadline) as waiting:
                    message = await self._connection.get_message()
                if waiting.cancelled_caught:
                    self.close(CloseCode.POLICY, "no hello in time")
                    return
                if not await self._take(conversation, message):
                    return
            while await self._take(conversation, await self._connection.get_message()):
                pass
        except ConnectionClosed:
            pass

    async def _take(self, conversation: Conversation, message: str | bytes) -> bool:
        """Handle one message; returns whether the next one is wanted."""
        if isinstance(message, bytes):
            self.close(CloseCode.UNSUPPORTED, "only text messages")
            return False
        await conversation.receive(message)
        if not self._outbox.is_low:
            await self._outbox.low()
        return self._farewell is None

    async def _write(self) -> None:
        try:
            while True:
                await self._connection.send_message(await self._outbox.get())
        except ConnectionClosed:
            self._life.cancel()

    async def _keep_alive(self) -> None:
        """Ask for a sign of life, and end a connection that gives none."""
        try:
            while True:
                await trio.sleep(_PING_INTERVAL)
                with trio.move_on_after(_PONG_TIMEOUT) as waiting:
                    await self._connection.ping()
                if waiting.cancelled_caught:
                    self._life.cancel()
        except ConnectionClosed:
            self._life.cancel()
