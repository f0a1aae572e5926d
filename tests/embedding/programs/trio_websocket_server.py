"""An echo server on trio-websocket."""

from __future__ import annotations

import trio
import trio_websocket
import wsproto


async def echo(request: trio_websocket.WebSocketRequest) -> None:
    ws = await request.accept(subprotocol="b")
    try:
        while True:
            await ws.send_message(await ws.get_message())
    except trio_websocket.ConnectionClosed:
        pass


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: trio_websocket.serve_websocket(
                echo,
                "127.0.0.1",
                0,
                None,
                max_message_size=2**21,
                task_status=task_status,
            )
        )
        print(f"on {wsproto.__name__}: http://127.0.0.1:{server.port}")


trio.run(main)
