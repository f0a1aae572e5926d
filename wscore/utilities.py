"""Small public functions of wsproto's module of this name, and the exceptions that it exports; a
leaf above ``errors``.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable
from typing import Final

from .errors import LocalProtocolError, ProtocolError, RemoteProtocolError

#: What a server appends to the client's key before hashing (RFC 6455, section 1.3).
ACCEPT_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def normed_header_dict(h11_headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Joins the values of repeated header names with ``b", "``, in the order of the wire.

    Not for ``Set-Cookie``, the one field whose values cannot be joined (RFC 9110, section 5.3).
    """
    values: dict[bytes, list[bytes]] = {}
    for name, value in h11_headers:
        values.setdefault(name, []).append(value)
    return {name: b", ".join(parts) for name, parts in values.items()}


def split_comma_header(value: bytes) -> list[str]:
    """Splits a header value at its commas, those inside quoted strings excepted (RFC 9110, section
    5.6).

    Args:
        value: the field's bytes; any byte is allowed, those above 127 are read as ISO-8859-1.

    Returns:
        The members, stripped of surrounding white space, quotes kept; an empty value has one empty
        member.
    """
    text = value.decode("latin-1")
    if '"' not in text:
        return [piece.strip() for piece in text.split(",")]
    members, start, quoted, escaped = [], 0, False, False
    for position, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped = char == "\\"
            quoted = char != '"'
        elif char == '"':
            quoted = True
        elif char == ",":
            members.append(text[start:position].strip())
            start = position + 1
    members.append(text[start:].strip())
    return members


def generate_nonce() -> bytes:
    """Returns a fresh ``Sec-WebSocket-Key``: 16 random bytes in base64 (RFC 6455, section 4.1)."""
    return base64.b64encode(os.urandom(16))


def generate_accept_token(token: bytes) -> bytes:
    """Returns the ``Sec-WebSocket-Accept`` that answers this key (RFC 6455, section 4.2.2)."""
    digest = hashlib.sha1(token + ACCEPT_GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest)


__all__ = [
    "ACCEPT_GUID",
    "LocalProtocolError",
    "ProtocolError",
    "RemoteProtocolError",
    "generate_accept_token",
    "generate_nonce",
    "normed_header_dict",
    "split_comma_header",
]
