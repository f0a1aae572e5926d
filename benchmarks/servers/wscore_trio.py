"""wscore.trio."""

from __future__ import annotations

import argparse
from functools import partial

import trio

from benchmarks.servers._program import HOST, announce, options
from wscore.trio import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

members: set[WebSocketConnection] = set()


async def serve(request: WebSocketRequest) -> None:
    connection = await request.accept(compression=True)
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


async def main(given: argparse.Namespace) -> None:
    settings = {} if given.ping_interval is None else {"ping_interval": given.ping_interval}
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, serve, HOST, 0, None, **settings))
        announce(server.port)


if __name__ == "__main__":
    trio.run(main, options())
