"""One SQLite file that a server has for itself; imports `base`, `recent` and `schema` only.

Beside ``chat.db`` lie SQLite's own ``-wal`` and ``-shm``, and two small files of ours:

* ``-lock``, empty, by which a second server on the same database is refused;
* ``-mark``, the number of entries ever acknowledged, written after each commit. A database that
  has fewer is not the one that was served here last: an older copy was restored, or the disk
  forgot what it had confirmed. Then offsets would be given a second time, to other messages, and
  clients who resume would miss them. So its logs begin new epochs.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from . import schema
from .base import CannotOpen
from .recent import Recent

logger = logging.getLogger("wscore.chat")

_LOG_PAGES = 4000
"""Of 4 KiB, in SQLite's log, before a commit copies them into the database. A log that is used
again costs less than one that grows, as the disk need not be told of a new size; but each time,
pages that are written again and again are copied once more."""


class Database:
    """The open database and its one writing connection; all methods block.

    Args:
        path: the database.
        create: whether a missing file is made; else it is an error.
        renew: whether all logs begin new epochs, whatever the mark says.

    Raises:
        CannotOpen: it cannot be used.
    """

    def __init__(self, path: Path, *, create: bool, renew: bool) -> None:
        self._path = path
        self._mark: BinaryIO | None = None
        self._lock: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        try:
            self._take_lock()
            self._writer = connect(path, "rwc" if create else "rw")
            found = schema.migrate(self._writer)
            _begin_merged(self._writer)
            self._places = {suffix: _place(path, suffix) for suffix in ("", "-wal", "-shm")}
            self._count()
            self._check_mark(found, renew)
        except (sqlite3.Error, OSError, CannotOpen) as error:
            self.close()
            raise CannotOpen(f"cannot use {path}: {error}") from None
        except BaseException:
            self.close()
            raise

    def _take_lock(self) -> None:
        # SQLite's own lock on an empty file: portable, and gone when the process is.
        self._lock = sqlite3.connect(
            f"{self._path}-lock", timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise CannotOpen("another server is using it") from None
            raise

    def _count(self) -> None:
        assert self._writer is not None
        rows = self._writer.execute("SELECT kind, count(*), sum(last) FROM logs GROUP BY kind")
        counts = rows.fetchall()
        self.logs: dict[str, int] = {kind: count for kind, count, _ in counts}
        self._entries: int = sum(last for _, _, last in counts)

    def _check_mark(self, found: int, renew: bool) -> None:
        """Compare the mark with a database that had schema ``found``, and renew epochs if need be.

        Up to schema 1 there was no mark.
        """
        assert self._writer is not None
        path = Path(f"{self._path}-mark")
        try:
            marked = int(path.read_bytes())
        except (FileNotFoundError, ValueError):
            marked = None
        is_older = found > 1 and (marked is None or marked > self._entries)
        if (renew or is_older) and self.logs:
            logger.warning(
                "%s: every log begins a new epoch, because %s",
                self._path,
                "this was asked for" if renew else "this is not the database last served here",
            )
            self._writer.execute("UPDATE logs SET epoch = lower(hex(randomblob(8)))")
        self._mark = path.open("wb", buffering=0)
        self._write_mark()

    def _write_mark(self) -> None:
        assert self._mark is not None
        self._mark.seek(0)
        self._mark.write(b"%020d\n" % self._entries)

    def writer(self) -> sqlite3.Connection:
        """The connection to write with.

        Raises:
            sqlite3.Error: there is none to be had.
        """
        if self._writer is None:
            connection = connect(self._path, "rw")
            try:
                # Pages that could not be synced count as clean for the kernel: what is in the log
                # is copied and synced anew before anything is built upon it.
                (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if busy:
                    raise sqlite3.OperationalError("database is locked")
                _begin_merged(connection)
            except BaseException:
                connection.close()
                raise
            self._writer = connection
            self._count()
        return self._writer

    def hang_up(self) -> None:
        """Drop the writing connection, with whatever state a failure left it in."""
        if self._writer is not None:
            with suppress(sqlite3.Error):
                self._writer.rollback()
            self._writer.close()
            self._writer = None

    def is_in_place(self) -> bool:
        """Whether the path still leads to this file, and not to another one or none."""
        try:
            return _place(self._path) == self._places[""]
        except OSError:
            return False

    def abandon(self) -> None:
        """Let go of a file that is not in its place any more.

        Its log is brought into it, wherever it is, and removed: SQLite would take it for that of
        the file that is to come.
        """
        if self._writer is not None:
            with suppress(sqlite3.Error):
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.close()
        for suffix in "-wal", "-shm":
            with suppress(OSError):
                if _place(self._path, suffix) == self._places[suffix]:
                    os.unlink(f"{self._path}{suffix}")

    def acknowledge(self, entries: int) -> None:
        """So many more entries were committed."""
        self._entries += entries
        try:
            self._write_mark()
        except OSError as error:  # they are stored all the same
            logger.error("%s-mark cannot be written: %s", self._path, error)

    def close(self) -> None:
        """Let go of everything."""
        self.hang_up()
        if self._lock is not None:
            self._lock.close()
        if self._mark is not None:
            self._mark.close()


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Connect as safely as the chat promises.

    Args:
        path: the database.
        mode: ``rw``, or ``rwc`` to create it.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _begin_merged(connection: sqlite3.Connection) -> None:
    """Merge what is recent: nobody knows its ids any more."""
    if connection.execute("SELECT 1 FROM recent").fetchone():
        connection.execute("BEGIN IMMEDIATE")
        Recent().merge(connection)
        connection.execute("COMMIT")


def _place(path: Path, suffix: str = "") -> tuple[int, int]:
    status = os.stat(f"{path}{suffix}")
    return status.st_dev, status.st_ino
