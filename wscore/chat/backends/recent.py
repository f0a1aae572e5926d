"""The newest entries, in a table of their own until they are merged; imports `model` only.

Entries are kept by log and offset, and found by the ids of their messages. Put there as they come,
nearly each one of a batch would change two pages that no other one does, and a commit writes whole
pages to the disk. So a commit appends them to the table ``recent``, in the order they came, where
dozens share a page; and once there are thousands, one transaction merges them, sorted, into
``entries``, where then many share a page too.

The table has no index, which would have as many pages for a batch to change: what is in it is in
memory too, and only a start or a new connection reads it, to merge it.

In a log, what is in ``recent`` follows what is in ``entries``. What ``logs`` says of the end of a
log, and when it was touched, is of ``entries`` alone: else each commit would change that, too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from wscore.chat.model import Entry, Log

Key = tuple[int, int, str]
"""Of a message: log, sender, id."""
Before = tuple[int, str | bytes, int | None, int]
"""Of a message that was stored: offset, text or its digest, recipient, time."""

_MOST = 4096
"""How many entries: the more there are, the more of them share a page of the large table; but while
they are merged, posters wait, and on a slow disk each page may have to be read first."""
_MOST_TEXT = 4 * 1024 * 1024
"""How many code points all their texts have."""

_MERGE = """
INSERT OR ROLLBACK INTO entries
SELECT log, offset, sender, recipient, text, time, id FROM recent ORDER BY log, offset
"""
NEWEST = "SELECT log, max(offset) AS last, time FROM recent GROUP BY log"
"""The last entry of each log that has any in ``recent``; the time is that of the row with the
largest offset, as SQLite promises for such a query."""
_MOVE_ENDS = f"""
UPDATE OR ROLLBACK logs SET last = newest.last, touched = newest.time
FROM ({NEWEST}) AS newest WHERE logs.id = newest.log
"""


class Recent:
    """What is in the table, as of the last commit.

    The thread that writes changes it. Another one may read the entries of a log at any time: one
    that has them and begins to read the database only then misses none, though it may find some
    in both.
    """

    def __init__(self) -> None:
        self.ids: dict[Key, Before] = {}
        self._logs: dict[Log, list[Entry]] = {}
        self._text = 0

    @property
    def is_full(self) -> bool:
        """Whether it is to be merged before anything else is put there."""
        return len(self.ids) >= _MOST or self._text >= _MOST_TEXT

    def keep(self, ids: Mapping[Key, Before], entries: Iterable[tuple[Log, Entry]]) -> None:
        """These were put there, and committed."""
        self.ids.update(ids)
        for log, entry in entries:
            self._logs.setdefault(log, []).append(entry)
            self._text += len(entry.text)

    def last(self, log: Log) -> int:
        """The offset of the last entry of a log that is there; 0: there is none."""
        kept = self._logs.get(log)
        return kept[-1].offset if kept else 0

    def after(self, log: Log, after: int, last: int, limit: int) -> list[Entry]:
        """The first ``limit`` entries of a log that are there with ``after < offset <= last``."""
        kept = self._logs.get(log)
        if kept is None:
            return []
        first = kept[0].offset
        begin = max(0, after + 1 - first)
        return kept[begin : max(begin, min(last + 1 - first, begin + limit))]

    def before(self, log: Log, before: int, limit: int) -> list[Entry]:
        """The last ``limit`` entries of a log that are there with ``offset < before``."""
        kept = self._logs.get(log)
        if kept is None:
            return []
        end = max(0, min(before - kept[0].offset, len(kept)))
        return kept[max(0, end - limit) : end]

    def merge(self, connection: sqlite3.Connection) -> None:
        """Move everything to ``entries``, in a transaction of its own.

        Raises:
            sqlite3.Error: it could not be done; the transaction may still be open.
        """
        if connection.execute("SELECT 1 FROM recent").fetchone():
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_MERGE)
            connection.execute(_MOVE_ENDS)
            connection.execute("DELETE FROM recent")
            connection.execute("COMMIT")
        self.ids.clear()
        self._logs = {}  # who reads the former one is not disturbed
        self._text = 0
