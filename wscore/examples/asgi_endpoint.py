"""The WebSocket part of an ASGI server: `Connection` behind HTTP that was parsed elsewhere.

What to copy are `accept`, the answer to an upgrade request that a server has parsed already, and
`Endpoint`, one connection as an ASGI application sees it. Around them there is just enough of a
server to run ``python -m wscore.examples.asgi_endpoint MODULE:APPLICATION``; without a name it runs
an application of its own, an echo.
"""

import argparse
import asyncio
import importlib
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import h11

from wscore import Connection, ConnectionState, ConnectionType
from wscore.events import BytesMessage, CloseConnection, Message, Ping, TextMessage
from wscore.extensions import Extension, PerMessageDeflate
from wscore.handshake import server_extensions_handshake
from wscore.typing import Headers
from wscore.utilities import generate_accept_token, normed_header_dict, split_comma_header

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


def accept(request: Headers, subprotocol: str | None = None) -> tuple[Headers, Connection]:
    """Accept a request by its header fields: those of the 101, and the connection behind it."""
    fields = normed_header_dict(request)
    deflate = PerMessageDeflate()
    offers = split_comma_header(fields.get(b"sec-websocket-extensions", b""))
    agreed = server_extensions_handshake(offers, [deflate])
    answer: Headers = [
        (b"upgrade", b"websocket"),
        (b"connection", b"upgrade"),
        (b"sec-websocket-accept", generate_accept_token(fields[b"sec-websocket-key"])),
    ]
    if subprotocol is not None:
        answer.append((b"sec-websocket-protocol", subprotocol.encode()))
    if agreed:
        answer.append((b"sec-websocket-extensions", agreed))
    extensions: list[Extension] = [deflate] if agreed else []
    return answer, Connection(
        ConnectionType.SERVER, extensions, whole_messages=True, max_message_size=2**20
    )


class Endpoint:
    """One connection with the two callables of an ASGI application, `receive` and `send`."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: h11.Request
    ) -> None:
        self._reader, self._writer = reader, writer
        self._request = request
        self._ws: Connection | None = None
        self._told = False

    def scope(self) -> dict[str, Any]:
        """What the application is told of the request."""
        path, _, query = self._request.target.partition(b"?")
        fields = normed_header_dict(self._request.headers)
        return {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "headers": list(self._request.headers),
            "subprotocols": split_comma_header(fields.get(b"sec-websocket-protocol", b"")),
        }

    async def receive(self) -> dict[str, Any]:
        """Return the next thing that the client did."""
        if not self._told:
            self._told = True
            return {"type": "websocket.connect"}
        assert self._ws is not None, "the application has not accepted"
        while True:
            for event in self._ws.events():
                if isinstance(event, TextMessage):
                    return {"type": "websocket.receive", "text": event.data}
                if isinstance(event, BytesMessage):
                    return {"type": "websocket.receive", "bytes": bytes(event.data)}
                if isinstance(event, Ping):
                    self._writer.write(self._ws.send(event.response()))
                if isinstance(event, CloseConnection):
                    if self._ws.state is ConnectionState.REMOTE_CLOSING:
                        self._writer.write(self._ws.send(event.response()))
                    reason = event.reason or ""
                    return {"type": "websocket.disconnect", "code": event.code, "reason": reason}
            await self._writer.drain()
            self._ws.receive_data(await self._reader.read(65536) or None)

    async def send(self, message: dict[str, Any]) -> None:
        """Do what the application wants."""
        if self._ws is None:
            self._answer(message)
        elif self._ws.state is ConnectionState.OPEN:  # else the client was faster
            self._writer.write(self._ws.send(_event(message)))
        await self._writer.drain()

    async def close(self) -> None:
        """End what the application left open."""
        if self._ws is None or self._ws.state is ConnectionState.OPEN:
            await self.send({"type": "websocket.close"})

    def _answer(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.accept":
            headers, self._ws = accept(list(self._request.headers), message.get("subprotocol"))
            headers += message.get("headers", [])
            status = b"101 Switching Protocols"
        else:
            headers, status = [(b"content-length", b"0")], b"403 Forbidden"
        lines = [b"HTTP/1.1 " + status, *(name + b": " + value for name, value in headers)]
        self._writer.write(b"\r\n".join([*lines, b"", b""]))


def _event(message: dict[str, Any]) -> Message[Any] | CloseConnection:
    if message["type"] == "websocket.close":
        return CloseConnection(message.get("code", 1000), message.get("reason"))
    if message.get("text") is not None:
        return TextMessage(message["text"])
    return BytesMessage(message["bytes"])


async def serve_one(
    application: Application, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Read a request, and hand it to the application if it wants a WebSocket."""
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=16384)
    try:
        async with asyncio.timeout(10):
            while (request := http.next_event()) is h11.NEED_DATA:
                http.receive_data(await reader.read(65536))
        if isinstance(request, h11.Request) and _is_upgrade(request):
            endpoint = Endpoint(reader, writer, request)
            await application(endpoint.scope(), endpoint.receive, endpoint.send)
            await endpoint.close()
        else:
            writer.write(b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n")
            writer.write(b"Connection: upgrade, close\r\nContent-Length: 0\r\n\r\n")
    except (h11.RemoteProtocolError, OSError, TimeoutError):
        pass  # the client's trouble, and nobody else's
    finally:
        writer.close()


def _is_upgrade(request: h11.Request) -> bool:
    fields = normed_header_dict(request.headers)
    return (
        b"websocket" in fields.get(b"upgrade", b"").lower()
        and fields.get(b"sec-websocket-version") == b"13"
        and len(fields.get(b"sec-websocket-key", b"")) == 24
    )


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An application: it sends every message back."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send(message | {"type": "websocket.send"})


async def serve(application: Application, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve_one(application, reader, writer)

    server = await asyncio.start_server(talk, host, port)
    print("http://{}:{}/".format(*server.sockets[0].getsockname()[:2]), flush=True)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("application", nargs="?", metavar="MODULE:NAME", help="default: an echo")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    chosen: Application = echo
    if arguments.application:
        module, _, name = arguments.application.partition(":")
        chosen = getattr(importlib.import_module(module), name)
    sys.exit(asyncio.run(serve(chosen, arguments.host, arguments.port)))
