"""What all connections share: hub, journal, store, outboxes; imports these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from itertools import count
from typing import Any

import trio

from wscore.events import PreparedMessage

from .auth import Gate
from .backends.base import Backend
from .hub import Delivery, Hub, Publication
from .journal import Journal, Replies
from .model import Entry, Log, Name
from .outbox import Outbox, push
from .protocol import CloseCode, Limits, Push, encode, encode_entry

_COUNT_INTERVAL = 1.0


class Exchange:
    """Takes what the hub decides to the connections; a push is encoded once for all who get it.

    Args:
        backend: the store; its owner opens it with this object as its listener.
        limits: what clients are told and held to.
        gate: who somebody is, and what they may do.
    """

    def __init__(self, backend: Backend, limits: Limits, gate: Gate) -> None:
        self.backend = backend
        self.limits = limits
        self.gate = gate
        self.hub = Hub(limits, backend)
        self.journal = Journal(backend, self._deliver_batch)
        self._announced: list[tuple[Log, Entry]] = []
        self._outboxes: dict[int, Outbox] = {}
        self._numbers = count(1)
        self._nursery: trio.Nursery | None = None

    def connect(self, outbox: Outbox) -> int:
        """Register a connection; the returned number stands for it in the hub."""
        number = next(self._numbers)
        self._outboxes[number] = outbox
        return number

    def disconnect(self, connection: int) -> None:
        """Forget a connection and tell those who saw it."""
        del self._outboxes[connection]
        self.deliver(self.hub.disconnect(connection))

    def announce(self, entries: Sequence[tuple[Log, Entry]]) -> None:
        """The store has new entries; those of a batch go out with the replies to it."""
        self._announced.extend(entries)
        if not self.journal.is_writing:
            self._deliver_batch()

    def _deliver_batch(self, replies: Replies = ()) -> None:
        """Send what a batch led to: to each connection its pushes and replies, in one write."""
        entries, self._announced = self._announced, []
        logs: dict[Log, list[Entry]] = {}
        for log, entry in entries:
            logs.setdefault(log, []).append(entry)
        deliveries = [self.hub.announce(log, found) for log, found in logs.items()]
        self._deliver_together([delivery for delivery in deliveries if delivery.to], replies)

    def reset(self, logs: Collection[Log] | None) -> None:
        """The store began these logs, or all, anew: those who follow them have to do so too.

        Their connections are closed before this returns, so that nothing of the new epoch can
        reach them, whatever is under way for them.
        """
        self._deliver_batch()  # what was announced before is of the old epoch
        for log in self.hub.logs() if logs is None else logs:
            for connection in self.hub.reset(log):
                self._outboxes[connection].close(
                    CloseCode.RESTART, "a log began a new epoch: reconnect"
                )

    def present(self, room: Log, came: Collection[Name], left: Collection[Name]) -> None:
        """Other processes say who is present there."""
        self.deliver(self.hub.present_elsewhere(room, came, left))

    def typing(self, log: Log, user: Name) -> None:
        """Another process says who writes there."""
        self.deliver(self.hub.typing_elsewhere(log, user, trio.current_time()))

    def deliver(self, deliveries: Iterable[Delivery]) -> None:
        """Send pushes to all who get them."""
        for delivery in deliveries:
            if delivery.to:
                self._push(delivery.to, _prepare(delivery))

    def _deliver_together(self, deliveries: Sequence[Delivery], replies: Replies) -> None:
        if len(deliveries) <= 1:
            self.deliver(deliveries)
            deliveries = ()
        pushes = [_prepare(delivery) for delivery in deliveries]
        # By connection: which of the deliveries are for it. Most get the same ones as others do.
        shares: dict[int, tuple[int, ...]] = {}
        for index, delivery in enumerate(deliveries):
            one = (index,)
            for connection in delivery.to:
                before = shares.get(connection)
                shares[connection] = one if before is None else before + one
        answers: dict[int, list[str]] = {}
        for connection, reply in replies:
            answers.setdefault(connection, []).append(reply)
        alike: dict[tuple[int, ...], list[int]] = {}
        for connection, share in shares.items():
            if connection not in answers:
                alike.setdefault(share, []).append(connection)
        for share, connections in alike.items():
            self._push(connections, [push for index in share for push in pushes[index]])
        for connection, answer in answers.items():
            if connection in self._outboxes:
                share = shares.get(connection, ())
                own = [push for index in share for push in pushes[index]]
                self._push((connection,), [*own, *answer])

    def _push(self, to: Collection[int], messages: Sequence[str | PreparedMessage]) -> None:
        # One that is too slow only begins to close; nobody leaves meanwhile.
        outboxes = self._outboxes
        push([outboxes[connection].connection for connection in to], messages)

    def spawn(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Start a task that ends with the server; it must not raise."""
        assert self._nursery is not None, "the exchange is not running"
        self._nursery.start_soon(function, *args)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what is submitted, and count big rooms once a second, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self.journal.run)
            self._nursery.start_soon(self._tell_counts)
            task_status.started()

    async def _tell_counts(self) -> None:
        while True:
            self.deliver(self.hub.counts())
            await trio.sleep(_COUNT_INTERVAL)


def _prepare(delivery: Delivery) -> list[PreparedMessage]:
    return [PreparedMessage(_encode(one)) for one in delivery.pushes]


def _encode(one: Push | Publication) -> str:
    if isinstance(one, Publication):
        return encode_entry(one.entry, one.room).decode()
    return encode(one).text
