"""The real server as a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path

import trio
from chat.client import ChatClient

import wscore
from wscore.trio import open_websocket_url

READY = re.compile(r"wscore chat on https?://(?P<host>\S+):(?P<port>\d+)/ \(data: (?P<data>.*)\)\n")

KEPT = ("WSCORE_PURE_PYTHON", "WSCORE_REQUIRE_EXT")
"""Variables that choose the build, and are no settings."""


PROGRAM = "-m", "wscore.chat"


def command(*arguments: str, program: Sequence[str] = PROGRAM) -> list[str]:
    return [sys.executable, *program, *arguments]


def environment() -> dict[str, str]:
    """Ours, with the package under test on the path, so that the process runs the same one."""
    place = str(Path(wscore.__file__).parent.parent)
    others = {key: value for key, value in os.environ.items() if not key.startswith("WSCORE_")}
    ours = {key: os.environ[key] for key in KEPT if key in os.environ}
    return {**others, **ours, "PYTHONPATH": place}


class Server:
    """A server process that said that it is ready."""

    def __init__(self, process: subprocess.Popen[str], host: str, port: int, line: str) -> None:
        self.process = process
        self.host = host
        self.port = port
        self.line = line

    @asynccontextmanager
    async def client(
        self, entered: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> AsyncIterator[ChatClient]:
        """A client, whose socket is of the network namespace ``entered``, if any."""
        async with AsyncExitStack() as stack:
            url = f"ws://{self.host}:{self.port}/ws"
            with entered():
                opening = open_websocket_url(url, subprotocols=["chat.wscore.v1"])
                connection = await stack.enter_async_context(opening)
            yield ChatClient(connection)

    async def end(self, signal: int) -> tuple[int, str]:
        """Send a signal; returns the exit status and what was said on stderr."""
        self.process.send_signal(signal)
        with trio.fail_after(60):
            _, stderr = await trio.to_thread.run_sync(
                self.process.communicate, abandon_on_cancel=True
            )
        return self.process.returncode, stderr


def _start(
    folder: Path,
    *arguments: str,
    program: Sequence[str],
    through: Sequence[str],
    settings: dict[str, str],
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*through, *command("--port", "0", *arguments, program=program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment() | settings,
    )


@asynccontextmanager
async def serving(
    folder: Path,
    *arguments: str,
    program: Sequence[str] = PROGRAM,
    through: Sequence[str] = (),
    **settings: str,
) -> AsyncIterator[Server]:
    """Start a server in a folder, and kill it at the end if it still runs.

    ``program`` is what Python is to run, if it is not `wscore.chat` itself, ``through`` a command
    that becomes Python. Settings are variables of its environment.
    """
    process = _start(folder, *arguments, program=program, through=through, settings=settings)
    try:
        assert process.stdout is not None
        with trio.fail_after(60):
            line = await trio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)
        match = READY.fullmatch(line)
        assert match, (line, process.stderr and process.stderr.read())
        yield Server(process, match["host"], int(match["port"]), line)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
