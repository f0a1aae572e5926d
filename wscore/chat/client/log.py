"""One log as a client follows it: its position, and the arithmetic that finds a broken promise;
imports the protocol's types.
"""

from __future__ import annotations

from collections.abc import Sequence

from wscore.chat.protocol import DirectPush, Inbox, JoinOk, MessagePush, Position

from .awaited import Awaited
from .errors import ContiguityError
from .events import Joined


class FollowedLog:
    """A room's log or the inbox.

    Attributes:
        room: the room's name, the server's spelling once it is known; None for the inbox.
        position: of the last message that was taken in; what follows is asked for. None before
            the first slice.
        delivered: of the last message that the program got.
        is_live: whether this connection brings its messages.
    """

    def __init__(self, room: str | None, position: Position | None) -> None:
        self.room = room
        self.position = position
        self.delivered = position
        self.is_live = False

    def begin(
        self,
        part: JoinOk | Inbox,
        messages: Sequence[MessagePush] | Sequence[DirectPush],
        asked: Position | None,
    ) -> Position:
        """Check a slice.

        Args:
            part: the slice.
            messages: those in it.
            asked: the position that was to be continued.

        Returns:
            The position before its first message.

        Raises:
            ContiguityError: it is not what was asked for, or has a hole or a repeat.
        """
        if part.gap and asked is None:
            raise ContiguityError(self.room, "a gap where nothing was to be continued")
        if asked is not None and not part.gap:
            if part.epoch != asked.epoch:
                raise ContiguityError(
                    self.room, f"epoch {part.epoch!r} continues epoch {asked.epoch!r}"
                )
            start = asked.offset
        else:
            start = messages[0].offset - 1 if messages else part.offset
        last = start
        for message in messages:
            self._expect(message.offset, last)
            last = message.offset
        if last > part.offset or (last < part.offset and not part.more):
            raise ContiguityError(
                self.room, f"the slice ends with offset {last}, the log with {part.offset}"
            )
        return Position(part.epoch, start)

    def follow(self, offset: int) -> Position:
        """Check a push; returns its position.

        Raises:
            ContiguityError: it does not follow the message before it.
        """
        if not self.is_live or self.position is None:
            raise ContiguityError(self.room, "a message before the slice")
        self._expect(offset, self.position.offset)
        return Position(self.position.epoch, offset)

    def confirm(self, epoch: str) -> None:
        """Check the epoch in which something was stored.

        Raises:
            ContiguityError: it is another than that of the messages.
        """
        if self.is_live and self.position is not None and epoch != self.position.epoch:
            raise ContiguityError(
                self.room, f"stored in epoch {epoch!r}, following epoch {self.position.epoch!r}"
            )

    def _expect(self, offset: int, last: int) -> None:
        if offset != last + 1:
            fault = "a hole" if offset > last else "a repeat"
            raise ContiguityError(self.room, f"{fault}: offset {offset} after {last}")


class Room(FollowedLog):
    """A room's log, and whether we are in the room.

    Attributes:
        is_wanted: whether the program joined it.
        joined: what the last join brought; None before.
        waiting: who waits for a join.
    """

    def __init__(self, room: str, position: Position | None) -> None:
        super().__init__(room, position)
        self.name = room
        self.is_wanted = False
        self.joined: Joined | None = None
        self.waiting: list[Awaited] = []
