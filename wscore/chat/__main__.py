"""The command ``wscore chat``: settings, back-end, TLS, signals; imports the server."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

from wscore.trio import Endpoint, serve_until_signal

from . import Backend, CannotOpen, ChatServer, Limits, MemoryBackend, SQLiteBackend, logs
from .auth import Authenticate, authenticate_session
from .backends.check import check
from .config import Parser, add_options, load
from .protocol import SUBPROTOCOL
from .settings import SettingError, Settings
from .workers import Place, listen, supervise

_MEMORY = ":memory:"


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the chat until SIGINT or SIGTERM.

    Args:
        argv: the options, without the name of the program; None: the process's own.

    Returns:
        The exit status: 0 after a signal, 1 where it could not start, 2 for wrong settings.
    """
    arguments = _parser().parse_args(argv)
    try:
        settings = load(arguments, os.environ)
        if arguments.check:
            return _check(settings.data)
        logs.configure(settings.log_level, settings.log_format)
        ssl_context = _ssl_context(settings)
        backend = _backend(settings, new_epochs=arguments.new_epochs)
        chat = _chat(settings, backend)
    except SettingError as error:
        return _fail(str(error), 2)
    try:
        if settings.workers > 1:
            return _run_workers(chat, backend, settings, ssl_context)
        host, port = settings.host, settings.port
        serve = partial(chat.serve, host, port, ssl_context=ssl_context)
        return trio.run(_run, serve, settings, partial(_announce, chat, backend, settings))
    except KeyboardInterrupt:  # before the signals were ours
        return 0


def _parser() -> Parser:
    parser = Parser(
        prog="wscore chat",
        description="Serve a chat and its page on one port.",
        epilog="Each option is also a variable of the environment and a key of the TOML file, as it"
        " says in parentheses; the command line counts before the environment, that before the"
        " file. More: wscore chat token --help, docs/running-the-chat.md.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--check", action="store_true", help="verify the database of --data, and end"
    )
    parser.add_argument(
        "--new-epochs",
        action="store_true",
        help="begin a new epoch of every log, after a restore that the server cannot see",
    )
    add_options(parser)
    return parser


def _chat(settings: Settings, backend: Backend) -> ChatServer:
    rate, burst, presence = settings.rate, settings.burst, settings.presence_limit
    limits = Limits(rate=rate, burst=burst, presence=presence)
    authenticate = _authenticate(settings)
    try:
        return ChatServer(
            backend, limits=limits, authenticate=authenticate, origins=settings.origin
        )
    except ValueError as error:
        raise SettingError(f"origin: {error}") from None


def _backend(settings: Settings, *, new_epochs: bool) -> Backend:
    if settings.engine is not None:
        if new_epochs:
            raise SettingError("--new-epochs: with Redis, DEL {wscore}:life does that")
        return _redis(settings, settings.engine)
    if settings.workers > 1:
        raise SettingError("workers: several processes need --engine")
    kind: Callable[..., MemoryBackend | SQLiteBackend] = MemoryBackend
    if settings.data != _MEMORY:
        kind = partial(SQLiteBackend, settings.data, new_epochs=new_epochs)
    return kind(
        max_rooms=settings.max_rooms,
        max_users=settings.max_users,
        keep_messages=settings.keep_messages,
        keep_days=settings.keep_days,
    )


def _redis(settings: Settings, url: str) -> Backend:
    try:
        from .backends.redis import RedisBackend
    except ModuleNotFoundError:
        raise SettingError("engine: Redis needs coredis: pip install 'wscore[redis]'") from None
    # It logs tracebacks of attempts to connect that were cancelled; what matters is an Unavailable.
    logging.getLogger("coredis").setLevel(logging.CRITICAL + 1)
    try:
        return RedisBackend(
            url,
            replicas=settings.redis_wait,
            max_rooms=settings.max_rooms,
            max_users=settings.max_users,
            keep_messages=settings.keep_messages,
            keep_days=settings.keep_days,
        )
    except ValueError as error:
        raise SettingError(f"engine: {error}") from None


def _authenticate(settings: Settings) -> Authenticate:
    key = settings.key()
    if key is None:
        return authenticate_session
    try:
        from .tokens import TokenAuthentication
    except ModuleNotFoundError:
        raise SettingError("tokens need PyJWT: pip install 'wscore[jwt]'") from None
    try:
        return TokenAuthentication(
            key,
            algorithms=settings.jwt_algorithm,
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
        )
    except ValueError as error:
        raise SettingError(f"jwt-key with jwt-algorithm: {error}") from None


def _ssl_context(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Nobody is asked for the password of a key that has one.
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except OSError as error:  # ssl.SSLError is one
        files = " and ".join(filter(None, (settings.tls_cert, settings.tls_key)))
        reason = error.strerror or error
        raise SettingError(f"tls-cert: cannot use {files}: {reason}") from None
    return context


def _check(path: str) -> int:
    if path == _MEMORY:
        raise SettingError("--check: there is nothing to verify in :memory:")
    faults = check(path)
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"{path} is in order")
    return 1 if faults else 0


def _run_workers(
    chat: ChatServer, backend: Backend, settings: Settings, ssl_context: ssl.SSLContext | None
) -> int:
    """Serve in several processes, which share nothing but the port and the engine."""
    try:
        sockets = listen(settings.host, settings.port)
    except OSError as error:
        return _fail(_cannot_listen(settings, error), 1)

    def work(place: Place) -> int:
        announce = partial(_announce, chat, backend, settings) if place.is_first else _say_nothing
        return trio.run(_work, chat, settings, sockets, ssl_context, announce, place.lifeline)

    return supervise(settings.workers, work)


async def _work(
    chat: ChatServer,
    settings: Settings,
    sockets: Sequence[socket.socket],
    ssl_context: ssl.SSLContext | None,
    announce: Callable[[], None],
    lifeline: int,
) -> int:
    listeners: list[trio.abc.Listener[Any]] = []
    for each in sockets:
        plain = trio.SocketListener(trio.socket.from_stdlib_socket(each))
        listeners.append(
            plain
            if ssl_context is None
            else trio.SSLListener(plain, ssl_context, https_compatible=True)
        )
    trio.lowlevel.spawn_system_task(_stop_with_parent, chat, lifeline)
    return await _run(partial(chat.serve_listeners, listeners), settings, announce)


async def _stop_with_parent(chat: ChatServer, lifeline: int) -> None:
    await trio.lowlevel.wait_readable(lifeline)
    chat.stop()


def _say_nothing() -> None:
    """What those do that are not the first."""


async def _run(
    serve: Callable[..., Awaitable[object]], settings: Settings, announce: Callable[[], None]
) -> int:
    try:
        await serve_until_signal(serve, task_status=_Started(announce))
    except CannotOpen as error:
        return _fail(str(error), 1)
    except OSError as error:
        return _fail(_cannot_listen(settings, error), 1)
    return 0


class _Started:
    """Does something when the server listens, if it ever does: a signal may come before."""

    def __init__(self, announce: Callable[[], None]) -> None:
        self._announce = announce

    def started(self, value: object = None) -> None:
        self._announce()


def _cannot_listen(settings: Settings, error: OSError) -> str:
    reason = error.strerror or error
    return f"cannot listen at {settings.host} port {settings.port}: {reason}"


def _announce(chat: ChatServer, backend: Backend, settings: Settings) -> None:
    """Say on stdout what is served, where the data lies, and what an ok means."""
    endpoint = chat.listeners[0]
    assert isinstance(endpoint, Endpoint), "a TCP listener has a port"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    place = f"{host}:{endpoint.port}"
    http, websocket = ("https", "wss") if settings.tls_cert else ("http", "ws")
    print(f"wscore chat on {http}://{place}/ (data: {_data(settings)})")
    print(f"WebSocket at {websocket}://{place}/ws, subprotocol {SUBPROTOCOL}")
    health = backend.health()
    print(f"Messages are kept by {health.engine}: {health.promise}", flush=True)


def _data(settings: Settings) -> str:
    """Where the data lies, without secrets."""
    if settings.engine is not None:
        parts = urlsplit(settings.engine)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
    return settings.data if settings.data == _MEMORY else str(Path(settings.data).absolute())


def _fail(message: str, status: int) -> int:
    print(f"wscore chat: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
