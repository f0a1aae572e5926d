"""aiohttp on uvloop. Where permessage-deflate is negotiated, it compresses at zlib's level 1."""

from __future__ import annotations

import asyncio

import uvloop
from aiohttp import web

from benchmarks.servers._program import HOST, announce, options

members: set[web.WebSocketResponse] = set()


async def echo(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    async for message in connection:
        await connection.send_str(message.data)
    return connection


async def member(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    members.add(connection)
    async for _ in connection:
        pass
    members.discard(connection)
    return connection


async def publish(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    async for message in connection:
        for one in members:
            await one.send_str(message.data)
    return connection


async def main() -> None:
    application = web.Application()
    application.router.add_get("/", echo)
    application.router.add_get("/members", member)
    application.router.add_get("/publish", publish)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    announce(runner.addresses[0][1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    options()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
