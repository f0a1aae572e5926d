"""httpx-ws on asyncio, a client: does what the load generator does, by the same commands.

It knows ``open``, ``echo`` and ``close``, and compares every reply.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import httpx
import wsproto  # noqa: F401 - what --core looks at
from httpx_ws import AsyncWebSocketSession, aconnect_ws

from benchmarks.servers._program import HOST, options


class Client:
    """Connections to a server that sends every message back."""

    def __init__(self, stack: AsyncExitStack, port: int) -> None:
        self._stack = stack
        self._url = f"ws://{HOST}:{port}"
        self._client = httpx.AsyncClient(trust_env=False, limits=httpx.Limits())
        self._sessions: list[AsyncWebSocketSession] = []
        self._numbers: list[int] = []

    async def open(self, count: int, path: str) -> int:
        for _ in range(count):
            opened: AbstractAsyncContextManager[AsyncWebSocketSession]
            opened = aconnect_ws(self._url + path, self._client)
            self._sessions.append(await self._stack.enter_async_context(opened))
            self._numbers.append(0)
        return count

    async def echo(self, messages: int, size: int, depth: int) -> int:
        """Have messages sent back, `depth` at a time on each connection."""
        share = messages // len(self._sessions)
        every = range(len(self._sessions))
        await asyncio.gather(*(self._converse(index, share, size, depth) for index in every))
        return share * len(self._sessions)

    async def _converse(self, index: int, messages: int, size: int, depth: int) -> None:
        session = self._sessions[index]
        for start in range(0, messages, depth):
            many = min(depth, messages - start)
            number = self._numbers[index]
            texts = [f"{index} {number + n} ".ljust(size, "x") for n in range(many)]
            self._numbers[index] += many
            for text in texts:
                await session.send_text(text)
            for text in texts:
                if (got := await session.receive_text()) != text:
                    raise ValueError(f"connection {index}: {got!r} came back for {text!r}")

    async def command(self, line: str) -> int:
        match line.split():
            case ["open", count, path]:
                return await self.open(int(count), path)
            case ["echo", messages, size, depth]:
                return await self.echo(int(messages), int(size), int(depth))
            case ["close"]:
                await self._stack.aclose()
                return len(self._sessions)
            case _:
                raise ValueError(f"not a command: {line.strip()}")


async def main(port: int) -> None:
    async with AsyncExitStack() as stack:
        client = Client(stack, port)
        # In a thread, so that the server's pings are answered meanwhile.
        while line := await asyncio.to_thread(sys.stdin.readline):
            began = time.perf_counter()
            try:
                done = await client.command(line)
            except Exception as error:
                print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
                raise
            seconds = time.perf_counter() - began
            print(json.dumps({"done": done, "seconds": seconds, "pings": 0}), flush=True)


if __name__ == "__main__":
    given = options()
    asyncio.run(main(given.to))
