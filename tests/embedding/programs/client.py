"""A client on a library that speaks through wsproto: ``client.py LIBRARY URL /PATH ...``.

Prints what it saw as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress
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

        yield connection.subprotocol, send, receive, connection.close


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
            return connection.receive(timeout=30)
        except simple_websocket.ConnectionClosed as error:
            return error.reason, error.message

    yield connection.subprotocol, connection.send, receive, connection.close
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
    with open_(url + "/echo") as (subprotocol, send, receive, close):
        seen["subprotocol"] = subprotocol
        for message in MESSAGES:
            send(message)
            assert receive() == message
        close(4000, "tschüß")
    for path in PATHS:
        with open_(url + path) as (_, send, receive, _):
            send("grüß")
            seen[path] = receive()
    seen["/refuse"] = refused(url + "/refuse")
    return seen


async def on_trio_websocket(url: str) -> Any:
    seen: dict[str, Any] = {"package": wsproto.__name__}

    async def receive(connection: Any) -> Any:
        try:
            return await connection.get_message()
        except trio_websocket.ConnectionClosed as error:
            return error.reason.code, error.reason.reason

    def open_(path: str) -> Any:
        return trio_websocket.open_websocket_url(
            url + path, subprotocols=["b"], max_message_size=2**21
        )

    async with open_("/echo") as connection:
        seen["subprotocol"] = connection.subprotocol
        for message in MESSAGES:
            await connection.send_message(message)
            assert await connection.get_message() == message
        await connection.ping(b"p")
        await connection.aclose(4000, "tschüß")
    for path in PATHS:
        async with open_(path) as connection:
            await connection.send_message("grüß")
            seen[path] = await receive(connection)
    try:
        async with open_("/refuse"):
            pass
    except trio_websocket.ConnectionRejected as error:
        seen["/refuse"] = error.status_code
    return seen


library, url, *PATHS = sys.argv[1:]
if library == "trio-websocket":
    seen = trio.run(on_trio_websocket, url)
elif library == "httpx-ws":
    seen = converse(on_httpx_ws, refused_httpx_ws, url)
else:
    seen = converse(on_simple_websocket, refused_simple_websocket, url)
print(json.dumps(seen))
