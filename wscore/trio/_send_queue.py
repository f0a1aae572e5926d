"""What is known of a queue of unsent bytes beside how many they are; imports nothing here."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class _Noted:
    """Messages that may be unsent.

    Attributes:
        sizes: in the order sent; negative where they do not count.
        bytes: their sum.
        counted: how many count.
    """

    __slots__ = ("bytes", "counted", "sizes")

    def __init__(self) -> None:
        self.sizes: deque[int] = deque()
        self.bytes = self.counted = 0


class Notes:
    """What a `SendQueue` has besides: how many messages of broadcasts its unsent bytes are."""

    __slots__ = ()

    unsent: int
    _noted: _Noted | None

    def note(self, sizes: Sequence[int], *, counted: bool) -> None:
        """Note of which sizes the messages are that were sent last, some of which is unsent."""
        noted = self._noted
        if noted is None:
            noted = self._noted = _Noted()  # type: ignore[misc]  # the queue has the slot
        noted.sizes.extend(sizes if counted else [-size for size in sizes])
        noted.bytes += sum(sizes)
        noted.counted += len(sizes) if counted else 0
        self.messages_unsent()

    def messages_unsent(self) -> int:
        """How many of the messages that were noted, and count, have a part that is unsent.

        What is unsent is the end of what was sent, so it is searched from there. Anything else that
        is unsent, a ping perhaps, passes for a part of them: that may be one too many.
        """
        noted = self._noted
        if noted is None:
            return 0
        sizes = noted.sizes
        while sizes and noted.bytes - abs(sizes[0]) >= self.unsent:
            size = sizes.popleft()
            noted.bytes -= abs(size)
            noted.counted -= size > 0
        return noted.counted
