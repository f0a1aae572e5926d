"""A real redis-server, which tests start, stop, pause and kill."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
from ports import port_of, reserve_port

_SECONDS = 60

Entering = Callable[[], AbstractContextManager[None]]


def _reserve_port() -> socket.socket:
    """One that leaves room for that of a Cluster's bus, which is ten thousand above."""
    while port_of(holder := reserve_port()) >= 55_000:
        holder.close()
    return holder


class RedisServer:
    """A server on a port of its own, which stays the same when it is started again.

    It runs in the network namespace that ``entered``, if any, makes this thread's.
    """

    def __init__(self, folder: Path, *options: str, entered: Entering = nullcontext) -> None:
        self._folder = folder
        self._entered = entered
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        with entered():
            self._holder = _reserve_port()
        self.port = port_of(self._holder)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program is not None, "redis-server is missing: apt-get install redis-server"
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command = [program, *place, "--save", "", *self._options]
        with self._entered(), (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _SECONDS
        while not self.ask("PING").startswith(("+PONG", "-NOAUTH")):
            assert self._process.poll() is None, (self._folder / "redis.log").read_text()
            assert time.monotonic() < deadline, "redis-server does not get ready"
            time.sleep(0.01)

    def ask(self, *words: str) -> str:
        """Send one command on a connection of its own; returns the first line of the answer."""
        try:
            with self._entered():
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=_SECONDS)
            with connection:
                connection.sendall(" ".join(words).encode() + b"\r\n")
                return connection.makefile("rb").readline().decode().rstrip()
        except ConnectionError as error:
            return str(error)

    def has_replica(self) -> bool:
        """Whether a replica has all that is written here."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=_SECONDS) as connection:
            connection.sendall(b"SET replicated yes\r\nWAIT 1 1000\r\n")  # counts its own writes
            lines = connection.makefile("rb")
            assert lines.readline() == b"+OK\r\n"
            return lines.readline() != b":0\r\n"

    def send_signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Kill it for the last time."""
        self.kill()
        self._holder.close()


def kind_of(request: pytest.FixtureRequest) -> str:
    """The parameter of a fixture that names a kind of back-end; for Redis the URL of one."""
    if request.param in ("redis", "redis_cluster"):
        url: str = request.getfixturevalue(request.param).url
        return url
    kind: str = request.param
    return kind


@contextmanager
def redis_server(
    folder: Path, *options: str, entered: Entering = nullcontext
) -> Iterator[RedisServer]:
    """Start one, and kill it at the end."""
    server = RedisServer(folder, *options, entered=entered)
    try:
        server.start()
        yield server
    finally:
        server.close()
