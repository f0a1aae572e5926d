"""A store in memory, for tests and for chats that may forget; imports `base` and `model` only."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import islice
from typing import NamedTuple

import trio

from wscore.chat.model import Entry, Head, Log, Name, inbox_log, parse_name, room_log
from wscore.chat.others import Alone

from . import base
from .base import Claimed, Opened, Page, Refused, Result, RoomHead, Stored
from .retention import ID_MEMORY, STEP, Retention, digest, looked_after, wall_clock

_LOGS = 1000
"""How many logs one step of trimming looks at."""
_LOOK_AGAIN = 60 * 60 * 1000


class _Trimmed(NamedTuple):
    """What is remembered of an entry that is no longer kept."""

    offset: int
    to: str | None
    digest: bytes
    time: int


def _new_epoch() -> str:
    return secrets.token_hex(8)


@dataclass(slots=True, eq=False)
class _Kept:
    """One log with the name it belongs to."""

    name: Name
    secret: bytes = b""
    epoch: str = field(default_factory=_new_epoch)
    start: int = 1
    entries: list[Entry] = field(default_factory=list)
    ids: dict[tuple[str, str], Entry | _Trimmed] = field(default_factory=dict)
    touched: int = 0

    @property
    def last(self) -> int:
        return self.start + len(self.entries) - 1

    @property
    def head(self) -> Head:
        return Head(self.epoch, self.last)

    def append(self, sender: Name, to: str | None, command: base.PostTo | base.SendTo) -> Entry:
        text, time, id = command.text, command.time, command.id
        entry = Entry(self.last + 1, sender.text, to, text, time, id)
        self.entries.append(entry)
        self.ids[sender.key, id] = entry
        self.touched = time
        return entry

    def stored_before(
        self, to: str | None, command: base.PostTo | base.SendTo
    ) -> Stored | Refused | None:
        before = self.ids.get((command.sender, command.id))
        if before is None:
            return None
        if isinstance(before, Entry):
            is_same = before.text == command.text
        else:
            is_same = before.digest == digest(command.text)
        if not is_same or before.to != to:
            return base.CONFLICT
        return Stored(self.epoch, before.offset, before.time, duplicate=True)


class MemoryBackend(Alone):
    """Keeps what it is told until the process ends; see `base` for the contract.

    Args:
        max_rooms: how many rooms there can be.
        max_users: how many users there can be.
        keep_messages: how many messages of each log are kept; None: all.
        keep_days: how many days messages are kept; None: for ever.
        clock: the time in ms since 1970.

    Raises:
        ValueError: ``keep_messages`` or ``keep_days`` is not positive.
    """

    def __init__(
        self,
        *,
        max_rooms: int = 100_000,
        max_users: int = 1_000_000,
        keep_messages: int | None = None,
        keep_days: float | None = None,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        self._max_rooms = max_rooms
        self._max_users = max_users
        self._retention = Retention(keep_messages, keep_days, clock)
        self._logs: dict[Log, _Kept] = {}
        self._rooms = 0
        self._listener: base.Listener | None = None
        self._appended: list[tuple[Log, Entry]] = []
        self._round: list[Log] = []  # the logs that this round of trimming has yet to look at
        # When the ids of trimmed entries may be forgotten, soonest first.
        self._forget: list[tuple[int, Log, str, str]] = []

    @asynccontextmanager
    async def open(self, listener: base.Listener) -> AsyncGenerator[None]:
        """See `base.Backend.open`."""
        self._listener = listener
        try:
            async with looked_after(self._trim):
                yield
        finally:
            self._listener = None

    def lose(self, logs: Collection[Log]) -> None:
        """Lose what these logs hold, as a store that is damaged might; names stay claimed."""
        assert self._listener is not None, "the store is not open"
        for log in logs:
            kept = self._logs[log]
            self._logs[log] = _Kept(kept.name, kept.secret)
        self._listener.reset(logs)

    def health(self) -> base.Health:
        """See `base.Backend.health`."""
        return base.Health("memory", None, "nothing survives the end of the process")

    async def write(self, batch: Sequence[base.Command]) -> list[Result]:
        """See `base.Backend.write`."""
        assert self._listener is not None, "the store is not open"
        await trio.lowlevel.checkpoint()
        results = [self._apply(command) for command in batch]
        appended, self._appended = self._appended, []
        self._listener.announce(appended)
        return results

    def _apply(self, command: base.Command) -> Result:
        match command:
            case base.Claim():
                return self._claim(command)
            case base.OpenRoom():
                return self._open_room(command)
            case base.PostTo():
                return self._post(command)
            case base.SendTo():
                return self._send(command)

    def _claim(self, command: base.Claim) -> Result:
        log = inbox_log(command.user.key)
        kept = self._logs.get(log)
        if kept is None:
            if len(self._logs) - self._rooms >= self._max_users:
                return Refused("limit_reached", "there are too many users")
            kept = self._logs[log] = _Kept(command.user, command.secret)
        elif not secrets.compare_digest(kept.secret, command.secret):
            return Refused("name_taken", "this name belongs to somebody else")
        return Claimed(kept.name.text, kept.head)

    def _open_room(self, command: base.OpenRoom) -> Result:
        log = room_log(command.room.key)
        kept = self._logs.get(log)
        if kept is None:
            if self._rooms >= self._max_rooms:
                return Refused("limit_reached", "there are too many rooms")
            kept = self._logs[log] = _Kept(command.room)
            self._rooms += 1
        return Opened(kept.name.text, kept.head)

    def _post(self, command: base.PostTo) -> Result:
        log = room_log(command.room)
        kept, sender = self._logs.get(log), self._logs.get(inbox_log(command.sender))
        if kept is None or sender is None:
            return base.LOST
        before = kept.stored_before(None, command)
        if before is not None:
            return before
        entry = kept.append(sender.name, None, command)
        self._appended.append((log, entry))
        return Stored(kept.epoch, entry.offset, entry.time, duplicate=False)

    def _send(self, command: base.SendTo) -> Result:
        own_log, other_log = inbox_log(command.sender), inbox_log(command.to)
        own, other = self._logs.get(own_log), self._logs.get(other_log)
        if own is None:
            return base.LOST
        to = None if other is None else other.name.text
        before = own.stored_before(to, command)
        if before is not None:
            return before
        if other is None:
            return Refused("unknown_user", "nobody has this name")
        entry = own.append(own.name, to, command)
        self._appended.append((own_log, entry))
        if other is not own:
            self._appended.append((other_log, other.append(own.name, to, command)))
        return Stored(own.epoch, entry.offset, entry.time, duplicate=False)

    async def read_after(self, log: Log, after: int, last: int, limit: int) -> Page:
        """See `base.Backend.read_after`."""
        await trio.lowlevel.checkpoint()
        kept = self._logs[log]
        begin = max(0, after + 1 - kept.start)
        end = max(begin, min(last + 1 - kept.start, begin + limit))
        return Page(kept.start, kept.entries[begin:end])

    async def read_before(self, log: Log, before: int, limit: int) -> Page:
        """See `base.Backend.read_before`."""
        await trio.lowlevel.checkpoint()
        kept = self._logs[log]
        end = max(0, min(before - kept.start, len(kept.entries)))
        return Page(kept.start, kept.entries[max(0, end - limit) : end])

    async def rooms(self, limit: int) -> list[RoomHead]:
        """See `base.Backend.rooms`."""
        await trio.lowlevel.checkpoint()
        rooms = [kept for log, kept in reversed(self._logs.items()) if log.kind == "room"]
        rooms.sort(key=lambda kept: kept.touched, reverse=True)
        return [RoomHead(kept.name, kept.last) for kept in rooms[:limit]]

    # --- Retention --------------------------------------------------------------------------

    async def _trim(self) -> bool:
        """Do one step of a round through all logs; returns False at its end."""
        await trio.lowlevel.checkpoint()
        now = self._retention.clock()
        self._forget_ids(now)
        if not self._round:
            self._round = list(reversed(self._logs))
        for _ in range(min(_LOGS, len(self._round))):
            log = self._round[-1]
            if self._trim_log(log, now) == STEP:
                return True  # and look at this one again
            self._round.pop()
        return bool(self._round)

    def _trim_log(self, log: Log, now: int) -> int:
        """Remove the oldest entries that are not to be kept, at most `STEP`; returns how many."""
        kept = self._logs[log]
        oldest_offset = self._retention.oldest_offset(kept.last)
        oldest_time = self._retention.oldest_time(now)
        count = 0
        for entry in islice(kept.entries, STEP):
            if entry.offset >= oldest_offset and entry.time >= oldest_time:
                break
            count += 1
        for entry in kept.entries[:count]:
            self._remember(log, kept, entry)
        del kept.entries[:count]
        kept.start += count
        return count

    def _remember(self, log: Log, kept: _Kept, entry: Entry) -> None:
        sender = _key(entry.sender)
        kept.ids[sender, entry.id] = _Trimmed(
            entry.offset, entry.to, digest(entry.text), entry.time
        )
        heappush(self._forget, (entry.time + ID_MEMORY, log, sender, entry.id))

    def _forget_ids(self, now: int) -> None:
        while self._forget and self._forget[0][0] < now:
            _, log, sender, id = heappop(self._forget)
            ids = self._logs[log].ids
            trimmed = ids.get((sender, id))
            if not isinstance(trimmed, _Trimmed):
                continue  # the log was lost since
            if trimmed.to is not None and log == inbox_log(sender):
                copies = self._logs[inbox_log(_key(trimmed.to))].ids
                if isinstance(copies.get((sender, id)), Entry):
                    heappush(self._forget, (now + _LOOK_AGAIN, log, sender, id))
                    continue
            del ids[sender, id]


def _key(name: str) -> str:
    """The key of a name that is valid."""
    found = parse_name(name)
    assert found is not None
    return found.key
