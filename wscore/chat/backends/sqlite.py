"""The default store, one SQLite file; imports the other modules of this package but `memory`.

One thread writes and one reads. What arrives while a commit is on its way to the disk waits, and
goes together in the next one: a batch is one transaction, one fsync and one thread hop. With
``journal_mode=WAL`` and ``synchronous=FULL`` a commit that returned survives a killed process
and power loss.

What goes wrong with the disk makes requests `Unavailable`, and the next one tries anew. If the
file is deleted or replaced while it is served, everything is unavailable until there is a file
again; that one is then served, with new epochs for all its logs.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from wscore.chat.model import Entry, Log, Name
from wscore.chat.others import Alone

from . import base
from .base import CannotOpen, Page, Result, RoomHead, Unavailable
from .database import Database, connect
from .recent import NEWEST, Recent
from .retention import Retention, looked_after, wall_clock
from .transaction import Rows, Transaction
from .trimming import Trimmer
from .worker import Worker

logger = logging.getLogger("wscore.chat")

_KNOWN_ROWS = 10_000
_CLOSE_SECONDS = 2
"""How long closing waits for a disk that does not answer."""

_SELECT = """
SELECT entry.offset, sender.name, recipient.name, entry.text, entry.time, entry.id
FROM {} AS entry JOIN logs AS sender ON sender.id = entry.sender
LEFT JOIN logs AS recipient ON recipient.id = entry.recipient
WHERE
"""
_SELECT_ENTRIES, _SELECT_RECENT = _SELECT.format("entries"), _SELECT.format("recent")

# Of the rooms with something recent all, of the others as many as are asked for. Left to itself,
# SQLite would look at all rooms and sort them.
_SELECT_ROOMS = f"""
WITH newest AS ({NEWEST}), quiet AS (
    SELECT id, key, name, last, touched FROM logs INDEXED BY rooms_by_activity
    WHERE kind = 'room' AND id NOT IN (SELECT log FROM newest)
    ORDER BY touched DESC, id DESC LIMIT :limit
), rooms AS (
    SELECT * FROM quiet
    UNION ALL
    SELECT id, key, name, newest.last, newest.time
    FROM newest JOIN logs ON logs.id = newest.log WHERE kind = 'room'
)
SELECT key, name, last FROM rooms ORDER BY touched DESC, id DESC LIMIT :limit
"""

T = TypeVar("T")


class _Moved(Unavailable):
    """The path does not lead to the file that is served."""


class SQLiteBackend(Alone):
    """Keeps everything in one file; see `base` for the contract.

    Beside the file lie SQLite's own ``-wal`` and ``-shm``, and a ``-lock`` and a ``-mark``; see
    `database`.

    Args:
        path: the database; created where it is missing when the store is opened.
        max_rooms: how many rooms there can be.
        max_users: how many users there can be.
        keep_messages: how many messages of each log are kept; None: all.
        keep_days: how many days messages are kept; None: for ever.
        new_epochs: whether every log begins a new epoch when the store is opened: to be asked for
            after a restore that the back-end cannot see, such as that of the whole folder.
        clock: the time in ms since 1970.

    Raises:
        ValueError: ``keep_messages`` or ``keep_days`` is not positive.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_rooms: int = 100_000,
        max_users: int = 1_000_000,
        keep_messages: int | None = None,
        keep_days: float | None = None,
        new_epochs: bool = False,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        self._path = Path(path)
        self._caps = {"room": max_rooms, "inbox": max_users}
        self._trimmer = Trimmer(Retention(keep_messages, keep_days, clock))
        self._new_epochs = new_epochs
        self._listener: base.Listener | None = None
        # This thread only may touch what follows it.
        self._writing = Worker("wscore.chat: writing")
        self._database: Database | None = None
        self._known = Rows()
        self._recent = Recent()
        self._vacancies: dict[str, int] = {}  # how many more logs of each kind there may be
        self._failed = False
        self._was_read_only = False
        self._doubts: dict[Log, int] = {}  # where logs end, if the commit that failed is not there
        self._news: deque[Sequence[tuple[Log, Entry]] | Database] = deque()
        self._reading = Worker("wscore.chat: reading")
        self._reader: sqlite3.Connection | None = None
        self._reader_of: Database | None = None
        # What the listener knows of.
        self._served: Database | None = None

    @asynccontextmanager
    async def open(self, listener: base.Listener) -> AsyncGenerator[None]:
        """See `base.Backend.open`."""
        self._listener = listener
        try:
            await self._writing.run(self._open)
            self._served = self._database
            async with looked_after(self._trim):
                yield
        finally:
            self._served = None
            closing = (self._close_reader, self._reading), (self._close, self._writing)
            for close, worker in closing:
                try:
                    with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                        await worker.run(close)
                finally:
                    worker.stop()

    def _open(self) -> None:
        self._database = Database(self._path, create=True, renew=self._new_epochs)
        self._count_vacancies(self._database)

    def _count_vacancies(self, database: Database) -> None:
        self._vacancies = {
            kind: cap - database.logs.get(kind, 0) for kind, cap in self._caps.items()
        }

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    # --- Writing ----------------------------------------------------------------------------

    def health(self) -> base.Health:
        """See `base.Backend.health`."""
        return base.Health("sqlite", None, "what is acknowledged survives power loss")

    async def write(self, batch: Sequence[base.Command]) -> list[Result]:
        """See `base.Backend.write`."""
        if self._was_read_only:
            # All connections of a process share SQLite's view of the file; with one that was
            # opened while the disk was read-only, it would stay so for the writer.
            await self._reading.run(self._close_reader)
        try:
            return await self._writing.run(partial(self._commit, batch))
        finally:
            self._tell()

    def _tell(self) -> None:
        """Tell the listener what happened since, in order."""
        assert self._listener is not None, "the store is not open"
        while self._news:
            news = self._news.popleft()
            if isinstance(news, Database):
                self._served = news
                self._listener.reset(None)
            else:
                self._listener.announce(news)

    def _commit(self, batch: Sequence[base.Command]) -> list[Result]:
        database = self._ready()
        if not batch:
            return []
        transaction = None
        try:
            writer = database.writer()
            self._settle_doubts(database, writer)
            writer.execute("BEGIN IMMEDIATE")
            if self._recent.is_full:
                self._recent.merge(writer)
            transaction = Transaction(writer, self._known, self._vacancies, self._recent)
            results = transaction.run(batch)
            writer.execute("COMMIT")
        except BaseException as error:
            if transaction is not None:
                self._doubts = transaction.ends
                transaction.close()
            self._fail(database, error)
            raise
        if not database.is_in_place():
            # It is stored, but in a file that nobody will look for.
            self._let_go(database)
            raise Unavailable(f"{self._path}: the file was deleted or replaced")
        if transaction.appended:
            database.acknowledge(len(transaction.appended))
            self._news.append(transaction.appended)
        if len(self._known) > _KNOWN_ROWS:
            self._known.clear()
        return results

    def _ready(self) -> Database:
        """The database, if its file is where it was; else the one that has taken its place."""
        if self._database is not None:
            if self._database.is_in_place():
                return self._database
            self._let_go(self._database)
        try:
            # Never create a file here: an empty one would pass for the lost one.
            database = self._database = Database(self._path, create=False, renew=True)
        except CannotOpen as error:
            raise Unavailable(str(error)) from None
        self._count_vacancies(database)
        self._news.append(database)
        return database

    def _let_go(self, database: Database) -> None:
        logger.error("%s: the file was deleted or replaced", self._path)
        database.abandon()
        self._database = None
        self._known.clear()
        self._recent.forget()
        self._doubts.clear()
        self._failed = False

    def _fail(self, database: Database, error: BaseException) -> None:
        """Have a new connection for the next batch: what the failure left goes with the old one."""
        database.hang_up()
        self._known.clear()
        self._recent.forget()
        self._failed = True
        if isinstance(error, sqlite3.Error):
            code = getattr(error, "sqlite_errorcode", 0)
            self._was_read_only = code & 0xFF == sqlite3.SQLITE_READONLY
            raise Unavailable(f"{self._path}: {error}") from error

    def _settle_doubts(self, database: Database, writer: sqlite3.Connection) -> None:
        """After a failure: count anew, and announce what the failed commit stored all the same.

        SQLite can fail when a commit is written already, and find it when it reads its log again.
        """
        if not self._failed:
            return
        self._count_vacancies(database)
        for log, end in self._doubts.items():
            query = "(SELECT id FROM logs WHERE kind = ? AND key = ?) AND offset > ?"
            rows = writer.execute(f"{_SELECT_ENTRIES} log = {query} ORDER BY offset", (*log, end))
            stored = [(log, Entry._make(row)) for row in rows]
            if stored:
                self._news.append(stored)
        self._doubts.clear()
        self._failed = self._was_read_only = False
        database.acknowledge(0)

    async def _trim(self) -> bool:
        try:
            return await self._writing.run(self._trim_step)
        except Unavailable as error:
            logger.error("nothing could be trimmed: %s", error)
            return False

    def _trim_step(self) -> bool:
        if self._database is None or not self._database.is_in_place():
            return False  # for the next batch to find
        try:
            return self._trimmer.step(self._database.writer(), self._recent)
        except BaseException as error:
            self._fail(self._database, error)
            raise

    # --- Reading ----------------------------------------------------------------------------

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        # Not one that took its place, before the listener was told.
        database = self._served
        assert database is not None, "the store is not open"
        try:
            return await self._reading.run(partial(self._query, query, database))
        except _Moved:
            await self.write([])  # finds that, too, and acts on it
            raise

    def _query(self, query: Callable[[sqlite3.Connection], T], database: Database) -> T:
        try:
            if self._reader_of is not database:
                self._close_reader()
            if not database.is_in_place():
                raise _Moved(f"{self._path}: the file was deleted or replaced")
            if self._reader is None:
                self._reader = connect(self._path, "rw")
                self._reader.execute("PRAGMA query_only = ON")
                self._reader_of = database
            # One snapshot, or a log could be trimmed between two statements.
            self._reader.execute("BEGIN")
            answer = query(self._reader)
            self._reader.execute("COMMIT")
        except BaseException as error:
            self._close_reader()
            if isinstance(error, sqlite3.Error):
                raise Unavailable(f"{self._path}: {error}") from error
            raise
        return answer

    async def read_after(self, log: Log, after: int, last: int, limit: int) -> Page:
        """See `base.Backend.read_after`."""

        def query(connection: sqlite3.Connection) -> Page:
            row_id, start = _find(connection, log)
            entries: list[Entry] = []
            for select in _SELECT_ENTRIES, _SELECT_RECENT:
                rows = connection.execute(
                    select + "log = ? AND offset > ? AND offset <= ? ORDER BY offset LIMIT ?",
                    (row_id, after, last, limit - len(entries)),
                )
                entries += map(Entry._make, rows)
            return Page(start, entries)

        return await self._read(query)

    async def read_before(self, log: Log, before: int, limit: int) -> Page:
        """See `base.Backend.read_before`."""

        def query(connection: sqlite3.Connection) -> Page:
            row_id, start = _find(connection, log)
            entries: list[Entry] = []
            for select in _SELECT_RECENT, _SELECT_ENTRIES:
                rows = connection.execute(
                    select + "log = ? AND offset < ? ORDER BY offset DESC LIMIT ?",
                    (row_id, before, limit - len(entries)),
                )
                entries += map(Entry._make, rows)
            return Page(start, entries[::-1])

        return await self._read(query)

    async def rooms(self, limit: int) -> list[RoomHead]:
        """See `base.Backend.rooms`."""

        def query(connection: sqlite3.Connection) -> list[RoomHead]:
            rows = connection.execute(_SELECT_ROOMS, {"limit": limit})
            return [RoomHead(Name(key, name), last) for key, name, last in rows]

        return await self._read(query)


def _find(connection: sqlite3.Connection, log: Log) -> tuple[int, int]:
    """The row of a log and the first offset it keeps."""
    row = connection.execute("SELECT id, start FROM logs WHERE kind = ? AND key = ?", log)
    found: tuple[int, int] | None = row.fetchone()
    if found is None:
        raise Unavailable(f"{log.kind} {log.key!r} is not in the database any more")
    return found
