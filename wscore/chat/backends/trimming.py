"""Removes what is not to be kept from the SQLite database, in steps.

Imports `recent` and `retention`.
"""

from __future__ import annotations

import sqlite3

from .recent import Recent
from .retention import ID_MEMORY, STEP, Retention, digest

_LOGS = 1000
"""How many logs one step looks at."""

_DUE = """
SELECT id, start, last FROM logs WHERE id > ? AND id <= ? AND start <= last AND (
    start < last - ? + 1
    OR (SELECT time FROM entries WHERE log = logs.id AND offset = logs.start) < ?
) ORDER BY id LIMIT 1
"""
# Until when the id of an entry is remembered; NULL: as long as the recipient's inbox has it.
_UNTIL = """CASE WHEN recipient <> log AND EXISTS (
    SELECT 1 FROM entries AS copy
    WHERE copy.log = entries.recipient AND copy.sender = entries.sender AND copy.id = entries.id
) THEN NULL ELSE time + :memory END"""
_REMEMBER = f"""
INSERT INTO trimmed SELECT log, sender, id, offset, recipient, digest(text), time, {_UNTIL}
FROM entries WHERE log = :log AND offset < :start AND (recipient IS NULL OR sender = log)
AND ifnull({_UNTIL}, :now) >= :now
"""
# The other half of a direct message: its sender need not remember it for our sake any more.
_RELEASE = """
UPDATE trimmed SET until = time + :memory WHERE (log, sender, id) IN (
    SELECT sender, sender, id FROM entries
    WHERE log = :log AND offset < :start AND recipient = log AND sender <> log
)
"""
_FORGET = """
DELETE FROM trimmed WHERE (log, sender, id) IN (
    SELECT log, sender, id FROM trimmed WHERE until < ? ORDER BY until LIMIT ?
)
"""


class Trimmer:
    """Goes round all logs, a few at a time.

    Args:
        retention: what is kept.
    """

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._reached = 0

    def step(self, connection: sqlite3.Connection, recent: Recent) -> bool:
        """Do one step, in transactions of its own; returns False at the end of a round.

        Raises:
            sqlite3.Error: it could not be done; the transaction may still be open.
        """
        retention = self._retention
        now = retention.clock()
        if connection.execute("SELECT 1 FROM trimmed WHERE until < ?", (now,)).fetchone():
            connection.execute(_FORGET, (now, STEP))
            return True
        if retention.keep_messages is None and retention.keep_days is None:
            return False
        if recent.offsets:
            connection.execute("BEGIN IMMEDIATE")
            recent.merge(connection)
            connection.execute("COMMIT")
        due = connection.execute(
            _DUE,
            (
                self._reached,
                self._reached + _LOGS,
                2**53 if retention.keep_messages is None else retention.keep_messages,
                retention.oldest_time(now),
            ),
        ).fetchone()
        if due is None:
            (end,) = connection.execute("SELECT max(id) FROM logs").fetchone()
            self._reached += _LOGS
            if self._reached < (end or 0):
                return True
            self._reached = 0
            return False
        self._reached = due[0] - 1
        self._trim(connection, due[0], self._start(connection, due, now), now)
        return True

    def _start(self, connection: sqlite3.Connection, due: tuple[int, int, int], now: int) -> int:
        """The first offset that a log keeps after this step."""
        log, start, last = due
        rows = connection.execute(
            "SELECT time FROM entries WHERE log = ? AND offset >= ? ORDER BY offset LIMIT ?",
            (log, start, STEP),
        )
        oldest_offset = self._retention.oldest_offset(last)
        oldest_time = self._retention.oldest_time(now)
        for (time,) in rows:
            if start >= oldest_offset and time >= oldest_time:
                break
            start += 1
        return start

    def _trim(self, connection: sqlite3.Connection, log: int, start: int, now: int) -> None:
        connection.create_function("digest", 1, digest, deterministic=True)
        values = {"log": log, "start": start, "now": now, "memory": ID_MEMORY}
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_REMEMBER, values)
        connection.execute(_RELEASE, values)
        connection.execute("DELETE FROM entries WHERE log = :log AND offset < :start", values)
        connection.execute("UPDATE logs SET start = :start WHERE id = :log", values)
        connection.execute("COMMIT")
