"""Clients of other makes behind one small interface, for the server's tests.

Each is an async context manager for one connection; `refusal` says what it makes of a refused
handshake. Most of them do not run on trio, so a test calls them in a thread of their own.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
import httpx
import httpx_ws
import trio
import trio_websocket
import websocket
import websockets.asyncio.client
import wsproto.events
from end_to_end.chromium import running_chromium

Answer = TypeVar("Answer")

SUBPROTOCOLS = ["a", "b"]
SECONDS = 60
"""Until something awaited counts as missing, instead of each library's few seconds."""


def run_apart(script: Coroutine[object, object, Answer]) -> Answer:
    """Run a script of a client on asyncio in a thread of its own: this one may have a loop."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, script).result()


class Client:
    """One connection to a server; messages are str or bytes."""

    #: Whether it offers permessage-deflate, sends messages in several frames, sends pings.
    compresses = False
    fragments = True
    pings = True
    #: Whether it tells the body of a refusal.
    tells_body = True

    def __init__(self, url: str) -> None:
        self.url = url

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *info: object) -> None:
        await self.leave()

    async def open(self) -> None:
        raise NotImplementedError

    async def leave(self) -> None:
        """Free what `open` took; the connection is closed by `close` or by the server."""

    @classmethod
    def run(cls, script: Callable[[], Awaitable[None]]) -> None:
        """Run a script in this thread, on what the client needs."""
        asyncio.run(script())  # type: ignore[arg-type]

    @classmethod
    async def refusal(cls, url: str) -> tuple[int, bytes | None]:
        """Status and body of a refused handshake."""
        raise NotImplementedError


class Websockets(Client):
    compresses = True

    async def open(self) -> None:
        self._ws = await websockets.asyncio.client.connect(
            self.url,
            subprotocols=SUBPROTOCOLS,
            proxy=None,
            open_timeout=SECONDS,
            close_timeout=SECONDS,
            ping_interval=None,
        )
        self.subprotocol = self._ws.subprotocol
        self.compressed = bool(self._ws.protocol.extensions)
        self.send = self._ws.send
        self.receive = self._ws.recv

    async def send_fragments(self, pieces: list[str]) -> None:
        await self._ws.send(pieces)

    async def ping(self) -> None:
        await (await self._ws.ping(b"p"))

    async def close(self, code: int, reason: str) -> None:
        await self._ws.close(code, reason)

    async def wait_closed(self) -> tuple[int, str]:
        async with asyncio.timeout(SECONDS):
            await self._ws.wait_closed()
        return self._ws.close_code, self._ws.close_reason

    @classmethod
    async def refusal(cls, url: str) -> tuple[int, bytes | None]:
        try:
            await websockets.asyncio.client.connect(url, proxy=None, open_timeout=SECONDS)
        except websockets.InvalidStatus as error:
            return error.response.status_code, error.response.body
        raise AssertionError


class Aiohttp(Client):
    compresses = True
    fragments = False
    tells_body = False

    async def open(self) -> None:
        self._session = aiohttp.ClientSession()
        self._ws = await self._session.ws_connect(
            self.url,
            protocols=SUBPROTOCOLS,
            compress=15,
            timeout=aiohttp.ClientWSTimeout(ws_close=SECONDS),
        )
        self.subprotocol = self._ws.protocol
        self.compressed = bool(self._ws.compress)

    async def leave(self) -> None:
        await self._session.close()

    async def send(self, message: str | bytes) -> None:
        send = self._ws.send_str if isinstance(message, str) else self._ws.send_bytes
        await send(message)

    async def receive(self) -> str | bytes:
        message = await self._ws.receive()
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        return message.data

    async def ping(self) -> None:
        """aiohttp hides the pong of a ping from its user; ask for it with autoping off."""
        self._ws._autoping = False
        await self._ws.ping(b"p")
        message = await self._ws.receive()
        assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"p")

    async def close(self, code: int, reason: str) -> None:
        await self._ws.close(code=code, message=reason.encode())

    async def wait_closed(self) -> tuple[int, str]:
        message = await self._ws.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE
        return message.data, message.extra

    @classmethod
    async def refusal(cls, url: str) -> tuple[int, bytes | None]:
        async with aiohttp.ClientSession() as session:
            try:
                await session.ws_connect(url)
            except aiohttp.WSServerHandshakeError as error:
                return error.status, None
        raise AssertionError


class WebsocketClient(Client):
    async def open(self) -> None:
        self._ws = websocket.create_connection(self.url, subprotocols=SUBPROTOCOLS)
        self.subprotocol = self._ws.getsubprotocol()

    async def leave(self) -> None:
        self._ws.shutdown()

    async def send(self, message: str | bytes) -> None:
        text = isinstance(message, str)
        self._ws.send(message, websocket.ABNF.OPCODE_TEXT if text else websocket.ABNF.OPCODE_BINARY)

    async def receive(self) -> str | bytes:
        code, data = self._ws.recv_data()
        return data.decode() if code == websocket.ABNF.OPCODE_TEXT else data

    async def send_fragments(self, pieces: list[str]) -> None:
        for number, piece in enumerate(pieces):
            code = websocket.ABNF.OPCODE_CONT if number else websocket.ABNF.OPCODE_TEXT
            last = number == len(pieces) - 1
            self._ws.send_frame(websocket.ABNF.create_frame(piece.encode(), code, int(last)))

    async def ping(self) -> None:
        self._ws.ping(b"p")
        assert self._ws.recv_data(control_frame=True) == (websocket.ABNF.OPCODE_PONG, b"p")

    async def close(self, code: int, reason: str) -> None:
        self._ws.close(code, reason.encode())

    async def wait_closed(self) -> tuple[int, str]:
        code, data = self._ws.recv_data()
        assert code == websocket.ABNF.OPCODE_CLOSE
        return int.from_bytes(data[:2], "big"), data[2:].decode()

    @classmethod
    async def refusal(cls, url: str) -> tuple[int, bytes | None]:
        try:
            websocket.create_connection(url)
        except websocket.WebSocketBadStatusException as error:
            return error.status_code, error.resp_body
        raise AssertionError


class TrioWebsocket(Client):
    fragments = False

    async def open(self) -> None:
        self._opened = trio_websocket.open_websocket_url(self.url, subprotocols=SUBPROTOCOLS)
        self._ws = await self._opened.__aenter__()
        self.subprotocol = self._ws.subprotocol
        self.send = self._ws.send_message
        self.receive = self._ws.get_message
        self.ping = partial(self._ws.ping, b"p")
        self.close = self._ws.aclose

    async def leave(self) -> None:
        await self._opened.__aexit__(None, None, None)
        # Where the server closes first, it leaves its socket to the garbage collector, whose
        # warning then comes in any test.
        await self._ws._stream.aclose()

    async def wait_closed(self) -> tuple[int, str]:
        try:
            await self._ws.get_message()
        except trio_websocket.ConnectionClosed as error:
            return error.reason.code, error.reason.reason
        raise AssertionError

    @classmethod
    def run(cls, script: Callable[[], Awaitable[None]]) -> None:
        trio.run(script)

    @classmethod
    async def refusal(cls, url: str) -> tuple[int, bytes | None]:
        parts = urlsplit(url)
        # The stream is ours: refused, open_websocket_url leaves it to the garbage collector.
        stream = await trio.open_tcp_stream(parts.hostname, parts.port)
        refusal = None
        try:
            async with stream, trio.open_nursery() as nursery:
                await trio_websocket.wrap_client_stream(nursery, stream, parts.netloc, parts.path)
        except* trio_websocket.ConnectionRejected as group:
            (error,) = group.exceptions
            refusal = error.status_code, error.body
        assert refusal is not None
        return refusal


class HttpxWs(Client):
    """It speaks with wsproto."""

    tells_body = False

    async def open(self) -> None:
        client = httpx.Client(trust_env=False, timeout=SECONDS)
        self._opened = httpx_ws.connect_ws(
            self.url,
            client,
            subprotocols=SUBPROTOCOLS,
            max_message_size_bytes=2**21,
            keepalive_ping_interval_seconds=None,
        )
        self._client = client
        self._ws = self._opened.__enter__()
        self.subprotocol = self._ws.subprotocol

    async def leave(self) -> None:
        self._opened.__exit__(None, None, None)
        self._client.close()

    async def send(self, message: str | bytes) -> None:
        send = self._ws.send_text if isinstance(message, str) else self._ws.send_bytes
        send(message)

    async def receive(self) -> str | bytes:
        return self._ws.receive().data

    async def send_fragments(self, pieces: list[str]) -> None:
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            self._ws.send(wsproto.events.TextMessage(piece, message_finished=last))

    async def ping(self) -> None:
        assert self._ws.ping(b"p").wait(SECONDS)

    async def close(self, code: int, reason: str) -> None:
        self._ws.close(code, reason)

    async def wait_closed(self) -> tuple[int, str]:
        try:
            self._ws.receive()
        except httpx_ws.WebSocketDisconnect as error:
            return error.code, error.reason
        raise AssertionError

    @classmethod
    async def refusal(cls, url: str) -> tuple[int, bytes | None]:
        with httpx.Client(trust_env=False, timeout=SECONDS) as client:
            try:
                with httpx_ws.connect_ws(url, client):
                    raise AssertionError
            except httpx_ws.WebSocketUpgradeError as error:
                return error.response.status_code, None


class Chromium(Client):
    """A page's WebSocket. It cannot send pings or fragments; large messages it cuts itself."""

    compresses = True
    fragments = False
    pings = False
    tells_body = False

    async def open(self) -> None:
        self._page = self._browser.new_page()
        self._page.evaluate(
            """([url, subprotocols]) => new Promise((resolve, reject) => {
                window.ws = new WebSocket(url, subprotocols);
                window.received = [];
                window.waiting = [];
                const push = item => waiting.length ? waiting.shift()(item) : received.push(item);
                window.next = () => received.length ? Promise.resolve(received.shift())
                    : new Promise(resolve => waiting.push(resolve));
                ws.onmessage = event => push(event.data);
                window.ended = new Promise(resolve =>
                    ws.onclose = event => resolve([event.code, event.reason]));
                ws.onopen = resolve;
                ws.onerror = () => reject(new Error("refused"));
            })""",
            [self.url, SUBPROTOCOLS],
        )
        self.subprotocol = self._page.evaluate("ws.protocol")
        self.compressed = "permessage-deflate" in self._page.evaluate("ws.extensions")

    async def leave(self) -> None:
        self._page.close()

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._page.evaluate(f"ws.send({json.dumps(message)})")
        else:
            # The browser's own decoder is the fastest way for a mebibyte.
            script = "url => fetch(url).then(body => body.blob()).then(blob => ws.send(blob))"
            self._page.evaluate(script, "data:;base64," + b64encode(message).decode())

    async def receive(self) -> str | bytes:
        item = self._page.evaluate(
            """() => next().then(item => typeof item == "string" ? item : new Promise(resolve => {
                const reader = new FileReader();
                reader.onload = () => resolve({url: reader.result});
                reader.readAsDataURL(item);
            }))"""
        )
        return item if isinstance(item, str) else b64decode(item["url"].partition(",")[2])

    async def close(self, code: int, reason: str) -> None:
        self._page.evaluate("([code, reason]) => ws.close(code, reason)", [code, reason])
        assert await self.wait_closed() == (code, reason)

    async def wait_closed(self) -> tuple[int, str]:
        code, reason = self._page.evaluate("ended")
        return code, reason

    @classmethod
    async def refusal(cls, url: str) -> tuple[int, bytes | None]:
        """A page learns no more than that there is no connection."""
        page = cls._browser.new_page()
        closed = page.evaluate(
            """url => new Promise(resolve => {
                new WebSocket(url).onclose = event => resolve(event.code);
            })""",
            url,
        )
        return closed, None

    @classmethod
    def run(cls, script: Callable[[], Awaitable[None]]) -> None:
        """Without a loop: Playwright's synchronous interface has its own."""
        with running_chromium() as cls._browser:
            try:
                script().send(None)  # type: ignore[attr-defined]
            except StopIteration:
                return
            raise AssertionError("the script waited for something")


CLIENTS = [Websockets, Aiohttp, WebsocketClient, TrioWebsocket, HttpxWs, Chromium]
