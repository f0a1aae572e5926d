"""What all connections share: hub, journal, store, outboxes; no sockets; imports these."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import trio

from .backends.base import Backend
from .hub import Delivery, Hub, Publication
from .journal import Journal
from .model import Entry, Log
from .outbox import Outbox
from .protocol import Limits, encode, encode_entry, ready

_COUNT_INTERVAL = 1.0


class Exchange:
    """Takes what the hub decides to the outboxes; a push is encoded once for all who get it.

    Args:
        backend: the store; opened with `announce` by the owner of this object.
        limits: what clients are told and held to.
    """

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self.backend = backend
        self.limits = limits
        self.hub = Hub(limits)
        self.journal = Journal(backend)
        self._outboxes: dict[int, Outbox] = {}
        self._numbers = count(1)

    def connect(self, outbox: Outbox) -> int:
        """Register a connection; the returned number stands for it in the hub."""
        number = next(self._numbers)
        self._outboxes[number] = outbox
        return number

    def disconnect(self, connection: int) -> None:
        """Forget a connection and tell those who saw it."""
        del self._outboxes[connection]
        self.deliver(self.hub.disconnect(connection))

    def announce(self, log: Log, entry: Entry) -> None:
        """The store has a new entry."""
        self.deliver(self.hub.announce(log, entry))

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
