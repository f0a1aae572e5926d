"""The newest entries, in a table of their own until they are merged; imports no other layer.

Entries are kept by log and offset, and found by the ids of their messages. Put there as they come,
nearly each one of a batch would change two pages that no other one does, and a commit writes whole
pages to the disk. So a commit appends them to the table ``recent``, in the order they came, where
dozens share a page; and once there are thousands, one transaction merges them, sorted, into
``entries``, where then many share a page too.

In a log, what is in ``recent`` follows what is in ``entries``. What ``logs`` says of the end of a
log, and when it was touched, is of ``entries`` alone: else each commit would change that, too.
"""

from __future__ import annotations

import sqlite3

Key = tuple[int, int, str]
"""Of a message: log, sender, id."""

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
    """What is in the table: the offset of each message, and how much it is.

    Belongs to the thread that writes. After a transaction that failed it is to be told to `forget`,
    and the next connection begins with a `merge`.
    """

    def __init__(self) -> None:
        self.offsets: dict[Key, int] = {}
        self._text = 0

    @property
    def is_full(self) -> bool:
        """Whether it is to be merged before anything else is put there."""
        return len(self.offsets) >= _MOST or self._text >= _MOST_TEXT

    def note(self, key: Key, offset: int, text: str) -> None:
        """A message is being put there."""
        self.offsets[key] = offset
        self._text += len(text)

    def forget(self) -> None:
        """What was noted is void."""
        self.offsets.clear()
        self._text = 0

    def merge(self, connection: sqlite3.Connection) -> None:
        """Move everything to ``entries``, in the transaction that has begun.

        Raises:
            sqlite3.Error: it could not be done.
        """
        connection.execute(_MERGE)
        connection.execute(_MOVE_ENDS)
        connection.execute("DELETE FROM recent")
        self.forget()
