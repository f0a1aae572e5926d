"""A Redis for a chat that is measured, and what it says of itself; imports `servers`, `load`."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from types import TracebackType
from typing import NamedTuple, Self

from benchmarks.load import LoadUnavailable
from benchmarks.servers import Measured, Program, ServerError
from benchmarks.servers._program import HOST
from benchmarks.servers.chat_wscore import FOLDER

_PATIENCE = 20


class RedisUnavailable(LoadUnavailable):
    """There is none that could be measured."""


class Figures(NamedTuple):
    """What a Redis has done since it was started, and what it holds.

    Attributes:
        calls: commands that clients sent.
        commands: all that were carried out, those of scripts too.
        looks: how often the length of a log was looked up, as whoever reads one does.
        told: of how many changed logs it was told how far they are, where none was looked at.
        received: bytes.
        sent: bytes.
        memory: bytes that are used.
    """

    calls: int
    commands: int
    looks: int
    told: int
    received: int
    sent: int
    memory: int


class Redis(Measured):
    """A running redis-server that writes everything to the disk before it answers.

    Args:
        is_cluster: Whether it is a Cluster, of this one node.

    Raises:
        RedisUnavailable: It is not installed.
        ServerError: It does not start.
    """

    program = Program("redis-server", "", ())

    def __init__(self, *, is_cluster: bool = False) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise RedisUnavailable(
                "redis-server is missing; on Debian: apt-get install redis-server"
            )
        FOLDER.mkdir(exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(dir=FOLDER)
        with socket.create_server((HOST, 0)) as probe, socket.create_server((HOST, 0)) as other:
            self.port: int = probe.getsockname()[1]
            bus: int = other.getsockname()[1]
        self._is_cluster = is_cluster
        cluster = ["--cluster-enabled", "yes", "--cluster-port", str(bus)] if is_cluster else []
        self._asked = self._told = 0
        self._process = subprocess.Popen(
            [
                *(program, "--port", str(self.port), "--bind", HOST, "--dir", self._folder.name),
                *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
                # A rewrite of the file would fall into somebody's turn.
                *("--auto-aof-rewrite-percentage", "0"),
                *cluster,
            ],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _PATIENCE
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerError("redis-server did not start")
            time.sleep(0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}" + "/0" * (not self._is_cluster)

    @property
    def pid(self) -> int:
        return self._process.pid

    def figures(self) -> Figures:
        """Ask it; what that takes is not counted."""
        told = self._told
        said = self._info()
        calls = {
            name.removeprefix("cmdstat_"): int(value.partition("calls=")[2].partition(",")[0])
            for name, value in said.items()
            if name.startswith("cmdstat_") and name != "cmdstat_info"
        }
        # A script counts as what was sent, beside what it does.
        sent = ("evalsha", "eval", "subscribe", "unsubscribe", "ping", "wait", "hello", "client")
        return Figures(
            sum(calls.get(name, 0) for name in sent),
            sum(calls.values()),
            calls.get("xlen", 0),
            # Each call of the script looks up one thing more.
            calls.get("hmget", 0) - calls.get("evalsha", 0),
            int(said["total_net_input_bytes"]) - self._asked,
            int(said["total_net_output_bytes"]) - told,
            int(said["used_memory"]),
        )

    def _is_ready(self) -> bool:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, self.port)) != 0:
                return False
            if not self._is_cluster:
                return True
            probe.settimeout(_PATIENCE)
            probe.sendall(b"CLUSTER ADDSLOTSRANGE 0 16383\r\nCLUSTER INFO\r\n")
            said = b""
            while b"cluster_state:" not in said:
                said += probe.recv(4096)
            return b"cluster_state:ok" in said

    def _info(self) -> dict[str, str]:
        question = b"INFO everything\r\n"
        with socket.create_connection((HOST, self.port), _PATIENCE) as connection:
            connection.sendall(question)
            file = connection.makefile("rb")
            head = file.readline()
            body = file.read(int(head[1:]))
        self._asked += len(question)
        self._told += len(head) + len(body) + 2
        lines = (line.partition(":") for line in body.decode().splitlines())
        return {name: value for name, _, value in lines if value}
