"""One WebSocket connection as tasks see it; imports the core and the modules beside it.

What happens by itself is in ``_session``, how bytes travel in ``_wire``. The methods here ask the
session to do something, and wait where there is something to wait for. They take no lock and make
no task, and with the wire of a plain socket a message that can be returned or sent at once costs
no more than the calls and the system's own part.

*Cancellation.* A frame exists from the moment it is encoded, and from then on it is sent, whatever
becomes of the task: it stands in the wire's queue in one piece. So `send_message` waits before it
encodes (cancelled there, it has sent nothing) and after (cancelled there, the frame leaves
later). A message is handed to a waiting task together with its wake-up, so that no cancellation
comes between the two and nothing is lost.

*Interruption.* trio lets `KeyboardInterrupt` strike between any two instructions of a task. In the
middle of what changes the state it would leave that half done, so it is kept out of these methods,
and is raised in the main task instead.
"""

from __future__ import annotations

import inspect
import os
from itertools import chain

import trio

from wscore.connection import Connection
from wscore.events import BytesMessage, Event, Ping, Pong, TextMessage

from ._errors import CloseReason, ConnectionClosed
from ._flow import MAX_UNSENT, MESSAGES_PER_CHECKPOINT, MessageChannel, own_methods
from ._options import Options
from ._pings import PingTicket
from ._session import ENDED, Session
from ._stream import Endpoint, Ends

# `async for` ends with these, and raises with all others: the peer has finished, or leaves.
_NORMAL_ENDS = frozenset({1000, 1001})


class WebSocketConnection(MessageChannel, trio.abc.AsyncResource):
    """An open WebSocket connection; the other functions of this package make them.

    Any number of tasks may call any of the methods at the same time. Messages are sent in the
    order of the calls, and each message goes to exactly one caller of `get_message`.
    ``async for message in connection`` takes messages until the peer closes with code 1000 or 1001,
    and raises `ConnectionClosed` at every other end.

    The connection lives by itself: pings are answered, the peer's Close is noticed, and a peer that
    does not answer pings is found, also while no task waits. It reads ahead
    ``message_queue_size`` messages; beyond, the peer is slowed down by TCP.

    Resource handling:
        The connection owns its stream. `aclose`, also a cancelled one, closes it; so does the end
        of the connection for any other reason, and the end of the trio run.

    Error handling:
        Every method raises `ConnectionClosed` once the connection is closed or lost, with the
        same reason as `closed`. Errors of the stream do not escape.
    """

    __slots__ = (
        "__weakref__",
        "_handshake_headers",
        "_path",
        "_subprotocol",
    )

    _session: Session

    @trio.lowlevel.enable_ki_protection
    def __init__(
        self,
        stream: trio.abc.Stream,
        core: Connection,
        options: Options,
        *,
        path: str,
        subprotocol: str | None,
        handshake_headers: tuple[tuple[bytes, bytes], ...],
        ends: Ends | None = None,
    ) -> None:
        self._path = path
        self._subprotocol = subprotocol
        # One object, not two for each field and one for each pair: NUL is in no header (RFC 9110
        # section 5.5), and few programs look.
        self._handshake_headers = b"\0".join(chain.from_iterable(handshake_headers))
        super().__init__(Session(stream, core, options, ends))

    @property
    def closed(self) -> CloseReason | None:
        """Why the connection is closed or being closed, or None while it is open.

        Whichever end was first, as seen from here: the peer's code and reason, or those given to
        `aclose`; 1006 when the connection was lost.
        """
        return self._session.closed

    @property
    def cut_reason(self) -> str | None:
        """Why this end cut the connection without being asked to; None if it did not.

        One of ``"ping timeout"``: no sign of life; ``"send timeout"``: the peer took nothing of
        what was sent; ``"close timeout"``: it did not answer our Close; ``"unsent limit"``: it was
        too slow for a broadcast; ``"internal error"``: a mistake of this library, which is logged.
        """
        return self._session.cut_reason

    @property
    def is_client(self) -> bool:
        """Whether this end opened the connection."""
        return self._session.core.client

    @property
    def is_server(self) -> bool:
        """Whether this end accepted the connection."""
        return not self._session.core.client

    @property
    def local(self) -> Endpoint | str:
        """This end's address; a description, if the stream is not TCP."""
        return self._session.local

    @property
    def remote(self) -> Endpoint | str:
        """The peer's address; a description, if the stream is not TCP."""
        return self._session.remote

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
        if not self._handshake_headers:
            return ()
        parts = iter(self._handshake_headers.split(b"\0"))
        return tuple(zip(parts, parts, strict=True))

    @property
    def latency(self) -> float | None:
        """Seconds from the last answered ping to its pong; None before the first.

        The pings of the keepalive count too, which come only when the peer is silent.
        """
        return self._session.latency

    @property
    def bytes_unsent(self) -> int:
        """Bytes that are to be sent and that the system has not taken yet."""
        return self._session.wire.unsent

    # Receiving and sending: the rest of `MessageChannel`

    @trio.lowlevel.enable_ki_protection
    async def _get_any(self) -> str | bytes:
        session = self._session
        if self._received >= MESSAGES_PER_CHECKPOINT:
            self._received = 0
            await trio.lowlevel.checkpoint()
        message = self._take()
        if message is None:
            if session.wire.unsent:
                session.flush()
            message = self._take()  # a connection found lost by the flush is read to its end
        if message is None:
            self._received = self._sent = 0
            if session.more:
                session.replied()
            message = await session.next_message()
        return message

    def _is_end(self, error: Exception) -> bool:
        return isinstance(error, ConnectionClosed) and error.reason.code in _NORMAL_ENDS

    @trio.lowlevel.enable_ki_protection
    async def _send_any(self, message: str | bytes | bytearray | memoryview) -> None:
        event = _message_event(message)
        session = self._session
        wire = session.wire
        if (
            self._sent >= MESSAGES_PER_CHECKPOINT
            or wire.unsent > MAX_UNSENT
            or self._turns is not None
        ):
            await self._send_in_turn(event)
        else:
            # Not for a reply: the message was waited for, or is one of a bounded number.
            if not session.messages and self._sent > self._received:
                await trio.lowlevel.checkpoint_if_cancelled()
            self._sent += 1
            session.send(event)
        if wire.unsent > MAX_UNSENT or wire.broken:
            await self._wait_sent()

    # Pings

    @trio.lowlevel.enable_ki_protection
    async def ping(self, payload: bytes | None = None) -> None:
        """Send a ping and wait for its pong.

        A peer may answer only the last of several pings (RFC 6455 section 5.5.3), so a pong
        completes the earlier pings as well. A pong behind more than ``message_queue_size``
        messages is seen when they are taken.

        Args:
            payload: at most 125 bytes, different from those of all other pings under way;
                None for random ones.

        Raises:
            ConnectionClosed: the connection is closed, or was before the pong came.
            ValueError: a ping with this payload is under way.
        """
        if payload is None:
            payload = os.urandom(8)
        session = self._session
        if session.pings is not None and payload in session.pings:
            raise ValueError(f"a ping with payload {payload!r} is under way")
        done = trio.Event()
        ticket = PingTicket(trio.current_time(), done)
        session.add_ping(payload, ticket)
        try:
            await self._send_in_turn(Ping(payload))
            await self._wait_sent()
            await done.wait()
        finally:
            session.remove_ping(payload, ticket)
        if not ticket.answered:
            raise session.closed_error()

    @trio.lowlevel.enable_ki_protection
    async def pong(self, payload: bytes | None = None) -> None:
        """Send an unsolicited pong, a one-way sign of life (RFC 6455 section 5.5.3).

        Args:
            payload: at most 125 bytes.

        Raises:
            ConnectionClosed: the connection is closed or being closed.
        """
        await self._send_in_turn(Pong(payload or b""))
        await self._wait_sent()

    async def _send_in_turn(self, event: Event) -> None:
        """Send one event when all who called before have, and little enough is unsent."""
        self._sent = self._received = 0
        if self._turns is None:
            self._turns = trio.StrictFIFOLock()
        turns = self._turns
        session = self._session
        try:
            async with turns:
                while session.wire.unsent > MAX_UNSENT and session.closed is None:
                    await session.wait_for_change()
                session.send(event)
        finally:
            if not turns.locked():
                self._turns = None

    async def _wait_sent(self) -> None:
        """Wait until so little is unsent that a message may count as sent."""
        session = self._session
        if session.wire.unsent > MAX_UNSENT:
            session.flush()
        while session.wire.unsent > MAX_UNSENT:
            await session.wait_for_change()
        if session.wire.broken:
            while session.closed is None:
                await session.wait_for_change()
            raise session.closed_error()

    @trio.lowlevel.enable_ki_protection
    async def drain(self, *, max_messages: int | None = None) -> None:
        """Wait until at most 64 KiB are unsent, as `send_message` does; a checkpoint in any case.

        With `broadcast`, which does not wait, it keeps within bounds what one peer has caused.

        Args:
            max_messages: wait also until at most so many messages of broadcasts are unsent, of
                those that count.

        Raises:
            ConnectionClosed: the connection was lost.
        """
        self._sent = self._received = 0
        await trio.lowlevel.checkpoint()
        await self._wait_sent()
        if max_messages is not None:
            wire = self._session.wire
            while wire.messages_unsent() > max_messages:
                await self._session.wait_for_change()
            await self._wait_sent()

    # Closing

    @trio.lowlevel.enable_ki_protection
    def close_nowait(self, code: int = 1000, reason: str | None = None) -> None:
        """Begin to do what `aclose` does, and leave the rest to the connection itself.

        From here on the connection counts as closed: nothing more is sent on it, or received. The
        Close leaves behind what is unsent, and ``disconnect_timeout`` holds. Closing again does
        nothing; the first code counts.

        Args:
            code: as for `aclose`.
            reason: text for people, at most 123 bytes of UTF-8.

        Raises:
            LocalProtocolError: the code or the reason may not be sent.
        """
        if self._session.closed is None:
            self._session.close(code, reason)

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

    @trio.lowlevel.enable_ki_protection
    async def close_in_time(self, code: int = 1000, reason: str | None = None) -> bool:
        """Do what `aclose` does; return False if the peer took too long and the stream was cut."""
        session = self._session
        why: str | None = None
        try:
            if session.closed is None:
                session.close(code, reason)
            else:
                session.discard()
            await trio.lowlevel.checkpoint()
            with trio.move_on_after(session.options.disconnect_timeout) as scope:
                await session.wait_ended()
            if scope.cancelled_caught:
                why = "close timeout"
        finally:
            session.cut(why)
            if session.phase != ENDED:
                with trio.CancelScope(shield=True):
                    await session.wait_ended()
        return why is None

    def __str__(self) -> str:
        return f"{'client' if self.is_client else 'server'} connection with {self.remote}"


own_methods(WebSocketConnection, "get_message", "send_message")

# In C nothing strikes. What that calls is protected where it is defined.
for _method in (MessageChannel.get_message, MessageChannel.send_message):
    if inspect.isfunction(_method):
        trio.lowlevel.enable_ki_protection(_method)


def _message_event(message: object) -> Event:
    """The event that sends a message.

    Raises:
        ValueError: ``message`` is neither str nor bytes.
    """
    if isinstance(message, str):
        return TextMessage(message)
    if isinstance(message, memoryview) and not message.c_contiguous:
        return BytesMessage(bytes(message))
    if isinstance(message, (bytes, bytearray, memoryview)):
        return BytesMessage(message)  # type: ignore[arg-type]
    raise ValueError(f"a message is str or bytes, not {type(message).__name__}")
