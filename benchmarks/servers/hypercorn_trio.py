"""hypercorn on trio, with a plain ASGI application: no framework above it."""

from __future__ import annotations

from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from benchmarks.servers._asgi import application
from benchmarks.servers._program import HOST, announce, options


async def main() -> None:
    config = Config()
    config.bind = [f"{HOST}:0"]
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(partial(serve, application, config, mode="asgi"))
        announce(int(addresses[0].rpartition(":")[2]))


if __name__ == "__main__":
    options()
    trio.run(main)
