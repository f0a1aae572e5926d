"""The client's doors for a host, a port and a stream, each with its arguments; imports ``_opening``
and what is below it.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Literal

import trio

from wscore.typing import Headers

from ._compression import Compression
from ._connection import WebSocketConnection
from ._errors import DisconnectionTimeout, HandshakeError
from ._opening import find_route, new_opening
from ._options import (
    CONNECT_TIMEOUT,
    DISCONNECT_TIMEOUT,
    MAX_MESSAGE_SIZE,
    MESSAGE_QUEUE_SIZE,
    PING_INTERVAL,
    PING_TIMEOUT,
    RECEIVE_BUFFER_SIZE,
    SEND_TIMEOUT,
    Options,
)
from ._stream import abort


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
    ping_interval: float | None = PING_INTERVAL,
    ping_timeout: float | None = PING_TIMEOUT,
    send_timeout: float = SEND_TIMEOUT,
    compression: bool | Compression = False,
    proxy: str | Literal[True] | None = True,
    unix_socket: str | os.PathLike[str] | None = None,
) -> AsyncGenerator[WebSocketConnection, None]:
    """Connect to a WebSocket server; an async context manager that yields the connection.

    Args:
        host: name or address of the server; a name may have other letters than ASCII's (IDNA).
        port: its TCP port.
        resource: the request target, like ``"/chat?room=1"``; ASCII.
        use_ssl: True for TLS with the system's certificates, a context for TLS with that, or False.
        subprotocols: those to offer, the best first.
        extra_headers: sent with the request, pairs of bytes. ``Host`` replaces the default one.
        message_queue_size: messages to read ahead; beyond, the server is slowed down by TCP.
        max_message_size: bytes; a larger message closes the connection with 1009.
        receive_buffer_size: bytes to ask the system for at once; None lets trio choose.
        connect_timeout: seconds for proxy, TCP, TLS and the opening handshake together.
        disconnect_timeout: seconds to wait for the server's part of the closing handshake.
        ping_interval: seconds without a byte from the server after which it is pinged; None: never.
        ping_timeout: seconds that it then has for sending anything; None: any time.
        send_timeout: seconds without progress after which a server that does not read is cut.
        compression: offer permessage-deflate (RFC 7692): True, or a `Compression` with settings.
        proxy: True for the proxy that the environment variables ``https_proxy``, ``no_proxy`` and
            so on (`urllib.request.getproxies`), or the system's settings, name for this server;
            none of them concerns the machine itself. A URL for another proxy, ``http:``,
            ``https:`` (``CONNECT``), ``socks5h:``, ``socks5:``, ``socks4a:`` or ``socks4:`` (with
            the extra ``wscore[proxy]``). None for none.
        unix_socket: path of a Unix socket to connect to; ``host`` and ``port`` are then just named
            in the request.

    Resource handling:
        The connection is closed on leaving the block, with code 1000 unless it was closed before.

    Error handling:
        `HandshakeError` when the connection cannot be opened: `ConnectionRejected` if the server
        answered with another status than 101, redirects among them; `ConnectionTimeout` if it
        took too long; `ProxyError` if the proxy refused; else the plain class with the `OSError`
        or TLS error as its cause. ``transient`` says whether trying again may help.
        `LocalProtocolError` for headers that HTTP does not allow, `ValueError` and `TypeError` for
        other arguments, before anything is connected to.
        `DisconnectionTimeout` after the block, if the server did not close in time. Exceptions of
        the block pass unchanged and never in an exception group; none of the above takes their
        place.
    """
    try:
        connection = await connect_websocket(
            None,
            host,
            port,
            resource,
            use_ssl=use_ssl,
            subprotocols=subprotocols,
            extra_headers=extra_headers,
            message_queue_size=message_queue_size,
            max_message_size=max_message_size,
            receive_buffer_size=receive_buffer_size,
            connect_timeout=connect_timeout,
            disconnect_timeout=disconnect_timeout,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            send_timeout=send_timeout,
            compression=compression,
            proxy=proxy,
            unix_socket=unix_socket,
        )
    except OSError as error:
        place = f"{host} port {port}" if unix_socket is None else os.fspath(unix_socket)
        message = f"cannot connect to {place}: {error}"
        raise HandshakeError(message, transient=True) from error
    try:
        yield connection
    except BaseException:
        # In a cancelled scope this cuts; that must not replace what the block raised.
        with suppress(trio.Cancelled):
            await connection.aclose()
        raise
    if not await connection.close_in_time():
        raise DisconnectionTimeout(f"the server did not close within {disconnect_timeout:g} s")


async def connect_websocket(
    nursery: trio.Nursery | None,
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
    ping_interval: float | None = PING_INTERVAL,
    ping_timeout: float | None = PING_TIMEOUT,
    send_timeout: float = SEND_TIMEOUT,
    compression: bool | Compression = False,
    proxy: str | Literal[True] | None = True,
    unix_socket: str | os.PathLike[str] | None = None,
) -> WebSocketConnection:
    """Connect to a WebSocket server and return the connection.

    Args:
        nursery: not used, as a connection has no background tasks; taken for compatibility with
            trio-websocket. None will do.

    The other arguments are those of `open_websocket`, which is what you probably want.

    Resource handling:
        The caller closes the connection.

    Error handling:
        `OSError` if the server or the proxy cannot be reached, else as `open_websocket`.
    """
    del nursery
    route = find_route(host, port, use_ssl, unix_socket, proxy)
    options = Options(
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        disconnect_timeout=disconnect_timeout,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        send_timeout=send_timeout,
    )
    opening = new_opening(
        route.host_header, resource, subprotocols, extra_headers, compression, options
    )
    return await opening.connect(route, connect_timeout)


async def wrap_client_stream(
    nursery: trio.Nursery | None,
    stream: trio.abc.Stream,
    host: str,
    resource: str,
    *,
    subprotocols: Iterable[str] | None = None,
    extra_headers: Headers | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BUFFER_SIZE,
    connect_timeout: float = CONNECT_TIMEOUT,
    disconnect_timeout: float = DISCONNECT_TIMEOUT,
    ping_interval: float | None = PING_INTERVAL,
    ping_timeout: float | None = PING_TIMEOUT,
    send_timeout: float = SEND_TIMEOUT,
    compression: bool | Compression = False,
) -> WebSocketConnection:
    """Open a WebSocket over any stream, as its client.

    Args:
        nursery: not used; taken for compatibility with trio-websocket. None will do.
        stream: any trio stream that carries bytes both ways.
        host: for the ``Host`` header.
        resource: the request target.
        connect_timeout: seconds for the opening handshake.

    The other arguments are those of `open_websocket`.

    Resource handling:
        The caller closes the connection, and with it the stream; after an error it is closed
        already.

    Error handling:
        `HandshakeError`, `ConnectionRejected` and `ConnectionTimeout` as in `open_websocket`.
    """
    del nursery
    options = Options(
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        disconnect_timeout=disconnect_timeout,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        send_timeout=send_timeout,
    )
    try:
        opening = new_opening(host, resource, subprotocols, extra_headers, compression, options)
    except BaseException:
        await abort(stream)
        raise
    return await opening.connect_over(stream, connect_timeout)
