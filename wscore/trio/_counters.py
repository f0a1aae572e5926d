"""What a server counts, as plain numbers; imports the exceptions beside it only."""

from __future__ import annotations

from collections import Counter

from ._errors import CloseReason


class ServerCounters:
    """The counters of one server since it was made, as plain numbers for a metrics exporter.

    They agree with each other at every moment: ``accepted`` is ``open`` plus ``ended``, and
    ``ended`` is the sum over ``closed``. A connection whose opening handshake is over counts once:
    in ``accepted``, ``refused``, ``handshakes_lost`` or ``handshake_timeouts``; only those that the
    end of the server cut in the middle of it count nowhere.

    Attributes:
        open: WebSocket connections that were accepted and have not ended.
        accepted: WebSocket connections that were accepted.
        refused: requests answered with another HTTP status than 101, by status; the answers of
            ``process_request`` are among them, and the 503 where it took too long.
        closed: connections that have ended, by close code (RFC 6455 section 7.4); 1006 for those
            that ended without a Close.
        cut: connections that this end cut, by reason; they are in ``closed`` too.
        handler_errors: exceptions of handlers and of ``process_request`` that were logged.
        handshake_timeouts: connections dropped because no request was complete in time.
        handshakes_lost: connections that went away, or failed in TLS, before they were answered.
        accept_pauses: times that accepting paused because the system was short of something.
    """

    __slots__ = (
        "accept_pauses",
        "accepted",
        "closed",
        "cut",
        "handler_errors",
        "handshake_timeouts",
        "handshakes_lost",
        "open",
        "refused",
    )

    def __init__(self) -> None:
        self.open = 0
        self.accepted = 0
        self.refused: Counter[int] = Counter()
        self.closed: Counter[int] = Counter()
        self.cut: Counter[str] = Counter()
        self.handler_errors = 0
        self.handshake_timeouts = 0
        self.handshakes_lost = 0
        self.accept_pauses = 0

    @property
    def ended(self) -> int:
        """WebSocket connections that were accepted and have ended."""
        return self.accepted - self.open

    def count_accepted(self) -> None:
        """A connection has begun."""
        self.accepted += 1
        self.open += 1

    def count_ended(self, reason: CloseReason, cut_reason: str | None) -> None:
        """A connection has ended."""
        self.open -= 1
        self.closed[reason.code] += 1
        if cut_reason is not None:
            self.cut[cut_reason] += 1

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.open} open, {self.accepted} accepted>"
