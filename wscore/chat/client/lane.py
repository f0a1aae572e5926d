"""Requests that wait to be sent, in order and no faster than the server takes them; no I/O;
imports the protocol's types.
"""

from __future__ import annotations

import heapq
import math

from wscore.chat.protocol import Direct, History, Join, Leave, Ok, Ping, Post, Rooms

from .awaited import Awaited
from .log import FollowedLog
from .wire import encode_request

NumberedRequest = Rooms | Join | Leave | Post | Direct | History | Ping


class Ticket:
    """A request on its way to a reply.

    Attributes:
        number: requests are sent in this order.
        request: it, with the id under which it is sent, and sent again.
        text: the same as it goes over the wire.
        kind: of its reply.
        log: the log that must be live before it is sent; None for any time.
        awaited: who waits.
        is_sent: whether this connection has it.
    """

    __slots__ = ("awaited", "is_sent", "kind", "log", "number", "request", "text")

    def __init__(
        self,
        number: int,
        request: NumberedRequest,
        kind: type[Ok],
        log: FollowedLog | None,
        awaited: Awaited,
    ) -> None:
        self.number = number
        self.request = request
        self.text = encode_request(request)
        self.kind = kind
        self.log = log
        self.awaited = awaited
        self.is_sent = False

    def __lt__(self, other: Ticket) -> bool:
        return self.number < other.number


class Lane:
    """Tickets that share one of the server's rates; the server would refuse what is faster."""

    def __init__(self) -> None:
        self._tickets: list[Ticket] = []
        self.open(0, 0, 0)

    def open(self, rate: float, burst: float, now: float) -> None:
        """A connection is there, on which so many requests per second are taken; 0: any number."""
        self._rate = rate
        self._burst = self._tokens = max(burst, 1.0)
        self._at = now
        self._closed_until = -math.inf

    def pause(self, until: float) -> None:
        """Send nothing before that time: the server said so."""
        self._closed_until = max(self._closed_until, until)
        self._tokens, self._at = 1.0, self._closed_until

    def put(self, ticket: Ticket) -> None:
        """Queue a ticket, before those that are younger."""
        heapq.heappush(self._tickets, ticket)

    def remove(self, ticket: Ticket) -> None:
        """Take a ticket back, if it waits here."""
        if ticket in self._tickets:
            self._tickets.remove(ticket)
            heapq.heapify(self._tickets)

    def clear(self) -> None:
        """Forget what waits."""
        self._tickets.clear()

    def take(self, now: float) -> Ticket | None:
        """The next ticket, if there is one and it is time for it."""
        if not self._tickets or self.opens_at > now:
            return None
        if self._rate:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1
            self._at = now
        return heapq.heappop(self._tickets)

    @property
    def opens_at(self) -> float:
        """The time from which `take` returns something; infinity where nothing waits."""
        if not self._tickets:
            return math.inf
        if not self._rate:
            return self._closed_until
        return max(self._closed_until, self._at + (1 - self._tokens) / self._rate)
