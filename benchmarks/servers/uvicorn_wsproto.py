"""uvicorn with ``--ws wsproto``, on uvloop as it is by default, with a plain ASGI application."""

from __future__ import annotations

import asyncio

import uvicorn
import uvicorn.protocols.websockets.wsproto_impl  # what --core looks at
import uvloop

from benchmarks.servers._asgi import application
from benchmarks.servers._program import announce, free_socket, options


async def main() -> None:
    listener = free_socket()
    config = uvicorn.Config(application, ws="wsproto", lifespan="off", log_level="critical")
    announce(listener.getsockname()[1])
    await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    options()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
