"""What commands do to the SQLite database, inside one transaction; imports the layers below.

Logs that were used before are known without asking the database; their new ends are written once
at the end, however many entries they got.
"""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass

from wscore.chat.model import Entry, Head, Log, inbox_log, room_log

from . import base
from .base import Claimed, Opened, Refused, Result, Stored
from .retention import digest


@dataclass(slots=True, eq=False)
class Row:
    """A row of ``logs``."""

    id: int
    name: str
    secret: bytes | None
    epoch: str
    last: int

    @property
    def head(self) -> Head:
        """The end of the log."""
        return Head(self.epoch, self.last)


class Transaction:
    """One batch: its results, and what there is to announce once it is committed.

    Args:
        connection: has begun the transaction; who began it ends it.
        known: rows that were read before; changed here, so void if the transaction fails.
        vacancies: how many more logs of each kind there may be; likewise.
    """

    def __init__(
        self, connection: sqlite3.Connection, known: dict[Log, Row], vacancies: dict[str, int]
    ) -> None:
        self.results: list[Result] = []
        self.appended: list[tuple[Log, Entry]] = []
        self.ends: dict[Log, int] = {}
        """Where the logs that got entries ended before."""
        self._cursor = connection.cursor()
        self._known = known
        self._vacancies = vacancies
        (self._any_trimmed,) = self._cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM trimmed)"
        ).fetchone()

    def apply(self, command: base.Command) -> None:
        """Carry out the next command."""
        match command:
            case base.PostTo():
                result = self._post(command)
            case base.SendTo():
                result = self._send(command)
            case base.OpenRoom():
                result = self._open_room(command)
            case base.Claim():
                result = self._claim(command)
        self.results.append(result)

    def finish(self) -> None:
        """Write what was put off to the end."""
        touched = {log: entry.time for log, entry in self.appended}
        rows = [(self._known[log].last, time, self._known[log].id) for log, time in touched.items()]
        self._cursor.executemany("UPDATE logs SET last = ?, touched = ? WHERE id = ?", rows)

    def close(self) -> None:
        """Let go of the connection: a statement that is not at its end would keep it open."""
        self._cursor.close()

    def _claim(self, command: base.Claim) -> Result:
        log = inbox_log(command.user.key)
        row = self._row(log) or self._create(log, command.user.text, command.secret)
        if row is None:
            return Refused("limit_reached", "there are too many users")
        if not secrets.compare_digest(row.secret or b"", command.secret):
            return Refused("name_taken", "this name belongs to somebody else")
        return Claimed(row.name, row.head)

    def _open_room(self, command: base.OpenRoom) -> Result:
        log = room_log(command.room.key)
        row = self._row(log) or self._create(log, command.room.text, None)
        if row is None:
            return Refused("limit_reached", "there are too many rooms")
        return Opened(row.name, row.head)

    def _post(self, command: base.PostTo) -> Result:
        log = room_log(command.room)
        row, sender = self._row(log), self._row(inbox_log(command.sender))
        if row is None or sender is None:
            return base.LOST
        before = self._trimmed_before(row, sender, None, command)
        if before is not None:
            return before
        if not self._append(log, row, sender, None, command):
            return self._stored_before(row, sender, None, command)
        return Stored(row.epoch, row.last, command.time, duplicate=False)

    def _send(self, command: base.SendTo) -> Result:
        own_log, other_log = inbox_log(command.sender), inbox_log(command.to)
        own, other = self._row(own_log), self._row(other_log)
        if own is None:
            return base.LOST
        before = self._trimmed_before(own, own, other, command)
        if before is not None:
            return before
        if other is None:
            if self._has(own, command.id):
                return base.CONFLICT
            return Refused("unknown_user", "nobody has this name")
        if not self._append(own_log, own, own, other, command):
            return self._stored_before(own, own, other, command)
        if other is not own:
            is_new = self._append(other_log, other, own, other, command)
            assert is_new, "an id is remembered while either inbox keeps its message"
        return Stored(own.epoch, own.last, command.time, duplicate=False)

    def _row(self, log: Log) -> Row | None:
        row = self._known.get(log)
        if row is None:
            found = self._cursor.execute(
                "SELECT id, name, secret, epoch, last FROM logs WHERE kind = ? AND key = ?", log
            ).fetchone()
            if found is not None:
                row = self._known[log] = Row(*found)
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
        row = self._known[log] = Row(self._cursor.lastrowid, name, secret, epoch, 0)
        return row

    # --- Ids --------------------------------------------------------------------------------

    def _has(self, own: Row, id: str) -> bool:
        query = "SELECT 1 FROM entries WHERE log = ? AND sender = ? AND id = ?"
        return self._cursor.execute(query, (own.id, own.id, id)).fetchone() is not None

    def _stored_before(
        self, row: Row, sender: Row, to: Row | None, command: base.PostTo | base.SendTo
    ) -> Result:
        offset, text, recipient, time = self._cursor.execute(
            "SELECT offset, text, recipient, time FROM entries"
            " WHERE log = ? AND sender = ? AND id = ?",
            (row.id, sender.id, command.id),
        ).fetchone()
        if (text, recipient) != (command.text, to and to.id):
            return base.CONFLICT
        return Stored(row.epoch, offset, time, duplicate=True)

    def _trimmed_before(
        self, row: Row, sender: Row, to: Row | None, command: base.PostTo | base.SendTo
    ) -> Result | None:
        if not self._any_trimmed:
            return None
        found = self._cursor.execute(
            "SELECT offset, digest, recipient, time FROM trimmed"
            " WHERE log = ? AND sender = ? AND id = ?",
            (row.id, sender.id, command.id),
        ).fetchone()
        if found is None:
            return None
        offset, stored, recipient, time = found
        if (stored, recipient) != (digest(command.text), to and to.id):
            return base.CONFLICT
        return Stored(row.epoch, offset, time, duplicate=True)

    # --- Entries ----------------------------------------------------------------------------

    def _append(
        self,
        log: Log,
        row: Row,
        sender: Row,
        to: Row | None,
        command: base.PostTo | base.SendTo,
    ) -> bool:
        """Append an entry; returns False where the log has one of this sender and id."""
        offset = row.last + 1
        text, time, id = command.text, command.time, command.id
        # Asking first would cost the common case a second way down the index.
        self._cursor.execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (log, sender, id) DO NOTHING",
            (row.id, offset, sender.id, None if to is None else to.id, text, time, id),
        )
        if not self._cursor.rowcount:
            return False
        self.ends.setdefault(log, row.last)
        row.last = offset
        name = None if to is None else to.name
        self.appended.append((log, Entry(offset, sender.name, name, text, time, id)))
        return True
