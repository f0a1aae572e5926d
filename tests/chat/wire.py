"""A wire between a program and a Redis, which can be slow, silent, or cut in the middle."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio


class Wire:
    """Carries bytes to a server on 127.0.0.1.

    Attributes:
        port: where clients connect to.
        delay: seconds that each piece of an answer takes longer.
        sent: everything that clients sent, if it was to be kept.
        opened: how many connections there were.
    """

    def __init__(self, target: int, *, keeps: bool = False) -> None:
        self.port = 0
        self.delay = 0.0
        self.sent = bytearray()
        self.opened = 0
        self._keeps = keeps
        self._target = target
        self._passing = trio.Event()
        self._passing.set()
        self._word: bytes | None = None
        self._unanswered: set[trio.SocketStream] = set()
        self._left: dict[str, int] = {}  # bytes until the cut, by direction
        self._pairs: set[tuple[trio.SocketStream, trio.SocketStream]] = set()

    @property
    def url(self) -> str:
        """Of the Redis at its end."""
        return f"redis://127.0.0.1:{self.port}/0"

    # --- Faults -----------------------------------------------------------------------------

    async def cut(self) -> None:
        """Reset all connections."""
        for pair in [*self._pairs]:
            for stream in pair:
                await trio.aclose_forcefully(stream)

    def cut_request_after(self, count: int) -> None:
        """Let so many bytes of what is asked pass, over all connections, and cut them all."""
        self._left["up"] = count

    def cut_reply_after(self, count: int) -> None:
        """The same with what is answered."""
        self._left["down"] = count

    def hold(self) -> None:
        """Be a black hole: nothing passes, nobody is told, and it can still be connected to."""
        self._passing = trio.Event()

    def release(self) -> None:
        """What was held back arrives, as the network repeats it."""
        self._passing.set()

    def never_answer(self, word: bytes) -> None:
        """Let nothing come back on connections that send this from now on."""
        self._word = word

    # --- Carrying ---------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._handle, [listener])

    async def _handle(self, client: trio.SocketStream) -> None:
        self.opened += 1
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self._target)
        except OSError:
            await trio.aclose_forcefully(client)
            return
        pair = client, server
        self._pairs.add(pair)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_carry, client, server, partial(self._pass_up, *pair))
            nursery.start_soon(_carry, server, client, partial(self._pass_down, *pair))
        self._pairs.remove(pair)

    async def _pass_up(
        self, client: trio.SocketStream, server: trio.SocketStream, data: bytes
    ) -> None:
        await self._passing.wait()
        if self._keeps:
            self.sent += data
        if self._word is not None and self._word in data:
            self._unanswered.add(client)
        await self._pass_on("up", server, data)

    async def _pass_down(self, client: trio.SocketStream, _: object, data: bytes) -> None:
        await self._passing.wait()
        await trio.sleep(self.delay)
        if client not in self._unanswered:
            await self._pass_on("down", client, data)

    async def _pass_on(self, way: str, target: trio.SocketStream, data: bytes) -> None:
        left = self._left.get(way, math.inf)
        if len(data) >= left:
            del self._left[way]
            data = data[: int(left)]
        elif way in self._left:
            self._left[way] -= len(data)
        await target.send_all(data)
        if len(data) == left:
            await self.cut()


async def _carry(
    source: trio.SocketStream,
    target: trio.SocketStream,
    take: Callable[[bytes], Awaitable[None]],
) -> None:
    """Hand on what comes; at the end both are closed."""
    try:
        async for data in source:
            await take(bytes(data))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        await trio.aclose_forcefully(source)
        await trio.aclose_forcefully(target)


@asynccontextmanager
async def wire(target: int, *, keeps: bool = False) -> AsyncIterator[Wire]:
    """A wire to a server, for a block."""
    found = Wire(target, keeps=keeps)
    async with trio.open_nursery() as nursery:
        await nursery.start(found.run)
        yield found
        nursery.cancel_scope.cancel()
