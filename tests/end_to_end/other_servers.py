"""Servers of other makes with the same behaviour, for the client's tests.

Each is an async function that serves on a free port of localhost, calls ``started(port)``, and
runs until it is cancelled; `in_thread` does so beside a test that is not on
asyncio. What they all do is `behave`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import aiohttp
import aiohttp.web
import hypercorn.config
import hypercorn.trio
import trio
import trio_websocket
import uvicorn
import websockets.asyncio.server

Started = Callable[[int], None]


@contextmanager
def in_thread(serve: Callable[[Started], Coroutine[Any, Any, None]]) -> Iterator[str]:
    """One of those on asyncio, in a thread of its own; yields host and port."""
    ready = threading.Event()
    found: list[Any] = []

    def started(port: int) -> None:
        found.extend([port, asyncio.get_running_loop(), asyncio.current_task()])
        ready.set()

    def run() -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(serve(started))

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(30)
    port, loop, task = found
    yield f"127.0.0.1:{port}"
    loop.call_soon_threadsafe(task.cancel)
    thread.join()


class Closed(Exception):
    """The client has closed; with code and reason where the server's make tells them."""


async def behave(connection: Any, path: str, ended: list[tuple[Any, ...]] | None = None) -> None:
    """Echo; or after the first message close, ping, or answer in fragments, as the path says.

    Notes in `ended` how the client has closed a connection with an echo; ``/ended`` answers what
    is noted there, as JSON.
    """
    ended = [] if ended is None else ended
    try:
        if path == "/echo":
            try:
                while True:
                    await connection.send(await connection.receive())
            except Closed as closed:
                ended.append(closed.args)
                return
        message = await connection.receive()
        if path == "/ended":
            await connection.send(json.dumps(ended))
        if path == "/close":
            await connection.close(4001, "enough")
        elif path == "/ping":
            await connection.ping()
            await connection.send("pong")
        elif path == "/fragments":
            await connection.send_fragments(list(message))
        await connection.receive()
    except Closed:
        pass


# websockets


class _Websockets:
    def __init__(self, ws: Any) -> None:
        self._ws = ws
        self.send = self.send_fragments = ws.send
        self.close = ws.close

    async def receive(self) -> Any:
        try:
            return await self._ws.recv()
        except websockets.ConnectionClosed:
            raise Closed(self._ws.close_code, self._ws.close_reason) from None

    async def ping(self) -> None:
        await (await self._ws.ping(b"p"))


async def serve_websockets(started: Started) -> None:
    ended: list[tuple[Any, ...]] = []

    def refuse(connection: Any, request: Any) -> Any:
        return connection.respond(403, "no\n") if request.path == "/refuse" else None

    async def handle(ws: Any) -> None:
        await behave(_Websockets(ws), ws.request.path, ended)

    async with websockets.asyncio.server.serve(
        handle, "127.0.0.1", 0, subprotocols=["b"], process_request=refuse, max_size=2**21
    ) as server:
        started(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()


# aiohttp


class _Aiohttp:
    def __init__(self, ws: aiohttp.web.WebSocketResponse) -> None:
        self._ws = ws

    async def send(self, message: str | bytes) -> None:
        send = self._ws.send_str if isinstance(message, str) else self._ws.send_bytes
        await send(message)

    async def receive(self) -> Any:
        message = await self._ws.receive()
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            return message.data
        raise Closed(self._ws.close_code, message.extra or "")

    async def ping(self) -> None:
        self._ws._autoping = False  # else the pong is hidden
        await self._ws.ping(b"p")
        message = await self._ws.receive()
        assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"p")

    async def close(self, code: int, reason: str) -> None:
        await self._ws.close(code=code, message=reason.encode())


async def serve_aiohttp(started: Started) -> None:
    ended: list[tuple[Any, ...]] = []

    async def handle(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        if request.path == "/refuse":
            return aiohttp.web.Response(status=403, body=b"no\n")
        ws = aiohttp.web.WebSocketResponse(protocols=["b"], max_msg_size=2**21)
        await ws.prepare(request)
        await behave(_Aiohttp(ws), request.path, ended)
        return ws

    application = aiohttp.web.Application()
    application.router.add_get("/{path}", handle)
    runner = aiohttp.web.AppRunner(application)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    started(runner.addresses[0][1])
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


# ASGI servers: uvicorn, hypercorn


class _Asgi:
    def __init__(self, receive: Any, send: Any) -> None:
        self._receive = receive
        self._send = send

    async def receive(self) -> Any:
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            raise Closed
        return event["bytes"] if event.get("bytes") is not None else event["text"]

    async def send(self, message: str | bytes) -> None:
        key = "text" if isinstance(message, str) else "bytes"
        await self._send({"type": "websocket.send", key: message})

    async def close(self, code: int, reason: str) -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": reason})


async def _application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    assert (await receive())["type"] == "websocket.connect"
    if scope["path"] == "/refuse":
        headers = [(b"content-length", b"3")]
        await send({"type": "websocket.http.response.start", "status": 403, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"no\n"})
        return
    await send({"type": "websocket.accept", "subprotocol": "b"})
    await behave(_Asgi(receive, send), scope["path"])


def _listening() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


async def _serve_uvicorn(started: Started, implementation: str) -> None:
    config = uvicorn.Config(
        _application, ws=implementation, log_level="warning", ws_max_size=2**21, lifespan="off"
    )
    server = uvicorn.Server(config)
    server.config.load()
    server.lifespan = config.lifespan_class(config)
    with _listening() as sock:
        await server.startup(sockets=[sock])
        started(sock.getsockname()[1])
        try:
            await asyncio.Event().wait()
        finally:
            server.force_exit = True
            await server.shutdown(sockets=[sock])


async def serve_uvicorn_websockets(started: Started) -> None:
    await _serve_uvicorn(started, "websockets-sansio")


async def serve_uvicorn_wsproto(started: Started) -> None:
    await _serve_uvicorn(started, "wsproto")


async def serve_hypercorn(started: Started) -> None:
    config = hypercorn.config.Config()
    config.websocket_max_message_size = 2**21
    config.errorlog = None
    with _listening() as sock:
        port = sock.getsockname()[1]
        config.bind = [f"fd://{sock.detach()}"]
        started(port)
        await hypercorn.trio.serve(_application, config, shutdown_trigger=trio.sleep_forever)


# trio-websocket


class _TrioWebsocket:
    def __init__(self, ws: trio_websocket.WebSocketConnection) -> None:
        self._ws = ws
        self.close = ws.aclose
        self.send = ws.send_message

    async def receive(self) -> Any:
        try:
            return await self._ws.get_message()
        except trio_websocket.ConnectionClosed:
            raise Closed from None

    async def ping(self) -> None:
        await self._ws.ping(b"p")


async def serve_trio_websocket(started: Started) -> None:
    async def handle(request: trio_websocket.WebSocketRequest) -> None:
        if request.path == "/refuse":
            await request.reject(403, body=b"no\n")
            return
        ws = await request.accept(subprotocol="b")
        await behave(_TrioWebsocket(ws), request.path)

    async with trio.open_nursery() as nursery:
        server: Any = await nursery.start(
            lambda task_status: trio_websocket.serve_websocket(
                handle, "127.0.0.1", 0, None, max_message_size=2**21, task_status=task_status
            )
        )
        started(server.port)


# What each needs, and what its users can make it do.
SERVERS: dict[str, tuple[Callable[[Started], Awaitable[None]], set[str]]] = {
    "websockets": (serve_websockets, {"asyncio", "compress", "ping", "fragments"}),
    "aiohttp": (serve_aiohttp, {"asyncio", "compress", "ping"}),
    "trio-websocket": (serve_trio_websocket, {"ping"}),
    "uvicorn-websockets": (serve_uvicorn_websockets, {"asyncio", "compress"}),
    "uvicorn-wsproto": (serve_uvicorn_wsproto, {"asyncio", "compress"}),
    "hypercorn": (serve_hypercorn, {"compress"}),
}
