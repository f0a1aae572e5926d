"""What all connections share: hub, journal, store, outboxes; no sockets; imports these."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import count

import trio

from .backends.base import Backend
from .hub import Delivery, Hub, Publication
from .journal import Journal
from .model import Entry, Log
from .outbox import Outbox
from .protocol import CloseCode, Limits, encode, encode_entry, ready

HangUp = Callable[[int, str], None]

_COUNT_INTERVAL = 1.0


class Exchange:
    """Takes what the hub decides to the outboxes; a push is encoded once for all who get it.

    Args:
        backend: the store; its owner opens it with this object as its listener.
        limits: what clients are told and held to.
    """

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self.backend = backend
        self.limits = limits
        self.hub = Hub(limits)
        self.journal = Journal(backend)
        self._outboxes: dict[int, Outbox] = {}
        self._hang_ups: dict[int, HangUp] = {}
        self._numbers = count(1)

    def connect(self, outbox: Outbox, hang_up: HangUp) -> int:
        """Register a connection; the returned number stands for it in the hub."""
        number = next(self._numbers)
        self._outboxes[number] = outbox
        self._hang_ups[number] = hang_up
        return number

    def disconnect(self, connection: int) -> None:
        """Forget a connection and tell those who saw it."""
        del self._outboxes[connection]
        del self._hang_ups[connection]
        self.deliver(self.hub.disconnect(connection))

    def announce(self, entries: Sequence[tuple[Log, Entry]]) -> None:
        """The store has new entries."""
        for log, entry in entries:
            self.deliver(self.hub.announce(log, entry))

    def reset(self, logs: Collection[Log]) -> None:
        """The store began these logs anew: those who follow them have to begin anew too."""
        for log in logs:
            for connection in self.hub.reset(log):
                self._hang_ups[connection](CloseCode.RESTART, "a log was lost: reconnect")

    def deliver(self, deliveries: Iterable[Delivery]) -> None:
        """Queue pushes at all who get them."""
        for to, push in deliveries:
            if not to:
                continue
            if isinstance(push, Publication):
                message = ready(encode_entry(push.entry, push.room))
            else:
                message = encode(push)
            # A full outbox only asks for its connection to be closed; nobody leaves meanwhile.
            for connection in to:
                self._outboxes[connection].put(message)

    async def run(self) -> None:
        """Write what is submitted, and count big rooms once a second, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.journal.run)
            nursery.start_soon(self._tell_counts)

    async def _tell_counts(self) -> None:
        while True:
            self.deliver(self.hub.counts())
            await trio.sleep(_COUNT_INTERVAL)
