"""WebSocket server and client on trio under trio-websocket's names; imports the core, not the chat.

A server::

    async def echo(request):
        connection = await request.accept()
        while True:
            await connection.send_message(await connection.get_message())

    trio.run(serve_websocket, echo, "127.0.0.1", 8000, None)

A client::

    async with open_websocket_url("ws://127.0.0.1:8000/") as connection:
        await connection.send_message("hello")
        print(await connection.get_message())

Additions to trio-websocket: ``process_request`` with `HTTPRequest` and `HTTPResponse` answers plain
HTTP on the same port, ``compression`` turns permessage-deflate on, `reconnect_websocket_url` keeps
a client connected.
"""

from __future__ import annotations

from ._broadcast import BroadcastResult, broadcast
from ._client import connect_websocket, open_websocket, wrap_client_stream
from ._client_url import connect_websocket_url, open_websocket_url, reconnect_websocket_url
from ._compression import Compression
from ._connection import WebSocketConnection
from ._counters import ServerCounters
from ._errors import (
    CloseReason,
    ConnectionClosed,
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
    ProxyError,
)
from ._http import HTTPRequest, HTTPResponse
from ._reconnect import WebSocketConnections
from ._request import WebSocketRequest
from ._server import WebSocketServer, serve_websocket
from ._server_stream import wrap_server_stream
from ._signals import serve_until_signal
from ._stream import Endpoint
from ._unix import open_unix_listener

__all__ = [
    "BroadcastResult",
    "CloseReason",
    "Compression",
    "ConnectionClosed",
    "ConnectionRejected",
    "ConnectionTimeout",
    "DisconnectionTimeout",
    "Endpoint",
    "HTTPRequest",
    "HTTPResponse",
    "HandshakeError",
    "ProxyError",
    "ServerCounters",
    "WebSocketConnection",
    "WebSocketConnections",
    "WebSocketRequest",
    "WebSocketServer",
    "broadcast",
    "connect_websocket",
    "connect_websocket_url",
    "open_unix_listener",
    "open_websocket",
    "open_websocket_url",
    "reconnect_websocket_url",
    "serve_until_signal",
    "serve_websocket",
    "wrap_client_stream",
    "wrap_server_stream",
]
