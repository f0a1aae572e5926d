"""hypercorn on trio, with a plain ASGI application: no framework above it."""

from __future__ import annotations

from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from benchmarks.servers._program import HOST, announce, options

members: set[Any] = set()


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        raise NotImplementedError(scope["type"])  # as ASGI asks for, of lifespan too
    await receive()
    await send({"type": "websocket.accept"})
    path = scope["path"]
    if path == "/members":
        members.add(send)
    while (event := await receive())["type"] == "websocket.receive":
        reply = {"type": "websocket.send", "text": event["text"]}
        if path == "/publish":
            for member in members:
                await member(reply)
        elif path == "/":
            await send(reply)
    members.discard(send)


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
