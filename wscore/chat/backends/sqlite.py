"""The default store, one SQLite file; imports `base` and `model` only.

One thread writes and one reads. What arrives while a commit is on its way to the disk waits, and
goes together in the next one: a batch is one transaction, one fsync and one thread hop. With
``journal_mode=WAL`` and ``synchronous=FULL`` a commit that returned survives a killed process
and power loss.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import trio

from wscore.chat.model import Entry, Head, Log, Name, inbox_log, room_log

from . import base
from .base import (
    CannotOpen,
    Claimed,
    Opened,
    Page,
    Refused,
    Result,
    RoomHead,
    Stored,
    Unavailable,
)

_APPLICATION_ID = 0x77736368  # "wsch": tells our files from other people's
_VERSION = 1
_SCHEMA = """
CREATE TABLE logs (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,               -- room, or inbox (of a user)
    key TEXT NOT NULL,                -- of the room's or user's name
    name TEXT NOT NULL,               -- its first spelling
    secret BLOB,                      -- of a user: the hash of the session
    epoch TEXT NOT NULL,
    start INTEGER NOT NULL DEFAULT 1, -- first offset that is kept
    last INTEGER NOT NULL DEFAULT 0,
    touched INTEGER NOT NULL DEFAULT 0, -- time of the last entry, ms
    UNIQUE (kind, key)
);
CREATE INDEX rooms_by_activity ON logs (touched, id) WHERE kind = 'room';
CREATE TABLE entries (
    log INTEGER NOT NULL REFERENCES logs,
    offset INTEGER NOT NULL,
    sender INTEGER NOT NULL REFERENCES logs,
    recipient INTEGER REFERENCES logs,
    text TEXT NOT NULL,
    time INTEGER NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (log, offset)
) WITHOUT ROWID;
CREATE UNIQUE INDEX entries_by_id ON entries (log, sender, id);
"""
_SELECT_ENTRIES = """
SELECT entries.offset, sender.name, recipient.name, entries.text, entries.time, entries.id
FROM entries JOIN logs AS sender ON sender.id = entries.sender
LEFT JOIN logs AS recipient ON recipient.id = entries.recipient
WHERE entries.log = ? AND
"""

T = TypeVar("T")


class SQLiteBackend:
    """Keeps everything in one file; see `base` for the contract.

    Beside the file lie SQLite's own ``-wal`` and ``-shm`` and an empty ``-lock``, by which a
    second server on the same file is refused.

    Args:
        path: the database; created where it is missing.
        max_rooms: how many rooms there can be.
        max_users: how many users there can be.
    """

    def __init__(
        self, path: str | Path, *, max_rooms: int = 100_000, max_users: int = 1_000_000
    ) -> None:
        self._path = Path(path)
        self._caps = {"room": max_rooms, "inbox": max_users}
        self._vacancies: dict[str, int] = {}  # how many more of each there may be
        self._listener: base.Listener | None = None
        self._lock: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._write_slot = trio.CapacityLimiter(1)
        self._read_slot = trio.CapacityLimiter(1)

    @asynccontextmanager
    async def open(self, listener: base.Listener) -> AsyncGenerator[None]:
        """See `base.Backend.open`."""
        self._listener = listener
        try:
            await trio.to_thread.run_sync(self._open)
            yield
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._close)

    def _open(self) -> None:
        try:
            # SQLite's own lock on an empty file: portable, and gone when the process is.
            self._lock = sqlite3.connect(
                f"{self._path}-lock", timeout=0, isolation_level=None, check_same_thread=False
            )
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            busy = getattr(error, "sqlite_errorname", "") == "SQLITE_BUSY"
            reason = "another server is using it" if busy else str(error)
            raise CannotOpen(f"cannot use {self._path}: {reason}") from None
        try:
            self._writer = self._connect("rwc")
            _prepare(self._writer)
            counts = dict(
                self._writer.execute("SELECT kind, count(*) FROM logs GROUP BY kind").fetchall()
            )
            self._vacancies = {kind: cap - counts.get(kind, 0) for kind, cap in self._caps.items()}
        except (sqlite3.Error, CannotOpen) as error:
            raise CannotOpen(f"cannot use {self._path}: {error}") from None

    def _connect(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _close(self) -> None:
        for connection in (self._reader, self._writer, self._lock):
            if connection is not None:
                connection.close()
        self._reader = self._writer = self._lock = None

    async def write(self, batch: Sequence[base.Command]) -> list[Result]:
        """See `base.Backend.write`."""
        transaction = await trio.to_thread.run_sync(self._commit, batch, limiter=self._write_slot)
        assert self._listener is not None, "the store is not open"
        self._listener.announce(transaction.appended)
        return transaction.results

    def _commit(self, batch: Sequence[base.Command]) -> _Transaction:
        try:
            if self._writer is None:
                # Never create a file here: an empty one would pass for the lost one.
                self._writer = self._connect("rw")
            transaction = _Transaction(self._writer, self._vacancies.copy())
            self._writer.execute("BEGIN IMMEDIATE")
            for command in batch:
                transaction.apply(command)
            self._writer.execute("COMMIT")
        except BaseException as error:
            # A new connection for the next batch: it rolls back, and whatever state the failure
            # left behind is gone.
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            if isinstance(error, sqlite3.Error):
                raise Unavailable(f"{self._path}: {error}") from error
            raise
        self._vacancies = transaction.vacancies
        return transaction

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            try:
                if self._reader is None:
                    self._reader = self._connect("rw")
                    self._reader.execute("PRAGMA query_only = ON")
                return query(self._reader)
            except sqlite3.Error as error:
                if self._reader is not None:
                    self._reader.close()
                    self._reader = None
                raise Unavailable(f"{self._path}: {error}") from error

        return await trio.to_thread.run_sync(run, limiter=self._read_slot)

    async def read_after(self, log: Log, after: int, last: int, limit: int) -> Page:
        """See `base.Backend.read_after`."""

        def query(connection: sqlite3.Connection) -> Page:
            row_id, start = _find(connection, log)
            rows = connection.execute(
                _SELECT_ENTRIES + "offset > ? AND offset <= ? ORDER BY offset LIMIT ?",
                (row_id, after, last, limit),
            )
            return Page(start, [Entry._make(row) for row in rows])

        return await self._read(query)

    async def read_before(self, log: Log, before: int, limit: int) -> Page:
        """See `base.Backend.read_before`."""

        def query(connection: sqlite3.Connection) -> Page:
            row_id, start = _find(connection, log)
            rows = connection.execute(
                _SELECT_ENTRIES + "offset < ? ORDER BY offset DESC LIMIT ?",
                (row_id, before, limit),
            )
            return Page(start, [Entry._make(row) for row in rows][::-1])

        return await self._read(query)

    async def rooms(self, limit: int) -> list[RoomHead]:
        """See `base.Backend.rooms`."""

        def query(connection: sqlite3.Connection) -> list[RoomHead]:
            rows = connection.execute(
                "SELECT key, name, last FROM logs WHERE kind = 'room'"
                " ORDER BY touched DESC, id DESC LIMIT ?",
                (limit,),
            )
            return [RoomHead(Name(key, name), last) for key, name, last in rows]

        return await self._read(query)


def _prepare(connection: sqlite3.Connection) -> None:
    """Create or check the schema; always writes, so that a read-only file shows here."""
    connection.execute("BEGIN IMMEDIATE")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application != _APPLICATION_ID:
        raise CannotOpen("it is a database of another program")
    if version > _VERSION:
        raise CannotOpen(f"it was made by a newer wscore (schema {version}, ours {_VERSION})")
    if not tables:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")


def _find(connection: sqlite3.Connection, log: Log) -> tuple[int, int]:
    row: tuple[int, int] = connection.execute(
        "SELECT id, start FROM logs WHERE kind = ? AND key = ?", log
    ).fetchone()
    return row


class _Row:
    """A row of ``logs`` as the transaction needs it."""

    __slots__ = ("epoch", "id", "last", "name", "secret")

    def __init__(self, id: int, name: str, secret: bytes | None, epoch: str, last: int) -> None:
        self.id = id
        self.name = name
        self.secret = secret
        self.epoch = epoch
        self.last = last

    @property
    def head(self) -> Head:
        return Head(self.epoch, self.last)


class _Transaction:
    """One batch inside one transaction: the results, and what there is to announce."""

    def __init__(self, connection: sqlite3.Connection, vacancies: dict[str, int]) -> None:
        self.results: list[Result] = []
        self.appended: list[tuple[Log, Entry]] = []
        self._execute = connection.execute
        self.vacancies = vacancies
        self._rows: dict[Log, _Row | None] = {}

    def apply(self, command: base.Command) -> None:
        match command:
            case base.Claim():
                result = self._claim(command)
            case base.OpenRoom():
                result = self._open_room(command)
            case base.PostTo():
                result = self._post(command)
            case base.SendTo():
                result = self._send(command)
        self.results.append(result)

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
        row, sender = self._existing(log), self._existing(inbox_log(command.sender))
        before = self._stored_before(row, sender, None, command)
        if before is not None:
            return before
        self._append(log, row, sender, None, command)
        return Stored(row.epoch, row.last, command.time, duplicate=False)

    def _send(self, command: base.SendTo) -> Result:
        own_log, other_log = inbox_log(command.sender), inbox_log(command.to)
        own, other = self._existing(own_log), self._row(other_log)
        before = self._stored_before(own, own, other, command)
        if before is not None:
            return before
        if other is None:
            return Refused("unknown_user", "nobody has this name")
        self._append(own_log, own, own, other, command)
        if other is not own:
            self._append(other_log, other, own, other, command)
        return Stored(own.epoch, own.last, command.time, duplicate=False)

    def _row(self, log: Log) -> _Row | None:
        if log not in self._rows:
            found = self._execute(
                "SELECT id, name, secret, epoch, last FROM logs WHERE kind = ? AND key = ?", log
            ).fetchone()
            self._rows[log] = None if found is None else _Row(*found)
        return self._rows[log]

    def _existing(self, log: Log) -> _Row:
        row = self._row(log)
        if row is None:
            raise LookupError(f"no log for {log}")
        return row

    def _create(self, log: Log, name: str, secret: bytes | None) -> _Row | None:
        if self.vacancies[log.kind] <= 0:
            return None
        self.vacancies[log.kind] -= 1
        epoch = secrets.token_hex(8)
        cursor = self._execute(
            "INSERT INTO logs (kind, key, name, secret, epoch) VALUES (?, ?, ?, ?, ?)",
            (*log, name, secret, epoch),
        )
        assert cursor.lastrowid is not None
        row = self._rows[log] = _Row(cursor.lastrowid, name, secret, epoch, 0)
        return row

    def _stored_before(
        self, row: _Row, sender: _Row, to: _Row | None, command: base.PostTo | base.SendTo
    ) -> Result | None:
        found = self._execute(
            "SELECT offset, text, recipient, time FROM entries"
            " WHERE log = ? AND sender = ? AND id = ?",
            (row.id, sender.id, command.id),
        ).fetchone()
        if found is None:
            return None
        offset, text, recipient, time = found
        if (text, recipient) != (command.text, to and to.id):
            return Refused("conflict", "this id was used for another message")
        return Stored(row.epoch, offset, time, duplicate=True)

    def _append(
        self,
        log: Log,
        row: _Row,
        sender: _Row,
        to: _Row | None,
        command: base.PostTo | base.SendTo,
    ) -> None:
        row.last += 1
        text, time, id = command.text, command.time, command.id
        self._execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row.id, row.last, sender.id, to and to.id, text, time, id),
        )
        self._execute(
            "UPDATE logs SET last = ?, touched = ? WHERE id = ?", (row.last, time, row.id)
        )
        name = None if to is None else to.name
        self.appended.append((log, Entry(row.last, sender.name, name, text, time, id)))
