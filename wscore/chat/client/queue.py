"""Events on their way from the connection to the program; imports what they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import trio

from .following import Delivery


class EventQueue:
    """A queue that tells when it is full, and ends with an error.

    Args:
        capacity: from so many events on it is full.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a queue holds at least one event, not {capacity}")
        self._capacity = capacity
        self._events: deque[Delivery] = deque()
        self._error: Exception | None = None
        self._change = trio.Event()

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be put in; what one message brings may pass the bound."""
        return len(self._events) >= self._capacity

    @property
    def is_empty(self) -> bool:
        """Whether the program has everything."""
        return not self._events

    def put(self, deliveries: Iterable[Delivery]) -> None:
        """Queue events."""
        self._events.extend(deliveries)
        self.touch()

    def end(self, error: Exception) -> None:
        """Raise an error behind the last event."""
        self._error = error
        self.touch()

    async def get(self) -> Delivery:
        """Take the next event; cancelled, it loses none.

        Raises:
            Exception: the one given to `end`.
        """
        await trio.lowlevel.checkpoint()
        while not self._events:
            if self._error is not None:
                raise self._error
            await self.changed()
        delivery = self._events.popleft()
        self.touch()
        return delivery

    async def changed(self) -> None:
        """Wait until something was put in or taken out, or for `touch`."""
        await self._change.wait()

    def touch(self) -> None:
        """Wake up who waits for a change."""
        self._change.set()
        self._change = trio.Event()
