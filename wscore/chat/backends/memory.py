"""A store in memory, for tests and for chats that may forget; imports `base` and `model` only."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from wscore.chat.model import Entry, Head, Log, Name, inbox_log, room_log

from . import base
from .base import Claimed, Opened, Page, Refused, Result, RoomHead, Stored


@dataclass(slots=True, eq=False)
class _Kept:
    """One log with the name it belongs to."""

    name: Name
    secret: bytes = b""
    epoch: str = field(default_factory=lambda: secrets.token_hex(8))
    entries: list[Entry] = field(default_factory=list)
    offsets: dict[tuple[str, str], int] = field(default_factory=dict)

    def append(self, sender: Name, to: str | None, text: str, id: str, time: int) -> Entry:
        entry = Entry(len(self.entries) + 1, sender.text, to, text, time, id)
        self.entries.append(entry)
        self.offsets[sender.key, id] = entry.offset
        return entry

    def stored_before(self, sender: str, to: str | None, text: str, id: str) -> Result | None:
        offset = self.offsets.get((sender, id))
        if offset is None:
            return None
        entry = self.entries[offset - 1]
        if (entry.text, entry.to) != (text, to):
            return Refused("conflict", "this id was used for another message")
        return Stored(self.epoch, offset, entry.time, duplicate=True)


class MemoryBackend:
    """Keeps everything until the process ends; see `base` for the contract.

    Args:
        max_rooms: how many rooms there can be.
        max_users: how many users there can be.
    """

    def __init__(self, *, max_rooms: int = 100_000, max_users: int = 1_000_000) -> None:
        self._max_rooms = max_rooms
        self._max_users = max_users
        self._logs: dict[Log, _Kept] = {}
        self._rooms = 0
        self._listener: base.Listener | None = None
        self._appended: list[tuple[Log, Entry]] = []

    @asynccontextmanager
    async def open(self, listener: base.Listener) -> AsyncGenerator[None]:
        """See `base.Backend.open`."""
        self._listener = listener
        try:
            yield
        finally:
            self._listener = None

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
        return Claimed(kept.name.text, Head(kept.epoch, len(kept.entries)))

    def _open_room(self, command: base.OpenRoom) -> Result:
        log = room_log(command.room.key)
        kept = self._logs.get(log)
        if kept is None:
            if self._rooms >= self._max_rooms:
                return Refused("limit_reached", "there are too many rooms")
            kept = self._logs[log] = _Kept(command.room)
            self._rooms += 1
        return Opened(kept.name.text, Head(kept.epoch, len(kept.entries)))

    def _post(self, command: base.PostTo) -> Result:
        sender = self._logs[inbox_log(command.sender)].name
        log = room_log(command.room)
        kept = self._logs[log]
        before = kept.stored_before(sender.key, None, command.text, command.id)
        if before is not None:
            return before
        entry = kept.append(sender, None, command.text, command.id, command.time)
        self._appended.append((log, entry))
        return Stored(kept.epoch, entry.offset, entry.time, duplicate=False)

    def _send(self, command: base.SendTo) -> Result:
        own_log, other_log = inbox_log(command.sender), inbox_log(command.to)
        own, other = self._logs[own_log], self._logs.get(other_log)
        to = None if other is None else other.name.text
        before = own.stored_before(command.sender, to, command.text, command.id)
        if before is not None:
            return before
        if other is None:
            return Refused("unknown_user", "nobody has this name")
        entry = own.append(own.name, to, command.text, command.id, command.time)
        self._appended.append((own_log, entry))
        if other is not own:
            theirs = other.append(own.name, to, command.text, command.id, command.time)
            self._appended.append((other_log, theirs))
        return Stored(own.epoch, entry.offset, entry.time, duplicate=False)

    async def read_after(self, log: Log, after: int, last: int, limit: int) -> Page:
        """See `base.Backend.read_after`."""
        await trio.lowlevel.checkpoint()
        return Page(1, self._logs[log].entries[after : min(last, after + limit)])

    async def read_before(self, log: Log, before: int, limit: int) -> Page:
        """See `base.Backend.read_before`."""
        await trio.lowlevel.checkpoint()
        entries = self._logs[log].entries
        end = max(0, min(before - 1, len(entries)))
        return Page(1, entries[max(0, end - limit) : end])

    async def rooms(self, limit: int) -> list[RoomHead]:
        """See `base.Backend.rooms`."""
        await trio.lowlevel.checkpoint()
        heads = [
            (kept.entries[-1].time if kept.entries else 0, RoomHead(kept.name, len(kept.entries)))
            for log, kept in reversed(self._logs.items())
            if log.kind == "room"
        ]
        heads.sort(key=lambda pair: pair[0], reverse=True)
        return [head for _, head in heads[:limit]]
