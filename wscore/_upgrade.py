"""What the header fields of the opening handshake must say, in both directions; imports ``events``,
``extensions`` and what is below them.

Pure functions: :mod:`wscore.handshake` keeps the state and speaks HTTP.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Final, cast

from .errors import RemoteProtocolError
from .events import AcceptConnection, RejectConnection, Request
from .extensions import Extension
from .typing import Headers
from .utilities import generate_accept_token, split_comma_header

#: The one version of the protocol (RFC 6455, section 4.1).
WEBSOCKET_VERSION: Final = b"13"
WEBSOCKET_UPGRADE: Final = b"websocket"

#: Header fields of a request that are reported as fields of the event, not among its
#: ``extra_headers``.
_REQUEST_FIELDS: Final = (b"host", b"sec-websocket-extensions", b"sec-websocket-protocol")
_RESPONSE_FIELDS: Final = (
    b"connection",
    b"upgrade",
    b"sec-websocket-accept",
    b"sec-websocket-extensions",
    b"sec-websocket-protocol",
)


def read_request(headers: Headers, target: str) -> tuple[Request, bytes]:
    """Checks a client's header fields (RFC 6455, section 4.2.1).

    Args:
        headers: those of the request, names in lower case.
        target: path and query string.

    Returns:
        The event, and the value of ``Sec-WebSocket-Key``.

    Raises:
        RemoteProtocolError: one is missing, repeated or wrong; ``event_hint`` is the answer.
    """
    if "upgrade" not in _tokens(headers, b"connection"):
        raise _missing("Connection: Upgrade")
    version = _single(headers, b"sec-websocket-version")
    if version != WEBSOCKET_VERSION:
        raise RemoteProtocolError(
            "Missing header, 'Sec-WebSocket-Version'",
            event_hint=RejectConnection(
                headers=[(b"Sec-WebSocket-Version", WEBSOCKET_VERSION)],
                status_code=426 if version else 400,
            ),
        )
    key = _single(headers, b"sec-websocket-key")
    if key is None:
        raise _missing("Sec-WebSocket-Key")
    if not _is_nonce(key):
        raise refusal("Sec-WebSocket-Key is not 16 bytes in base64")
    if "websocket" not in _tokens(headers, b"upgrade"):
        raise _missing("Upgrade: websocket")
    host = _single(headers, b"host")
    if host is None:  # h11 demands it of HTTP/1.1 alone
        raise _missing("Host")
    _single(headers, b"origin")
    if _has_body(headers):
        raise refusal("Upgrade request with a body")
    request = Request(
        host=_host_text(host),
        target=target,
        extensions=_members(headers, b"sec-websocket-extensions"),
        extra_headers=[(name, value) for name, value in headers if name not in _REQUEST_FIELDS],
        subprotocols=_members(headers, b"sec-websocket-protocol"),
    )
    return request, key


def read_acceptance(headers: Headers, request: Request, nonce: bytes) -> AcceptConnection:
    """Checks the header fields of a server's response with status 101 (RFC 6455, section 4.1).

    Args:
        headers: those of the response, names in lower case.
        request: what it answers; the extensions that the server agreed to become enabled.
        nonce: the ``Sec-WebSocket-Key`` that was sent.

    Raises:
        RemoteProtocolError: one is missing, repeated or wrong.
    """
    if "upgrade" not in _tokens(headers, b"connection"):
        raise _missing("Connection: Upgrade")
    if _tokens(headers, b"upgrade") != ["websocket"]:
        raise _missing("Upgrade: websocket")
    if _single(headers, b"sec-websocket-accept") != generate_accept_token(nonce):
        raise refusal("Bad accept token")
    chosen = _single(headers, b"sec-websocket-protocol")
    subprotocol = None if chosen is None else chosen.decode("latin-1")
    if subprotocol is not None and subprotocol not in request.subprotocols:
        raise refusal(f"unrecognized subprotocol {subprotocol}")
    extensions = client_extensions_handshake(
        _members(headers, b"sec-websocket-extensions"),
        cast("Sequence[Extension]", request.extensions),
    )
    return AcceptConnection(
        subprotocol=subprotocol,
        extensions=extensions,
        extra_headers=[(name, value) for name, value in headers if name not in _RESPONSE_FIELDS],
    )


def refusal(message: str, status: int = 400) -> RemoteProtocolError:
    """Returns the error that suggests to refuse with this HTTP status."""
    return RemoteProtocolError(message, event_hint=RejectConnection(status_code=status))


def _missing(header: str) -> RemoteProtocolError:
    return refusal(f"Missing header, '{header}'")


def _members(headers: Headers, name: bytes) -> list[str]:
    """The members of a list-valued field, whether in one header line or in several."""
    members = (
        member for field, value in headers if field == name for member in split_comma_header(value)
    )
    return [
        member for member in members if member
    ]  # RFC 9110, section 5.6.1.2: empty ones count for nothing


def _tokens(headers: Headers, name: bytes) -> list[str]:
    return [member.lower() for member in _members(headers, name)]


def _single(headers: Headers, name: bytes) -> bytes | None:
    """The value of a field that may be there once only."""
    values = [value for field, value in headers if field == name]
    if len(values) > 1:
        raise refusal(f"Repeated header, '{name.decode()}'")
    return values[0] if values else None


def _has_body(headers: Headers) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
        for name, value in headers
    )


def _is_nonce(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def _host_text(host: bytes) -> str:
    """The host as people write it; bytes that are no IDNA name stay as they are."""
    try:
        return host.decode("idna")
    except UnicodeError:
        return host.decode("latin-1")


def offers(extensions: Sequence[Extension]) -> bytes:
    """Returns the value of ``Sec-WebSocket-Extensions`` that offers these."""
    offered: dict[str, bool | str] = {extension.name: extension.offer() for extension in extensions}
    return b", ".join(
        _with_parameters(name, offer) for name, offer in offered.items() if offer is not False
    )


def _with_parameters(name: str, parameters: bool | str) -> bytes:
    if isinstance(parameters, bool) or not parameters:
        return name.encode("ascii")
    return f"{name}; {parameters}".encode("ascii")


def server_extensions_handshake(
    requested: Iterable[str], supported: list[Extension]
) -> bytes | None:
    """Chooses extensions for a server; each supported one takes the first offer that it can (RFC
    7692, section 5.1).

    Args:
        requested: the client's offers, as :attr:`~wscore.events.Request.extensions` has them.
        supported: the extensions of this connection; those that accept an offer become enabled.

    Returns:
        The value of the response's ``Sec-WebSocket-Extensions``, or None where nothing was agreed
        on.
    """
    accepted: dict[str, bool | str] = {}
    for offer in requested:
        name = offer.split(";", 1)[0].strip()
        for extension in supported:
            if extension.name == name and name not in accepted:
                answer = extension.accept(offer)
                if answer is not None and answer is not False:
                    accepted[name] = answer
    if not accepted:
        return None
    return b", ".join(_with_parameters(name, answer) for name, answer in accepted.items())


def client_extensions_handshake(
    accepted: Iterable[str], supported: Sequence[Extension]
) -> list[Extension]:
    """Finalises the extensions that the server accepted.

    Args:
        accepted: the members of the response's ``Sec-WebSocket-Extensions``.
        supported: those that the client offered.

    Returns:
        The agreed ones, in the server's order.

    Raises:
        RemoteProtocolError: the server accepted one that was not offered, or one twice, or with
            parameters that cannot be.
    """
    agreed: list[Extension] = []
    for answer in accepted:
        name = answer.split(";", 1)[0].strip()
        extension = next((known for known in supported if known.name == name), None)
        if extension is None or extension in agreed:
            raise refusal(f"unrecognized extension {name}")
        extension.finalize(answer)
        agreed.append(extension)
    return agreed
