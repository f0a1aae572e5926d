"""A client on a library that speaks through wsproto: ``client.py LIBRARY URL /PATH ...``.

Prints what it saw as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import httpx
import httpx_ws
import simple_websocket
import trio
import trio_websocket
import wsproto

MESSAGES = ["", "grüß dich 🎉", b"", bytes(range(256)), "x" * 2**20, bytes(range(256)) * 4096]


@contextmanager
def on_httpx_ws(url: str) -> Any:
    with (
        httpx.Client(trust_env=False) as client,
        httpx_ws.connect_ws(
            url, client, subprotocols=["b"], max_message_size_bytes=2**21
        ) as connection,
    ):

        def send(message: str | bytes) -> None:
            (connection.send_text if isinstance(message, str) else connection.send_bytes)(message)

        def receive() -> Any:
            try:
                return connection.receive().data
            except httpx_ws.WebSocketDisconnect as error:
                return error.code, error.reason

        def ping() -> bool:
            return connection.ping(b"p").wait(60)

        yield connection.subprotocol, send, receive, connection.close, ping


def refused_httpx_ws(url: str) -> Any:
    with httpx.Client(trust_env=False) as client:
        try:
            with httpx_ws.connect_ws(url, client):
                return None
        except httpx_ws.WebSocketUpgradeError as error:
            return error.response.status_code


@contextmanager
def on_simple_websocket(url: str) -> Any:
    connection = simple_websocket.Client.connect(url, subprotocols=["b"], max_message_size=2**21)

    def receive() -> Any:
        try:
            return connection.receive(timeout=60)
        except simple_websocket.ConnectionClosed as error:
            return error.reason, error.message

    # Of pings it has those only that it sends for itself.
    yield connection.subprotocol, connection.send, receive, connection.close, lambda: None
    with suppress(simple_websocket.ConnectionClosed):
        connection.close()  # else its thread goes on


def refused_simple_websocket(url: str) -> Any:
    try:
        simple_websocket.Client.connect(url)
    except simple_websocket.ConnectionError as error:
        return error.args[0] if len(error.args) > 1 else str(error)
    return None


def converse(open_: Callable[[str], Any], refused: Callable[[str], Any], url: str) -> Any:
    seen: dict[str, Any] = {"package": wsproto.__name__}

    def ended() -> list[Any]:
        """How connections with an echo have ended, as the server was told."""
        with open_(url + "/ended") as (_, send, receive, *_):
            send("how?")
            return json.loads(receive())

    before = ended()
    with open_(url + "/echo") as (subprotocol, send, receive, close, ping):
        seen["subprotocol"] = subprotocol
        for message in MESSAGES:
            send(message)
            assert receive() == message
        seen["pong"] = ping()
        close(4000, "tschüß")
    for _ in range(1200):  # a minute
        if len(after := ended()) > len(before):
            break
        time.sleep(0.05)
    seen["told"] = after[len(before) :]
    for path in PATHS:
        with open_(url + path) as (_, send, receive, *_):
            send("grüß")
            seen[path] = receive()
    seen["/refuse"] = refused(url + "/refuse")
    return seen


@asynccontextmanager
async def on_trio_websocket(url: str) -> Any:
    async with trio_websocket.open_websocket_url(
        url, subprotocols=["b"], max_message_size=2**21
    ) as connection:

        async def receive() -> Any:
            try:
                return await connection.get_message()
            except trio_websocket.ConnectionClosed as error:
                return error.reason.code, error.reason.reason

        async def ping() -> bool:
            await connection.ping(b"p")
            return True

        send = connection.send_message
        yield connection.subprotocol, send, receive, connection.aclose, ping


async def refused_trio_websocket(url: str) -> Any:
    try:
        async with trio_websocket.open_websocket_url(url):
            return None
    except trio_websocket.ConnectionRejected as error:
        return error.status_code


@asynccontextmanager
async def on_httpx_ws_async(url: str) -> Any:
    async with (
        httpx.AsyncClient(trust_env=False) as client,
        httpx_ws.aconnect_ws(
            url, client, subprotocols=["b"], max_message_size_bytes=2**21
        ) as connection,
    ):

        async def send(message: str | bytes) -> None:
            text = isinstance(message, str)
            await (connection.send_text if text else connection.send_bytes)(message)

        async def receive() -> Any:
            try:
                return (await connection.receive()).data
            except httpx_ws.WebSocketDisconnect as error:
                return error.code, error.reason

        async def ping() -> bool:
            await (await connection.ping(b"p")).wait()
            return True

        yield connection.subprotocol, send, receive, connection.close, ping


async def refused_httpx_ws_async(url: str) -> Any:
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            async with httpx_ws.aconnect_ws(url, client):
                return None
        except httpx_ws.WebSocketUpgradeError as error:
            return error.response.status_code


def in_turn(open_: Callable[[str], Any], refused: Callable[[str], Any]) -> Any:
    """The same for `converse`, which awaits nothing: each call runs in trio's thread."""

    @contextmanager
    def open_in_turn(url: str) -> Any:
        opened = open_(url)
        subprotocol, *calls = trio.from_thread.run(opened.__aenter__)
        try:
            yield subprotocol, *(partial(trio.from_thread.run, call) for call in calls)
        finally:
            trio.from_thread.run(opened.__aexit__, None, None, None)

    return open_in_turn, partial(trio.from_thread.run, refused)


library, url, *PATHS = sys.argv[1:]
if library == "trio-websocket":
    calls = in_turn(on_trio_websocket, refused_trio_websocket)
    seen = trio.run(trio.to_thread.run_sync, converse, *calls, url)
elif library == "httpx-ws, asynchronous":
    calls = in_turn(on_httpx_ws_async, refused_httpx_ws_async)
    seen = trio.run(trio.to_thread.run_sync, converse, *calls, url)
elif library == "httpx-ws":
    seen = converse(on_httpx_ws, refused_httpx_ws, url)
else:
    seen = converse(on_simple_websocket, refused_simple_websocket, url)
print(json.dumps(seen))
