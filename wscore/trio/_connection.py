"""One WebSocket connection over any trio stream; imports the core and the transport's leaves.

Two rules carry the whole module.

*Whoever waits reads.* There is no reader task: a task that waits for something from the peer
(a message, a pong, the peer's Close) reads the stream itself; others that wait meanwhile are
parked, and woken after every step, so that one of them takes over. Not reading is the
back-pressure.

*Whoever holds the wire writes.* The wire is a FIFO lock; a frame is encoded only when its
sender holds it, so that a sender cancelled in the queue has sent nothing. A cancelled
``send_all`` may have written half a frame, after which nothing could be sent: the connection
is cut at once. What the protocol makes us answer (pongs, the reply to a Close) is written by a
short-lived task of its own, since otherwise a cancelled ``get_message`` could cut a pong in half.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress

import trio

from wscore import WSConnection
from wscore.connection import Connection, ConnectionState
from wscore.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    TextMessage,
)

from ._errors import CloseReason, ConnectionClosed
from ._options import Options
from ._stream import Endpoint, abort, linger, stream_endpoint

_MAX_UNSENT_REPLIES = 16
_MESSAGES_PER_CHECKPOINT = 64
_ABNORMAL_CLOSURE = 1006


class WebSocketConnection(trio.abc.AsyncResource):
    """An open WebSocket connection; the other functions of this package make them.

    Any number of tasks may call any of the methods at the same time. Messages are sent in the
    order of the calls, and each message goes to exactly one caller of `get_message`.

    Nothing is read while no task waits in `get_message`, `ping` or `aclose`: the peer is slowed
    down by TCP, and its pings are answered later.

    Resource handling:
        The connection owns its stream. `aclose`, also a cancelled one, closes it.

    Error handling:
        Every method raises `ConnectionClosed` once the connection is closed or lost, with the
        same reason as `closed`. Errors of the stream do not escape.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        ws: WSConnection | Connection,
        options: Options,
        *,
        path: str,
        subprotocol: str | None,
        handshake_headers: tuple[tuple[bytes, bytes], ...],
    ) -> None:
        self._stream = stream
        self._ws = ws
        self._path = path
        self._subprotocol = subprotocol
        self._handshake_headers = handshake_headers
        self._local = stream_endpoint(stream, local=True)
        self._remote = stream_endpoint(stream, local=False)
        self._message_queue_size = max(1, options.message_queue_size)
        self._receive_buffer_size = options.receive_buffer_size
        self._disconnect_timeout = options.disconnect_timeout

        self._closed: CloseReason | None = None
        self._lost = False  # nothing more will be read or written
        self._closing = False  # a task is in aclose()
        self._ended = False  # the stream is closed

        self._changed = trio.lowlevel.ParkingLot()  # woken after every step of any kind
        self._reading = False
        self._messages: deque[str | bytes] = deque()
        self._unyielded = 0  # messages returned since the last checkpoint
        self._pings: dict[bytes, object] = {}

        self._wire = trio.StrictFIFOLock()
        self._replies: list[bytes] = []
        self._replying = False

    @property
    def closed(self) -> CloseReason | None:
        """Why the connection is closed or being closed, or None while it is open.

        Whichever end was first, as seen from here: the peer's code and reason, or those given to
        `aclose`; 1006 when the connection was lost.
        """
        return self._closed

    @property
    def cut_reason(self) -> str | None:
        """Why this end cut the connection, a fixed word; None if it did not."""
        return None

    @property
    def is_client(self) -> bool:
        """Whether this end opened the connection."""
        return self._ws.client

    @property
    def is_server(self) -> bool:
        """Whether this end accepted the connection."""
        return not self._ws.client

    @property
    def local(self) -> Endpoint | str:
        """This end's address; a description, if the stream is not TCP."""
        return self._local

    @property
    def remote(self) -> Endpoint | str:
        """The peer's address; a description, if the stream is not TCP."""
        return self._remote

    @property
    def path(self) -> str:
        """The request target: the path, with the query if there is one."""
        return self._path

    @property
    def subprotocol(self) -> str | None:
        """The negotiated subprotocol, or None."""
        return self._subprotocol

    @property
    def handshake_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The headers the peer sent in the handshake, names in lower case."""
        return self._handshake_headers

    # Receiving

    async def get_message(self) -> str | bytes:
        """Return the next message, a str for a text message and bytes for a binary one.

        Messages that were received before the peer's Close, or before the connection was lost, are
        still returned after it. A cancelled call
        loses no message. The call is a checkpoint whenever it has to wait, and at least once in
        64 messages.

        Raises:
            ConnectionClosed: the connection is closed and its last message was returned, or
                this end closed it.
        """
        if self._unyielded >= _MESSAGES_PER_CHECKPOINT:
            self._unyielded = 0
            await trio.lowlevel.checkpoint()
        while not self._messages:
            if self._closed is None:
                await self._advance()
            elif not self._process_leftovers():
                await trio.lowlevel.checkpoint()
                raise ConnectionClosed(self._closed)
        self._unyielded += 1
        message = self._messages.popleft()
        self._notify()
        return message

    async def _advance(self) -> None:
        """Make one step towards whatever the caller waits for; the caller checks and repeats."""
        if self._reading or self._is_full():
            await self._changed.park()
            return
        if self._process():
            self._notify()
            return
        self._reading = True
        self._unyielded = 0
        try:
            data = await self._stream.receive_some(self._receive_buffer_size)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        finally:
            self._reading = False
            self._notify()
        if not data:
            self._lose()
        elif not self._ended:
            self._ws.receive_data(bytes(data))
            self._process()

    def _process(self) -> bool:
        """Handle received events until one of the queues is full; say whether there were any."""
        progress = False
        for event in self._ws.events():
            progress = True
            self._handle(event)
            if self._is_full():
                break
        return progress

    def _process_leftovers(self) -> bool:
        """Handle what was received before a failing send found the connection lost."""
        return self._lost and not self._ended and self._process()

    def _is_full(self) -> bool:
        return (
            len(self._messages) >= self._message_queue_size
            or len(self._replies) >= _MAX_UNSENT_REPLIES
        )

    def _handle(self, event: Event) -> None:
        if isinstance(event, Message):
            if not self._closing:
                self._messages.append(event.data)
        elif isinstance(event, Ping):
            if self._ws.state is ConnectionState.OPEN:
                self._reply(event.response())
        elif isinstance(event, Pong):
            self._resolve_pings(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            # The peer's Close, or our verdict on a violation: answered in the same way.
            if self._closed is None:
                self._closed = CloseReason(int(event.code), event.reason or None)
            if self._ws.state is ConnectionState.REMOTE_CLOSING:
                self._reply(event.response())

    def _lose(self) -> CloseReason:
        """Note that the stream is of no more use."""
        self._lost = True
        if self._closed is None:
            self._closed = CloseReason(_ABNORMAL_CLOSURE)
        self._notify()
        return self._closed

    def _notify(self) -> None:
        if self._changed:
            self._changed.unpark_all()

    # Sending

    async def send_message(self, message: str | bytes) -> None:
        """Send one message, a str as text and bytes as binary.

        Returns when the stream took all of it, so a slow peer slows the caller down. Cancelled
        while other senders are before it, the call has sent nothing. Cancelled while its own
        frame is being written, it cuts the connection (code 1006), as the peer could make no
        sense of what follows half a frame.

        Raises:
            ConnectionClosed: the connection is closed, being closed, or was lost while sending.
            ValueError: ``message`` is neither str nor bytes.
        """
        if isinstance(message, str):
            await self._send(TextMessage(message))
        elif isinstance(message, (bytes, bytearray, memoryview)):
            await self._send(BytesMessage(bytes(message)))
        else:
            raise ValueError(f"a message is str or bytes, not {type(message).__name__}")

    async def ping(self, payload: bytes | None = None) -> None:
        """Send a ping and wait for its pong.

        A peer may answer only the last of several pings (RFC 6455 section 5.5.3), so a pong
        completes the earlier pings as well. Messages that arrive before the pong are kept for
        `get_message`, up to ``message_queue_size`` of them; beyond, the pong waits until
        they are taken.

        Args:
            payload: at most 125 bytes, different from those of all other pings under way;
                None for random ones.

        Raises:
            ConnectionClosed: the connection is closed, or was before the pong came.
            ValueError: a ping with this payload is under way.
        """
        if payload is None:
            payload = os.urandom(8)
        if payload in self._pings:
            raise ValueError(f"a ping with payload {payload!r} is under way")
        ticket = self._pings[payload] = object()
        try:
            await self._send(Ping(payload))
            while self._pings.get(payload) is ticket:
                if self._closed is not None:
                    raise ConnectionClosed(self._closed)
                await self._advance()
        finally:
            if self._pings.get(payload) is ticket:
                del self._pings[payload]

    def _resolve_pings(self, payload: bytes) -> None:
        if payload in self._pings:
            while next(iter(self._pings)) != payload:
                del self._pings[next(iter(self._pings))]
            del self._pings[payload]

    async def pong(self, payload: bytes | None = None) -> None:
        """Send an unsolicited pong, a one-way sign of life (RFC 6455 section 5.5.3).

        Args:
            payload: at most 125 bytes.

        Raises:
            ConnectionClosed: the connection is closed or being closed.
        """
        await self._send(Pong(payload or b""))

    async def _send(self, event: Event) -> None:
        """Wait for the wire, then encode and write one event."""
        try:
            self._wire.acquire_nowait()  # without a checkpoint when nobody else sends
        except trio.WouldBlock:
            await self._wire.acquire()
        try:
            # The last moment to be cancelled with nothing sent.
            await trio.lowlevel.checkpoint_if_cancelled()
            if self._closed is not None:
                raise ConnectionClosed(self._closed)
            await self._transmit(self._ws.send(event))
        finally:
            self._wire.release()

    async def _transmit(self, data: bytes) -> None:
        """Write encoded frames, after the replies that wait; the caller holds the wire."""
        if self._replies:
            data = b"".join(self._replies) + data
            self._replies.clear()
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ConnectionClosed(self._lose()) from None
        except BaseException:
            self._messages.clear()
            await self._cut()
            raise

    def _reply(self, event: Event) -> None:
        """Queue the answer that the protocol demands, and see that it is written."""
        self._replies.append(self._ws.send(event))
        if not self._replying:
            self._replying = True
            trio.lowlevel.spawn_system_task(self._write_replies)

    async def _write_replies(self) -> None:
        """Write the queued replies; end the connection if one was the reply to a Close."""
        try:
            while self._replies:
                async with self._wire:
                    if self._replies:  # else a sender took them along
                        await self._transmit(b"")
                self._notify()
            if self._ws.state is ConnectionState.CLOSED and not self._closing:
                with trio.move_on_after(self._disconnect_timeout):
                    await self._finish()
                await self._cut()
        except ConnectionClosed:
            self._replies.clear()
        except Exception:  # a stream's own kind of error must not end the whole run
            await self._cut()
        finally:
            self._replying = False
            self._notify()

    # Closing

    async def aclose(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the connection: send a Close, wait for the peer's, close the stream.

        Waits for the peer at most ``disconnect_timeout`` seconds, then cuts the stream. Messages
        not yet returned by `get_message` are dropped. Closing again does nothing; the first code
        counts. If cancelled, cuts the stream at once.

        Args:
            code: close code, 1000 or 3000–4999, or another that may be sent (RFC 6455 section 7.4).
            reason: text for people, at most 123 bytes of UTF-8.
        """
        await self.close_in_time(code, reason)

    async def close_in_time(self, code: int = 1000, reason: str | None = None) -> bool:
        """Do what `aclose` does; return False if the peer took too long and the stream was cut."""
        self._messages.clear()
        if self._closing or self._ended:
            await self._wait_ended()
            return True
        self._closing = True
        try:
            with trio.move_on_after(self._disconnect_timeout) as scope:
                with suppress(ConnectionClosed):
                    await self._shake_hands(code, reason)
                await self._finish()
        finally:
            await self._cut()
        return not scope.cancelled_caught

    async def _wait_ended(self) -> None:
        """Wait for another task's `aclose`, which takes no longer than it may."""
        await trio.lowlevel.checkpoint()
        while not self._ended:
            await self._changed.park()

    async def _shake_hands(self, code: int, reason: str | None) -> None:
        """Send a Close, unless the connection is closed already, and wait for the peer's."""
        if self._closed is None:
            self._closed = CloseReason(code, reason)
            self._notify()
            async with self._wire:
                if self._ws.state is ConnectionState.OPEN and not self._lost:
                    await self._transmit(self._ws.send(CloseConnection(code, reason)))
        while self._ws.state is not ConnectionState.CLOSED and not self._lost:
            await self._advance()
        while self._replying:
            await self._changed.park()

    async def _finish(self) -> None:
        """Close the stream; after a closing handshake, let the peer read the last bytes first."""
        if not self._lost:
            await linger(self._stream, half_close=self.is_server)
        with suppress(trio.BrokenResourceError):
            await self._stream.aclose()
        self._ended = True
        self._lose()

    async def _cut(self) -> None:
        """Close the stream at once, with whatever is on its way; does nothing when it is closed."""
        if not self._ended:
            self._ended = True
            self._lose()
            await abort(self._stream)

    def __str__(self) -> str:
        return f"{'client' if self.is_client else 'server'} connection with {self._remote}"
