"""Texts to requests, replies and pushes to texts; imports what is beside it, and `model`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, get_args

import msgspec
from msgspec import UNSET, Raw, Struct

from wscore.chat.model import Entry

from ._messages import (
    DirectPush,
    Error,
    Hello,
    History,
    MessagePush,
    Ok,
    Push,
    Request,
    RequestId,
    Typing,
)
from ._terms import ChatError

_REQUEST_TYPES = frozenset(kind.__struct_config__.tag for kind in get_args(Request))
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
