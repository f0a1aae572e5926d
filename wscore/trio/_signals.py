"""Servers that stop on SIGINT and SIGTERM, for programs; imports the server."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from ._server import WebSocketServer

logger = logging.getLogger("wscore.trio")


async def serve_until_signal(
    *serve: Callable[..., Awaitable[object]],
    grace: float | None = None,
    task_status: trio.TaskStatus[list[WebSocketServer]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run servers until the process gets SIGINT or SIGTERM, then close them, and return.

    ::

        serve = partial(serve_websocket, handler, "127.0.0.1", 8000, None)
        trio.run(serve_until_signal, serve)

    So a program that ends with this has exit status 0. A second signal cuts what is still open.

    Args:
        serve: functions as for ``nursery.start``: `serve_websocket` in a `functools.partial`, the
            method `run` of a `WebSocketServer`.
        grace: seconds that clients and handlers are given, as for `WebSocketServer.aclose`; by
            default what each server was made with.
        task_status: for ``nursery.start``, which gets the servers in the order given once all of
            them listen.

    Resource handling:
        All servers are closed on return. It also returns when all of them were closed by others.
        Both signals are this function's while it runs, so it works in the main thread only.

    Error handling:
        A server that cannot start ends the others, and its error escapes as it is: an `OSError`
        where the address is taken. So does the error of a server that breaks later, but in an
        exception group, as nurseries have it.
    """
    servers: list[WebSocketServer] = []
    failure: Exception | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as watch:
            starting = trio.CancelScope()
            watch.start_soon(_stop_on_signal, signals, starting, servers, grace)
            async with trio.open_nursery() as nursery:
                with starting:
                    try:
                        for each in serve:
                            servers.append(await nursery.start(each))
                        task_status.started(servers)
                    except Exception as error:  # kept out of the nurseries, which would wrap it
                        failure = error
                        nursery.cancel_scope.cancel()
            watch.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _stop_on_signal(
    signals: AsyncIterator[int],
    starting: trio.CancelScope,
    servers: list[WebSocketServer],
    grace: float | None,
) -> None:
    async with trio.open_nursery() as nursery:
        number = await anext(signals)
        logger.info("%s: stopping", signal.Signals(number).name)
        starting.cancel()
        for server in servers:
            nursery.start_soon(server.aclose, grace)
        await anext(signals)
        for server in servers:
            nursery.start_soon(server.aclose, 0)
