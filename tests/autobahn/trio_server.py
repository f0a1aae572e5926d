"""An echo server on wscore.trio with permessage-deflate on.

Prints `listening on PORT` once it does. For conformance runs on the loopback, not for a network.
"""

from __future__ import annotations

import logging

import trio

from wscore.trio import ConnectionClosed, WebSocketRequest, serve_websocket

#: The largest messages of the suite have 16 MiB.
MAX_MESSAGE_SIZE = 32 * 2**20


async def echo(request: WebSocketRequest) -> None:
    """Send every message back until the peer closes."""
    connection = await request.accept(compression=True)
    try:
        while True:
            await connection.send_message(await connection.get_message())
    except ConnectionClosed:
        pass


async def main() -> None:
    """Serve for ever."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: serve_websocket(
                echo,
                "127.0.0.1",
                0,
                None,
                max_message_size=MAX_MESSAGE_SIZE,
                task_status=task_status,
            )
        )
        print(f"listening on {server.port}", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    trio.run(main)
