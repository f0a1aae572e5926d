"""One room or inbox, as far as connections of this process have to do with it; imports `model`."""

from __future__ import annotations

from collections.abc import Iterator

from .model import Log, Name

TYPING_INTERVAL = 1.0
"""Seconds between two pushes that say that somebody writes."""
_TYPING_PRUNE = 64


class Channel:
    """A log that at least one connection follows or is about to."""

    __slots__ = (
        "cursors",
        "elsewhere",
        "epoch",
        "joined",
        "live",
        "log",
        "name",
        "names",
        "offset",
        "typed",
        "typed_room",
    )

    def __init__(self, log: Log) -> None:
        self.log = log
        self.name = ""
        self.epoch: str | None = None
        self.offset = 0
        self.live: set[int] = set()
        # Of connections that are not live: how far they are; None before their first slice.
        self.cursors: dict[int, int | None] = {}
        # Of a room: each user's connections here, the names by keys of those who are present at
        # other processes, and the sorted names of both.
        self.joined: dict[str, set[int]] = {}
        self.elsewhere: dict[str, str] = {}
        self.names: list[str] = []
        # When who was last said to write, and how many may be noted until old ones are dropped.
        self.typed: dict[str, float] = {}
        self.typed_room = _TYPING_PRUNE

    def connections(self) -> Iterator[int]:
        """All that have joined, live or behind."""
        for connections in self.joined.values():
            yield from connections

    def others(self, user: Name) -> list[int]:
        """All that have joined but those of this user."""
        return [c for key, own in self.joined.items() if key != user.key for c in own]

    def typing_due(self, key: str, now: float) -> bool:
        """Whether a typing push of whom this stands for may be sent, and if so note it."""
        if now - self.typed.get(key, -TYPING_INTERVAL) < TYPING_INTERVAL:
            return False
        if len(self.typed) >= self.typed_room:
            recent = now - TYPING_INTERVAL
            self.typed = {key: at for key, at in self.typed.items() if at > recent}
            self.typed_room = max(_TYPING_PRUNE, 2 * len(self.typed))
        self.typed[key] = now
        return True
