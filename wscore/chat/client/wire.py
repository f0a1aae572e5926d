"""JSON as the client sees it: requests out, replies and pushes in; imports the protocol's types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

import msgspec
from msgspec import Raw

from wscore.chat.protocol import (
    MESSAGE_BYTES,
    ChatError,
    DirectPush,
    Error,
    MessagePush,
    Ok,
    PresencePush,
    Request,
    TypingPush,
)

from .errors import ProtocolError

Reply = TypeVar("Reply", bound=Ok)
Decoded = TypeVar("Decoded")

Incoming = MessagePush | DirectPush | PresencePush | TypingPush | Error | Ok

_decode: Callable[[str | bytes | Raw], Incoming] = msgspec.json.Decoder(Incoming).decode
_decode_message = msgspec.json.Decoder(MessagePush).decode
_decode_direct = msgspec.json.Decoder(DirectPush).decode
_encode = msgspec.json.Encoder().encode


def encode_request(request: Request) -> str:
    """The text of a request.

    Raises:
        ChatError: ``malformed`` for a text that is not Unicode, ``too_long`` for one that would
            cost the connection.
    """
    try:
        data = _encode(request)
    except UnicodeEncodeError:
        raise ChatError("malformed", "a lone surrogate is not text") from None
    if len(data) > MESSAGE_BYTES:
        raise ChatError("too_long", f"a request has at most {MESSAGE_BYTES} bytes")
    return data.decode()


def decode(message: str | bytes) -> Incoming:
    """Any message of the server; of an ``ok`` only that it is one, see `decode_reply`.

    Raises:
        ProtocolError: it is none.
    """
    if isinstance(message, bytes):
        raise ProtocolError("a binary message")
    return _checked(_decode, message)


def decode_reply(message: str | bytes, kind: type[Reply]) -> Reply:
    """What an ``ok`` carries, for the request that it answers.

    Raises:
        ProtocolError: something is missing.
    """
    decode: Callable[[str | bytes | Raw], Reply] = _reply_decoder(kind)
    return _checked(decode, message)


def decode_messages(rows: Sequence[Raw]) -> list[MessagePush]:
    """The messages of a room's slice or history.

    Raises:
        ProtocolError: one of them is none.
    """
    return [_checked(_decode_message, row) for row in rows]


def decode_directs(rows: Sequence[Raw]) -> list[DirectPush]:
    """The messages of the inbox's slice or history.

    Raises:
        ProtocolError: one of them is none.
    """
    return [_checked(_decode_direct, row) for row in rows]


@cache
def _reply_decoder(kind: type[Reply]) -> Callable[[str | bytes | Raw], Reply]:
    return msgspec.json.Decoder(kind).decode


def _checked(decode: Callable[[str | bytes | Raw], Decoded], data: str | bytes | Raw) -> Decoded:
    try:
        return decode(data)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
        raise ProtocolError(f"not a message of the protocol: {error}") from None
