"""All logs of one user, and the events that come of what arrives for them; no I/O; imports the
logs and the events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wscore.chat.protocol import ChatError, DirectPush, Inbox, JoinOk, MessagePush, Position

from .events import Event, Gap, Left, Positions
from .log import FollowedLog, Room
from .terms import name_key


class Delivery(NamedTuple):
    """An event, and the position of a log that is reached when the program has it."""

    event: Event
    log: FollowedLog | None = None
    position: Position | None = None


class Following:
    """The inbox, the rooms, and what of them is still to be delivered.

    Args:
        positions: where to go on.

    Attributes:
        inbox: the log of direct messages.
        is_lagging: whether events were left out, so that another connection has to bring them.
    """

    def __init__(self, positions: Positions) -> None:
        self.inbox = FollowedLog(None, positions.inbox)
        self.is_lagging = False
        self._rooms: dict[str, Room] = {}
        self._spelled: dict[str, Room] = {}
        self._arrived: list[Delivery] = []
        self._has_space = True
        for name, position in positions.rooms.items():
            self._rooms[name_key(name)] = Room(name, position)

    # --- Rooms ------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Room]:
        return iter(self._rooms.values())

    def __contains__(self, name: str) -> bool:
        return name_key(name) in self._rooms

    @property
    def positions(self) -> Positions:
        """Where each log goes on, after what was delivered."""
        rooms = {room.name: room.delivered for room in self if room.delivered is not None}
        return Positions(self.inbox.delivered, rooms)

    def room(self, name: str) -> Room:
        """A room, known or new.

        Raises:
            ChatError: ``invalid_name``.
        """
        return self._rooms.setdefault(name_key(name), Room(name, None))

    def joined_room(self, name: str) -> Room:
        """A room that the program is in, or wants to be in.

        Raises:
            ChatError: ``invalid_name``, ``not_joined``.
        """
        room = self._rooms.get(name_key(name))
        if room is None or not room.is_wanted:
            raise ChatError("not_joined", f"join {name!r} first")
        return room

    def live_room(self, spelling: str) -> Room | None:
        """The room that a push names; None for one that was left."""
        return self._spelled.get(spelling)

    def rename(self, room: Room, spelling: str) -> None:
        """Take over the server's spelling."""
        room.name = room.room = spelling
        self._spelled[spelling] = room

    def forget(self, room: Room) -> None:
        """Follow a room no longer."""
        room.is_wanted = room.is_live = False
        self._rooms = {key: known for key, known in self._rooms.items() if known is not room}
        if self._spelled.get(room.name) is room:
            del self._spelled[room.name]

    # --- Arrivals ---------------------------------------------------------------------------

    def expect(self, has_space: bool) -> None:
        """Something arrives.

        Args:
            has_space: whether there is space for events. Once there was not, there are none any
                more until `close`: another connection brings them.
        """
        self._has_space = has_space
        self._arrived = []

    @property
    def arrived(self) -> list[Delivery]:
        """What the program is to get of it."""
        return self._arrived

    def close(self) -> None:
        """The connection is gone."""
        self.is_lagging = False
        for log in (self.inbox, *self):
            log.is_live = False

    def begin(
        self,
        log: FollowedLog,
        event: Event,
        part: JoinOk | Inbox,
        messages: Sequence[MessagePush] | Sequence[DirectPush],
        asked: Position | None,
    ) -> None:
        """Go live with a log.

        Args:
            log: it.
            event: says so.
            part: the slice.
            messages: those of the slice.
            asked: the position that was to be continued.

        Raises:
            ContiguityError: the slice is not what was asked for.
        """
        start = log.begin(part, messages, asked)
        log.is_live = True
        if asked is None:
            log.position = asked = start  # also where the event finds no space
        self.deliver(event, log, asked)
        if part.gap:
            self.deliver(Gap(log.room, asked, start), log, start)
        for message in messages:
            self.follow(log, message)

    def follow(self, log: FollowedLog, message: MessagePush | DirectPush) -> None:
        """Take the next message of a log.

        Raises:
            ContiguityError: it is not the next one.
        """
        if not self.is_lagging:
            self.deliver(message, log, log.follow(message.offset))

    def deliver(
        self, event: Event, log: FollowedLog | None = None, position: Position | None = None
    ) -> None:
        """Hand an event on, if there is space, or if no other connection would bring it."""
        if not isinstance(event, Left) and (self.is_lagging or not self._has_space):
            self.is_lagging = True
            return
        if log is not None:
            log.position = position
        self._arrived.append(Delivery(event, log, position))
