"""Servers that send every message back, measured by their CPU time a message.

Small messages one at a time and many at once, compressed chat JSON, and connections opened and
closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks import servers
from benchmarks._harness import Outcome, Timing
from benchmarks._live import Station, Work, its_turn, measure, station
from benchmarks.payloads import JSON_1K
from benchmarks.servers import Program

SIZE = 32
TITLE = "trio servers, CPU time a message"


@dataclass(frozen=True)
class Echo:
    """A row.

    Attributes:
        label: Its name.
        connections: Open at a time.
        work: What is done on them.
        unit: Numbers of messages are multiples of it.
        deflate: Compressed, so for those only who do that.
    """

    label: str
    connections: int
    work: Work
    unit: int
    deflate: bool = False


ROWS = [
    Echo("echo 32 B, 10 connections", 10, lambda load, n: load.echo(n, SIZE), 10),
    Echo("echo 32 B, 100 connections", 100, lambda load, n: load.echo(n, SIZE), 100),
    Echo("echo 32 B, 64 pipelined", 10, lambda load, n: load.echo(n, SIZE, 64), 640),
    Echo("echo JSON 1 KiB, deflate", 10, lambda load, n: load.deflate(n), 10, deflate=True),
]
OPEN_AND_CLOSE = "open and close a connection"
AT_ONCE = 10


def labels() -> list[str]:
    """Name all rows."""
    return [*(row.label for row in ROWS), OPEN_AND_CLOSE]


def outcomes(
    programs: Sequence[Program], timing: Timing, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, Outcome]]:
    """Measure the rows that are wanted, on servers that run all the while."""
    with ExitStack() as stack:
        stations: list[Station] = []
        for row in ROWS:
            if wanted(row.label):
                stations = stations or stations_of(stack, programs)
                yield TITLE, echoed(row, stations, timing)
        if wanted(OPEN_AND_CLOSE):
            stations = stations or stations_of(stack, programs)
            yield TITLE, opened_and_closed(stations, timing)


def stations_of(stack: ExitStack, programs: Sequence[Program]) -> list[Station]:
    """Start our server and the others."""
    return [station(stack, program) for program in (servers.US, *programs)]


def echoed(row: Echo, stations: Sequence[Station], timing: Timing) -> Outcome:
    """Open a row's connections on all servers that take part, measure, and close them."""
    takers = [at for at in stations if at.server.program.deflate or not row.deflate]
    for at in takers:
        with its_turn(at, row.label):
            at.load.open(row.connections, raw=at.server.program.raw, deflate=row.deflate)
            if row.deflate:
                at.load.texts(str(message) for message in JSON_1K.messages)
    figures = measure(row.label, takers, row.work, row.unit, timing)
    for at in takers:
        with its_turn(at, row.label):
            at.load.close()
    return figures.cpu


def opened_and_closed(stations: Sequence[Station], timing: Timing) -> Outcome:
    """Measure connections that do nothing else."""
    takers = [at for at in stations if not at.server.program.raw]
    figures = measure(
        OPEN_AND_CLOSE, takers, lambda load, n: load.connect(n, "/", AT_ONCE), AT_ONCE, timing
    )
    return figures.cpu
