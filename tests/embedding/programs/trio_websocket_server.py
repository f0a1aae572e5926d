"""A server on trio-websocket."""

from __future__ import annotations

import json

import trio
import trio_websocket
import wsproto

#: Why each connection ended, as the application was told.
ENDED: list[tuple[int, str]] = []


async def echo(ws: trio_websocket.WebSocketConnection) -> None:
    try:
        while True:
            await ws.send_message(await ws.get_message())
    except trio_websocket.ConnectionClosed as error:
        ENDED.append((error.reason.code, error.reason.reason or ""))


async def close(ws: trio_websocket.WebSocketConnection) -> None:
    await ws.get_message()
    await ws.aclose(4001, "enough")


async def ping(ws: trio_websocket.WebSocketConnection) -> None:
    await ws.ping(b"p")
    await ws.send_message("pong")


async def ended(ws: trio_websocket.WebSocketConnection) -> None:
    await ws.send_message(json.dumps(ENDED))


HANDLERS = {"/echo": echo, "/close": close, "/ping": ping, "/ended": ended}


async def handle(request: trio_websocket.WebSocketRequest) -> None:
    if request.path == "/refuse":
        await request.reject(403)
    elif request.path == "/deny":
        await request.reject(401, extra_headers=[(b"x-why", b"because")], body=b"no\n")
    else:
        offered = "b" in request.proposed_subprotocols
        await HANDLERS[request.path](await request.accept(subprotocol="b" if offered else None))


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: trio_websocket.serve_websocket(
                handle,
                "127.0.0.1",
                0,
                None,
                max_message_size=2**21,
                task_status=task_status,
            )
        )
        print(f"on {wsproto.__name__}: http://127.0.0.1:{server.port}")


trio.run(main)
