"""What happens in a connection without anyone waiting; imports the core and the modules beside it.

A `Session` stands between a wire, which carries bytes, and the core, which knows what they mean. It
is a state machine of plain calls: the wire calls it when something happens, the tasks of the user
when they want something, the deadlines when something is due. So pings are answered, the peer's
Close is noticed and dead peers are found whatever the tasks of the user are doing; and none of it
costs a task, a lock or a timer. `WebSocketConnection` adds what waits.

*Receiving.* The peer's bytes are read until a message comes for which there is no room, as
``message_queue_size`` others wait to be taken by the user; then TCP slows the peer down. (A Close
directly behind a full queue is still seen.) What was read at once is taken apart a bounded
piece at a time; the core holds the rest of it. A server also stops reading a peer who does not read
himself, from `MAX_UNSENT` bytes on, so that requests cannot pile up replies. A client does not, as
two ends that both wait for the other to read first would wait for ever.

*A violation* directly behind messages is left unread until a task has taken these and asks for the
next, so that replies to them can still be sent; nothing else is read meanwhile. A handler that does
not ask hears of it after `_REPLY_TIMEOUT`.

*Sending.* While more of the peer's messages wait to be taken, what is sent is only queued: the
replies to all that came in one read leave in one write. They leave with the first message that is
sent when no input is left, when a task waits for the next message, and in any case at the
scheduler's next turn.

*The end.* A connection goes through the phases below, and never back. `OPEN` ends when either side
sends a Close; `CLOSING` when both have and ours has been sent; `LINGERING` when the peer has ended
TCP. Every phase but the first has a deadline, and an error of the wire ends any of them.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, NoReturn

import trio

from wscore.connection import Connection, ConnectionState
from wscore.events import BytesMessage, CloseConnection, Event, Ping, Pong

from ._deadlines import NO_BUCKET, current_deadlines
from ._errors import CloseReason, ConnectionClosed
from ._flow import MAX_UNSENT
from ._getter import Getter
from ._options import Options
from ._pings import Pings
from ._stream import LINGER_TIMEOUT, Ends, stream_ends
from ._wires import open_wire

logger = logging.getLogger("wscore.trio")

OPEN: Final = 0
CLOSING: Final = 1
LINGERING: Final = 2
ENDED: Final = 3

# Of what a lost peer had said before, so much is kept until the user takes it, in bytes: what is
# left in the system's buffer, compressed, may be a thousand times as large.
_KEPT_OF_LOST = 2**22
_MESSAGE_COST = 64
# From this size on, in bytes, a server's binary message is not copied to stand behind its header.
_LARGE = 16384
# A violation directly behind messages is left unread for so long, in seconds, at most.
_REPLY_TIMEOUT = 1.0
_ABNORMAL_CLOSURE = 1006


class Session(Pings):
    """The state of a connection, and all that changes it; see the module."""

    __slots__ = (
        "_deadline",
        "_deadlines",
        "_progress_at",
        "_replies_due",
        "_room",
        "bucket",
        "changed",
        "cut_reason",
        "local",
        "phase",
        "remote",
    )

    def __init__(
        self, stream: trio.abc.Stream, core: Connection, options: Options, ends: Ends | None = None
    ) -> None:
        super().__init__(core, options)
        self.local, self.remote = ends or stream_ends(stream)
        self.phase = OPEN
        self.cut_reason: str | None = None

        self._replies_due: float | None = None  # a violation behind messages is not read before
        self._room: int | None = None  # of a lost connection: bytes of messages that are still kept
        self.changed: trio.lowlevel.ParkingLot | None = None  # for all who wait for the rest
        now = trio.current_time()
        self.last_received = now
        self._progress_at: float | None = None  # when it last took something of what is unsent
        self._deadline = 0.0  # of a phase that is not OPEN
        self.bucket = NO_BUCKET
        self._deadlines = self.run = current_deadlines()

        self.wire = open_wire(stream, self, options.receive_buffer_size)
        self.wire.start()
        if options.ping_interval is not None:
            self._deadlines.schedule(self, now + options.ping_interval)
        self.proceed()  # with what came behind the handshake

    # Receiving: called by the wire

    @trio.lowlevel.enable_ki_protection
    def _awaits_close(self) -> bool:
        """What a peer says behind our Close is read, so that his is seen; behind his, dropped."""
        return self.phase == CLOSING and self.core.state is not ConnectionState.CLOSED

    def ended(self) -> None:
        """Take note that the peer will send no more."""
        if self.phase != ENDED:
            self._set_closed(CloseReason(_ABNORMAL_CLOSURE))
            self.wire.close()

    @trio.lowlevel.enable_ki_protection
    def _react(self) -> None:
        self._answer_due_pong()
        self._step()

    @trio.lowlevel.enable_ki_protection
    def _take_event(self, event: Event, pings: int) -> int:
        if isinstance(event, Ping):
            pings += 1
            self._answer_ping(event, pings)
        elif isinstance(event, Pong):
            self._resolve_pings(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            self._take_close(event)
        return pings

    @trio.lowlevel.enable_ki_protection
    def _count_kept(self, taken: list[str | bytes]) -> None:
        """Keep no more of a lost peer's messages once they are too much."""
        if self._room is None:
            return
        self._room -= sum(map(len, taken)) + len(taken) * _MESSAGE_COST
        if self._room < 0:
            self.discarding = True

    @trio.lowlevel.enable_ki_protection
    def _awaits_replies(self, delivered: bool) -> bool:
        now = trio.current_time()
        if self._replies_due is None:
            if not delivered and not self.messages:
                return False
            self._replies_due = now + _REPLY_TIMEOUT
            self._deadlines.schedule(self, self._replies_due)
        return self.open and now < self._replies_due

    def replied(self) -> None:
        """Go on behind the messages taken, as a task asks for the next one, and there is none."""
        self._replies_due = -math.inf
        self.proceed()

    @trio.lowlevel.enable_ki_protection
    def next_message(self) -> Coroutine[Any, Any, str | bytes]:
        """Wait for a message, while there is none; or raise `ConnectionClosed`."""
        if self.closed is not None:
            return self._refuse_message()
        return trio.lowlevel.wait_task_rescheduled(Getter(self.getters))  # noqa: ASYNC105

    async def _refuse_message(self) -> NoReturn:
        await trio.lowlevel.checkpoint()
        raise self.closed_error()

    def _take_close(self, event: CloseConnection) -> None:
        """Take the peer's Close, or the core's verdict on a violation: both are answered alike."""
        self._set_closed(CloseReason(int(event.code), event.reason or None))
        if self.core.state is ConnectionState.REMOTE_CLOSING and not self.wire.broken:
            self.wire.append(self.core.send(event.response()))
        self._begin_closing()

    # Sending

    def send(self, event: Event) -> None:
        """Encode an event and send it, at once or together with what follows; see the module.

        Raises:
            ConnectionClosed: the connection is closed or being closed.
        """
        if self.closed is not None:
            raise ConnectionClosed(self.closed)
        wire = self.wire
        if self.messages:
            wire.append(self.core.send(event))
            return
        if isinstance(event, BytesMessage) and len(event.data) >= _LARGE:
            wire.send_parts(*self.core.send_parts(event))
        else:
            wire.send(self.core.send(event))
        if wire.unsent:
            self.watch_sending()

    def _append(self, event: Event) -> None:
        """Send an answer, unless it would come too late."""
        if self.phase == OPEN and self.core.state is ConnectionState.OPEN:
            self.wire.append(self.core.send(event))

    @trio.lowlevel.enable_ki_protection
    def flush(self) -> None:
        """Send what was queued, as far as the system takes it."""
        self.wire.flush()
        self.watch_sending()
        if self.phase != OPEN:
            self._step()

    @trio.lowlevel.enable_ki_protection
    def watch_sending(self) -> None:
        """Have the peer cut, in time, if it takes nothing of what is unsent."""
        if self.wire.unsent and self._progress_at is None:
            self._progress_at = trio.current_time()
            self._deadlines.schedule(self, self._progress_at + self.options.send_timeout)

    def progressed(self) -> None:
        """Take note that the system took some of what was unsent."""
        self._progress_at = None
        self.watch_sending()
        self._answer_due_pong()
        if self.wire.unsent <= MAX_UNSENT:
            self._wake()
        self._step()

    def broken(self) -> None:
        """Take note that nothing can be sent; why, the peer may have said before."""
        self.queue_size = sys.maxsize
        self._room = _KEPT_OF_LOST
        if self.phase == OPEN:
            self._enter(CLOSING, LINGER_TIMEOUT)
        self._wake()
        self.proceed()

    # Deadlines

    def check(self, now: float) -> float | None:
        """Do what is due; return when to be called again."""
        if self.phase == ENDED:
            return None
        if self.phase != OPEN:
            return self._check_closing(now)
        if self._replies_due is not None:
            self.proceed()
            if self.phase != OPEN:
                return self._deadline
        again = self._check_keepalive(now)
        if self._progress_at is not None and self.phase == OPEN:
            due = self._progress_at + self.options.send_timeout
            if now >= due:
                self.cut("send timeout")
                return None
            again = due if again is None else min(due, again)
        if self._replies_due is not None:
            again = self._replies_due if again is None else min(self._replies_due, again)
        return again

    def _check_closing(self, now: float) -> float | None:
        if now < self._deadline:
            return self._deadline
        if self.phase == LINGERING:
            self.wire.close()
        else:
            self.cut("close timeout" if self.closed is not None else None)
        return None

    # The end

    def _set_closed(self, reason: CloseReason) -> None:
        """Note why the connection is closed, the first time, and tell all who wait."""
        if self.closed is not None:
            return
        self.closed = reason
        getters, self.getters = self.getters, []
        for getter in getters:  # there are some only if no message is left
            getter.refuse(self.closed_error())
        pings, self.pings = self.pings, None
        for ticket in (pings or {}).values():
            if ticket.done is not None:
                ticket.done.set()
        self._wake()

    def closed_error(self) -> ConnectionClosed:
        """The exception for one who finds the connection closed."""
        assert self.closed is not None
        return ConnectionClosed(self.closed)

    async def wait_for_change(self) -> None:
        """Wait until something happened that one who sends or closes may wait for."""
        if self.changed is None:
            self.changed = trio.lowlevel.ParkingLot()
        await self.changed.park()

    async def wait_ended(self) -> None:
        """Wait until the wire is closed."""
        while self.phase != ENDED:
            await self.wait_for_change()

    def _wake(self) -> None:
        if self.changed is not None:
            self.changed.unpark_all()

    def close(self, code: int, reason: str | None) -> None:
        """Send a Close behind what is unsent; only while nobody has closed.

        Raises:
            LocalProtocolError: the code or the reason may not be sent.
        """
        data = self.core.send(CloseConnection(code, reason))
        self._set_closed(CloseReason(code, reason))
        self.wire.append(data)
        self._begin_closing()
        self.discard()
        self.flush()

    def close_slow(self, code: int, reason: str | None) -> None:
        """Send a Close ahead of what is unsent, as far as no frame is cut in two by that."""
        self.cut_reason = "unsent limit"
        self.wire.drop_unsent()
        self.close(code, reason)

    def discard(self) -> None:
        """Drop the messages that wait, and those that come."""
        self.discarding = True
        self.messages.clear()
        self.proceed()

    def _begin_closing(self) -> None:
        if self.phase == OPEN:
            self._enter(CLOSING, self.options.disconnect_timeout)

    def _enter(self, phase: int, timeout: float) -> None:
        self.phase = phase
        self.open = False
        self._deadline = trio.current_time() + timeout
        self._deadlines.schedule(self, self._deadline)

    def _step(self) -> None:
        """Go into the next phase if that is due, and read if that is wanted."""
        wire = self.wire
        if self.phase == CLOSING and not wire.unsent and self.core.state is ConnectionState.CLOSED:
            self._enter(LINGERING, LINGER_TIMEOUT)
            # RFC 6455 section 7.1.1: the server closes TCP first; a client waits for it.
            if not self.core.client:
                wire.half_close()
        reading = self.phase == LINGERING or not (
            self.more
            or len(self.messages) > self.queue_size
            or (wire.unsent > MAX_UNSENT and not self.core.client)
        )
        if reading is not wire.reading and self.phase != ENDED:
            wire.set_reading(reading)

    def cut(self, why: str | None) -> None:
        """End the connection at once.

        Args:
            why: for `WebSocketConnection.cut_reason`; None if it was this end's wish.
        """
        if self.phase != ENDED:
            self.cut_reason = self.cut_reason or why
            self._set_closed(CloseReason(_ABNORMAL_CLOSURE))
            self.wire.abort(reset=why is not None)

    def wire_closed(self) -> None:
        """Take note that all is over."""
        self.phase = ENDED
        self.open = False
        self._deadlines.cancel(self)
        self._set_closed(CloseReason(_ABNORMAL_CLOSURE))
        self._wake()

    def crashed(self, error: Exception) -> None:
        """End this connection, and no other, after a mistake of ours.

        Nothing may escape, as that would end the trio run: neither what the program's own logging
        raises, nor what comes of a state that is not what it should be.
        """
        with suppress(Exception):
            logger.error("%s: internal error", self.remote, exc_info=error)
        with suppress(Exception):
            self.cut("internal error")
