"""trio-websocket. It has no permessage-deflate."""

from __future__ import annotations

import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    serve_websocket,
)

from benchmarks.servers._program import HOST, announce, options

members: set[WebSocketConnection] = set()


async def serve(request: WebSocketRequest) -> None:
    connection = await request.accept()
    try:
        match request.path:
            case "/members":
                members.add(connection)
                while True:
                    await connection.get_message()
            case "/publish":
                while True:
                    message = await connection.get_message()
                    for member in members:
                        await member.send_message(message)
            case _:
                while True:
                    await connection.send_message(await connection.get_message())
    except ConnectionClosed:
        members.discard(connection)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, serve, HOST, 0, None)
        announce(server.port)


if __name__ == "__main__":
    options()
    trio.run(main)
