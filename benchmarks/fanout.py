"""Servers that send each message to many members, by the clock and by their CPU time a delivery.

The next message is published when all members have the one before, so that no server can put two
into one write. Members are read from all the while. Beside them is the limit: a loop in C that
calls `send()` for each member, and does nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from benchmarks import servers
from benchmarks._harness import Outcome, Timing
from benchmarks._live import affordable, its_turn, measure, stations
from benchmarks.servers import Program

SIZE = 128
#: Turns are so many times as many and as short as elsewhere: the servers' are closer together then,
#: and what the machine does meanwhile is in fewer of them.
FINER = 4
MEMBERS = (1000, 5000)
CLOCK, CPU = f"fan-out of {SIZE} B, clock time a delivery", f"fan-out of {SIZE} B, CPU a delivery"


def label(members: int) -> str:
    """Name the row for that many members."""
    return f"fan-out to {members:,} members"


def labels() -> list[str]:
    """Name all rows, the same once by the clock and once by CPU time."""
    return [f"{label(affordable(n))}, {clock}" for n in MEMBERS for clock in ("time", "CPU")]


def outcomes(
    programs: Sequence[Program], timing: Timing, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, Outcome]]:
    """Measure the rows that are wanted, by both clocks."""
    for members in map(affordable, MEMBERS):
        name = label(members)
        if wanted(name):
            with ExitStack() as stack:
                takers = [p for p in (servers.US, *programs) if not p.raw]
                found = stations(stack, [*takers, servers.SEND_LOOP])
                for at in found:
                    raw = at.server.program.raw
                    with its_turn(at, name):
                        at.load.open(members, "/members", raw=raw)
                        at.load.open(1, "/publish", raw=raw)
                finer = Timing(FINER * timing.turns, timing.seconds / FINER)
                figures = measure(name, found, lambda load, n: load.publish(n, SIZE), 1, finer)
            yield CLOCK, replace(figures.clock, label=f"{name}, time")
            yield CPU, replace(figures.cpu, label=f"{name}, CPU")
