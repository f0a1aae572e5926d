"""Requests that were made and not answered yet, over one connection after the other; no I/O;
imports the lanes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from wscore.chat import protocol
from wscore.chat.protocol import Limits, Ok

from .awaited import Awaited
from .errors import ProtocolError
from .lane import Lane, NumberedRequest, Ticket
from .log import FollowedLog

_OTHER_REQUESTS = 5
"""How many times the rate of posts the other requests have."""


class Requests:
    """All tickets; those that can be sent on the present connection wait in lanes."""

    def __init__(self) -> None:
        self._numbers = count()
        self._tickets: dict[str, Ticket] = {}
        self._given_up: dict[str, int] = {}  # replies to come that nobody waits for
        self._posts = Lane()
        self._others = Lane()
        self._is_open = False

    def __iter__(self) -> Iterator[Ticket]:
        return iter(self._tickets.values())

    def __contains__(self, ticket: Ticket) -> bool:
        return self._tickets.get(ticket.request.id) is ticket

    def open(self, limits: Limits, now: float) -> None:
        """Requests can be sent: those without a log at once."""
        self._is_open = True
        # One less than there may be: the server's clock is not ours.
        rate, burst = limits.rate, limits.burst - 1
        self._posts.open(rate, burst, now)
        self._others.open(_OTHER_REQUESTS * rate, _OTHER_REQUESTS * burst, now)
        self.release(None)

    def close(self) -> None:
        """Nothing can be sent: all tickets wait for the next connection."""
        self._is_open = False
        self._given_up.clear()
        self._posts.clear()
        self._others.clear()
        for ticket in self:
            ticket.is_sent = False

    def submit(
        self,
        request: NumberedRequest,
        kind: type[Ok],
        log: FollowedLog | None,
        awaited: Awaited,
    ) -> Ticket:
        """Make a request.

        Raises:
            ChatError: it cannot be encoded, or is too long.
            ValueError: its id is that of another one.
        """
        if request.id in self._tickets:
            raise ValueError(f"a message with the id {request.id!r} is under way")
        ticket = Ticket(next(self._numbers), request, kind, log, awaited)
        self._tickets[request.id] = ticket
        if self._is_open and (log is None or log.is_live or is_join(ticket)):
            self._lane(ticket).put(ticket)
        return ticket

    def release(self, log: FollowedLog | None) -> None:
        """What waited for this log to be live can be sent; None: what waits for no log."""
        for ticket in self:
            if ticket.log is log and not ticket.is_sent:
                self._lane(ticket).put(ticket)

    def take(self, now: float) -> Ticket | None:
        """The next one to send now, if there is one; it counts as sent."""
        ticket = self._others.take(now) or self._posts.take(now)
        if ticket is not None:
            ticket.is_sent = True
        return ticket

    @property
    def next_time(self) -> float:
        """When `take` returns one, if nothing happens before; may be infinite."""
        return min(self._others.opens_at, self._posts.opens_at)

    def answered(self, id: str) -> Ticket | None:
        """Take away the ticket that a reply is for; None where nobody waits for it any more.

        Raises:
            ProtocolError: nobody ever did.
        """
        if id in self._given_up:
            self._given_up[id] -= 1
            if not self._given_up[id]:
                del self._given_up[id]
            return None
        ticket = self._tickets.get(id)
        if ticket is None or not ticket.is_sent:
            raise ProtocolError("a reply to no request")
        del self._tickets[id]
        return ticket

    def put_back(self, ticket: Ticket) -> None:
        """The reply was none: the ticket is unanswered again."""
        self._tickets[ticket.request.id] = ticket

    def try_again(self, ticket: Ticket, at: float) -> None:
        """Send what was answered with "not now" again, in its turn, and all others after it."""
        ticket.is_sent = False
        self.put_back(ticket)
        self._lane(ticket).pause(at)
        self._lane(ticket).put(ticket)

    def drop(self, ticket: Ticket) -> None:
        """Forget a ticket; a reply that may still come is for nobody."""
        id = ticket.request.id
        del self._tickets[id]
        if ticket.is_sent:
            self._given_up[id] = self._given_up.get(id, 0) + 1
        else:
            self._lane(ticket).remove(ticket)

    def _lane(self, ticket: Ticket) -> Lane:
        is_post = isinstance(ticket.request, protocol.Post | protocol.Direct)
        return self._posts if is_post else self._others


def is_join(ticket: Ticket) -> bool:
    """Whether the dialogue itself made it, so that a connection's end ends it too."""
    return isinstance(ticket.request, protocol.Join)
