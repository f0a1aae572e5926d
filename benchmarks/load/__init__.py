"""The load generator, a C program built on demand, and how it is commanded; imports nothing.

Its commands are described at the beginning of `load.c`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

SOURCES = sorted(Path(__file__).parent.glob("*.[ch]"))
FLAGS = ("-O2", "-std=c11", "-D_GNU_SOURCE")
HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]
#: Where the program is kept; in the user's cache where this cannot be written to.
FOLDER = ROOT / "build" / "benchmarks"


class LoadUnavailable(Exception):
    """What servers are measured with is not to be had here."""


class LoadError(Exception):
    """What came back is not what had to, or nothing came any more."""


@dataclass(frozen=True)
class Done:
    """What a command took.

    Attributes:
        done: Connections or messages, as the command counts.
        seconds: By the clock.
        pings: Answered since the generator was started.
        p50: Seconds within which half of the posts were answered.
        p99: The same for 99 of 100.
    """

    done: int
    seconds: float
    pings: int
    p50: float = 0.0
    p99: float = 0.0


def build() -> Path:
    """Build the load generator unless this version of it was, and return its path.

    Without zlib's headers it is built without compressed messages.

    Raises:
        LoadUnavailable: This is not Linux, or there is no C compiler, or it fails.
    """
    return built("load", SOURCES, ["-DDEFLATE=1", "-lz"], ["-DDEFLATE=0"])


def built(name: str, sources: Sequence[Path], *variants: Sequence[str]) -> Path:
    """Build a C program unless this version of it was, and return its path.

    Args:
        name: What it is called.
        sources: Its sources and headers.
        variants: Further flags; the next ones are tried where those before do not compile.

    Raises:
        LoadUnavailable: This is not Linux, or there is no C compiler, or it fails.
    """
    if sys.platform != "linux":
        raise LoadUnavailable(f"the program {name} needs Linux")
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or ""
    made_of = hashlib.sha256(compiler.encode())
    for source in sources:
        made_of.update(source.read_bytes())
    folder = FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(cache, "wscore-benchmarks")
        folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"{name}-{made_of.hexdigest()[:16]}"
    if not program.exists():
        files = [str(source) for source in sources if source.suffix == ".c"]
        _compile(program, compiler, files, variants or [()])
    return program


def _compile(
    program: Path, compiler: str, files: Sequence[str], variants: Sequence[Sequence[str]]
) -> None:
    if not compiler:
        raise LoadUnavailable(f"no C compiler for {program.name}; on Debian: apt-get install gcc")
    # Under another name first: another run may be building it too.
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        made = Path(folder, program.name)
        for variant in variants:
            command = [*compiler.split(), *FLAGS, *files, "-o", str(made), *variant]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                made.replace(program)
                return
    raise LoadUnavailable(f"{program.name} does not compile: {done.stderr.strip()}")


def can_deflate() -> bool:
    """Whether the program was built with zlib, for compressed messages."""
    with Load(0) as load:
        return load.command("zlib").done == 1


class Load:
    """A running load generator; closing it closes its connections.

    Args:
        port: Of the server, on 127.0.0.1.
        core: The processor's core that it is bound to; None for any.
        stall: Seconds without anything coming in after which it gives up.
        program: The command line of another program that takes the same commands, or some of
            them; by default the load generator's.

    Raises:
        LoadUnavailable: It cannot be built.
    """

    def __init__(
        self,
        port: int,
        core: int | None = None,
        stall: float = 20,
        program: Sequence[str] | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            program or [str(build()), HOST, str(port), str(stall)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        if core is not None:
            os.sched_setaffinity(self._process.pid, {core})

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

    @property
    def pid(self) -> int:
        return self._process.pid

    def command(self, *words: object) -> Done:
        """Give a command and wait for what it took.

        Raises:
            LoadError: Something was not as it must be; the generator has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(*words, file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:  # it ended between commands, and has said why
            answer = self._process.stdout.readline()
        said = json.loads(answer or '{"error": "the load generator ended"}')
        if "error" in said:
            raise LoadError(said["error"])
        return Done(**said)

    def open(
        self, count: int, path: str = "/", *, raw: bool = False, deflate: bool = False
    ) -> Done:
        """Open more connections."""
        return self.command("open", count, path, *["raw"] * raw, *["deflate"] * deflate)

    def port(self, port: int) -> None:
        """Open connections to another port from now on."""
        self.command("port", port)

    def echo(self, messages: int, size: int, depth: int = 1) -> Done:
        """Have messages of that many bytes sent back, `depth` at a time on each connection."""
        return self.command("echo", messages, size, depth)

    def texts(self, texts: Iterable[str]) -> None:
        """Give the messages that `deflate` sends."""
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.writelines(f"{text}\n" for text in texts)
            file.flush()
            self.command("texts", file.name)

    def deflate(self, messages: int) -> Done:
        """Have compressed messages sent back, one at a time on each connection."""
        return self.command("deflate", messages)

    def publish(self, messages: int, size: int) -> Done:
        """Send on the connection opened last, one when all others have the one before."""
        return self.command("publish", messages, size)

    def ask(self, first: int, count: int, request: str) -> Done:
        """Have connections to a chat ask, and wait for the ok of each.

        Args:
            first: Of the connections.
            count: How many there are of them.
            request: JSON, in which # becomes the connection's number and $ a new id.
        """
        return self.command("ask", first, count, request)

    def post(self, first: int, count: int, messages: int, request: str) -> Done:
        """Have connections post, each again when it has the ok."""
        return self.command("post", first, count, messages, request)

    def talk(self, first: int, count: int, messages: int, members: int, request: str) -> Done:
        """Have connections post as `post` does, until each post has reached so many members."""
        return self.command("talk", first, count, messages, members, request)

    def spread(self, messages: int, depth: int, request: str) -> Done:
        """Post on the connection opened last, `depth` ahead of what has reached all others."""
        return self.command("spread", messages, depth, request)

    def follow(self, messages: int, request: str) -> Done:
        """Ask on the connection opened last, and wait for so many messages of the room."""
        return self.command("follow", messages, request)

    def connect(self, count: int, path: str, at_once: int, *, raw: bool = False) -> Done:
        """Open and close connections."""
        return self.command("connect", count, path, at_once, *["raw"] * raw)

    def wait(self, seconds: float) -> Done:
        """Only answer pings."""
        return self.command("wait", seconds)

    def close(self) -> Done:
        """Close all connections with their closing handshakes."""
        return self.command("close")
