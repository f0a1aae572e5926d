"""Servers that send every message back, measured by their CPU time a message.

Small messages one at a time and many at once, compressed chat JSON, and connections opened and
closed. Each row has new servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks import servers
from benchmarks._harness import Outcome, Timing
from benchmarks._live import Work, its_turn, measure, stations
from benchmarks.load import Load, can_deflate
from benchmarks.payloads import JSON_1K
from benchmarks.servers import Program

SIZE = 32
TITLE = "servers, CPU time a message"


@dataclass(frozen=True)
class Echo:
    """A row.

    Attributes:
        label: Its name.
        connections: That are open; 0 for work that opens its own.
        work: What is done on them.
        unit: Numbers of messages are multiples of it.
        raw: Also done by servers that speak no WebSocket.
        deflate: Compressed.
        options: For the servers' command lines.
    """

    label: str
    connections: int
    work: Work
    unit: int
    raw: bool = False
    deflate: bool = False
    options: tuple[str, ...] = ()

    def takes(self, program: Program) -> bool:
        """Whether a server can do it."""
        return (self.raw or not program.raw) and (program.deflate or not self.deflate)


ROWS = [
    Echo("echo 32 B, 10 connections", 10, lambda load, n: load.echo(n, SIZE), 10, raw=True),
    Echo("echo 32 B, 100 connections", 100, lambda load, n: load.echo(n, SIZE), 100, raw=True),
    Echo("echo 32 B, 64 pipelined", 10, lambda load, n: load.echo(n, SIZE, 64), 640, raw=True),
    # aiohttp's settings, which are fixed, for those who have settings.
    Echo(
        "echo JSON 1 KiB, deflate level 1, window 15",
        *(10, Load.deflate, 10),
        deflate=True,
        options=("--deflate-alike",),
    ),
    Echo("echo JSON 1 KiB, deflate as each has it", 10, Load.deflate, 10, deflate=True),
    Echo("open and close a connection", 0, lambda load, n: load.connect(n, "/", 10), 10),
]


def labels() -> list[str]:
    """Name all rows."""
    return [row.label for row in ROWS]


def outcomes(
    programs: Sequence[Program], timing: Timing, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, Outcome]]:
    """Measure the rows that are wanted; those with compression if the load generator has it."""
    for row in ROWS:
        if (not row.deflate or can_deflate()) and wanted(row.label):
            takers = [program for program in (servers.US, *programs) if row.takes(program)]
            yield TITLE, measured(row, takers, timing)


def measured(row: Echo, programs: Sequence[Program], timing: Timing) -> Outcome:
    """Start the servers, open a row's connections, and measure."""
    with ExitStack() as stack:
        found = stations(stack, programs, row.options)
        for at in found:
            with its_turn(at, row.label):
                if row.deflate:
                    at.load.texts(str(message) for message in JSON_1K.messages)
                if row.connections:
                    at.load.open(row.connections, raw=at.server.program.raw, deflate=row.deflate)
        return measure(row.label, found, row.work, row.unit, timing).cpu
