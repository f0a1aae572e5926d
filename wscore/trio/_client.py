"""The client: TCP, TLS and the opening handshake; imports the core and the modules beside it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass

import trio

from wscore import ConnectionType, WSConnection
from wscore.events import AcceptConnection, RejectConnection, RejectData, Request
from wscore.extensions import Extension, PerMessageDeflate
from wscore.typing import Headers
from wscore.utilities import RemoteProtocolError

from ._connection import WebSocketConnection
from ._errors import ConnectionRejected, ConnectionTimeout, DisconnectionTimeout, HandshakeError
from ._options import (
    CONNECT_TIMEOUT,
    DISCONNECT_TIMEOUT,
    MAX_MESSAGE_SIZE,
    MESSAGE_QUEUE_SIZE,
    RECEIVE_BUFFER_SIZE,
    Options,
)
from ._stream import abort
from ._url import parse_url

# How much the client reads of the body of a refusal, and in what portions, in bytes.
_MAX_REJECT_BODY = 65536
_RECEIVE_SIZE = 4096


@asynccontextmanager
async def open_websocket(
    host: str,
    port: int,
    resource: str,
    *,
    use_ssl: bool | ssl.SSLContext,
    subprotocols: Iterable[str] | None = None,
    extra_headers: Headers | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BUFFER_SIZE,
    connect_timeout: float = CONNECT_TIMEOUT,
    disconnect_timeout: float = DISCONNECT_TIMEOUT,
    compression: bool = False,
) -> AsyncGenerator[WebSocketConnection, None]:
    """Connect to a WebSocket server; an async context manager that yields the connection.

    Args:
        host: name or address of the server.
        port: its TCP port.
        resource: the request target, like ``"/chat?room=1"``; ASCII.
        use_ssl: True for TLS with the system's certificates, a context for TLS with that, or False.
        subprotocols: those to offer, the best first.
        extra_headers: sent with the request, pairs of bytes.
        message_queue_size: messages kept while a ping waits for its pong.
        max_message_size: bytes; a larger message closes the connection with 1009.
        receive_buffer_size: bytes to ask the system for at once; None lets trio choose.
        connect_timeout: seconds for TCP, TLS and the opening handshake together.
        disconnect_timeout: seconds to wait for the server's part of the closing handshake.
        compression: offer permessage-deflate (RFC 7692).

    Resource handling:
        The connection is closed on leaving the block, with code 1000 unless it was closed before.

    Error handling:
        `HandshakeError` when the connection cannot be opened: `ConnectionRejected` if the server
        answered with another status than 101, `ConnectionTimeout` if it took too long, the plain
        class with the `OSError` or TLS error as its cause else. `DisconnectionTimeout` after the
        block, if the server did not close in time. Exceptions of the block pass unchanged and
        never in an exception group; none of the above takes their place.
    """
    options = Options(message_queue_size, max_message_size, receive_buffer_size, disconnect_timeout)
    server = _Server(host, port, _check_ssl(use_ssl))
    try:
        with trio.fail_after(connect_timeout):
            connection = await _connect(
                server, resource, subprotocols, extra_headers, options, compression
            )
    except trio.TooSlowError:
        message = f"no connection to {host} port {port} within {connect_timeout:g} s"
        raise ConnectionTimeout(message) from None
    except OSError as error:
        raise HandshakeError(f"cannot connect to {host} port {port}: {error}") from error
    try:
        yield connection
    except BaseException:
        await connection.aclose()
        raise
    if not await connection.close_in_time():
        raise DisconnectionTimeout(f"the server did not close within {disconnect_timeout:g} s")


def open_websocket_url(
    url: str,
    ssl_context: ssl.SSLContext | None = None,
    *,
    subprotocols: Iterable[str] | None = None,
    extra_headers: Headers | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    connect_timeout: float = CONNECT_TIMEOUT,
    disconnect_timeout: float = DISCONNECT_TIMEOUT,
    receive_buffer_size: int | None = RECEIVE_BUFFER_SIZE,
    compression: bool = False,
) -> AbstractAsyncContextManager[WebSocketConnection]:
    """Connect to the WebSocket server that a URL names; an async context manager.

    ::

        async with open_websocket_url("wss://example.com/chat") as connection:
            await connection.send_message("hello")
            print(await connection.get_message())

    Args:
        url: ``ws:`` or ``wss:``. User name and password in it are sent as basic authentication.
        ssl_context: context for a ``wss:`` URL; by default one with the system's certificates.

    The other arguments, resource handling and error handling are those of `open_websocket`.

    Raises:
        ValueError: the URL is not one of a WebSocket, or it and ``ssl_context`` contradict.
    """
    address = parse_url(url, ssl_context)
    return open_websocket(
        address.host,
        address.port,
        address.resource,
        use_ssl=address.use_ssl,
        subprotocols=subprotocols,
        extra_headers=address.headers + list(extra_headers or []),
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        connect_timeout=connect_timeout,
        disconnect_timeout=disconnect_timeout,
        compression=compression,
    )


async def connect_websocket(
    nursery: trio.Nursery,
    host: str,
    port: int,
    resource: str,
    *,
    use_ssl: bool | ssl.SSLContext,
    subprotocols: Iterable[str] | None = None,
    extra_headers: Headers | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BUFFER_SIZE,
    compression: bool = False,
) -> WebSocketConnection:
    """Connect to a WebSocket server and return the connection.

    Args:
        nursery: not used, as a connection has no background tasks; taken for compatibility with
            trio-websocket.

    The other arguments are those of `open_websocket`, which is what you probably want.

    Resource handling:
        The caller closes the connection. There is no timeout for connecting: use `trio.fail_after`.

    Error handling:
        `OSError` if the server cannot be reached, else as `open_websocket`.
    """
    del nursery
    options = Options(message_queue_size, max_message_size, receive_buffer_size)
    server = _Server(host, port, _check_ssl(use_ssl))
    return await _connect(server, resource, subprotocols, extra_headers, options, compression)


async def connect_websocket_url(
    nursery: trio.Nursery,
    url: str,
    ssl_context: ssl.SSLContext | None = None,
    *,
    subprotocols: Iterable[str] | None = None,
    extra_headers: Headers | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BUFFER_SIZE,
    compression: bool = False,
) -> WebSocketConnection:
    """Connect to the WebSocket server that a URL names and return the connection.

    The URL is that of `open_websocket_url`, everything else as in `connect_websocket`.
    """
    address = parse_url(url, ssl_context)
    return await connect_websocket(
        nursery,
        address.host,
        address.port,
        address.resource,
        use_ssl=address.use_ssl,
        subprotocols=subprotocols,
        extra_headers=address.headers + list(extra_headers or []),
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        compression=compression,
    )


async def wrap_client_stream(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    host: str,
    resource: str,
    *,
    subprotocols: Iterable[str] | None = None,
    extra_headers: Headers | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BUFFER_SIZE,
    disconnect_timeout: float = DISCONNECT_TIMEOUT,
    compression: bool = False,
) -> WebSocketConnection:
    """Open a WebSocket over any stream, as its client.

    Args:
        nursery: not used; taken for compatibility with trio-websocket.
        stream: any trio stream that carries bytes both ways.
        host: for the ``Host`` header.
        resource: the request target.

    The other arguments are those of `open_websocket`.

    Resource handling:
        The caller closes the connection, and with it the stream; after an error it is closed
        already. There is no timeout for the handshake: use `trio.fail_after`.

    Error handling:
        `HandshakeError` as in `open_websocket`.
    """
    del nursery
    options = Options(message_queue_size, max_message_size, receive_buffer_size, disconnect_timeout)
    request = _request(host, resource, subprotocols, extra_headers, compression)
    return await _open(stream, request, options)


@dataclass(frozen=True)
class _Server:
    host: str
    port: int
    ssl_context: ssl.SSLContext | None

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default_port = 80 if self.ssl_context is None else 443
        return host if self.port == default_port else f"{host}:{self.port}"


def _check_ssl(use_ssl: bool | ssl.SSLContext) -> ssl.SSLContext | None:
    if use_ssl is True:
        return ssl.create_default_context()
    if use_ssl is False:
        return None
    if isinstance(use_ssl, ssl.SSLContext):
        return use_ssl
    raise TypeError(f"use_ssl is a bool or an SSLContext, not {type(use_ssl).__name__}")


def _request(
    host: str,
    resource: str,
    subprotocols: Iterable[str] | None,
    extra_headers: Headers | None,
    compression: bool,
) -> Request:
    extensions: list[Extension] = [PerMessageDeflate()] if compression else []
    return Request(
        host=host,
        target=resource,
        extensions=extensions,
        extra_headers=list(extra_headers or []),
        subprotocols=list(subprotocols or []),
    )


async def _connect(
    server: _Server,
    resource: str,
    subprotocols: Iterable[str] | None,
    extra_headers: Headers | None,
    options: Options,
    compression: bool,
) -> WebSocketConnection:
    request = _request(server.host_header, resource, subprotocols, extra_headers, compression)
    tcp_stream = await trio.open_tcp_stream(server.host, server.port)
    if server.ssl_context is None:
        return await _open(tcp_stream, request, options)
    stream = trio.SSLStream(
        tcp_stream, server.ssl_context, server_hostname=server.host, https_compatible=True
    )
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        await abort(stream)
        cause = error.__cause__ or error
        message = f"the TLS handshake with {server.host} port {server.port} failed: {cause}"
        raise HandshakeError(message) from cause
    except BaseException:
        await abort(stream)
        raise
    return await _open(stream, request, options)


async def _open(stream: trio.abc.Stream, request: Request, options: Options) -> WebSocketConnection:
    """Do the opening handshake; close the stream if it fails."""
    ws = options.new_core(ConnectionType.CLIENT)
    try:
        # A server may refuse without reading; then its answer is there all the same.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.send_all(ws.send(request))
        accepted = await _read_response(stream, ws)
    except RemoteProtocolError as error:
        await abort(stream)
        raise HandshakeError(f"the server's handshake is wrong: {error}") from error
    except BaseException:
        await abort(stream)
        raise
    return WebSocketConnection(
        stream,
        ws,
        options,
        path=request.target,
        subprotocol=accepted.subprotocol,
        handshake_headers=tuple(accepted.extra_headers),
    )


async def _read_response(stream: trio.abc.Stream, ws: WSConnection) -> AcceptConnection:
    """Read the answer to the handshake; the core limits its head, and this its body."""
    rejection: RejectConnection | None = None
    body = b""
    data: bytes | bytearray = b""
    complete = False
    while not complete:
        for event in ws.events():
            if isinstance(event, AcceptConnection):
                return event
            if isinstance(event, RejectConnection):
                rejection = event
                complete = not event.has_body
            elif isinstance(event, RejectData):
                body += event.data
                complete = event.body_finished or len(body) >= _MAX_REJECT_BODY
        if not complete:
            try:
                data = await stream.receive_some(_RECEIVE_SIZE)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if data:
                ws.receive_data(bytes(data))
            elif rejection is None:
                raise HandshakeError("the server closed the connection without an answer")
            else:
                complete = True
    assert rejection is not None
    headers = tuple(rejection.headers)
    raise ConnectionRejected(
        rejection.status_code, headers, body[:_MAX_REJECT_BODY] if rejection.has_body else None
    )
