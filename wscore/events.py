"""Everything that a connection reports and accepts: frozen dataclasses; imports ``_framing`` and
leaves.

The events of the open connection (messages, pings, pongs, closes) belong to the framing twins;
those of the handshake are here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._framing import (
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    PreparedMessage,
    TextMessage,
)
from .typing import Headers

if TYPE_CHECKING:  # extensions are beside this module: events only carry them
    from .extensions import Extension


@dataclass(frozen=True)
class Request(Event):
    """A client's opening handshake (RFC 6455, section 4.1): reported to a server, sent by a client.

    Attributes:
        host: the ``Host`` header's value, with the port where it has one.
        target: path and query string.
        extensions: offers: as strings where received, :class:`~wscore.extensions.Extension` objects
            where sent.
        extra_headers: all other header fields; names are in lower case where received.
        subprotocols: those offered, the preferred one first.
    """

    host: str
    target: str
    extensions: Sequence[Extension] | Sequence[str] = field(default_factory=list)
    extra_headers: Headers = field(default_factory=list)
    subprotocols: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class AcceptConnection(Event):
    """The opening handshake succeeds: sent by a server, reported to a client.

    Attributes:
        subprotocol: the one chosen, or None.
        extensions: a server gives those it supports, a client is given those agreed on.
        extra_headers: all other header fields of the response.
    """

    subprotocol: str | None = None
    extensions: list[Extension] = field(default_factory=list)
    extra_headers: Headers = field(default_factory=list)


@dataclass(frozen=True)
class RejectConnection(Event):
    """The opening handshake is refused by an HTTP response: sent by a server, reported to a client.

    A server that sets ``has_body`` gives the headers that frame the body, then sends it as
    :class:`RejectData`. A client is told ``has_body`` for every final response, even where the body
    turns out empty.

    Attributes:
        status_code: the HTTP status, 400 unless said.
        headers: all header fields of the response.
        has_body: :class:`RejectData` follows.
    """

    status_code: int = 400
    headers: Headers = field(default_factory=list)
    has_body: bool = False


@dataclass(frozen=True)
class RejectData(Event):
    """A piece of the body of a refusal.

    Attributes:
        data: the bytes of this piece.
        body_finished: this is the last one.
    """

    data: bytes
    body_finished: bool = True


__all__ = [
    "AcceptConnection",
    "BytesMessage",
    "CloseConnection",
    "Event",
    "Message",
    "Ping",
    "Pong",
    "PreparedMessage",
    "RejectConnection",
    "RejectData",
    "Request",
    "TextMessage",
]
