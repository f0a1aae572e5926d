"""Who is where: rooms, presence, live subscriptions; imports `channel`, `others`, `protocol`.

No I/O, no clock, no trio: a command goes in, deliveries come out, and connections are numbers.

Rooms and inboxes are both channels: a channel knows where its log ends, who gets each new entry at
once (*live*), and who is still being brought up to date from the store. One rule keeps every
connection's view of a log free of holes and repeats: it goes live only at the moment its cursor
equals the channel's offset, and both are looked at without a wait in between.

Who is present is decided here, from the connections of this process and from what is heard of the
others: a user is present in a room while there is a connection of theirs in it anywhere.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Literal, NamedTuple

from .channel import TYPING_INTERVAL, Channel
from .model import Entry, Head, Log, Name, inbox_log, room_log
from .others import Alone, Others
from .protocol import ChatError, Limits, PresencePush, Push, RoomInfo, TypingPush

_LISTED_MEMBERS = 200
_ANYBODY = ""
"""Stands for all users of a big room; no name is empty."""


class Publication(NamedTuple):
    """An entry on its way to those who are live; ``room`` is None for an inbox."""

    entry: Entry
    room: str | None


class Delivery(NamedTuple):
    """What to push, in order, and to which connections."""

    to: Collection[int]
    pushes: Sequence[Push | Publication]


class _Connection:
    __slots__ = ("logs", "user", "wrote")

    def __init__(self, user: Name) -> None:
        self.user = user
        self.logs: set[Log] = set()
        # To whom it last wrote who is not here, and when.
        self.wrote: tuple[str, float] = "", 0


class Hub:
    """The state that all connections share.

    Args:
        limits: ``presence`` and ``joined`` are obeyed here.
        others: told which logs are followed here, and what users do here.
    """

    def __init__(self, limits: Limits, others: Others | None = None) -> None:
        self._limits = limits
        self._others = others or Alone()
        self._connections: dict[int, _Connection] = {}
        self._channels: dict[Log, Channel] = {}
        self._recount: set[Log] = set()
        # Rooms by how many are present, so that to list the first ones costs no look at the rest.
        self._ranks: dict[int, dict[Log, Channel]] = {}

    # --- Connections ------------------------------------------------------------------------

    def connect(self, connection: int, user: Name) -> None:
        """A connection has become one of this user's."""
        self._connections[connection] = _Connection(user)

    def rename(self, connection: int, user: Name) -> None:
        """The first spelling of the user's name is known; to be called before any `enter`."""
        self._connections[connection].user = user

    def disconnect(self, connection: int) -> list[Delivery]:
        """A connection is gone; also for one that never got as far as `connect`."""
        gone = self._connections.get(connection)
        if gone is None:
            return []
        deliveries: list[Delivery] = []
        for log in list(gone.logs):
            deliveries += self._detach(connection, log)
        del self._connections[connection]
        return deliveries

    # --- Logs -------------------------------------------------------------------------------

    def head(self, log: Log) -> Head | None:
        """The end of a log that is followed, as far as it was announced; None: not known yet."""
        channel = self._channels.get(log)
        if channel is None or channel.epoch is None:
            return None
        return Head(channel.epoch, channel.offset)

    def name(self, log: Log) -> str:
        """The first spelling of the name of a log that was `opened`."""
        return self._channels[log].name

    def opened(self, log: Log, name: str, head: Head) -> None:
        """The store has said where a log ends and how its name is spelled.

        Entries that were announced since are newer than ``head`` and win.
        """
        channel = self._channels[log]
        channel.name = name
        channel.epoch = head.epoch
        channel.offset = max(channel.offset, head.offset)

    def announce(self, log: Log, entries: Sequence[Entry]) -> Delivery:
        """Entries were stored: for those who are live; the others will read them from the store.

        Args:
            log: which they are in.
            entries: at least one, in the order of the log.
        """
        channel = self._channels.get(log)
        if channel is None:
            return Delivery((), ())
        channel.offset = entries[-1].offset
        if not channel.live:
            return Delivery((), ())
        room = channel.name if log.kind == "room" else None
        return Delivery(channel.live, [Publication(entry, room) for entry in entries])

    def logs(self) -> list[Log]:
        """All logs that somebody follows or is about to."""
        return list(self._channels)

    def reset(self, log: Log) -> list[int]:
        """A log began a new epoch: nobody gets any more of it, and these have to go."""
        channel = self._channels.get(log)
        if channel is None:
            return []
        gone = [*channel.live, *channel.cursors]
        channel.live.clear()
        channel.cursors = dict.fromkeys(gone)
        channel.epoch = None
        channel.offset = 0
        self._forget_others(channel)
        return gone

    def attach(self, connection: int, log: Log) -> None:
        """Begin a slice: hold back live entries until `settle` or `abandon`.

        Raises:
            ChatError: ``limit_reached``, the connection is in too many rooms.
        """
        logs = self._connections[connection].logs
        if log not in logs and len(logs) > self._limits.joined:  # one of them is the inbox
            raise ChatError("limit_reached", f"at most {self._limits.joined} rooms at once")
        logs.add(log)
        channel = self._channels.get(log)
        if channel is None:
            channel = self._channels[log] = Channel(log)
            self._others.follow(log)
        if connection in channel.live:
            channel.live.remove(connection)
            channel.cursors[connection] = channel.offset
        else:
            channel.cursors.setdefault(connection, None)

    def settle(self, connection: int, log: Log, cursor: int) -> bool:
        """The connection was sent everything up to ``cursor``.

        Returns:
            Whether it is live from here on; otherwise the store has more for it.
        """
        channel = self._channels[log]
        if cursor == channel.offset:
            channel.cursors.pop(connection, None)
            channel.live.add(connection)
            return True
        channel.cursors[connection] = cursor
        return False

    def abandon(self, connection: int, log: Log) -> int | None:
        """A slice could not be made.

        Returns:
            Where the connection was before, if it followed the log already, else None.
        """
        cursor = self._channels[log].cursors[connection]
        if cursor is None:
            self._detach(connection, log)
        return cursor

    def follows(self, connection: int, log: Log) -> bool:
        """Whether a slice of this log was sent on this connection."""
        channel = self._channels.get(log)
        if channel is None:
            return False
        return connection in channel.live or channel.cursors.get(connection) is not None

    def _detach(self, connection: int, log: Log) -> list[Delivery]:
        channel = self._channels[log]
        self._connections[connection].logs.discard(log)
        channel.live.discard(connection)
        channel.cursors.pop(connection, None)
        deliveries = self._exit(connection, channel)
        if not channel.live and not channel.cursors:
            self._forget_others(channel)
            del self._channels[log]
            self._others.unfollow(log)
            self._recount.discard(log)
        return deliveries

    # --- Presence ---------------------------------------------------------------------------

    def enter(self, connection: int, room: Log) -> list[Delivery]:
        """The connection has joined; no change for one that had joined before."""
        channel = self._channels[room]
        user = self._connections[connection].user
        if user.key in channel.joined:
            channel.joined[user.key].add(connection)
            return []
        channel.joined[user.key] = {connection}
        self._others.enter(room, user)
        return [] if user.key in channel.elsewhere else self._appear(channel, user)

    def _exit(self, connection: int, channel: Channel) -> list[Delivery]:
        user = self._connections[connection].user
        connections = channel.joined.get(user.key, set())
        if connection not in connections:
            return []
        connections.remove(connection)
        if connections:
            return []
        del channel.joined[user.key]
        self._others.leave(channel.log, user)
        return [] if user.key in channel.elsewhere else self._disappear(channel, user)

    def present_elsewhere(
        self, room: Log, came: Collection[Name], left: Collection[Name]
    ) -> list[Delivery]:
        """These users have come to a room at other processes, or are there no longer."""
        channel = self._channels.get(room)
        if channel is None:
            return []
        deliveries: list[Delivery] = []
        for user in came:
            if user.key not in channel.elsewhere:
                channel.elsewhere[user.key] = user.text
                if user.key not in channel.joined:
                    deliveries += self._appear(channel, user)
        for user in left:
            if channel.elsewhere.pop(user.key, None) and user.key not in channel.joined:
                deliveries += self._disappear(channel, user)
        return deliveries

    def _forget_others(self, channel: Channel) -> None:
        """Nothing is known any more of other processes, and nobody is left to be told."""
        for key, text in channel.elsewhere.items():
            if key not in channel.joined:
                self._disappear(channel, Name(key, text))
        channel.elsewhere.clear()

    def _appear(self, channel: Channel, user: Name) -> list[Delivery]:
        insort(channel.names, user.text)
        return self._presence(channel, user, "joined")

    def _disappear(self, channel: Channel, user: Name) -> list[Delivery]:
        del channel.names[bisect_left(channel.names, user.text)]
        return self._presence(channel, user, "left")

    def _presence(
        self, channel: Channel, user: Name, state: Literal["joined", "left"]
    ) -> list[Delivery]:
        """Tell the others; in a big room later, at a cost that does not grow with the room."""
        count = len(channel.names)
        self._rank(channel, count - 1 if state == "joined" else count + 1)
        if count > self._limits.presence:
            self._recount.add(channel.log)
            return []
        self._recount.discard(channel.log)
        push = PresencePush(room=channel.name, user=user.text, state=state, count=count)
        return [Delivery(channel.others(user), [push])]

    def _rank(self, channel: Channel, before: int) -> None:
        """Take note that another number of users is present than before."""
        if before:
            rank = self._ranks[before]
            del rank[channel.log]
            if not rank:
                del self._ranks[before]
        if channel.names:
            self._ranks.setdefault(len(channel.names), {})[channel.log] = channel

    def counts(self) -> list[Delivery]:
        """How many are in the big rooms that changed since; to be called once a second."""
        # Of those at other processes the hub may hear before the first one here has joined.
        channels = [c for log in self._recount if (c := self._channels[log]).joined]
        self._recount.clear()
        return [
            Delivery(
                list(channel.connections()),
                [PresencePush(room=channel.name, count=len(channel.names))],
            )
            for channel in channels
        ]

    def leave(self, connection: int, room: str) -> list[Delivery]:
        """The connection leaves a room, given by its key.

        Raises:
            ChatError: ``not_joined``.
        """
        self.require_joined(connection, room)
        return self._detach(connection, room_log(room))

    def require_joined(self, connection: int, room: str) -> Log:
        """The log of a room, given by its key, that this connection has joined.

        Raises:
            ChatError: ``not_joined``.
        """
        log = room_log(room)
        if not self.follows(connection, log):
            raise ChatError("not_joined", "this connection has not joined the room")
        return log

    def present(self, room: Log) -> tuple[int, list[str]]:
        """How many users are in a room, and the first of their names."""
        channel = self._channels[room]
        return len(channel.names), channel.names[:_LISTED_MEMBERS]

    @property
    def occupied(self) -> int:
        """How many rooms have somebody present at this process."""
        return sum(bool(channel.joined) for channel in self._channels.values())

    def rooms(self, limit: int) -> list[RoomInfo]:
        """Of the rooms that somebody has joined here those with most present, at most ``limit``."""
        ranked = (
            channel
            for count in sorted(self._ranks, reverse=True)
            for channel in self._ranks[count].values()
            if channel.joined
        )
        return [RoomInfo(c.name, len(c.names), c.offset) for c in islice(ranked, limit)]

    # --- Typing -----------------------------------------------------------------------------

    def typing_in(self, connection: int, room: str, now: float) -> list[Delivery]:
        """Somebody writes in a room, given by its key; ``now`` is in seconds."""
        channel = self._channels.get(room_log(room))
        if channel is None or not self.follows(connection, channel.log):
            return []
        user = self._connections[connection].user
        deliveries = self._typing(channel, user, now)
        if deliveries:
            self._others.type(channel.log, user)
        return deliveries

    def typing_to(self, connection: int, to: str, now: float) -> list[Delivery]:
        """Somebody writes to a user, given by their key; ``now`` is in seconds."""
        log = inbox_log(to)
        channel = self._channels.get(log)
        writer = self._connections[connection]
        if to == writer.user.key:
            return []
        if channel is None:
            whom, when = writer.wrote
            if whom != to or now - when >= TYPING_INTERVAL:
                writer.wrote = to, now
                self._others.type(log, writer.user)
            return []
        deliveries = self._typing(channel, writer.user, now)
        if deliveries:
            self._others.type(log, writer.user)
        return deliveries

    def typing_elsewhere(self, log: Log, user: Name, now: float) -> list[Delivery]:
        """At another process somebody writes; ``now`` is in seconds."""
        channel = self._channels.get(log)
        return [] if channel is None else self._typing(channel, user, now)

    def _typing(self, channel: Channel, user: Name, now: float) -> list[Delivery]:
        if not channel.typing_due(user.key, now):
            return []
        if channel.log.kind == "inbox":
            own = [c for c in (*channel.live, *channel.cursors) if self.follows(c, channel.log)]
            return [Delivery(own, [TypingPush(to=channel.name, user=user.text)])]
        # Thousands who write would be heard by thousands: in a big room only one a second is.
        is_big = len(channel.names) > self._limits.presence
        if is_big and not channel.typing_due(_ANYBODY, now):
            return []
        return [Delivery(channel.others(user), [TypingPush(room=channel.name, user=user.text)])]
