"""The queue of unsent bytes that both wires have; imports ``_flow``."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ._flow import SendQueue


class NotingQueue(SendQueue):
    """Unsent bytes of which it is known how many messages of broadcasts they are."""

    __slots__ = ("_counted", "_noted", "_noted_bytes")

    def __init__(self) -> None:
        super().__init__()
        # Of messages that may be unsent, in the order sent: the sizes, negative where they do not
        # count; the sum of the sizes; how many count.
        self._noted: deque[int] | None = None
        self._noted_bytes = self._counted = 0

    def note(self, sizes: Sequence[int], *, counted: bool) -> None:
        """Note of which sizes the messages are that were sent last, some of which is unsent."""
        if self._noted is None:
            self._noted = deque()
            self._noted_bytes = self._counted = 0
        self._noted.extend(sizes if counted else [-size for size in sizes])
        self._noted_bytes += sum(sizes)
        self._counted += len(sizes) if counted else 0
        self.messages_unsent()

    def messages_unsent(self) -> int:
        """How many of the messages that were noted, and count, have a part that is unsent.

        What is unsent is the end of what was sent, so it is searched from there. Anything else that
        is unsent, a ping perhaps, passes for a part of them: that may be one too many.
        """
        noted = self._noted
        if noted is None:
            return 0
        while noted and self._noted_bytes - abs(noted[0]) >= self.unsent:
            size = noted.popleft()
            self._noted_bytes -= abs(size)
            self._counted -= size > 0
        return self._counted

    def _advance(self, size: int) -> None:
        super()._advance(size)
        if not self.unsent:
            self._noted = None

    def _forget(self) -> None:
        super()._forget()
        self._noted = None
