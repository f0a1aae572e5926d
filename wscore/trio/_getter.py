"""A task that waits for a message; imports trio and the errors."""

from __future__ import annotations

import outcome
import trio

from ._errors import ConnectionClosed


class Getter:
    """A task that waits for a message; also what trio calls if it is cancelled meanwhile."""

    __slots__ = ("_all", "_task")

    def __init__(self, all_getters: list[Getter]) -> None:
        self._task = trio.lowlevel.current_task()
        self._all = all_getters
        all_getters.append(self)

    def deliver(self, message: str | bytes) -> None:
        """Wake the task with the message, so that no cancellation comes between."""
        trio.lowlevel.reschedule(self._task, outcome.Value(message))

    def refuse(self, error: ConnectionClosed) -> None:
        """Wake the task, as no message comes any more."""
        trio.lowlevel.reschedule(self._task, outcome.Error(error))

    def __call__(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._all.remove(self)
        return trio.lowlevel.Abort.SUCCEEDED
