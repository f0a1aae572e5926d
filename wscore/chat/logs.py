"""How ``wscore chat`` logs: lines for people, or one JSON object a line; standard library only."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime


class JSONFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``.

    An exception's traceback is in ``exception``; what a call gave as ``extra`` are further fields.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Make the line."""
        time = datetime.fromtimestamp(record.created, UTC)
        fields: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        own = record.__dict__.items()
        fields |= {key: value for key, value in own if key not in _STANDARD and key not in fields}
        return json.dumps(fields, default=str)


_STANDARD = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"}


def configure(level: str, format: str) -> None:
    """Log to stderr from this level on, as ``text`` or ``json``."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JSONFormatter()
        if format == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler])
