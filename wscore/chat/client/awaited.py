"""A reply that somebody waits for, whichever way; imports nothing."""

from __future__ import annotations

from collections.abc import Callable


class Awaited:
    """What somebody waits for: a reply, or the error that comes in its place.

    Args:
        on_done: called once, when there is one of them.
    """

    __slots__ = ("_on_done", "error", "reply")

    def __init__(self, on_done: Callable[[], object]) -> None:
        self._on_done = on_done
        self.reply: object = None
        self.error: Exception | None = None

    @property
    def is_done(self) -> bool:
        """Whether there is a reply or an error."""
        return self.reply is not None or self.error is not None

    def resolve(self, reply: object) -> None:
        """There is a reply."""
        if not self.is_done:
            self.reply = reply
            self._on_done()

    def fail(self, error: Exception) -> None:
        """There will be none."""
        if not self.is_done:
            self.error = error
            self._on_done()
