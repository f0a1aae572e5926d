"""wscore.trio."""

from __future__ import annotations

import argparse
from functools import partial

import trio

from benchmarks.servers._program import HOST, announce, options
from wscore.trio import (
    Compression,
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    broadcast,
    serve_websocket,
)

ALIKE = Compression(server_max_window_bits=15, client_max_window_bits=15, mem_level=8, level=1)
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
                    broadcast(members, await connection.get_message())
            case _:
                while True:
                    await connection.send_message(await connection.get_message())
    except ConnectionClosed:
        members.discard(connection)


async def main(given: argparse.Namespace) -> None:
    serving = partial(
        serve_websocket,
        *(serve, HOST, 0, None),
        compression=ALIKE if given.deflate_alike else Compression(),
    )
    if given.ping_interval is not None:
        serving = partial(serving, ping_interval=given.ping_interval)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serving)
        announce(server.port)


if __name__ == "__main__":
    trio.run(main, options())
