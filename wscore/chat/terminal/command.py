"""The command ``wscore chat join``: the chat on a terminal or in a pipe; imports the client."""

from __future__ import annotations

import argparse
import os
import signal
import ssl
import sys
from collections.abc import Sequence
from functools import partial

import trio

from wscore.chat.client.terms import websocket_url
from wscore.chat.model import Name, parse_name
from wscore.terminal.console import open_console
from wscore.terminal.options import add_options, ssl_context
from wscore.terminal.text import safe

from .session_file import SessionFile, UnusableFile
from .talk import HELP, Talk

TOKEN_VARIABLE = "WSCORE_CHAT_TOKEN"


def main(argv: Sequence[str] | None = None) -> int:
    """Join a room and talk until the end of the input.

    Args:
        argv: the options, without the name of the program; None: the process's own.

    Returns:
        The exit status: 0 when the user is done, 1 where the server refused something or cannot
        be reached, 130 after Ctrl-C (128 and the number of any other signal). Wrong options leave
        through argparse with 2.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        options.url = websocket_url(options.url)
        context = ssl_context(options)
    except (ValueError, OSError) as error:
        parser.error(safe(str(error)))
    user, room = parse_name(options.user), parse_name(options.room)
    if user is None or room is None:
        parser.error("a name has 1-64 letters, digits, marks or - _ .")
    try:
        return trio.run(partial(_run, options, context, user, room.text))
    except UnusableFile as error:
        print(f"wscore chat join: {safe(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before the signals were ours
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wscore chat join",
        description="Be in a chat: lines are said in the room, what others say is shown.",
        epilog=f"in the chat:\n{HELP}\n\nA token may also be in the variable {TOKEN_VARIABLE}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("url", help="of the page or the WebSocket, like http://127.0.0.1:8765/")
    add("room", help="the room to join first")
    add("--user", required=True, metavar="NAME", help="your name")
    add("--token", default=os.environ.get(TOKEN_VARIABLE), help="where the server wants one")
    add_options(parser)
    return parser


async def _run(
    options: argparse.Namespace, context: ssl.SSLContext | None, user: Name, room: str
) -> int:
    """Talk; a signal ends it."""
    file = SessionFile(options.url, user)
    session, is_new = (None, False) if options.token else file.load()
    status = 0
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
        trio.CancelScope() as everything,
    ):
        talk = Talk(room, options.wait)
        with open_console(talk.prompt, echoes=False) as console:
            async with trio.open_nursery() as nursery:

                async def obey() -> None:
                    nonlocal status
                    status = 128 + await anext(signals)
                    everything.cancel()

                nursery.start_soon(obey)
                status = await talk.run(
                    console,
                    options.url,
                    user.text,
                    session=session,
                    token=options.token or None,
                    ssl_context=context,
                )
                nursery.cancel_scope.cancel()
    if is_new and talk.is_name_refused:
        file.forget()
    return status
