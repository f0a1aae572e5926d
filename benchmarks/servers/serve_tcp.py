"""Bytes back as they are, by `trio.serve_tcp`: the limit of what trio's streams can do.

No WebSocket: no handshake, no frames, nothing unmasked, nothing checked.
"""

from __future__ import annotations

from functools import partial

import trio

from benchmarks.servers._program import HOST, announce, options


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, echo, 0, host=HOST))
        announce(listeners[0].socket.getsockname()[1])


if __name__ == "__main__":
    options()
    trio.run(main)
