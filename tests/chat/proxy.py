"""A network between clients and a server that comes and goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class Proxy:
    """Carries bytes between clients and a server, and cuts whoever it carries.

    Attributes:
        port: where clients connect to.
        target: the server's port; None while there is none.
    """

    def __init__(self) -> None:
        self.port = 0
        self.target: int | None = None
        self._streams: set[trio.SocketStream] = set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._handle, listeners)

    async def cut(self) -> None:
        """Reset all connections."""
        for stream in [*self._streams]:
            await trio.aclose_forcefully(stream)

    async def _handle(self, client: trio.SocketStream) -> None:
        if self.target is None:
            await trio.aclose_forcefully(client)
            return
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self.target)
        except OSError:
            await trio.aclose_forcefully(client)
            return
        self._streams |= {client, server}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry, client, server)
            nursery.start_soon(self._carry, server, client)
        self._streams -= {client, server}

    async def _carry(self, source: trio.SocketStream, target: trio.SocketStream) -> None:
        try:
            async for data in source:
                await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        await trio.aclose_forcefully(source)
        await trio.aclose_forcefully(target)


@asynccontextmanager
async def proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        yield proxy
        nursery.cancel_scope.cancel()
