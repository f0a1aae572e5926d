"""websockets.trio, with its own way of broadcasting: a task for each member and message."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import trio
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
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


async def main(given: argparse.Namespace) -> None:
    alike = ServerPerMessageDeflateFactory(
        server_max_window_bits=15, compress_settings={"level": 1, "memLevel": 8}
    )
    settings: dict[str, Any] = {}
    if given.deflate_alike:
        settings = {"compression": None, "extensions": [alike]}
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, handler, 0, host=HOST, **settings))
        announce(server.listeners[0].socket.getsockname()[1])


if __name__ == "__main__":
    trio.run(main, options())
