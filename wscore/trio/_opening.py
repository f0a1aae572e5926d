"""A client's way to an open connection: transport, TLS, opening handshake; imports the core and
the modules beside it, but no door.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import trio

from wscore import ConnectionType, WSConnection
from wscore.events import AcceptConnection, Event, RejectConnection, RejectData, Request
from wscore.typing import Headers
from wscore.utilities import RemoteProtocolError

from ._compression import Compression, new_extensions
from ._connection import WebSocketConnection
from ._errors import ConnectionRejected, ConnectionTimeout, HandshakeError
from ._options import Options
from ._proxy import Proxy, choose_proxy, connect_through
from ._stream import abort
from ._tls import start_tls
from ._url import ascii_host, bracketed

# How much the client reads of the body of a refusal, in what portions, in bytes, and for how many
# seconds: what it says is in its head.
_MAX_REJECT_BODY = 65536
_RECEIVE_SIZE = 4096
_REJECT_BODY_TIMEOUT = 1.0
# What the handshake says itself.
_OWN_HEADERS = frozenset(
    {
        b"connection",
        b"upgrade",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
    }
)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a server is, and which way leads there."""

    host: str
    port: int
    ssl_context: ssl.SSLContext | None
    unix_socket: str | None
    proxy: Proxy | None

    @property
    def host_header(self) -> str:
        """The server's name for HTTP; without the port, if that is the scheme's own."""
        host = bracketed(self.host)
        default_port = 80 if self.ssl_context is None else 443
        return host if self.port == default_port else f"{host}:{self.port}"

    def __str__(self) -> str:
        place = f"{self.host} port {self.port}" if self.unix_socket is None else self.unix_socket
        return place if self.proxy is None else f"{place} through {self.proxy}"


def find_route(
    host: str,
    port: int,
    use_ssl: bool | ssl.SSLContext,
    unix_socket: str | os.PathLike[str] | None,
    proxy: str | Literal[True] | None,
) -> Route:
    """Check where to connect to.

    Raises:
        TypeError: ``use_ssl`` is neither a bool nor a context.
        ValueError: the host name or the proxy's URL is none, or there are two ways to go.
    """
    host = ascii_host(host)
    context = _check_ssl(use_ssl)
    if unix_socket is None:
        found = choose_proxy(proxy, host, port, is_ssl=context is not None)
        return Route(host, port, context, None, found)
    if isinstance(proxy, str):
        raise ValueError("no proxy leads to a Unix socket")
    return Route(host, port, context, os.fspath(unix_socket), None)


def _check_ssl(use_ssl: bool | ssl.SSLContext) -> ssl.SSLContext | None:
    if use_ssl is True:
        return ssl.create_default_context()
    if use_ssl is False:
        return None
    if isinstance(use_ssl, ssl.SSLContext):
        return use_ssl
    raise TypeError(f"use_ssl is a bool or an SSLContext, not {type(use_ssl).__name__}")


@dataclass(frozen=True, slots=True)
class Opening:
    """An opening handshake: what is asked for, and the settings of the connection it opens."""

    host_header: str
    resource: str
    subprotocols: tuple[str, ...]
    extra_headers: tuple[tuple[bytes, bytes], ...]
    compression: bool | Compression
    options: Options

    async def connect(self, route: Route, connect_timeout: float) -> WebSocketConnection:
        """Connect to a server, within so many seconds.

        Raises:
            OSError: there is no way to the server, or to the proxy.
            HandshakeError: the handshake of TLS, of the proxy or of the WebSocket failed.
            LocalProtocolError: the request cannot be sent; nothing was connected to.
        """
        ws, request = self._propose()
        with _time_limit(connect_timeout, str(route)):
            stream = await open_stream(route)
            return await self._shake_hands(stream, ws, request)

    async def connect_over(
        self, stream: trio.abc.Stream, connect_timeout: float
    ) -> WebSocketConnection:
        """Do the handshake over a stream, within so many seconds; close the stream if it fails.

        Raises:
            HandshakeError: the handshake failed.
            LocalProtocolError: the request cannot be sent.
        """
        try:
            ws, request = self._propose()
        except BaseException:
            await abort(stream)
            raise
        with _time_limit(connect_timeout, self.host_header):
            return await self._shake_hands(stream, ws, request)

    def _propose(self) -> tuple[WSConnection, bytes]:
        """A new core and the request that it sends."""
        ws = self.options.new_core(ConnectionType.CLIENT)
        request = Request(
            host=self.host_header,
            target=self.resource,
            extensions=new_extensions(self.compression),
            extra_headers=list(self.extra_headers),
            subprotocols=list(self.subprotocols),
        )
        return ws, ws.send(request)

    async def _shake_hands(
        self, stream: trio.abc.Stream, ws: WSConnection, request: bytes
    ) -> WebSocketConnection:
        try:
            # A server may refuse without reading; then its answer is there all the same.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await stream.send_all(request)
            accepted = await _read_response(stream, ws)
        except RemoteProtocolError as error:
            await abort(stream)
            raise HandshakeError(f"the server's handshake is wrong: {error}") from error
        except BaseException:
            await abort(stream)
            raise
        assert ws.connection is not None
        return WebSocketConnection(
            stream,
            ws.connection,  # without the handshake, which is larger
            self.options,
            path=self.resource,
            subprotocol=accepted.subprotocol,
            handshake_headers=tuple(accepted.extra_headers),
        )


def new_opening(
    host_header: str,
    resource: str,
    subprotocols: Iterable[str] | None,
    extra_headers: Headers | None,
    compression: bool | Compression,
    options: Options,
) -> Opening:
    """Check what is to be asked for. A ``Host`` header takes the place of the server's own name.

    Raises:
        TypeError: ``compression`` is neither a bool nor a `Compression`.
        ValueError: one of the headers is the handshake's own.
    """
    new_extensions(compression)
    headers = tuple(extra_headers or ())
    for name, value in headers:
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"the header {name.decode('latin-1')} is the handshake's own")
        if name.lower() == b"host":
            host_header = value.decode("ascii")
    headers = tuple(header for header in headers if header[0].lower() != b"host")
    offered = tuple(subprotocols or ())
    return Opening(host_header, resource, offered, headers, compression, options)


@contextmanager
def _time_limit(seconds: float, place: str) -> Iterator[None]:
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise ConnectionTimeout(f"no connection to {place} within {seconds:g} s") from None


async def open_stream(route: Route) -> trio.abc.Stream:
    """The way to a server, with TLS where the route says so.

    Raises:
        OSError: there is none.
        HandshakeError: the handshake of TLS or of the proxy failed.
    """
    stream: trio.abc.Stream
    if route.unix_socket is not None:
        stream = await trio.open_unix_socket(route.unix_socket)
    elif route.proxy is not None:
        stream = await connect_through(route.proxy, route.host, route.port)
    else:
        # Of a name with several addresses, whichever answers first (RFC 8305).
        stream = await trio.open_tcp_stream(route.host, route.port)
    if route.ssl_context is None:
        return stream
    return await start_tls(stream, route.ssl_context, route.host)


async def _read_response(stream: trio.abc.Stream, ws: WSConnection) -> AcceptConnection:
    """Read the answer to the handshake; the core limits its head, and this its body."""
    event = await _next_event(stream, ws)
    if isinstance(event, AcceptConnection):
        return event
    if event is None:
        message = "the server closed the connection without an answer"
        raise HandshakeError(message, transient=True)
    assert isinstance(event, RejectConnection)
    body = None
    if event.has_body:
        body = bytearray()
        with trio.move_on_after(_REJECT_BODY_TIMEOUT), suppress(RemoteProtocolError):
            while len(body) < _MAX_REJECT_BODY:
                data = await _next_event(stream, ws)
                if not isinstance(data, RejectData):
                    break
                body += data.data
                if data.body_finished:
                    break
    raise ConnectionRejected(
        event.status_code,
        tuple(event.headers),
        None if body is None else bytes(body[:_MAX_REJECT_BODY]),
    )


async def _next_event(stream: trio.abc.Stream, ws: WSConnection) -> Event | None:
    """The core's next event; None if the stream ends before."""
    while (event := next(ws.events(), None)) is None:
        try:
            data = await stream.receive_some(_RECEIVE_SIZE)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            return None
        ws.receive_data(bytes(data))
    return event
