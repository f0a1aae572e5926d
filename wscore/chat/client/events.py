"""What a program gets from its client, beside the pushes themselves; imports the protocol."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct, field

from wscore.chat.protocol import (
    DirectPush,
    Limits,
    MessagePush,
    Position,
    PresencePush,
    StoredOk,
    TypingPush,
)

Message = MessagePush
Direct = DirectPush
Presence = PresencePush
Typing = TypingPush
Stored = StoredOk


@dataclass(frozen=True, slots=True)
class Connected:
    """The server knows who we are; what was begun before goes on from here."""

    user: str
    """The own name in the server's spelling."""
    limits: Limits


@dataclass(frozen=True, slots=True)
class Disconnected:
    """There is no connection; there will be another try."""

    delay: float
    """Seconds until the next try."""
    reason: str
    """Why, in a few words for a human; may contain what the server sent."""
    code: int | None
    """The close code of the connection that ended, or None where none was open."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The room's messages and presence come from here on; again after each connection."""

    room: str
    """The name in the server's spelling."""
    count: int
    """How many users are present."""
    members: tuple[str, ...]
    """The first 200 of them, sorted."""


@dataclass(frozen=True, slots=True)
class Left:
    """The server does not let us into a room again that we were in; it is forgotten."""

    room: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Gap:
    """The server no longer has what followed ``after``; messages go on behind ``before``."""

    room: str | None
    """The room, or None for the inbox."""
    after: Position
    """The last message known before the gap."""
    before: Position
    """Where the log goes on: the next message has the next offset in this epoch."""


@dataclass(frozen=True, slots=True)
class History:
    """Older messages, ascending, and whether there are still older ones."""

    messages: list[Message] | list[Direct]
    more: bool


Event = Message | Direct | Presence | Typing | Connected | Disconnected | Joined | Left | Gap


class Positions(Struct, frozen=True):
    """Up to where a program has taken the messages of each log; JSON through `msgspec.json`."""

    inbox: Position | None = None
    rooms: dict[str, Position] = field(default_factory=dict)
