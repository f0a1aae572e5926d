"""websockets.trio, with its own way of broadcasting: a task for each member and message."""

from __future__ import annotations

from functools import partial

import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.connection import broadcast
from websockets.trio.server import ServerConnection, serve

from benchmarks.servers._program import HOST, announce, options

members: set[ServerConnection] = set()


async def handler(connection: ServerConnection) -> None:
    assert connection.request is not None
    try:
        match connection.request.path:
            case "/members":
                members.add(connection)
                while True:
                    await connection.recv()
            case "/publish":
                async for message in connection:
                    await broadcast(members, message)
            case _:
                async for message in connection:
                    await connection.send(message)
    except ConnectionClosed:
        members.discard(connection)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, handler, 0, host=HOST))
        announce(server.listeners[0].socket.getsockname()[1])


if __name__ == "__main__":
    options()
    trio.run(main)
