"""The command ``wscore connect``: talk to any WebSocket server; imports wscore.trio, terminal."""

from __future__ import annotations

import argparse
import math
import signal
import sys
from collections.abc import Sequence
from functools import partial

import trio

from wscore._close_payload import encode_close_payload
from wscore.terminal.console import Console, Leave, open_console
from wscore.terminal.lines import BadLine
from wscore.terminal.options import add_options, seconds, ssl_context
from wscore.terminal.style import BOLD, DIM, GREEN, RED
from wscore.terminal.text import hex_dump, safe, safe_lines, shorten
from wscore.terminal.trace import TracedStream, describe_code
from wscore.trio import (
    CloseReason,
    ConnectionClosed,
    ConnectionTimeout,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)
from wscore.trio._opening import find_route, open_stream
from wscore.trio._url import Address, parse_url
from wscore.utilities import LocalProtocolError

HELP = """\
TEXT                   send a text message
//TEXT                 send a text message that begins with one slash
/ping [TEXT]           send a ping, and say when the answer came
/binary HEX            send a binary message
/close [CODE [REASON]] close the connection
/help                  show this"""

_SHOWN = 10_000
_MAX_MESSAGE = 2**24
_CLOSE_SECONDS = 1.0
_NORMAL_CODES = frozenset({1000, 1001, 1005})


def main(argv: Sequence[str] | None = None) -> int:
    """Talk to a WebSocket server until one side is done.

    Args:
        argv: the options, without the name of the program; None: the process's own.

    Returns:
        The exit status: 0 after a normal close, 1 where the connection failed, was refused or
        ended in another way, 130 after Ctrl-C (128 and the number of any other signal). Wrong
        options leave through argparse with 2.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        context = ssl_context(options)
        address = parse_url(options.url, context)
        headers = _headers(options, address)
    except (ValueError, OSError) as error:
        parser.error(safe(str(error)))
    try:
        return trio.run(partial(_run, options, address, headers))
    except KeyboardInterrupt:  # before the signals were ours
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wscore connect",
        description="Talk to a WebSocket server: lines are sent as text messages.",
        epilog=f"while connected:\n{HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("url", help="like wss://example.com/path")
    add("-v", "--verbose", action="store_true", help="show the handshake and every frame")
    add("--header", action="append", default=[], metavar="NAME:VALUE", help="send this header")
    add("--subprotocol", action="append", default=[], metavar="NAME", help="offer this subprotocol")
    add("--origin", metavar="URL", help="come from this page, as browsers say")
    add("--compress", action="store_true", help="offer permessage-deflate")
    add_options(parser)
    add("--timeout", type=seconds, default=10.0, help="seconds for connecting (%(default)g)")
    add(
        "--shown",
        type=int,
        metavar="N",
        help=f"show this much of a message, 0 for all (a terminal: {_SHOWN:,}, a pipe: all)",
    )
    return parser


def _headers(options: argparse.Namespace, address: Address) -> list[tuple[bytes, bytes]]:
    """The headers of the URL and of the options.

    Raises:
        ValueError: one is no header.
    """
    headers = list(address.headers)
    for header in options.header:
        name, colon, value = header.partition(":")
        if not (name.strip() and colon):
            raise ValueError(f"a header is like 'Name: value', not {header!r}")
        headers.append((name.strip().encode("latin-1"), value.strip().encode("latin-1")))
    if options.origin is not None:
        headers.append((b"Origin", options.origin.encode("latin-1")))
    return headers


async def _run(
    options: argparse.Namespace, address: Address, headers: list[tuple[bytes, bytes]]
) -> int:
    """Connect and talk; a signal ends both."""
    status = 0
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
        open_console(lambda: "> ", echoes=True) as console,
        trio.CancelScope() as everything,
    ):
        async with trio.open_nursery() as nursery:

            async def obey() -> None:
                nonlocal status
                status = 128 + await anext(signals)
                everything.cancel()

            nursery.start_soon(obey)
            status = await Talk(console, options).run(address, headers)
            nursery.cancel_scope.cancel()
    return status


class Talk:
    """One conversation with a server.

    Args:
        console: where lines come from, and where messages go.
        options: those of the command line.
    """

    def __init__(self, console: Console, options: argparse.Namespace) -> None:
        self._console = console
        self._options = options
        self._shown = _SHOWN if console.shows_on_terminal else 0
        if options.shown is not None:
            self._shown = max(options.shown, 0)
        self._status = 0
        self._closing: CloseReason | None = None

    async def run(self, address: Address, headers: list[tuple[bytes, bytes]]) -> int:
        """Talk until one side is done; returns the exit status."""
        try:
            connection = await self._connect(address, headers)
        except (HandshakeError, OSError, ValueError, LocalProtocolError) as error:
            self._complain(f"cannot connect to {address.host} port {address.port}: {error}")
            return 1
        self._remark(f"connected{self._terms(connection)}; /help says what can be typed")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._type, connection, nursery)
                await self._listen(connection)
                nursery.cancel_scope.cancel()
        except* Leave as leaves:
            [leave, *_] = leaves.exceptions
            assert isinstance(leave, Leave)
            self._status = leave.status
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(_CLOSE_SECONDS):
                await connection.aclose()
        return self._status

    async def _connect(
        self, address: Address, headers: list[tuple[bytes, bytes]]
    ) -> WebSocketConnection:
        options = self._options
        route = find_route(address.host, address.port, address.use_ssl, None, True)
        timeout = options.timeout
        with trio.move_on_after(timeout):
            stream = await open_stream(route)
            if options.verbose:
                stream = TracedStream(stream, self._remark)
            return await wrap_client_stream(
                None,
                stream,
                route.host_header,
                address.resource,
                subprotocols=options.subprotocol,
                extra_headers=headers,
                compression=options.compress,
                max_message_size=_MAX_MESSAGE,
                connect_timeout=math.inf,
            )
        raise ConnectionTimeout(f"no answer within {timeout:g} s")

    def _terms(self, connection: WebSocketConnection) -> str:
        if connection.subprotocol is None:
            return ""
        return f", subprotocol {safe(connection.subprotocol)}"

    # --- What comes -------------------------------------------------------------------------

    async def _listen(self, connection: WebSocketConnection) -> None:
        """Show messages until the connection is closed, and say by whom and why."""
        try:
            while True:
                self._show(await connection.get_message())
        except ConnectionClosed as error:
            reason = error.reason
        if self._closing is not None:
            self._remark(f"closed with {describe_code(self._closing.code)}")
            return
        text = f": {safe(reason.reason)}" if reason.reason else ""
        if reason.code in _NORMAL_CODES:
            self._remark(f"the server closed with {describe_code(reason.code)}{text}")
        elif reason.code == 1006:
            cut = connection.cut_reason
            self._complain(f"the connection was lost{f' ({cut})' if cut else ''}")
        else:
            self._complain(f"closed with {describe_code(reason.code)}{text}")

    def _show(self, message: str | bytes) -> None:
        console = self._console
        mark = console.style.paint("< ", BOLD, GREEN) if console.shows_on_terminal else ""
        if isinstance(message, str):
            if console.shows_on_terminal:
                first, *rest = safe_lines(shorten(message, self._shown))
                console.show(mark + first)
                for line in rest:
                    console.show(f"  {line}")
            else:
                console.show(safe(shorten(message, self._shown)))
            return
        console.show(f"{mark}binary message of {len(message):,} bytes")
        for line in hex_dump(message, self._shown // 4 if self._shown else 0):
            console.show(f"  {line}")

    # --- What is typed ----------------------------------------------------------------------

    async def _type(self, connection: WebSocketConnection, nursery: trio.Nursery) -> None:
        """Do what is typed, until the end of the input."""
        try:
            async for line in self._console:
                if isinstance(line, BadLine):
                    self._complain(f"{line.reason}; it was not sent")
                elif line.startswith("/") and not line.startswith("//"):
                    await self._command(line, connection, nursery)
                elif line or not self._console.is_terminal:
                    await connection.send_message(line.removeprefix("/"))
            if not self._console.is_terminal:
                await trio.sleep(self._options.wait)
            await self._close(connection, CloseReason(1000))
        except ConnectionClosed:
            pass  # the listener says so

    async def _command(
        self, line: str, connection: WebSocketConnection, nursery: trio.Nursery
    ) -> None:
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        match word:
            case "/help":
                for row in HELP.splitlines():
                    self._console.note(row)
            case "/ping":
                if self._console.is_terminal:
                    nursery.start_soon(self._ping, connection, rest.encode())
                else:
                    await self._ping(connection, rest.encode())
            case "/binary":
                try:
                    data = bytes.fromhex(rest)
                except ValueError:
                    self._complain("/binary takes pairs of hexadecimal digits")
                else:
                    await connection.send_message(data)
            case "/close":
                code, _, reason = rest.partition(" ")
                if not code.isascii() or not (code.isdigit() or not code):
                    self._complain("/close takes a code like 1000, then a reason")
                    return
                await self._close(connection, CloseReason(int(code or 1000), reason or None))
            case _:
                self._complain(f"no such command: {safe(word)}; // sends a text with a slash")

    async def _ping(self, connection: WebSocketConnection, payload: bytes) -> None:
        begin = trio.current_time()
        try:
            await connection.ping(payload or None)
        except ConnectionClosed:
            return
        except (ValueError, LocalProtocolError) as error:
            self._complain(f"no ping: {safe(str(error))}")
            return
        self._remark(f"pong after {1000 * (trio.current_time() - begin):.1f} ms")

    async def _close(self, connection: WebSocketConnection, reason: CloseReason) -> None:
        try:
            encode_close_payload(reason.code, reason.reason)
        except LocalProtocolError as error:
            self._complain(f"not closed: {error}")
            return
        if connection.closed is None:
            self._closing = reason
        await connection.aclose(reason.code, reason.reason)

    # --- Remarks ----------------------------------------------------------------------------

    def _remark(self, line: str) -> None:
        """Say something in passing: on a terminal, or with -v."""
        if self._console.is_terminal or self._options.verbose:
            self._console.note(line, DIM)

    def _complain(self, line: str) -> None:
        """Say what went wrong; the exit status will say so too."""
        self._status = 1
        self._console.note(f"wscore connect: {safe(line)}", RED)


if __name__ == "__main__":
    sys.exit(main())
