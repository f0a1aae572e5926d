"""What one process tells the others that share its store; imports `model` only."""

from __future__ import annotations

from typing import Protocol

from .model import Log, Name


class Others(Protocol):
    """The way to the processes that share a store; nothing of it waits or raises."""

    def follow(self, log: Log) -> None:
        """Tell here what comes after the head that a `Claim` or `OpenRoom` next tells of this log.

        To be called before that; there may be news of other logs, too.
        """

    def unfollow(self, log: Log) -> None:
        """Nobody needs this log any more."""

    def enter(self, room: Log, user: Name) -> None:
        """A user is present in a room at this process from now on."""

    def leave(self, room: Log, user: Name) -> None:
        """A user that had entered is present at this process no longer."""

    def type(self, log: Log, user: Name) -> None:
        """Somebody here writes in a room, or to the user with this inbox; may get lost."""


class Alone:
    """There are no others: the store is used by one process, and announces every log."""

    def follow(self, log: Log) -> None:
        """See `Others.follow`."""

    def unfollow(self, log: Log) -> None:
        """See `Others.unfollow`."""

    def enter(self, room: Log, user: Name) -> None:
        """See `Others.enter`."""

    def leave(self, room: Log, user: Name) -> None:
        """See `Others.leave`."""

    def type(self, log: Log, user: Name) -> None:
        """See `Others.type`."""
