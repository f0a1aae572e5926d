"""The client's doors for a URL, each with its arguments; imports ``_client`` and ``_reconnect``."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Literal

import trio

from wscore.typing import Headers

from ._client import connect_websocket, open_websocket
from ._compression import Compression
from ._connection import WebSocketConnection
from ._errors import ConnectionClosed, HandshakeError
from ._options import (
    CONNECT_TIMEOUT,
    DISCONNECT_TIMEOUT,
    MAX_MESSAGE_SIZE,
    MESSAGE_QUEUE_SIZE,
    PING_INTERVAL,
    PING_TIMEOUT,
    RECEIVE_BUFFER_SIZE,
    SEND_TIMEOUT,
)
from ._reconnect import FIRST_DELAY, MAX_DELAY, BackOff, WebSocketConnections, is_transient
from ._url import Address, parse_url


def open_websocket_url(
    url: str,
    ssl_context: ssl.SSLContext | None = None,
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
    proxy: str | Literal[True] | None = True,
    unix_socket: str | os.PathLike[str] | None = None,
) -> AbstractAsyncContextManager[WebSocketConnection]:
    """Connect to the WebSocket server that a URL names; an async context manager.

    ::

        async with open_websocket_url("wss://example.com/chat") as connection:
            await connection.send_message("hello")
            print(await connection.get_message())

    Args:
        url: ``ws:`` or ``wss:``. User name and password in it are sent as basic authentication,
            unless ``extra_headers`` has an ``Authorization``.
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
        extra_headers=_with_credentials(address, extra_headers),
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


async def connect_websocket_url(
    nursery: trio.Nursery | None,
    url: str,
    ssl_context: ssl.SSLContext | None = None,
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
    proxy: str | Literal[True] | None = True,
    unix_socket: str | os.PathLike[str] | None = None,
) -> WebSocketConnection:
    """Connect to the WebSocket server that a URL names and return the connection.

    The URL is that of `open_websocket_url`, everything else as in `connect_websocket`.

    Resource handling:
        The caller closes the connection.

    Error handling:
        `OSError` if the server or the proxy cannot be reached, else as `open_websocket_url`.
    """
    address = parse_url(url, ssl_context)
    return await connect_websocket(
        nursery,
        address.host,
        address.port,
        address.resource,
        use_ssl=address.use_ssl,
        subprotocols=subprotocols,
        extra_headers=_with_credentials(address, extra_headers),
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


def reconnect_websocket_url(
    url: str,
    ssl_context: ssl.SSLContext | None = None,
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
    proxy: str | Literal[True] | None = True,
    unix_socket: str | os.PathLike[str] | None = None,
    first_delay: float = FIRST_DELAY,
    max_delay: float = MAX_DELAY,
    should_retry: Callable[[HandshakeError | ConnectionClosed], bool] = is_transient,
) -> WebSocketConnections:
    """Connect to the WebSocket server that a URL names, and again whenever that connection ends.

    ::

        async with reconnect_websocket_url("wss://example.com/news") as connections:
            async for connection in connections:
                try:
                    while True:
                        print(await connection.get_message())
                except ConnectionClosed:
                    continue  # connect again

    The loop ends by ``break``, by an exception, or when trying again makes no sense: then the
    iterator raises what ended the last connection or attempt.

    Between two connections there is a random wait, so that the clients of a server that comes back
    do not all come at once (RFC 6455 section 7.2.3): from 0 to ``first_delay`` seconds, and to
    twice as much after each failure, up to ``max_delay``. A connection that lived longer than the
    wait before it could have been starts anew. A server's ``Retry-After`` is waited for before.

    Args:
        first_delay: seconds, the most that the first wait can take.
        max_delay: seconds, the most that any wait can take, ``Retry-After`` apart.
        should_retry: told why a connection was not opened, or why it ended; False raises that
            error. By default the error's ``transient``: true for failures of the network, timeouts,
            the statuses 408, 429 and from 500 on, the close codes 1000, 1001, 1005, 1006, 1011 to
            1014 and 3008; false for TLS certificates, other statuses and other codes.

    The other arguments are those of `open_websocket_url`.

    Resource handling:
        Each connection is closed, with code 1000 if it is open, when the loop's body is done with
        it; the last one on leaving the ``async with`` block, whichever way, without which the
        iterator does not start. Nothing runs in the background.

    Error handling:
        `HandshakeError` and its subclasses, or `ConnectionClosed`, as ``should_retry`` decides. A
        failure that is tried again is logged at INFO, in one line. What the loop's body raises
        passes unchanged, so catch `ConnectionClosed` in it.

    Raises:
        ValueError: the URL is not one of a WebSocket, or it and ``ssl_context`` contradict; or a
            delay is negative, or ``max_delay`` the smaller one.
    """
    address = parse_url(url, ssl_context)
    return WebSocketConnections(
        partial(
            connect_websocket_url,
            None,
            url,
            ssl_context,
            subprotocols=tuple(subprotocols or ()),
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
        ),
        f"{address.host} port {address.port}",
        BackOff(first_delay, max_delay),
        should_retry,
    )


def _with_credentials(address: Address, extra_headers: Headers | None) -> Headers:
    """The user's headers, after those of the URL that they do not replace."""
    headers = list(extra_headers or [])
    names = {name.lower() for name, _ in headers}
    return [header for header in address.headers if header[0].lower() not in names] + headers
