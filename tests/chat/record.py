"""Who listens to a back-end in tests."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from wscore.chat.model import Entry, Log


class Record:
    """Keeps what a back-end tells."""

    def __init__(self) -> None:
        self.announced: list[tuple[Log, Entry]] = []
        self.lost: list[Log] = []
        self.all_lost = 0

    def announce(self, entries: Sequence[tuple[Log, Entry]]) -> None:
        self.announced.extend(entries)

    def reset(self, logs: Collection[Log] | None) -> None:
        if logs is None:
            self.all_lost += 1
        else:
            self.lost.extend(logs)
