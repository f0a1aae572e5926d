"""What the messages speak of: error codes, close codes, limits; imports `model` only."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal

from msgspec import Struct

from wscore.chat.model import NAME_LENGTH

SUBPROTOCOL = "chat.wscore.v1"

MAX_OFFSET = 2**53 - 1
"""The largest offset: what a JavaScript number holds exactly."""

MESSAGE_BYTES = 128 * 1024
"""The largest message on the wire, in bytes, in either direction."""

ErrorCode = Literal[
    "malformed", "unknown_type", "hello_required", "invalid_name", "name_taken", "unauthorized",
    "forbidden", "not_joined", "unknown_user", "too_long", "conflict", "rate_limited",
    "limit_reached", "unavailable", "internal",
]  # fmt: skip

ERRORS: Final[dict[ErrorCode, str]] = {
    "malformed": "not JSON, not an object, a field missing or of the wrong type",
    "unknown_type": "no request has this `type`",
    "hello_required": "the first request is `hello`",
    "invalid_name": "not 1–64 letters, marks, decimal digits, `-`, `_` or `.`",
    "name_taken": "the name belongs to another session",
    "unauthorized": "who this is was not proven: the token is missing, bad or expired, or the"
    " server takes none",
    "forbidden": "this user may not do that here",
    "not_joined": "this connection has not joined the room",
    "unknown_user": "nobody ever said hello by this name",
    "too_long": "the text is longer than `limits.text`",
    "conflict": "this id was used for another message",
    "rate_limited": "too many requests; nothing was stored; try again after `retry_after`",
    "limit_reached": "too many rooms or users in all, or rooms of this connection",
    "unavailable": "the store is out of reach; try again with the same `id`: it is stored once",
    "internal": "the server made a mistake",
}
"""Each error code and when it is sent."""


class CloseCode(IntEnum):
    """The close codes that a client meets, and what it does."""

    GOING_AWAY = 1001
    """The server goes away: reconnect with jitter and resume."""
    UNSUPPORTED = 1003
    """A binary message: a bug in the client; do not loop."""
    INVALID_DATA = 1007
    """A text message that is not UTF-8: a bug in the client; do not loop."""
    POLICY = 1008
    """No hello in time, or malformed requests in a row: a bug in the client; do not loop."""
    TOO_BIG = 1009
    """A message larger than `limits.message`: a bug in the client; do not loop."""
    INTERNAL = 1011
    """The server made a mistake: reconnect with jitter and resume."""
    RESTART = 1012
    """The server stops or restarts, or a log began a new epoch: reconnect with jitter and
    resume."""
    SLOW = 4000
    """Too slow, the outbox was full: reconnect and resume from the last position. Nothing is
    lost. Where this close cannot be delivered within 5 s the connection is cut (1006)."""
    EXPIRED = 4003
    """The token expired: get a new one."""


class ChatError(Exception):
    """A request that is answered with an error.

    Args:
        code: one of the protocol's error codes.
        reason: one sentence for a human.
        id: the request's id where it could be read.
        retry_after: seconds to wait, with ``rate_limited``.
    """

    def __init__(
        self,
        code: ErrorCode,
        reason: str,
        *,
        id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {reason}")
        self.code: ErrorCode = code
        self.reason = reason
        self.id = id
        self.retry_after = retry_after


class Limits(Struct, frozen=True, kw_only=True):
    """The numbers a ``hello`` tells the client; a rate of 0 means unlimited."""

    text: int = 4000
    """Longest text, in code points."""
    name: int = NAME_LENGTH
    """Longest name, in code points."""
    id: int = 64
    """Longest request id, in code points."""
    message: int = MESSAGE_BYTES
    """Largest message, in bytes."""
    rate: float = 20
    """Posts and direct messages per second and connection; other requests: five times that."""
    burst: int = 40
    """Posts and direct messages at once; other requests: five times that."""
    page: int = 50
    """Messages of a slice without a position, and of a history without a limit."""
    history: int = 200
    """Most messages of one history or of the first part of a replay."""
    replay: int = 10_000
    """Most messages a slice can continue over; beyond it there is a gap."""
    presence: int = 200
    """Present users above which a room's presence pushes carry only the count."""
    joined: int = 100
    """Rooms per connection."""
