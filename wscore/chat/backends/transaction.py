"""What commands do to the SQLite database, inside one transaction; imports the layers below.

Each statement that is run lets go of the interpreter's lock, and has to wait for it again while the
event loop is busy. So a batch takes a handful of statements, however many commands it has: what was
stored before is looked up first, the commands are carried out in memory, and what they changed is
written at the end.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from wscore.chat.model import Entry, Head, Log, inbox_log, room_log

from . import base
from .base import Claimed, Opened, Refused, Result, Stored
from .recent import Key, Recent
from .retention import digest


@dataclass(slots=True, eq=False)
class Row:
    """A row of ``logs``."""

    log: Log
    id: int
    name: str
    secret: bytes | None
    epoch: str
    last: int

    @property
    def head(self) -> Head:
        """The end of the log."""
        return Head(self.epoch, self.last)


class Rows:
    """Rows that were read before, by the keys of their names."""

    def __init__(self) -> None:
        self.rooms: dict[str, Row] = {}
        self.inboxes: dict[str, Row] = {}

    def __len__(self) -> int:
        return len(self.rooms) + len(self.inboxes)

    def of(self, log: Log) -> dict[str, Row]:
        """Those of the same kind as this log."""
        return self.rooms if log.kind == "room" else self.inboxes

    def clear(self) -> None:
        """Forget them."""
        self.rooms.clear()
        self.inboxes.clear()


_Before = tuple[int, str | bytes, int | None, int]
"""Of a message that was stored: offset, text or its digest, recipient, time."""

_LARGEST = 512  # rows in one statement

_LOG = """
SELECT id, name, secret, epoch,
    max(last, ifnull((SELECT max(offset) FROM recent WHERE recent.log = logs.id), 0))
FROM logs WHERE kind = ? AND key = ?
"""


class Transaction:
    """One batch: its results, and what there is to announce once it is committed.

    Args:
        connection: has begun the transaction; who began it ends it.
        known: rows that were read before; changed here, so void if the transaction fails.
        vacancies: how many more logs of each kind there may be; likewise.
        recent: what is in the table of that name; likewise.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        known: Rows,
        vacancies: dict[str, int],
        recent: Recent,
    ) -> None:
        self.appended: list[tuple[Log, Entry]] = []
        self.ends: dict[Log, int] = {}
        """Where the logs that got entries ended before."""
        self._cursor = connection.cursor()
        self._known = known
        self._vacancies = vacancies
        self._recent = recent
        self._before: dict[Key, _Before] = {}
        self._new: list[tuple[object, ...]] = []

    def run(self, batch: Sequence[base.Command]) -> list[Result]:
        """Carry out the commands; returns their results."""
        self._look_up(batch)
        results = [self._apply(command) for command in batch]
        self._write()
        return results

    def _apply(self, command: base.Command) -> Result:
        match command:
            case base.PostTo():
                return self._post(command)
            case base.SendTo():
                return self._send(command)
            case base.OpenRoom():
                return self._open_room(command)
            case base.Claim():
                return self._claim(command)

    def _look_up(self, batch: Sequence[base.Command]) -> None:
        """Find what was stored before under the ids of the batch."""
        keys: list[Key] = []
        for command in batch:
            if isinstance(command, base.PostTo):
                log, sender = self._room(command.room), self._inbox(command.sender)
            elif isinstance(command, base.SendTo):
                log = sender = self._inbox(command.sender)
            else:
                continue
            if log is None or sender is None:
                continue
            key = (log.id, sender.id, command.id)
            if key in self._recent.offsets:
                self._look_up_recent(key)
            else:
                keys.append(key)
        if not keys:
            return
        tables = [_look_up_entries]
        if self._cursor.execute("SELECT 1 FROM trimmed LIMIT 1").fetchone():
            tables.append(_look_up_trimmed)
        for part in _parts(keys):
            values = [value for key in part for value in key]
            for look_up in tables:
                query = look_up(len(part))
                for log_id, sender_id, id, *before in self._cursor.execute(query, values):
                    offset, text, recipient, time = before
                    self._before[log_id, sender_id, id] = offset, text, recipient, time

    def _look_up_recent(self, key: Key) -> None:
        self._before[key] = self._cursor.execute(
            "SELECT offset, text, recipient, time FROM recent WHERE log = ? AND offset = ?",
            (key[0], self._recent.offsets[key]),
        ).fetchone()

    def _write(self) -> None:
        for part in _parts(self._new):
            self._cursor.execute(_insert(len(part)), [value for row in part for value in row])

    def close(self) -> None:
        """Let go of the connection: a statement that is not at its end would keep it open."""
        self._cursor.close()

    def _claim(self, command: base.Claim) -> Result:
        log = inbox_log(command.user.key)
        row = self._inbox(log.key) or self._create(log, command.user.text, command.secret)
        if row is None:
            return Refused("limit_reached", "there are too many users")
        if not secrets.compare_digest(row.secret or b"", command.secret):
            return Refused("name_taken", "this name belongs to somebody else")
        return Claimed(row.name, row.head)

    def _open_room(self, command: base.OpenRoom) -> Result:
        log = room_log(command.room.key)
        row = self._room(log.key) or self._create(log, command.room.text, None)
        if row is None:
            return Refused("limit_reached", "there are too many rooms")
        return Opened(row.name, row.head)

    def _post(self, command: base.PostTo) -> Result:
        row, sender = self._room(command.room), self._inbox(command.sender)
        if row is None or sender is None:
            return base.LOST
        before = self._stored_before(row, sender, None, command)
        if before is not None:
            return before
        self._append(row, sender, None, command)
        return Stored(row.epoch, row.last, command.time, duplicate=False)

    def _send(self, command: base.SendTo) -> Result:
        own, other = self._inbox(command.sender), self._inbox(command.to)
        if own is None:
            return base.LOST
        before = self._stored_before(own, own, other, command)
        if before is not None:
            return before
        if other is None:
            return Refused("unknown_user", "nobody has this name")
        self._append(own, own, other, command)
        if other is not own:
            self._append(other, own, other, command)
        return Stored(own.epoch, own.last, command.time, duplicate=False)

    def _stored_before(
        self, row: Row, sender: Row, to: Row | None, command: base.PostTo | base.SendTo
    ) -> Result | None:
        before = self._before.get((row.id, sender.id, command.id))
        if before is None:
            return None
        offset, stored, recipient, time = before
        text = command.text if isinstance(stored, str) else digest(command.text)
        if (stored, recipient) != (text, None if to is None else to.id):
            return base.CONFLICT
        return Stored(row.epoch, offset, time, duplicate=True)

    def _append(
        self, row: Row, sender: Row, to: Row | None, command: base.PostTo | base.SendTo
    ) -> None:
        self.ends.setdefault(row.log, row.last)
        row.last += 1
        text, time, id = command.text, command.time, command.id
        recipient, name = (None, None) if to is None else (to.id, to.name)
        self._new.append((row.id, row.last, sender.id, recipient, text, time, id))
        key = (row.id, sender.id, id)
        self._before[key] = row.last, text, recipient, time
        self._recent.note(key, row.last, text)
        self.appended.append((row.log, Entry(row.last, sender.name, name, text, time, id)))

    def _room(self, key: str) -> Row | None:
        return self._known.rooms.get(key) or self._read(room_log(key))

    def _inbox(self, key: str) -> Row | None:
        return self._known.inboxes.get(key) or self._read(inbox_log(key))

    def _read(self, log: Log) -> Row | None:
        found = self._cursor.execute(_LOG, log).fetchone()
        if found is None:
            return None
        row = self._known.of(log)[log.key] = Row(log, *found)
        return row

    def _create(self, log: Log, name: str, secret: bytes | None) -> Row | None:
        if self._vacancies[log.kind] <= 0:
            return None
        self._vacancies[log.kind] -= 1
        epoch = secrets.token_hex(8)
        self._cursor.execute(
            "INSERT INTO logs (kind, key, name, secret, epoch) VALUES (?, ?, ?, ?, ?)",
            (*log, name, secret, epoch),
        )
        assert self._cursor.lastrowid is not None
        row = self._known.of(log)[log.key] = Row(
            log, self._cursor.lastrowid, name, secret, epoch, 0
        )
        return row


# --- Statements for many rows, of a few sizes each so that SQLite need not compile them again --
#
# What fails takes back the transaction, which is what is done with a batch that failed. By default
# it would take back the statement only, and for that SQLite first copies every page that the
# statement changes to a file of its own.


def _parts(rows: Sequence[tuple[object, ...]]) -> Iterator[Sequence[tuple[object, ...]]]:
    """Cut rows into parts whose sizes are powers of two."""
    begin = 0
    while begin < len(rows):
        size = min(_LARGEST, 1 << (len(rows) - begin).bit_length() - 1)
        yield rows[begin : begin + size]
        begin += size


def _values(columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"VALUES {', '.join([row] * rows)}"


@cache
def _insert(rows: int) -> str:
    return f"INSERT OR ROLLBACK INTO recent {_values(7, rows)}"


def _look_up_entries(rows: int) -> str:
    return _look_up("entries", "text", rows)


def _look_up_trimmed(rows: int) -> str:
    return _look_up("trimmed", "digest", rows)


@cache
def _look_up(table: str, text: str, rows: int) -> str:
    return f"""
    WITH keys (log, sender, id) AS ({_values(3, rows)})
    SELECT log, sender, id, offset, {text}, recipient, time
    FROM keys CROSS JOIN {table} USING (log, sender, id)
    """
