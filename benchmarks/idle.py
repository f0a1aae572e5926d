"""What a server holds for connections that do nothing, by the resident memory of its process.

The difference in resident memory between a server that has had a few connections and one that has
many, by their number. What the kernel holds for sockets is the same for all, and not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from benchmarks import servers
from benchmarks._harness import Outcome, Timing, compared
from benchmarks._live import its_turn, station
from benchmarks.servers import Program

TITLE = "memory of idle connections"
CONNECTIONS, WARM_UP = 1000, 20
#: Labels, and whether permessage-deflate is negotiated.
ROWS = {"idle on a server": False, "idle on a server, deflate negotiated, unused": True}
#: Bytes of the message that each connection has had, where nothing is compressed.
SIZE = 32


def outcomes(
    programs: Sequence[Program], timing: Timing, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, Outcome]]:
    """Measure the rows that are wanted, each on new servers."""
    names = [program.name for program in programs if not program.raw]
    for label, deflate in ROWS.items():
        if wanted(label):
            values = {
                program.name: held(label, program, deflate)
                for program in (servers.US, *programs)
                if program.deflate or not deflate
            }
            yield TITLE, compared(label, "B", values, names)


def held(label: str, program: Program, deflate: bool) -> float:
    """Measure the memory for a connection, in bytes."""
    with ExitStack() as stack:
        at = station(stack, program)
        with its_turn(at, label):
            opened = 0
            before = 0
            for count in (WARM_UP, CONNECTIONS):
                before = at.server.memory()
                at.load.open(count, raw=program.raw, deflate=deflate)
                opened += count
                if not deflate:
                    at.load.echo(opened, SIZE)
            return (at.server.memory() - before) / CONNECTIONS
