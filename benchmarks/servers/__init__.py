"""The servers that are compared, each a program of its own, and how they are run; imports nothing.

The programs are the modules of this package; `_program` says what they do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]
#: The kernel's number for "CPU time of the process" (CPUCLOCK_SCHED), beside a process's id.
_SCHED = 2


@dataclass(frozen=True)
class Program:
    """A server program.

    Attributes:
        name: Of the contender.
        module: Its file here.
        distributions: What has to be installed, for the versions.
        raw: It speaks no WebSocket.
        echoes: It has the paths that `_program` tells of.
        chat: The file of its chat, where it has one.
        deflate: It has permessage-deflate.
        polls: It uses CPU time while it has nothing to do, and is halted between its turns.
        stands_in: It is run with wscore in the place of wsproto.
        arguments: For its command line, always.
    """

    name: str
    module: str
    distributions: tuple[str, ...]
    raw: bool = False
    echoes: bool = True
    chat: str = ""
    deflate: bool = True
    polls: bool = False
    stands_in: bool = False
    arguments: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        instead = ["-m", "wscore.as_wsproto"] if self.stands_in else []
        return [sys.executable, *instead, "-m", f"{__name__}.{self.module}", *self.arguments]


US = Program("wscore", "wscore_trio", ("trio",))
#: The chat with its default store, with one that forgets, and with one that only syncs.
CHAT = Program("wscore", "chat_wscore", ("trio", "msgspec"), deflate=False)
CHAT_IN_MEMORY = replace(CHAT, name="memory", arguments=("--memory",))
CHAT_ONE_SYNC = replace(CHAT, name="one sync", arguments=("--one-sync",))
#: The limit of a fan-out: no peer, and not to be asked for.
SEND_LOOP = Program("send() loop", "send_loop", (), raw=True, deflate=False)
PEERS = [
    Program("serve_tcp", "serve_tcp", ("trio",), raw=True, deflate=False),
    Program("trio-websocket", "trio_websocket_trio", ("trio-websocket",), deflate=False),
    Program("websockets", "websockets_trio", ("websockets",)),
    Program("hypercorn", "hypercorn_trio", ("hypercorn",)),
    Program("picows", "picows_uvloop", ("picows", "uvloop"), deflate=False),
    Program("aiohttp", "aiohttp_uvloop", ("aiohttp", "uvloop")),
    Program("socketify", "socketify_uws", ("socketify",), polls=True),
    Program(
        "channels",
        "channels_uvicorn",
        ("channels", "uvicorn"),
        deflate=False,
        chat="chat_channels",
    ),
    Program(
        "gevent-ws",
        "gevent_flask",
        ("gevent-websocket", "flask"),
        deflate=False,
        chat="chat_gevent",
    ),
    Program(
        "python-socketio",
        "chat_socketio",
        ("python-socketio", "uvicorn"),
        echoes=False,
        deflate=False,
        chat="chat_socketio",
    ),
]
NAMES = [program.name for program in PEERS]


def find(names: Collection[str] = tuple(NAMES)) -> tuple[list[Program], dict[str, str]]:
    """Look which of the peers of these names can run, by importing each in a process.

    Returns:
        Programs, and for each name its versions or why it is left out.
    """
    tried = {}
    for program in PEERS:
        if program.name in names:
            code = f"import {__name__}.{program.module}"
            tried[program.name] = subprocess.Popen(
                [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True
            )
    found: list[Program] = []
    facts: dict[str, str] = {}
    for program in PEERS:
        if (process := tried.get(program.name)) is None:
            facts[program.name] = "not asked for, left out"
            continue
        _, errors = process.communicate()
        if process.returncode != 0:
            facts[program.name] = f"not installed, left out ({errors.strip().splitlines()[-1]})"
            continue
        found.append(program)
        facts[program.name] = ", ".join(f"{d} {metadata.version(d)}" for d in program.distributions)
    return found, facts


@cache
def runs(program: Program) -> bool:
    """Whether a program can run, by importing it in a process."""
    code = f"import {__name__}.{program.module}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    return done.returncode == 0


class ServerError(Exception):
    """A server did not start."""


class Measured(ABC):
    """A program whose CPU time and memory are taken: a server's mostly.

    Attributes:
        program: Which one.
    """

    program: Program

    @property
    @abstractmethod
    def pid(self) -> int:
        """Of the process."""

    def bind(self, core: int) -> None:
        """Let it run on one of the processor's cores only, with all its threads."""
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})

    def cpu(self) -> float:
        """Return the CPU time of all its threads so far, user's and system's, in seconds."""
        return time.clock_gettime((~self.pid << 3) | _SCHED)

    def memory(self) -> int:
        """Return its resident memory (RSS), in bytes."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) << 10
        raise ServerError(f"{self.program.name} has ended")

    def halt(self) -> None:
        """Let it do nothing, if it would do something with nothing to do."""
        if self.program.polls:
            os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        if self.program.polls:
            os.kill(self.pid, signal.SIGCONT)


class Server(Measured):
    """A running server program.

    Args:
        program: Which one.
        options: For its command line.
    """

    def __init__(self, program: Program, options: Collection[str] = ()) -> None:
        self.program = program
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [*program.command, *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> int:
        """Return its port when it listens.

        Raises:
            ServerError: It did not start.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise ServerError(f"{self.program.name} did not start: {self.errors()}")
        return int(line)

    def errors(self) -> str:
        """Return the last line that it wrote to standard error."""
        self._errors.seek(0)
        return (self._errors.read().strip().splitlines() or ["it said nothing"])[-1]
