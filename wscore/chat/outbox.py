"""What waits to be sent on one connection, bounded; imports `protocol`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from .protocol import Encoded

_MAX_BYTES = 1024 * 1024
_MAX_MESSAGES = 1024
_LOW_BYTES = 64 * 1024


class Outbox:
    """A queue that never makes its producers wait, and calls for help where it is full.

    Live pushes and replies count against the bounds. A replay does not: its producer waits for
    `low` before each portion, so it adds a portion at most.

    Args:
        on_full: called once, when the bounds would be passed; from then on nothing is taken in.
    """

    def __init__(self, on_full: Callable[[], None]) -> None:
        self._on_full = on_full
        self._queue: deque[tuple[Encoded, bool]] = deque()
        self._waiting = 0  # bytes in the queue, and the part that counts against the bounds
        self._counted_bytes = 0
        self._counted_messages = 0
        self._closed = False
        self._sending = False
        self._arrival = trio.Event()
        self._relief = trio.Event()

    @property
    def is_low(self) -> bool:
        """Whether there is room for more of what can wait."""
        return len(self._queue) < _MAX_MESSAGES // 2 and self._waiting <= _LOW_BYTES

    @property
    def waiting(self) -> int:
        """Bytes in the queue."""
        return self._waiting

    def put(self, message: Encoded) -> None:
        """Queue a reply or a live push."""
        if self._closed:
            return
        self._counted_bytes += message.size
        self._counted_messages += 1
        if self._counted_bytes > _MAX_BYTES or self._counted_messages > _MAX_MESSAGES:
            self.close()
            self._on_full()
            return
        self._append(message, is_counted=True)

    def put_replayed(self, message: Encoded) -> None:
        """Queue a push that was waited for; it does not count against the bounds."""
        if not self._closed:
            self._append(message, is_counted=False)

    def _append(self, message: Encoded, *, is_counted: bool) -> None:
        self._queue.append((message, is_counted))
        self._waiting += message.size
        self._arrival.set()

    def close(self) -> None:
        """Forget what waits, and take nothing more in."""
        self._closed = True
        self._queue.clear()
        self._waiting = 0
        self._relieve()

    def _relieve(self) -> None:
        self._relief.set()
        self._relief = trio.Event()

    async def get(self) -> str:
        """The next message to send; there is one consumer, and its return here means: sent."""
        self._sending = False
        while not self._queue:
            self._relieve()
            self._arrival = trio.Event()
            await self._arrival.wait()
        was_low = self.is_low
        message, is_counted = self._queue.popleft()
        self._waiting -= message.size
        if is_counted:
            self._counted_bytes -= message.size
            self._counted_messages -= 1
        self._sending = True
        if self.is_low and not was_low:
            self._relieve()
        return message.text

    async def low(self) -> None:
        """Wait for `is_low`."""
        while not self.is_low:
            await self._relief.wait()

    async def drained(self) -> None:
        """Wait until everything was sent."""
        while self._queue or self._sending:
            await self._relief.wait()
