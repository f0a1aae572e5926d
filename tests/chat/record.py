"""Who listens to a back-end in tests."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from wscore.chat.model import Entry, Log, Name


class Record:
    """Keeps what a back-end tells."""

    def __init__(self) -> None:
        self.announced: list[tuple[Log, Entry]] = []
        self.lost: list[Log] = []
        self.all_lost = 0
        self.elsewhere: dict[Log, set[str]] = {}
        self.typed: list[tuple[Log, str]] = []

    def announce(self, entries: Sequence[tuple[Log, Entry]]) -> None:
        self.announced.extend(entries)

    def reset(self, logs: Collection[Log] | None) -> None:
        if logs is None:
            self.all_lost += 1
            self.elsewhere.clear()
        else:
            self.lost.extend(logs)
            for log in logs:
                self.elsewhere.pop(log, None)

    def present(self, room: Log, came: Collection[Name], left: Collection[Name]) -> None:
        known = self.elsewhere.setdefault(room, set())
        assert known.isdisjoint(name.text for name in came)
        known |= {name.text for name in came}
        assert known.issuperset(name.text for name in left)
        known -= {name.text for name in left}

    def typing(self, log: Log, user: Name) -> None:
        self.typed.append((log, user.text))
