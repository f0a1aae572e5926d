"""hypercorn on asyncio, with the application that it has on trio."""

from __future__ import annotations

import asyncio

from hypercorn.asyncio import serve
from hypercorn.config import Config

from benchmarks.servers._asgi import application
from benchmarks.servers._program import announce, free_socket, options


async def main() -> None:
    listener = free_socket()
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.errorlog = None
    announce(listener.getsockname()[1])
    await serve(application, config, mode="asgi")


if __name__ == "__main__":
    options()
    asyncio.run(main())
