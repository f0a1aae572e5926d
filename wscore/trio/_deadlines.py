"""All deadlines of all connections of a trio run, kept by one task; imports trio only.

A timer for each connection would cost a task, or a place in trio's own queue that moves with every
message. Nearly all deadlines are never reached, since the peer shows life before. So a connection
only notes when it last heard of its peer, and is looked at when it could be overdue at the
earliest; it then says when to look again. Looking twenty seconds later at a connection that was
busy meanwhile finds that out for the price of one subtraction.

Times are rounded up to `RESOLUTION`, so that connections due at about the same time share a bucket:
to enter one, to leave it and to move costs the same however many there are.
"""

from __future__ import annotations

import heapq
import math
from typing import Protocol

import trio

#: Seconds by which a deadline may be noticed late.
RESOLUTION = 0.25

#: The bucket of those in no bucket.
NO_BUCKET = 2**62

_CHECKS_PER_TURN = 100


class Timed(Protocol):
    """Something with deadlines."""

    #: The bucket it is in; begins with `NO_BUCKET`, and belongs to `Deadlines`.
    bucket: int

    def check(self, now: float) -> float | None:
        """Do what is due; return when to be called again, or None for not at all."""

    def crashed(self, error: Exception) -> None:
        """The call above raised."""


class Deadlines:
    """Who is to be looked at when, in one trio run; get it with `current_deadlines`."""

    def __init__(self) -> None:
        self._buckets: dict[int, set[Timed]] = {}
        self._order: list[int] = []  # the buckets' numbers, as a heap
        self._sleep: trio.CancelScope | None = None

    def start(self) -> None:
        """Spawn the task."""
        trio.lowlevel.spawn_system_task(self._run, name="wscore.trio: deadlines")

    def schedule(self, timed: Timed, when: float) -> None:
        """Call ``timed.check`` at that time on trio's clock, if not before."""
        number = math.ceil(when / RESOLUTION)
        if number >= timed.bucket:
            return
        self.cancel(timed)
        timed.bucket = number
        bucket = self._buckets.get(number)
        if bucket is not None:
            bucket.add(timed)
            return
        self._buckets[number] = {timed}
        heapq.heappush(self._order, number)
        if self._sleep is not None and self._order[0] == number:
            self._sleep.deadline = number * RESOLUTION

    def cancel(self, timed: Timed) -> None:
        """Do not call ``timed.check``."""
        bucket = self._buckets.get(timed.bucket)
        if bucket is not None:
            bucket.discard(timed)
        timed.bucket = NO_BUCKET

    async def _run(self) -> None:
        while True:
            deadline = self._order[0] * RESOLUTION if self._order else math.inf
            with trio.CancelScope(deadline=deadline) as self._sleep:
                await trio.sleep_forever()
            self._sleep = None
            while self._order and self._order[0] * RESOLUTION <= trio.current_time():
                await self._check_bucket(heapq.heappop(self._order))

    async def _check_bucket(self, number: int) -> None:
        """Look at all in a bucket; with many of them others have their turn in between."""
        for count, timed in enumerate(self._buckets.pop(number), 1):
            if count % _CHECKS_PER_TURN == 0:
                await trio.lowlevel.checkpoint()
            if timed.bucket != number:  # cancelled or moved meanwhile
                continue
            now = trio.current_time()
            timed.bucket = NO_BUCKET
            try:
                when = timed.check(now)
            except Exception as error:
                timed.crashed(error)
                continue
            if when is not None:
                self.schedule(timed, max(when, now + RESOLUTION / 2))


_current: trio.lowlevel.RunVar[Deadlines | None] = trio.lowlevel.RunVar(
    "wscore.trio deadlines", None
)


def current_deadlines() -> Deadlines:
    """The deadlines of this trio run; their task is started when they are first asked for."""
    deadlines = _current.get()
    if deadlines is None:
        deadlines = Deadlines()
        deadlines.start()
        _current.set(deadlines)
    return deadlines
