"""Pings of both ends and the keepalive, which finds a peer that is gone; imports the core and the
modules beside it.

*Answering pings.* The answers to what was read at once leave together. RFC 6455 section 5.5.3 lets
us answer only the last of several pings, which is what a peer gets who sends more than
`_PONGS_PER_READ` at once, or who does not read the pongs.

*Keepalive.* A peer who sent nothing for ``ping_interval`` seconds is pinged, and has
``ping_timeout`` seconds to send anything. Who must not be read, or does not read, is left alone.
"""

from __future__ import annotations

import os

import trio

from wscore.connection import Connection
from wscore.events import Event, Ping, Pong

from ._errors import CloseReason
from ._flow import MAX_UNSENT, Inbox
from ._options import Options
from ._wire import Wire

_PONGS_PER_READ = 64


class PingTicket:
    """A ping on its way."""

    __slots__ = ("answered", "done", "sent_at")

    def __init__(self, sent_at: float, done: trio.Event | None) -> None:
        self.sent_at = sent_at
        self.done = done
        self.answered = False


class Pings(Inbox):
    """What a session has of pings; `check` is to ask it what is due."""

    __slots__ = ("_pinged_at", "latency", "options", "pings")

    closed: CloseReason | None
    wire: Wire

    def __init__(self, core: Connection, options: Options) -> None:
        super().__init__(core, max(1, options.message_queue_size))
        self.options = options
        self.pings: dict[bytes, PingTicket] | None = None
        self.latency: float | None = None
        self._pinged_at: float | None = None  # by the keepalive, which waits for a sign of life

    def add_ping(self, payload: bytes, ticket: PingTicket) -> None:
        """Note that a ping is sent."""
        if self.pings is None:
            self.pings = {}
        self.pings[payload] = ticket

    def remove_ping(self, payload: bytes, ticket: PingTicket) -> None:
        """Forget a ping for whose pong nobody waits any more."""
        if self.pings is not None and self.pings.get(payload) is ticket:
            del self.pings[payload]

    def _answer_ping(self, ping: Ping, number: int) -> None:
        if number <= _PONGS_PER_READ and self.wire.unsent <= MAX_UNSENT:
            self._append(ping.response())
        else:
            self.due_pong = ping.payload

    def _answer_due_pong(self) -> None:
        if self.due_pong is not None and self.wire.unsent <= MAX_UNSENT:
            self._append(Pong(self.due_pong))
            self.due_pong = None

    def _resolve_pings(self, payload: bytes) -> None:
        """Complete the ping with this payload, and those sent before it."""
        if self.pings is None or payload not in self.pings:
            return
        self.latency = trio.current_time() - self.pings[payload].sent_at
        while True:
            first = next(iter(self.pings))
            ticket = self.pings.pop(first)
            ticket.answered = True
            if ticket.done is not None:
                ticket.done.set()
            if first == payload:
                break
        if not self.pings:
            self.pings = None

    def _check_keepalive(self, now: float) -> float | None:
        """Ping a silent peer, and cut one that stays silent."""
        interval, timeout = self.options.ping_interval, self.options.ping_timeout
        if interval is None:
            return None
        if not self.wire.reading or self.wire.unsent:
            # Not to be read, it cannot show life; not reading, it would not get the ping.
            self._pinged_at = None
            self.last_received = now
        elif self._pinged_at is not None and self.last_received < self._pinged_at:
            due = self._pinged_at + (interval if timeout is None else timeout)
            if now < due:
                return due
            if timeout is not None:
                self.cut("ping timeout")
                return None
        due = self.last_received + interval
        if now < due:
            return due
        payload = os.urandom(4)
        if self.pings is not None:  # a peer may show life otherwise, and never answer a ping
            self.pings = {key: kept for key, kept in self.pings.items() if kept.done is not None}
        self.add_ping(payload, PingTicket(now, None))
        self._append(Ping(payload))
        self.flush()
        self._pinged_at = now
        return now + (interval if timeout is None else min(interval, timeout))

    # What a session has besides

    def _append(self, event: Event) -> None:
        """Send an answer, unless it would come too late."""
        raise NotImplementedError

    def cut(self, why: str | None) -> None:
        """End the connection at once."""
        raise NotImplementedError
