"""What a chat looks like on a terminal: events as lines of safe text; imports the client."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from wscore.chat.client import (
    Connected,
    Direct,
    Disconnected,
    Event,
    Gap,
    Joined,
    Left,
    Message,
    Presence,
    Typing,
)
from wscore.terminal.style import BOLD, DIM, Style
from wscore.terminal.text import safe, safe_lines

_LISTED_MEMBERS = 20


class Screen:
    """Turns events into lines, and remembers who is where.

    Args:
        style: colours or none.
        is_terminal: whether a human reads along: short local times, and remarks on who comes.
    """

    def __init__(self, style: Style, *, is_terminal: bool) -> None:
        self._style = style
        self._is_terminal = is_terminal
        self._members: dict[str, set[str]] = {}
        self._counts: dict[str, int] = {}
        self.user = ""

    @property
    def rooms(self) -> list[str]:
        """The joined rooms, the oldest first."""
        return list(self._counts)

    def lines(self, event: Event) -> Iterator[str]:
        """What an event shows; perhaps nothing."""
        match event:
            case Message() | Direct():
                yield from self.message(event)
            case Joined():
                yield from self._joined(event)
            case Presence():
                yield from self._presence(event)
            case Left():
                self.left(event.room)
                yield self._remark(f"{_room(event.room)} is closed to you: {safe(event.reason)}")
            case Gap():
                where = "among the direct messages" if event.room is None else _room(event.room)
                yield self._remark(f"{where}: the server no longer has some messages")
            case Connected():
                self.user = event.user
            case Disconnected() | Typing():
                pass

    def message(self, message: Message | Direct) -> Iterator[str]:
        """A message: time, who, where, text; further lines of the text stand below the first."""
        time, name = self._time(message.time), self._style.name(safe(message.sender))
        if isinstance(message, Direct):
            head = f"{time} {name} → {self._style.name(safe(message.to))}"
        elif len(self._counts) > 1 or not self._is_terminal:
            head = f"{time} {_room(message.room)} {name}"
        else:
            head = f"{time} {name}"
        if not self._is_terminal:  # one line for one message, for programs
            yield f"{head}: {safe(message.text)}"
            return
        first, *rest = safe_lines(message.text)
        yield f"{head}: {first}"
        for line in rest:
            yield f"      {line}"

    def who(self, room: str) -> str:
        """Who is in a room."""
        members = sorted(self._members.get(room, ()))
        names = ", ".join(self._style.name(safe(name)) for name in members[:_LISTED_MEMBERS])
        more = self._counts.get(room, 0) - min(len(members), _LISTED_MEMBERS)
        return f"{_room(room)}: {names}" + (f" and {more} more" if more > 0 else "")

    def left(self, room: str) -> None:
        """We left a room."""
        self._members.pop(room, None)
        self._counts.pop(room, None)

    def _joined(self, event: Joined) -> Iterator[str]:
        is_new = event.room not in self._counts
        self._members[event.room] = set(event.members)
        self._counts[event.room] = event.count
        if is_new and self._is_terminal:
            yield self._style.paint(self.who(event.room), BOLD)

    def _presence(self, event: Presence) -> Iterator[str]:
        if event.room not in self._counts:
            return
        self._counts[event.room] = event.count
        if not isinstance(event.user, str):
            return
        is_here = event.state == "joined"
        members = self._members[event.room]
        (members.add if is_here else members.discard)(event.user)
        if self._is_terminal:
            verb = "joined" if is_here else "left"
            yield self._remark(
                f"{safe(event.user)} {verb} {_room(event.room)} ({event.count} here)"
            )

    def _remark(self, text: str) -> str:
        return self._style.paint(text, DIM)

    def _time(self, text: str) -> str:
        """A time of the server, which may be anything."""
        if not self._is_terminal:
            return safe(text)
        try:
            return self._remark(f"{datetime.fromisoformat(text).astimezone():%H:%M}")
        except (ValueError, OverflowError, OSError):
            return safe(text)


def _room(name: str) -> str:
    return f"#{safe(name)}"
