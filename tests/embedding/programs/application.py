"""An ASGI application on Starlette, served by hypercorn and uvicorn."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import wsproto
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

#: Why each connection ended, as the application was told.
ENDED: list[tuple[int, str]] = []


async def accept(websocket: WebSocket) -> None:
    offered = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol="b" if "b" in offered else None)


def noting(handle: Callable[[WebSocket], Awaitable[None]]) -> Callable[[WebSocket], Any]:
    async def handle_and_note(websocket: WebSocket) -> None:
        try:
            await handle(websocket)
        except WebSocketDisconnect as error:
            ENDED.append((error.code, error.reason or ""))

    return handle_and_note


async def echo(websocket: WebSocket) -> None:
    await accept(websocket)
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005), message.get("reason"))
        if message.get("text") is not None:
            await websocket.send_text(message["text"])
        else:
            await websocket.send_bytes(message["bytes"])


async def close(websocket: WebSocket) -> None:
    await accept(websocket)
    await websocket.receive_text()
    await websocket.close(4001, "enough")


async def fail(websocket: WebSocket) -> None:
    await accept(websocket)
    raise RuntimeError("a mistake of the application")


async def refuse(websocket: WebSocket) -> None:
    await websocket.close()


async def deny(websocket: WebSocket) -> None:
    await websocket.send_denial_response(Response("no\n", 401, {"X-Why": "because"}))


async def who(request: Request) -> Response:
    return PlainTextResponse(wsproto.__name__)


async def ended(websocket: WebSocket) -> None:
    await accept(websocket)
    await websocket.send_text(json.dumps(ENDED))
    await websocket.close()


app = Starlette(
    routes=[
        WebSocketRoute("/echo", noting(echo)),
        WebSocketRoute("/close", close),
        WebSocketRoute("/fail", fail),
        WebSocketRoute("/refuse", refuse),
        WebSocketRoute("/deny", deny),
        Route("/who", who),
        WebSocketRoute("/ended", ended),
    ]
)
