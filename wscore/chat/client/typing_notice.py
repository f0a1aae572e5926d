"""When to say that somebody is writing: at most once a second for a room or person; no I/O."""

from __future__ import annotations

import math

from msgspec import UNSET

from wscore.chat import protocol

from .terms import name_key

_INTERVAL = 1.0


class TypingNotice:
    """The one notice that waits to be sent; a newer one replaces it."""

    def __init__(self) -> None:
        self._waiting: protocol.Typing | None = None
        self._last: tuple[str, float] = ("", -math.inf)

    def note(self, room: str | None, to: str | None, now: float) -> None:
        """Somebody is writing in a room or to a user; nothing where that was said just now.

        Raises:
            ChatError: ``invalid_name``.
        """
        target = f"room:{room}" if to is None else f"to:{name_key(to)}"
        last, at = self._last
        if target == last and now - at < _INTERVAL:
            return
        self._last = target, now
        self._waiting = protocol.Typing(
            room=UNSET if room is None else room, to=UNSET if to is None else to
        )

    def take(self) -> protocol.Typing | None:
        """The notice to send now, if there is one."""
        waiting, self._waiting = self._waiting, None
        return waiting

    def clear(self) -> None:
        """Forget what waits: the connection is gone."""
        self._waiting = None
