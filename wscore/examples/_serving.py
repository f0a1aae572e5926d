"""What the servers here share: options, a page to try them with, an end at SIGTERM."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import trio

from wscore.trio import (
    HTTPRequest,
    HTTPResponse,
    WebSocketConnection,
    WebSocketRequest,
    serve_until_signal,
    serve_websocket,
)

_PAGE = Path(__file__).with_name("page.html")


def page(title: str, path: str, message: dict[str, str] | str = "{text}") -> bytes:
    """Make a page that talks to an example.

    Args:
        title: of the page.
        path: where its WebSocket is; ``{name}`` in it becomes a field to fill in.
        message: what it sends, as text or as the fields of a JSON object; likewise, and ``{text}``
            is what was typed.
    """
    config = json.dumps({"title": title, "path": path, "message": message}).replace("<", "\\u003c")
    return _PAGE.read_bytes().replace(b'"CONFIG"', config.encode())


def segments(request: WebSocketRequest) -> list[str]:
    """The decoded parts of a request's path, without a slash at the end."""
    path = urlsplit(request.path).path.removesuffix("/")
    return [unquote(part) for part in path.split("/")[1:]]


@contextmanager
def logged_in(
    online: dict[str, WebSocketConnection], name: str, connection: WebSocketConnection
) -> Iterator[None]:
    """Keep a connection in a table under a name; the one that had the name is closed."""
    older = online.get(name)
    online[name] = connection
    if older is not None:
        older.close_nowait(4000, "logged in elsewhere")
    try:
        yield
    finally:
        if online.get(name) is connection:
            del online[name]


def parser(doc: str | None, *, pings: bool = True) -> argparse.ArgumentParser:
    """The options that all servers here have, and those on trio."""
    options = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    options.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    options.add_argument("--port", type=int, default=8000, help="TCP port (%(default)s); 0: any")
    if pings:
        options.add_argument(
            "--ping-interval",
            type=float,
            default=20,
            metavar="SECONDS",
            help="of silence before a ping (%(default)s)",
        )
    return options


def serve(
    handler: Callable[[WebSocketRequest], Awaitable[object]],
    body: bytes,
    options: argparse.Namespace,
    *background: Callable[..., Awaitable[object]],
) -> int:
    """Serve an example and its page until SIGINT or SIGTERM.

    Pages from files and from other ports may connect: no origin is refused. Clients that do not
    answer pings, as they wait for somebody to type, stay connected.

    Args:
        handler: gets every WebSocket request.
        body: the page.
        options: host and port.
        background: like ``nursery.start`` functions; they run beside the server.

    Returns:
        The exit status.
    """

    async def answer(request: HTTPRequest) -> HTTPResponse | None:
        if request.is_upgrade:
            return None
        if request.path != "/":
            return HTTPResponse(404, [(b"Content-Type", b"text/plain")], b"Not found\n")
        return HTTPResponse(200, [(b"Content-Type", b"text/html; charset=utf-8")], body)

    server = partial(
        serve_websocket,
        handler,
        options.host,
        options.port,
        None,
        process_request=answer,
        ping_interval=options.ping_interval,
        ping_timeout=None,
    )

    async def run() -> None:
        async with trio.open_nursery() as around:
            for task in background:
                await around.start(task)
            async with trio.open_nursery() as nursery:
                (running,) = await nursery.start(serve_until_signal, server)
                print(f"http://{running.listeners[0]}/", flush=True)
            around.cancel_scope.cancel()

    status = 0
    try:
        trio.run(run)
    except* OSError as group:
        problem = group.exceptions[0]
        print(f"cannot serve at {options.host} port {options.port}: {problem}", file=sys.stderr)
        status = 1
    return status
