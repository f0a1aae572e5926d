"""The opening handshake seen from the server; imports the core and the modules beside it."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from wscore import ConnectionType, WSConnection
from wscore.events import AcceptConnection, RejectConnection
from wscore.typing import Headers
from wscore.utilities import RemoteProtocolError, split_comma_header

from ._compression import Compression, new_extensions
from ._connection import WebSocketConnection
from ._errors import CloseReason, ConnectionClosed
from ._exchange import Exchange, RequestError, RequestLost
from ._http import HTTPRequest, HTTPResponse, text_response
from ._options import Options
from ._origins import OriginPolicy
from ._stream import Endpoint, abort

_GOING_AWAY = 1001
_ABNORMAL_CLOSURE = 1006


@dataclass(frozen=True, slots=True)
class HandshakePolicy:
    """How a server answers handshakes, where its handler does not say.

    Attributes:
        subprotocols: those the server speaks, the best first.
        extra_headers: sent with every 101 response.
        compression: permessage-deflate, if the client offers it.
        origins: which pages may ask; None for all.
    """

    subprotocols: tuple[str, ...] = ()
    extra_headers: tuple[tuple[bytes, bytes], ...] = ()
    compression: bool | Compression = False
    origins: OriginPolicy | None = None


@dataclass(frozen=True, slots=True)
class _Handshake:
    """What a request needs until it is answered, and an idle connection must not keep alive."""

    exchange: Exchange
    head: HTTPRequest
    ws: WSConnection
    options: Options
    policy: HandshakePolicy


class WebSocketRequest:
    """A client's request for a WebSocket; answer it once, with `accept` or with `reject`."""

    __slots__ = ("_handshake", "_withdrawn", "connection")

    def __init__(self, handshake: _Handshake) -> None:
        # None once the connection knows all that is of use.
        self._handshake: _Handshake | None = handshake
        self._withdrawn = False
        #: The connection, once the request was accepted.
        self.connection: WebSocketConnection | None = None

    @property
    def answered(self) -> bool:
        """Whether `accept` or `reject` was called, and began to send."""
        return self._handshake is None or self._handshake.exchange.answered

    @property
    def headers(self) -> Headers:
        """All headers of the request, pairs of bytes, names in lower case."""
        if self.connection is not None:
            return list(self.connection.handshake_headers)
        return self._head.headers

    @property
    def path(self) -> str:
        """The request target: the path, with the query if there is one."""
        return self._head.target if self.connection is None else self.connection.path

    @property
    def proposed_subprotocols(self) -> tuple[str, ...]:
        """The subprotocols the client offers, the one it likes best first."""
        return tuple(
            member
            for name, value in self.headers
            if name == b"sec-websocket-protocol"
            for member in split_comma_header(value)
            if member
        )

    @property
    def local(self) -> Endpoint | str:
        """The server's address; a description, if the stream is not TCP."""
        return self._head.local if self.connection is None else self.connection.local

    @property
    def remote(self) -> Endpoint | str:
        """The client's address; a description, if the stream is not TCP."""
        return self._head.remote if self.connection is None else self.connection.remote

    @property
    def _head(self) -> HTTPRequest:
        assert self._handshake is not None  # there is no connection yet
        return self._handshake.head

    async def accept(
        self,
        *,
        subprotocol: str | None = None,
        extra_headers: Headers | None = None,
        compression: bool | Compression | None = None,
    ) -> WebSocketConnection:
        """Accept the request and return the open connection.

        Args:
            subprotocol: one of `proposed_subprotocols`; by default the first of the server's
                ``subprotocols`` that is among them, or none.
            extra_headers: sent with the response, behind those of the server; pairs of bytes.
            compression: use permessage-deflate (RFC 7692) if the client offers it, with the
                defaults or with the settings of a `Compression`; by default as the server's
                ``compression`` says.

        Resource handling:
            The server closes the connection when the handler ends; with `wrap_server_stream` the
            caller does. After `ConnectionClosed`, or cancelled, the stream is closed.

        Error handling:
            `LocalProtocolError`: the client did not propose the subprotocol, or a header cannot be
            sent; nothing was, and the request waits for another answer. `ConnectionClosed`: the
            client went away, or did not take the response within ``send_timeout`` seconds; or the
            server stops, and told the client so with status 503. `RuntimeError`: the request was
            answered already.
        """
        handshake = self._unanswered()
        policy = handshake.policy
        chosen = self._choose(policy.subprotocols) if subprotocol is None else subprotocol
        settings = policy.compression if compression is None else compression
        response = handshake.ws.send(
            AcceptConnection(
                subprotocol=chosen,
                extensions=new_extensions(settings),
                extra_headers=[*policy.extra_headers, *(extra_headers or [])],
            )
        )
        handshake.exchange.answered = True
        await _send_acceptance(handshake, response)
        self.connection = _open(handshake, chosen)
        self._handshake = None
        if self._withdrawn:  # while the response was on its way
            await self.connection.aclose(_GOING_AWAY)
        return self.connection

    def _choose(self, spoken: tuple[str, ...]) -> str | None:
        proposed = self.proposed_subprotocols
        return next((subprotocol for subprotocol in spoken if subprotocol in proposed), None)

    async def reject(
        self,
        status_code: int,
        *,
        extra_headers: Headers | None = None,
        body: bytes | None = None,
    ) -> None:
        """Answer with an HTTP response instead, and end the connection.

        Args:
            status_code: 200 to 599; 400 and above make sense.
            extra_headers: pairs of bytes; the server adds ``Content-Length`` and ``Connection``.
            body: the body of the response.

        Resource handling:
            The stream is closed, unless the response could not be made.

        Error handling:
            `ValueError`: the status is out of range. `h11.LocalProtocolError`: a header cannot be
            sent. Nothing was sent then. `ConnectionClosed`: the client went away, or took nothing
            for ``send_timeout`` seconds; or the server stops, and told the client so with status
            503. `RuntimeError`: the request was answered already.
        """
        handshake = self._unanswered()
        response = HTTPResponse(status_code, list(extra_headers or []), body or b"")
        await _reject(handshake.exchange, response)

    async def withdraw(self) -> None:
        """Tell the client, on the part of the server, that the server stops.

        An open connection is closed with 1001, a request that waits for its answer gets status 503.
        """
        withdrawn, self._withdrawn = self._withdrawn, True
        if self.connection is not None:
            await self.connection.aclose(_GOING_AWAY)
        elif self._handshake is not None and not self.answered and not withdrawn:
            response = text_response(503, "The server is stopping")
            await _reject(self._handshake.exchange, response)

    async def release(self) -> None:
        """Close the stream, on the part of the server, if no connection has become of it."""
        if self._handshake is not None:
            await abort(self._handshake.exchange.stream)

    def _unanswered(self) -> _Handshake:
        if self._withdrawn and self.connection is None:
            raise ConnectionClosed(CloseReason(_GOING_AWAY))
        if self._handshake is None or self._handshake.exchange.answered:
            raise RuntimeError("the request was answered already")
        return self._handshake


async def _send_acceptance(handshake: _Handshake, response: bytes) -> None:
    stream = handshake.exchange.stream
    sent = False
    try:
        with trio.move_on_after(handshake.options.send_timeout):
            await stream.send_all(response)
            sent = True
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    except BaseException:  # cancelled with half a response sent
        await abort(stream)
        raise
    if not sent:
        handshake.exchange.counters.handshakes_lost += 1
        await abort(stream)
        raise ConnectionClosed(CloseReason(_ABNORMAL_CLOSURE))


def _open(handshake: _Handshake, subprotocol: str | None) -> WebSocketConnection:
    core = handshake.ws.connection
    assert core is not None  # the acceptance is sent
    connection = WebSocketConnection(
        handshake.exchange.stream,
        core,
        handshake.options,
        path=handshake.head.target,
        subprotocol=subprotocol,
        handshake_headers=tuple(handshake.head.headers),
        ends=(handshake.head.local, handshake.head.remote),
    )
    handshake.exchange.counters.count_accepted()
    return connection


async def _reject(exchange: Exchange, response: HTTPResponse) -> None:
    try:
        await exchange.respond(response)
    except RequestLost:
        raise ConnectionClosed(CloseReason(_ABNORMAL_CLOSURE)) from None
    finally:
        if exchange.answered:
            await abort(exchange.stream)


def propose(
    exchange: Exchange, head: HTTPRequest, options: Options, policy: HandshakePolicy
) -> WebSocketRequest:
    """Hand a request that nobody answered to the core.

    Raises:
        RequestError: it is no proper WebSocket handshake, or not of an origin that may.
    """
    if not head.is_upgrade:
        upgrade = (b"Upgrade", b"websocket")
        answer = text_response(426, "This is a WebSocket server", [upgrade])
        raise RequestError(answer, "not a WebSocket handshake")
    ws = options.new_core(ConnectionType.SERVER)
    try:
        ws.initiate_upgrade_connection(head.headers, head.target)
        ws.receive_data(exchange.trailing_data)
    except RemoteProtocolError as error:
        hint = error.event_hint
        if isinstance(hint, RejectConnection):
            answer = text_response(hint.status_code, str(error), list(hint.headers))
        else:
            answer = text_response(400, str(error))
        raise RequestError(answer, f"bad WebSocket handshake: {error}") from None
    # The core has seen that there is one Origin at most.
    origin, host = head.header(b"origin"), head.header(b"host")
    if policy.origins is not None and not policy.origins.permits(origin, host):
        # RFC 6455 section 10.2
        answer = text_response(403, "Pages of this origin may not open a WebSocket here")
        raise RequestError(answer, "not an allowed origin")
    return WebSocketRequest(_Handshake(exchange, head, ws, options, policy))
