"""The opening handshake over HTTP/1.1, whole or in parts; imports ``connection`` and what is below
it, and h11.

``H11Handshake`` is the whole of it. A server that parses HTTP by itself uses the parts:
:func:`server_extensions_handshake` with :func:`~wscore.utilities.generate_accept_token`, then a
:class:`~wscore.connection.Connection`.
"""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, cast

import h11

from .connection import Connection, ConnectionState, ConnectionType
from .errors import LocalProtocolError, RemoteProtocolError
from .events import AcceptConnection, Event, RejectConnection, RejectData, Request
from .extensions import Extension
from .typing import Headers
from .utilities import generate_accept_token, generate_nonce, split_comma_header

#: The one version of the protocol (RFC 6455, section 4.1).
WEBSOCKET_VERSION: Final = b"13"
WEBSOCKET_UPGRADE: Final = b"websocket"

#: Header fields of a request that are reported as fields of the event, not among its
#: ``extra_headers``.
_OWN_FIELDS: Final = (b"host", b"sec-websocket-extensions", b"sec-websocket-protocol")
_RESPONSE_FIELDS: Final = (
    b"connection",
    b"upgrade",
    b"sec-websocket-accept",
    b"sec-websocket-extensions",
    b"sec-websocket-protocol",
)


class H11Handshake:
    """The opening handshake of one connection, on h11.

    Args:
        connection_type: which end this is.
        limits: keyword arguments for the :class:`~wscore.connection.Connection` that results.
    """

    def __init__(self, connection_type: ConnectionType, **limits: Any) -> None:
        self.client = connection_type is ConnectionType.CLIENT
        self._type = connection_type
        self._limits = limits
        self._state = ConnectionState.CONNECTING
        self._h11_connection = h11.Connection(h11.CLIENT if self.client else h11.SERVER)
        self._connection: Connection | None = None
        self._events: deque[Event] = deque()
        self._initiating_request: Request | None = None
        self._nonce: bytes | None = None
        # What came behind an upgrade request that was given in parts; h11 keeps it for one that it
        # read itself.
        self._early_data = bytearray()

    @property
    def state(self) -> ConnectionState:
        """Where the handshake stands."""
        return self._state

    @property
    def connection(self) -> Connection | None:
        """The connection, once the handshake has succeeded."""
        return self._connection

    def initiate_upgrade_connection(self, headers: Headers, path: bytes | str) -> None:
        """Takes an upgrade request that was received and parsed elsewhere.

        Args:
            headers: its header fields.
            path: its target: path and query string.

        Raises:
            LocalProtocolError: this end is the client.
            RemoteProtocolError: the request is no acceptable handshake; ``event_hint`` is the
                answer.
        """
        if self.client:
            raise LocalProtocolError("a client cannot be given an upgrade request")
        target = path if isinstance(path, str) else path.decode("latin-1")
        self._events.append(
            self._read_request([(name.lower(), value) for name, value in headers], target)
        )

    def send(self, event: Event) -> bytes:
        """Returns the bytes that tell the peer.

        Args:
            event: a client sends :class:`Request`; a server :class:`AcceptConnection`, or
                :class:`RejectConnection` and, where that has a body, :class:`RejectData`.

        Raises:
            LocalProtocolError: the event is not allowed here.
        """
        if isinstance(event, Request) and self.client:
            return self._send_request(event)
        if isinstance(event, AcceptConnection) and not self.client:
            return self._accept(event)
        if isinstance(event, RejectConnection) and not self.client:
            return self._reject(event)
        if isinstance(event, RejectData) and not self.client:
            return self._send_reject_data(event)
        raise LocalProtocolError(f"{type(event).__name__} cannot be sent during the handshake")

    def receive_data(self, data: bytes | None) -> None:
        """Takes bytes that the peer sent, or None when the transport has ended.

        Raises:
            RemoteProtocolError: they are no HTTP, or no acceptable handshake; ``event_hint`` is the
                answer, if one is due.
        """
        if self._initiating_request is not None and not self.client:
            self._early_data += data or b""
            return
        try:
            self._h11_connection.receive_data(data or b"")
            while True:
                event = self._h11_connection.next_event()
                if (
                    event is h11.NEED_DATA
                    or event is h11.PAUSED
                    or isinstance(event, h11.ConnectionClosed)
                ):
                    break
                self._client_event(event) if self.client else self._server_event(event)
        except h11.RemoteProtocolError as exc:
            raise RemoteProtocolError(
                "Bad HTTP message", event_hint=_refusal(exc.error_status_hint)
            ) from exc
        if data is None and self._state in (ConnectionState.CONNECTING, ConnectionState.REJECTING):
            self._state = ConnectionState.CLOSED

    def events(self) -> Iterator[Event]:
        """Yields the events that are due."""
        while self._events:
            yield self._events.popleft()

    # Server

    def _server_event(self, event: h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]) -> None:
        if isinstance(event, h11.Request):
            if event.method != b"GET":
                raise RemoteProtocolError(
                    "Request method must be GET", event_hint=RejectConnection()
                )
            if event.http_version != b"1.1":
                raise RemoteProtocolError("Request must be HTTP/1.1", event_hint=RejectConnection())
            self._events.append(
                self._read_request(list(event.headers), event.target.decode("ascii"))
            )
        elif isinstance(event, h11.Data):
            raise RemoteProtocolError("Upgrade request with a body", event_hint=RejectConnection())

    def _read_request(self, headers: Headers, target: str) -> Request:
        """Checks the fields of RFC 6455, section 4.2.1, and makes the event of them."""
        tokens = [token.lower() for token in _members(headers, b"connection")]
        if "upgrade" not in tokens:
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
            raise RemoteProtocolError(
                "Sec-WebSocket-Key is not 16 bytes in base64", event_hint=RejectConnection()
            )
        if "websocket" not in [token.lower() for token in _members(headers, b"upgrade")]:
            raise _missing("Upgrade: websocket")
        host = _single(headers, b"host")
        if host is None:
            raise _missing("Host")
        _single(headers, b"origin")
        self._nonce = key
        self._initiating_request = Request(
            host=_host_text(host),
            target=target,
            extensions=_members(headers, b"sec-websocket-extensions"),
            extra_headers=[(name, value) for name, value in headers if name not in _OWN_FIELDS],
            subprotocols=_members(headers, b"sec-websocket-protocol"),
        )
        return self._initiating_request

    def _accept(self, event: AcceptConnection) -> bytes:
        request = self._initiating_request
        if request is None or self._nonce is None or self._state is not ConnectionState.CONNECTING:
            raise LocalProtocolError(f"there is no request to accept in state {self._state.name}")
        headers: Headers = [
            (b"Upgrade", WEBSOCKET_UPGRADE),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Accept", generate_accept_token(self._nonce)),
        ]
        if event.subprotocol is not None:
            if event.subprotocol not in request.subprotocols:
                raise LocalProtocolError(f"unexpected subprotocol {event.subprotocol}")
            headers.append((b"Sec-WebSocket-Protocol", event.subprotocol.encode("latin-1")))
        if event.extensions:
            accepted = server_extensions_handshake(
                cast("Sequence[str]", request.extensions), event.extensions
            )
            if accepted:
                headers.append((b"Sec-WebSocket-Extensions", accepted))
        head = _head(b"HTTP/1.1 101 Switching Protocols", headers + event.extra_headers)
        early = self._h11_connection.trailing_data[0] + bytes(self._early_data)
        self._connection = Connection(self._type, event.extensions, early, **self._limits)
        self._state = ConnectionState.OPEN
        return head

    def _reject(self, event: RejectConnection) -> bytes:
        if self._state is not ConnectionState.CONNECTING:
            raise LocalProtocolError(f"Connection cannot be rejected in state {self._state}")
        headers = list(event.headers)
        if not event.has_body:
            headers.append((b"content-length", b"0"))
        response = h11.Response(status_code=event.status_code, headers=headers)
        data = self._h11_connection.send(response) or b""
        self._state = ConnectionState.REJECTING
        return data if event.has_body else data + self._end_rejection()

    def _send_reject_data(self, event: RejectData) -> bytes:
        if self._state is not ConnectionState.REJECTING:
            raise LocalProtocolError(f"Cannot send rejection data in state {self._state}")
        data = self._h11_connection.send(h11.Data(data=event.data)) or b""
        return data + self._end_rejection() if event.body_finished else data

    def _end_rejection(self) -> bytes:
        self._state = ConnectionState.CLOSED
        return self._h11_connection.send(h11.EndOfMessage()) or b""

    # Client

    def _send_request(self, request: Request) -> bytes:
        self._initiating_request = request
        self._nonce = generate_nonce()
        headers: Headers = [
            (
                b"Host",
                request.host.encode("ascii")
                if request.host.isascii()
                else request.host.encode("idna"),
            ),
            (b"Upgrade", WEBSOCKET_UPGRADE),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Key", self._nonce),
            (b"Sec-WebSocket-Version", WEBSOCKET_VERSION),
        ]
        if request.subprotocols:
            headers.append(
                (b"Sec-WebSocket-Protocol", ", ".join(request.subprotocols).encode("ascii"))
            )
        offers = _offers(cast("Sequence[Extension]", request.extensions))
        if offers:
            headers.append((b"Sec-WebSocket-Extensions", offers))
        upgrade = h11.Request(
            method=b"GET",
            target=request.target.encode("ascii"),
            headers=headers + request.extra_headers,
        )
        return self._h11_connection.send(upgrade) or b""

    def _client_event(self, event: h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]) -> None:
        if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
            self._events.append(self._establish(event))
        elif isinstance(event, h11.InformationalResponse):
            self._events.append(
                RejectConnection(
                    headers=list(event.headers), status_code=event.status_code, has_body=False
                )
            )
            self._state = ConnectionState.CLOSED
        elif isinstance(event, h11.Response):
            self._state = ConnectionState.REJECTING
            self._events.append(
                RejectConnection(
                    headers=list(event.headers), status_code=event.status_code, has_body=True
                )
            )
        elif isinstance(event, h11.Data):
            self._events.append(RejectData(data=bytes(event.data), body_finished=False))
        elif isinstance(event, h11.EndOfMessage):
            self._events.append(RejectData(data=b"", body_finished=True))
            self._state = ConnectionState.CLOSED

    def _establish(self, response: h11.InformationalResponse) -> AcceptConnection:
        """Checks the server's acceptance (RFC 6455, section 4.1) and makes the connection."""
        request, nonce = self._initiating_request, self._nonce
        # h11 reports no response before a request was sent.
        assert request is not None
        assert nonce is not None
        headers = list(response.headers)
        if "upgrade" not in [token.lower() for token in _members(headers, b"connection")]:
            raise _missing("Connection: Upgrade")
        if [token.lower() for token in _members(headers, b"upgrade")] != ["websocket"]:
            raise _missing("Upgrade: websocket")
        if _single(headers, b"sec-websocket-accept") != generate_accept_token(nonce):
            raise RemoteProtocolError("Bad accept token", event_hint=RejectConnection())
        chosen = _single(headers, b"sec-websocket-protocol")
        subprotocol = None if chosen is None else chosen.decode("latin-1")
        if subprotocol is not None and subprotocol not in request.subprotocols:
            raise RemoteProtocolError(
                f"unrecognized subprotocol {subprotocol}", event_hint=RejectConnection()
            )
        extensions = client_extensions_handshake(
            _members(headers, b"sec-websocket-extensions"),
            cast("Sequence[Extension]", request.extensions),
        )
        self._connection = Connection(
            self._type, extensions, self._h11_connection.trailing_data[0], **self._limits
        )
        self._state = ConnectionState.OPEN
        return AcceptConnection(
            subprotocol=subprotocol,
            extensions=extensions,
            extra_headers=[
                (name, value) for name, value in headers if name not in _RESPONSE_FIELDS
            ],
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(client={self.client}, state={self.state})"


def _missing(header: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"Missing header, '{header}'", event_hint=RejectConnection())


def _refusal(status_hint: int) -> RejectConnection:
    return RejectConnection(status_code=status_hint if 400 <= status_hint < 600 else 400)


def _members(headers: Headers, name: bytes) -> list[str]:
    """The members of a list-valued field, whether in one header line or in several."""
    return [
        member for field, value in headers if field == name for member in split_comma_header(value)
    ]


def _single(headers: Headers, name: bytes) -> bytes | None:
    """The value of a field that may be there once only."""
    values = [value for field, value in headers if field == name]
    if len(values) > 1:
        raise RemoteProtocolError(
            f"Repeated header, '{name.decode('latin-1')}'", event_hint=RejectConnection()
        )
    return values[0] if values else None


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


def _head(start: bytes, headers: Headers) -> bytes:
    """Serialises a response head that h11 would only send in answer to a request that it read
    itself.

    Raises:
        LocalProtocolError: a name or value that could not be read back.
    """
    lines = [start]
    for name, value in headers:
        if (
            any(byte in b"\r\n\0" for byte in value)
            or not name
            or any(byte <= 32 or byte in b":\x7f" for byte in name)
        ):
            raise LocalProtocolError(f"illegal header field {name!r}")
        lines.append(name + b": " + value)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _offers(extensions: Sequence[Extension]) -> bytes:
    """The value of ``Sec-WebSocket-Extensions`` that offers these."""
    offers: dict[str, bool | str] = {extension.name: extension.offer() for extension in extensions}
    return b", ".join(
        _with_parameters(name, offer) for name, offer in offers.items() if offer is not False
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
            raise RemoteProtocolError(
                f"unrecognized extension {name}", event_hint=RejectConnection()
            )
        extension.finalize(answer)
        agreed.append(extension)
    return agreed
