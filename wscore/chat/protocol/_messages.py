"""The messages, one type for each: requests, replies, pushes, parts; imports what is beside it.

A field that may be missing has the default UNSET, so that it is told from null, which is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from ._terms import MAX_OFFSET, ErrorCode, Limits

RequestId = Annotated[str, Meta(min_length=1, max_length=64)]
Offset = Annotated[int, Meta(ge=0, le=MAX_OFFSET)]

# --- Requests -------------------------------------------------------------------------------


class Position(Struct, frozen=True):
    """A place in a log: everything up to and including ``offset`` is known."""

    epoch: str
    """The life of the log that the offset belongs to."""
    offset: Offset
    """Of the last message that is known; 0: none."""


class _Request(Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    id: RequestId
    """Chosen by the client; the reply carries it."""


class Hello(_Request, frozen=True, kw_only=True):
    """Who is there. First on every connection, within 10 seconds; once."""

    user: str | UnsetType = UNSET
    """The user's name, where the server takes no tokens."""
    token: str | UnsetType = UNSET
    """A JWT, where the server takes tokens; its `sub` is the user's name."""
    session: Annotated[str, Meta(min_length=22, max_length=128)] | UnsetType = UNSET
    """The secret by which the name is the user's; without it the server chooses one."""
    position: Position | UnsetType = UNSET
    """Where to continue in the inbox."""


class Rooms(_Request, frozen=True, kw_only=True):
    """The rooms with most present."""


class Join(_Request, frozen=True, kw_only=True):
    """Get a slice of a room, and its pushes from then on. Again: a new slice, no new presence."""

    room: str
    """The room's name; the room is made if there is none."""
    position: Position | UnsetType = UNSET
    """Where to continue in the room's log."""


class Leave(_Request, frozen=True, kw_only=True):
    """End what `join` began."""

    room: str
    """A room that this connection has joined."""


class Post(_Request, frozen=True, kw_only=True):
    """Say something in a room; `id` is the message's id, unique for its user for ever."""

    room: str
    """A room that this connection has joined."""
    text: Annotated[str, Meta(min_length=1)]
    """What is said, at most `limits.text` code points."""


class Direct(_Request, frozen=True, kw_only=True):
    """Say something to one user; `id` is the message's id, unique for its user for ever."""

    to: str
    """The user's name; may be one's own."""
    text: Annotated[str, Meta(min_length=1)]
    """What is said, at most `limits.text` code points."""


class History(_Request, frozen=True, kw_only=True):
    """Older messages of a joined room or of the inbox."""

    room: str | UnsetType = UNSET
    """A room that this connection has joined; or else:"""
    inbox: bool = False
    """True for the inbox."""
    before: Offset | UnsetType = UNSET
    """Only messages with smaller offsets; without it from the end."""
    limit: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    """How many at most; without it `limits.page`, never more than `limits.history`."""


class Ping(_Request, frozen=True, kw_only=True):
    """Answered with an `ok` that carries nothing."""


class Typing(Struct, frozen=True, kw_only=True, tag_field="type", tag="typing"):
    """Somebody is writing. The one request without `id`: it gets no reply."""

    room: str | UnsetType = UNSET
    """A room that this connection has joined; or else:"""
    to: str | UnsetType = UNSET
    """A user's name."""


Request = Hello | Rooms | Join | Leave | Post | Direct | History | Ping | Typing

# --- Replies --------------------------------------------------------------------------------


class Ok(Struct, frozen=True, kw_only=True, tag_field="type", tag="ok"):
    """Done. Replies to `leave` and `ping` carry nothing else."""

    id: str
    """Of the request."""


class Inbox(Struct, frozen=True, kw_only=True):
    """The slice of the inbox inside the reply to `hello`."""

    epoch: str
    """The life that the log is in."""
    offset: int
    """Of the last message in the log; 0: there is none."""
    messages: Sequence[Raw] = ()
    """In ascending order, each in the form of its push."""
    gap: bool
    """True: the position cannot be continued, and this is the newest page instead."""
    more: bool
    """True: the rest follows as pushes, before any live one."""


class HelloOk(Ok, frozen=True, kw_only=True, tag="ok"):
    """The reply to `hello`."""

    user: str
    """The user's name in its first spelling."""
    session: str
    """The secret that was sent, or one that was chosen; of no use where a token says who it is."""
    inbox: Inbox
    """A slice of the inbox."""
    limits: Limits
    """What this server allows."""


class RoomInfo(Struct, frozen=True):
    """One line of the reply to `rooms`."""

    room: str
    """The room's name in its first spelling."""
    count: int
    """How many users are present."""
    offset: int
    """Of the last message in its log."""


class RoomsOk(Ok, frozen=True, kw_only=True, tag="ok"):
    """The reply to `rooms`."""

    rooms: list[RoomInfo]
    """Up to 100, most present first."""


class JoinOk(Ok, frozen=True, kw_only=True, tag="ok"):
    """The reply to `join`: a slice of the room's log, and who is there."""

    room: str
    """The room's name in its first spelling."""
    epoch: str
    """The life that the log is in."""
    offset: int
    """Of the last message in the log; 0: there is none."""
    messages: Sequence[Raw] = ()
    """In ascending order, each in the form of its push."""
    gap: bool
    """True: the position cannot be continued, and this is the newest page instead."""
    more: bool
    """True: the rest follows as pushes, before any live one."""
    count: int
    """How many users are present."""
    members: list[str]
    """The first 200 of them, sorted."""


class StoredOk(Ok, frozen=True, kw_only=True, tag="ok"):
    """The reply to `post` and `direct`: stored, and kept."""

    epoch: str
    """The life of the log: the room's, or the sender's inbox."""
    offset: int
    """Of the message in that log."""
    time: str
    """When it was stored: RFC 3339, UTC, milliseconds."""
    duplicate: Literal[True] | UnsetType = UNSET
    """True: it was stored before, and this is what was answered then."""


class HistoryOk(Ok, frozen=True, kw_only=True, tag="ok"):
    """The reply to `history`."""

    messages: Sequence[Raw] = ()
    """In ascending order, each in the form of its push."""
    more: bool
    """True: older ones are kept."""


class Error(Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """The reply to a request that was not done."""

    id: str | None
    """Of the request, or null where it could not be read."""
    code: ErrorCode
    """What went wrong."""
    reason: str
    """The same for a human."""
    retry_after: float | UnsetType = UNSET
    """With `rate_limited`: seconds to wait."""


# --- Pushes ---------------------------------------------------------------------------------


class MessagePush(Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """A message of a room, to every joined connection, the sender's too."""

    room: str
    """The room's name in its first spelling."""
    offset: int
    """Of the message in the room's log."""
    sender: str = field(name="from")
    """Who said it."""
    text: str
    """What was said."""
    time: str
    """When it was stored: RFC 3339, UTC, milliseconds."""
    id: str
    """Of the message."""


class DirectPush(Struct, frozen=True, kw_only=True, tag_field="type", tag="direct"):
    """A message to a user, to every connection of both users."""

    sender: str = field(name="from")
    """Who said it."""
    to: str
    """To whom."""
    offset: int
    """Of the message in the inbox of the user whose connection gets this."""
    text: str
    """What was said."""
    time: str
    """When it was stored: RFC 3339, UTC, milliseconds."""
    id: str
    """Of the message."""


class PresencePush(Struct, frozen=True, kw_only=True, tag_field="type", tag="presence"):
    """Somebody came or went; with more than `limits.presence` present only the count."""

    room: str
    """The room's name in its first spelling."""
    user: str | UnsetType = UNSET
    """Who."""
    state: Literal["joined", "left"] | UnsetType = UNSET
    """What they did."""
    count: int
    """How many users are present now."""


class TypingPush(Struct, frozen=True, kw_only=True, tag_field="type", tag="typing"):
    """Somebody is writing; at most one a second for a user and room or person."""

    room: str | UnsetType = UNSET
    """Where; or else:"""
    to: str | UnsetType = UNSET
    """To whom, which is the receiver."""
    user: str
    """Who."""


Push = PresencePush | TypingPush
