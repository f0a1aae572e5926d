"""The one schema of the wire: requests, replies and pushes <-> JSON; no I/O; imports `model` only.

Every message is one JSON object in one text message. Requests are decoded, and replies and
pushes encoded, here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from .model import NAME_LENGTH, Entry

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

RequestId = Annotated[str, Meta(min_length=1, max_length=64)]
Offset = Annotated[int, Meta(ge=0, le=MAX_OFFSET)]


class CloseCode:
    """The close codes the server uses, and why."""

    UNSUPPORTED = 1003
    """A binary message."""
    POLICY = 1008
    """No hello in time, or malformed requests in a row."""
    INTERNAL = 1011
    """The server made a mistake: reconnect and resume."""
    RESTART = 1012
    """The server stops, or a log began a new epoch: reconnect and resume."""
    SLOW = 4000
    """The outbox was full: reconnect and resume."""


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


# --- Requests -------------------------------------------------------------------------------


class Position(Struct, frozen=True):
    """A place in a log: everything up to and including ``offset`` is known."""

    epoch: str
    offset: Offset


class _Request(Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    id: RequestId


class Hello(_Request, frozen=True, kw_only=True):
    """Who is there; first on every connection."""

    user: str | UnsetType = UNSET
    token: str | UnsetType = UNSET
    session: Annotated[str, Meta(min_length=22, max_length=128)] | UnsetType = UNSET
    position: Position | UnsetType = UNSET


class Rooms(_Request, frozen=True, kw_only=True):
    """The rooms with most present."""


class Join(_Request, frozen=True, kw_only=True):
    """Get a slice of a room, and its pushes from then on."""

    room: str
    position: Position | UnsetType = UNSET


class Leave(_Request, frozen=True, kw_only=True):
    """End what `Join` began."""

    room: str


class Post(_Request, frozen=True, kw_only=True):
    """Say something in a room; ``id`` is the message's id."""

    room: str
    text: Annotated[str, Meta(min_length=1)]


class Direct(_Request, frozen=True, kw_only=True):
    """Say something to one user; ``id`` is the message's id."""

    to: str
    text: Annotated[str, Meta(min_length=1)]


class History(_Request, frozen=True, kw_only=True):
    """Older messages of a joined room or of the inbox."""

    room: str | UnsetType = UNSET
    inbox: bool = False
    before: Offset | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1)] | UnsetType = UNSET


class Ping(_Request, frozen=True, kw_only=True):
    """Answered with an empty ``ok``."""


class Typing(Struct, frozen=True, kw_only=True, tag_field="type", tag="typing"):
    """Somebody is writing; has no id and gets no reply."""

    room: str | UnsetType = UNSET
    to: str | UnsetType = UNSET


Request = Hello | Rooms | Join | Leave | Post | Direct | History | Ping | Typing

_REQUEST_TYPES = frozenset(
    {"hello", "rooms", "join", "leave", "post", "direct", "history", "ping", "typing"}
)
_decode_request = msgspec.json.Decoder(Request).decode


class _Envelope(Struct):
    """What is read of a request that is not valid."""

    type: Raw = Raw(b"null")
    id: Raw = Raw(b"null")


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_type = msgspec.json.Decoder(str).decode
_decode_id = msgspec.json.Decoder(RequestId).decode


def decode_request(text: str) -> Request:
    """Decode one request.

    Args:
        text: the text message.

    Raises:
        ChatError: ``malformed`` or ``unknown_type``, with the request's id where a valid one
            can be read.
    """
    try:
        request: Request = _decode_request(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError) as error:
        raise _diagnose(text, error) from None
    fault = _contradiction(request)
    if fault is not None:
        raise ChatError("malformed", fault, id=getattr(request, "id", None))
    return request


def _contradiction(request: Request) -> str | None:
    """What the types of the fields cannot say."""
    match request:
        case Hello(user=user, token=token) if user is UNSET and token is UNSET:
            return "a hello needs user or token"
        case History(room=room, inbox=inbox) if (room is UNSET) is not inbox:
            return 'a history needs either room or "inbox": true'
        case Typing(room=room, to=to) if (room is UNSET) is (to is UNSET):
            return "typing needs either room or to"
    return None


def _diagnose(text: str, error: Exception) -> ChatError:
    try:
        envelope = _decode_envelope(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        return ChatError("malformed", f"not a JSON object: {error}")
    try:
        request_id = _decode_id(envelope.id)
    except msgspec.MsgspecError:
        request_id = None
    try:
        kind = _decode_type(envelope.type)
    except msgspec.MsgspecError:
        return ChatError("malformed", "no type", id=request_id)
    if kind not in _REQUEST_TYPES:
        return ChatError("unknown_type", "no such type of request", id=request_id)
    if kind == "typing":
        request_id = None
    return ChatError("malformed", str(error), id=request_id)


# --- Replies and pushes ---------------------------------------------------------------------


class Ok(Struct, frozen=True, kw_only=True, tag_field="type", tag="ok"):
    """Done; what there is to say depends on the request."""

    id: str


class _Slice(Ok, frozen=True, kw_only=True, tag="ok"):
    """A part of a log, and where it ends."""

    epoch: str
    offset: int
    messages: Sequence[Raw] = ()
    gap: bool
    more: bool


class JoinOk(_Slice, frozen=True, kw_only=True, tag="ok"):
    """The reply to `Join`."""

    room: str
    count: int
    members: list[str]


class Inbox(Struct, frozen=True, kw_only=True):
    """The slice of the inbox inside `HelloOk`."""

    epoch: str
    offset: int
    messages: Sequence[Raw] = ()
    gap: bool
    more: bool


class HelloOk(Ok, frozen=True, kw_only=True, tag="ok"):
    """The reply to `Hello`."""

    user: str
    session: str
    inbox: Inbox
    limits: Limits


class RoomInfo(Struct, frozen=True):
    """One line of `RoomsOk`."""

    room: str
    count: int
    offset: int


class RoomsOk(Ok, frozen=True, kw_only=True, tag="ok"):
    """The reply to `Rooms`."""

    rooms: list[RoomInfo]


class StoredOk(Ok, frozen=True, kw_only=True, tag="ok"):
    """The reply to `Post` and `Direct`: stored, and kept."""

    epoch: str
    offset: int
    time: str
    duplicate: Literal[True] | UnsetType = UNSET


class HistoryOk(Ok, frozen=True, kw_only=True, tag="ok"):
    """The reply to `History`."""

    messages: Sequence[Raw] = ()
    more: bool


class Error(Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """The reply to a request that was not done."""

    id: str | None
    code: ErrorCode
    reason: str
    retry_after: float | UnsetType = UNSET


class MessagePush(Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """A message of a room."""

    room: str
    offset: int
    sender: str = field(name="from")
    text: str
    time: str
    id: str


class DirectPush(Struct, frozen=True, kw_only=True, tag_field="type", tag="direct"):
    """A message of an inbox."""

    sender: str = field(name="from")
    to: str
    offset: int
    text: str
    time: str
    id: str


class PresencePush(Struct, frozen=True, kw_only=True, tag_field="type", tag="presence"):
    """Somebody came or went; in a big room only how many are there."""

    room: str
    user: str | UnsetType = UNSET
    state: Literal["joined", "left"] | UnsetType = UNSET
    count: int


class TypingPush(Struct, frozen=True, kw_only=True, tag_field="type", tag="typing"):
    """Somebody is writing."""

    room: str | UnsetType = UNSET
    to: str | UnsetType = UNSET
    user: str


Push = PresencePush | TypingPush


class Encoded(NamedTuple):
    """A message ready for the wire, and its size in bytes there."""

    text: str
    size: int


_encode = msgspec.json.Encoder().encode


def ready(data: bytes) -> Encoded:
    """Make the JSON of a message ready for the wire."""
    return Encoded(data.decode(), len(data))


def encode(message: Ok | Error | Push) -> Encoded:
    """Encode a reply or a push that is not a stored message."""
    return ready(_encode(message))


def encode_error(error: ChatError, request_id: str | None) -> Encoded:
    """Encode the reply to a request that was refused."""
    retry_after = UNSET if error.retry_after is None else error.retry_after
    return encode(
        Error(id=request_id, code=error.code, reason=error.reason, retry_after=retry_after)
    )


def encode_entry(entry: Entry, room: str | None) -> bytes:
    """Encode a stored message: the same bytes serve as push and inside slices.

    Args:
        entry: the message.
        room: the room's name as it is shown, or None for an inbox.
    """
    time = format_time(entry.time)
    if room is not None:
        return _encode(
            MessagePush(
                room=room,
                offset=entry.offset,
                sender=entry.sender,
                text=entry.text,
                time=time,
                id=entry.id,
            )
        )
    assert entry.to is not None, "an inbox holds only direct messages"
    return _encode(
        DirectPush(
            sender=entry.sender,
            to=entry.to,
            offset=entry.offset,
            text=entry.text,
            time=time,
            id=entry.id,
        )
    )


def fit(messages: Iterable[bytes], budget: int) -> list[Raw]:
    """Take messages while they fit into ``budget`` bytes, separators included."""
    taken: list[Raw] = []
    for message in messages:
        budget -= len(message) + 1
        if budget < 0:
            break
        taken.append(Raw(message))
    return taken


def format_time(milliseconds: int) -> str:
    """RFC 3339 in UTC with milliseconds, from milliseconds since 1970."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_format_seconds(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=64)
def _format_seconds(seconds: int) -> str:
    """What the messages of one second share."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
