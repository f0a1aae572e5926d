"""The opening handshake over HTTP/1.1, whole or in parts; imports ``connection`` and what is below
it, and h11.

``H11Handshake`` is the whole of it. A server that parses HTTP by itself uses the parts:
:func:`server_extensions_handshake` with :func:`~wscore.utilities.generate_accept_token`, then a
:class:`~wscore.connection.Connection`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

import h11

from ._http_head import BadHead, HeadReader
from ._upgrade import (
    WEBSOCKET_UPGRADE,
    WEBSOCKET_VERSION,
    client_extensions_handshake,
    offers,
    read_acceptance,
    read_request,
    refusal,
    server_extensions_handshake,
)
from .connection import Connection, ConnectionState, ConnectionType
from .errors import LocalProtocolError, RemoteProtocolError
from .events import AcceptConnection, Event, RejectConnection, RejectData, Request
from .extensions import Extension
from .typing import Headers
from .utilities import generate_accept_token, generate_nonce

#: Bytes that a server keeps of a client that talks before its request is answered, which RFC 6455,
#: section 4.1, forbids it.
_MAX_EARLY_DATA: Final = 2**20

#: All that h11 has to know about an upgrade request that something else has read: what it may send.
_SEEN_REQUEST: Final = (
    b"GET / HTTP/1.1\r\nHost: \r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
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
        self._h11: h11.Connection | None = None  # made when it is needed; most servers need none
        self._seen_elsewhere = False  # the request, which this end has to answer
        self._connection: Connection | None = None
        self._events: deque[Event] = deque()
        self._initiating_request: Request | None = None
        self._nonce: bytes | None = None
        # The peer's head while it is expected; h11 is given whole heads.
        self._head: HeadReader | None = HeadReader()
        # What came behind an upgrade request before its answer, and whether that was the end.
        self._early_data = bytearray()
        self._ended = False

    @property
    def _h11_connection(self) -> h11.Connection:
        if self._h11 is None:
            self._h11 = h11.Connection(h11.CLIENT if self.client else h11.SERVER)
            if self._seen_elsewhere:
                self._h11.receive_data(_SEEN_REQUEST)
                self._h11.next_event()
        return self._h11

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
            LocalProtocolError: this end is the client, or has a request already.
            RemoteProtocolError: the request is no acceptable handshake; ``event_hint`` is the
                answer.
        """
        if self.client:
            raise LocalProtocolError("a client cannot be given an upgrade request")
        if self._head is None or self._head.begun:
            raise LocalProtocolError("there is an upgrade request already")
        self._head = None
        self._seen_elsewhere = True
        try:
            request = h11.Request(method=b"GET", target=path, headers=headers)
        except (h11.LocalProtocolError, UnicodeError) as exc:
            raise refusal("Bad HTTP message") from exc
        self._take_request(request)

    def send(self, event: Event) -> bytes:
        """Returns the bytes that tell the peer.

        Args:
            event: a client sends :class:`Request`; a server :class:`AcceptConnection`, or
                :class:`RejectConnection` and, where that has a body, :class:`RejectData`.

        Raises:
            LocalProtocolError: the event is not allowed here, or cannot be written as HTTP.
            TypeError: a part of it has the wrong type.
        """
        try:
            if isinstance(event, Request) and self.client:
                return self._send_request(event)
            if isinstance(event, AcceptConnection) and not self.client:
                return self._accept(event)
            if isinstance(event, RejectConnection) and not self.client:
                return self._reject(event)
            if isinstance(event, RejectData) and not self.client:
                return self._send_reject_data(event)
        except (h11.LocalProtocolError, UnicodeError) as exc:
            raise LocalProtocolError(f"{type(event).__name__} cannot be sent: {exc}") from exc
        raise LocalProtocolError(f"{type(event).__name__} cannot be sent during the handshake")

    def receive_data(self, data: bytes | None) -> None:
        """Takes bytes that the peer sent, or None (or ``b""``) when the transport has ended.

        Bytes behind a malformed head, or behind a handshake that was refused, are dropped.

        Raises:
            RemoteProtocolError: they are no HTTP, or no acceptable handshake; ``event_hint`` is the
                answer, if one is due.
        """
        try:
            if self._head is not None:
                self._read_head(self._head, data)
            elif not self.client:
                self._keep_early(data)
            elif self._state is not ConnectionState.CLOSED:
                self._read_response(data)
        except BadHead as exc:
            self._fail()
            raise refusal(f"Bad HTTP message: {exc}", exc.status) from exc
        except h11.RemoteProtocolError as exc:
            self._fail()
            # h11's hint is 501 for a transfer coding that it does not know.
            raise refusal("Bad HTTP message", exc.error_status_hint) from exc
        except RemoteProtocolError:
            self._fail()
            raise

    def events(self) -> Iterator[Event]:
        """Yields the events that are due."""
        while self._events:
            yield self._events.popleft()

    def _fail(self) -> None:
        """Takes no more of the peer; a server still has to answer it."""
        self._head = self._initiating_request = None
        if self.client:
            self._state = ConnectionState.CLOSED

    def _read_head(self, reader: HeadReader, data: bytes | None) -> None:
        if not data:
            if self.client or reader.begun:
                raise BadHead("the transport has ended")
            self._head = None
            self._state = ConnectionState.CLOSED
            return
        parts = reader.receive(data)
        if parts is None:
            return
        self._head = None
        head, rest = parts
        self._h11_connection.receive_data(head)
        if self.client:
            if rest:
                self._h11_connection.receive_data(rest)
            self._read_events()
        else:
            request = self._h11_connection.next_event()
            assert isinstance(request, h11.Request)  # of a whole head, h11 makes one or raises
            self._take_request(request)
            self._keep_early(rest)

    # Server

    def _take_request(self, request: h11.Request) -> None:
        if request.method != b"GET":
            raise refusal("Request method must be GET")
        if not b"1.1" <= request.http_version < b"2.0":
            raise refusal("Request must be HTTP/1.1")
        event, self._nonce = read_request(list(request.headers), request.target.decode("ascii"))
        self._initiating_request = event
        self._events.append(event)

    def _keep_early(self, data: bytes | None) -> None:
        if self._initiating_request is None or self._state is not ConnectionState.CONNECTING:
            return
        self._ended = self._ended or data is None
        self._early_data += data or b""
        if len(self._early_data) > _MAX_EARLY_DATA:
            raise refusal("The client sends without waiting for the answer to its request")

    def _accept(self, event: AcceptConnection) -> bytes:
        request, nonce = self._initiating_request, self._nonce
        if request is None or nonce is None or self._state is not ConnectionState.CONNECTING:
            raise LocalProtocolError(f"there is no request to accept in state {self._state.name}")
        headers: Headers = [
            (b"Upgrade", WEBSOCKET_UPGRADE),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Accept", generate_accept_token(nonce)),
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
        response = h11.InformationalResponse(
            status_code=101,
            headers=headers + list(event.extra_headers),
            reason=b"Switching Protocols",
        )
        early = bytes(self._early_data)
        self._connection = Connection(self._type, event.extensions, early, **self._limits)
        if self._ended:
            self._connection.receive_data(None)
        self._early_data.clear()
        self._state = ConnectionState.OPEN
        # HTTP ends here, so there is no state for h11 to keep; it has checked the fields.
        fields = b"".join(b"%s: %s\r\n" % field for field in response.headers.raw_items())
        return b"HTTP/1.1 101 Switching Protocols\r\n%s\r\n" % fields

    def _reject(self, event: RejectConnection) -> bytes:
        if self._state is not ConnectionState.CONNECTING:
            raise LocalProtocolError(f"Connection cannot be rejected in state {self._state}")
        headers = list(event.headers)
        if not event.has_body:
            headers.append((b"content-length", b"0"))
        response = h11.Response(status_code=event.status_code, headers=headers)
        data = self._h11_connection.send(response)
        self._fail()
        self._early_data.clear()
        self._state = ConnectionState.REJECTING
        return data if event.has_body else data + self._end_rejection()

    def _send_reject_data(self, event: RejectData) -> bytes:
        if self._state is not ConnectionState.REJECTING:
            raise LocalProtocolError(f"Cannot send rejection data in state {self._state}")
        data = self._h11_connection.send(h11.Data(data=event.data))
        return data + self._end_rejection() if event.body_finished else data

    def _end_rejection(self) -> bytes:
        end = self._h11_connection.send(h11.EndOfMessage())
        self._state = ConnectionState.CLOSED
        return end

    # Client

    def _send_request(self, request: Request) -> bytes:
        if self._initiating_request is not None or self._state is not ConnectionState.CONNECTING:
            raise LocalProtocolError("there was a request already")
        nonce = generate_nonce()
        host = request.host
        headers: Headers = [
            (b"Host", host.encode("ascii") if host.isascii() else host.encode("idna")),
            (b"Upgrade", WEBSOCKET_UPGRADE),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Key", nonce),
            (b"Sec-WebSocket-Version", WEBSOCKET_VERSION),
        ]
        if request.subprotocols:
            subprotocols = ", ".join(request.subprotocols).encode("ascii")
            headers.append((b"Sec-WebSocket-Protocol", subprotocols))
        offered = offers(cast("Sequence[Extension]", request.extensions))
        if offered:
            headers.append((b"Sec-WebSocket-Extensions", offered))
        upgrade = h11.Request(
            method=b"GET", target=request.target, headers=headers + list(request.extra_headers)
        )
        data = self._h11_connection.send(upgrade)
        self._initiating_request, self._nonce = request, nonce
        return data

    def _read_response(self, data: bytes | None) -> None:
        """Takes the body of a refusal."""
        self._h11_connection.receive_data(data or b"")
        self._read_events()
        if not data:
            self._state = ConnectionState.CLOSED

    def _read_events(self) -> None:
        while self._state is not ConnectionState.CLOSED:
            event = self._h11_connection.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            self._client_event(event)

    def _client_event(self, event: h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]) -> None:
        if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
            self._events.append(self._establish(event))
        elif isinstance(event, (h11.InformationalResponse, h11.Response)):
            final = isinstance(event, h11.Response)
            self._state = ConnectionState.REJECTING if final else ConnectionState.CLOSED
            self._events.append(
                RejectConnection(
                    headers=list(event.headers), status_code=event.status_code, has_body=final
                )
            )
        elif isinstance(event, h11.Data):
            self._events.append(RejectData(data=bytes(event.data), body_finished=False))
        else:
            assert isinstance(event, h11.EndOfMessage)
            self._events.append(RejectData(data=b"", body_finished=True))
            self._state = ConnectionState.CLOSED

    def _establish(self, response: h11.InformationalResponse) -> AcceptConnection:
        """Checks the server's acceptance and makes the connection."""
        request, nonce = self._initiating_request, self._nonce
        # h11 takes a 101 for an error before a request was sent.
        assert request is not None
        assert nonce is not None
        event = read_acceptance(list(response.headers), request, nonce)
        rest = self._h11_connection.trailing_data[0]
        self._connection = Connection(self._type, event.extensions, rest, **self._limits)
        self._state = ConnectionState.OPEN
        return event

    def __repr__(self) -> str:
        return f"{type(self).__name__}(client={self.client}, state={self.state})"


__all__ = [
    "WEBSOCKET_UPGRADE",
    "WEBSOCKET_VERSION",
    "H11Handshake",
    "client_extensions_handshake",
    "server_extensions_handshake",
]
