"""The command ``wscore chat``: address, data file, signals; imports the server."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence

import trio

from wscore.trio import Endpoint, WebSocketServer

from . import Backend, CannotOpen, ChatServer, MemoryBackend, SQLiteBackend


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the chat until SIGINT or SIGTERM.

    Args:
        argv: the options, without the name of the program; None: the process's own.

    Returns:
        The exit status: 0 after a signal, 1 where it could not start. Wrong options leave
        through argparse with 2.
    """
    options = _parser().parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return trio.run(_run, options)
    except KeyboardInterrupt:  # before the signals were ours
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wscore chat", description="Serve a chat and its page on one port."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument(
        "--port", type=_port, default=8765, help="TCP port (%(default)s); 0 takes a free one"
    )
    parser.add_argument(
        "--data",
        default="chat.db",
        metavar="PATH",
        help="SQLite file with everything that was said (%(default)s), or :memory:",
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"a port is 0 to 65535, not {port}")
    return port


async def _run(options: argparse.Namespace) -> int:
    backend: Backend
    backend = MemoryBackend() if options.data == ":memory:" else SQLiteBackend(options.data)
    chat = ChatServer(backend)
    async with trio.open_nursery() as signals:
        await signals.start(_obey_signals, chat, signals.cancel_scope)
        status = await _serve(chat, options)
        signals.cancel_scope.cancel()
    return status


async def _serve(chat: ChatServer, options: argparse.Namespace) -> int:
    async with trio.open_nursery() as nursery:
        try:
            server = await nursery.start(chat.serve, options.host, options.port)
        except CannotOpen as error:
            return _fail(str(error))
        except OSError as error:
            reason = error.strerror or error
            return _fail(f"cannot listen at {options.host} port {options.port}: {reason}")
        print(f"wscore chat on {_url(options.host, server)} (data: {options.data})", flush=True)
    return 0


async def _obey_signals(
    chat: ChatServer,
    everything: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Stop at the first signal, at once at the second."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        await anext(signals)
        chat.stop()
        await anext(signals)
        everything.cancel()


def _fail(message: str) -> int:
    print(f"wscore chat: {message}", file=sys.stderr)
    return 1


def _url(host: str, server: WebSocketServer) -> str:
    endpoint = server.listeners[0]
    assert isinstance(endpoint, Endpoint), "a TCP listener has a port"
    return f"http://{f'[{host}]' if ':' in host else host}:{endpoint.port}/"


if __name__ == "__main__":
    sys.exit(main())
