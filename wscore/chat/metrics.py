"""What a chat server counts, as plain numbers; imports `backends` and wscore.trio."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wscore.trio import ServerCounters

from .backends.base import Backend, Command, PostTo, Result, Stored

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the latency histogram, in seconds."""


class WatchedBackend:
    """A back-end whose writes are timed and whose messages are counted; else as it is.

    Args:
        backend: the one that does the work.

    Attributes:
        messages: those that were stored, by ``room`` or ``direct``.
        failures: batches that were not written.
        seconds: how long writing took in all.
        buckets: how many batches took as long as each of `BUCKETS` allows and the one before does
            not; the last number is of those that took longer.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.open = backend.open
        self.follow = backend.follow
        self.unfollow = backend.unfollow
        self.enter = backend.enter
        self.leave = backend.leave
        self.type = backend.type
        self.read_after = backend.read_after
        self.read_before = backend.read_before
        self.rooms = backend.rooms
        self.health = backend.health
        self._wrote = True
        self.messages: Counter[str] = Counter(room=0, direct=0)
        self.failures = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS) + 1)

    @property
    def is_available(self) -> bool:
        """Whether it answers, or, if it cannot tell, whether the last write was carried out."""
        is_reachable = self.health().is_reachable
        return self._wrote if is_reachable is None else is_reachable

    async def write(self, batch: Sequence[Command]) -> list[Result]:
        """See `base.Backend.write`."""
        begin = time.perf_counter()
        try:
            results = await self._backend.write(batch)
        except Exception:
            self._wrote = False
            self.failures += 1
            raise
        taken = time.perf_counter() - begin
        self.seconds += taken
        self.buckets[bisect_left(BUCKETS, taken)] += 1
        self._wrote = True
        for command, result in zip(batch, results, strict=True):
            if isinstance(result, Stored) and not result.duplicate:
                self.messages["room" if isinstance(command, PostTo) else "direct"] += 1
        return results


@dataclass(frozen=True)
class Figures:
    """The state of a server at one moment.

    Attributes:
        counters: of the transport.
        store: the back-end.
        rooms: rooms with somebody present.
        queued: bytes that wait to be sent, on all connections together.
        started: since when it serves, in seconds since 1970.
    """

    counters: ServerCounters
    store: WatchedBackend
    rooms: int
    queued: int
    started: float
