"""Measures servers in turns, by the CPU time of their processes; imports the harness and them.

As in the harness, the contenders of a row take turns, ratios are taken within a turn, and we run
first and last. A server runs on one core and its load generator on another, where there are two. A
turn is a number of messages, found before it so that it takes about the time that was asked for.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks._harness import US, Contender, Outcome, Row, Timing, UnequalWork, outcome_of
from benchmarks.load import Done, Load, LoadError
from benchmarks.servers import Measured, Program, Server

#: What a server has open beside its connections, at most.
_OWN_DESCRIPTORS = 100
#: Seconds after which a server waits again: the kernel may count the time of a process that runs
#: only at the next tick of its clock, 4 ms and more.
_REST = 0.01
#: Does that many messages' work.
Work = Callable[[Load, int], Done]


@dataclass(frozen=True)
class Station:
    """A server and the load generator before it; or a client, which is both."""

    server: Measured
    load: Load

    @property
    def name(self) -> str:
        return self.server.program.name


@dataclass(frozen=True)
class Figures:
    """What one row's turns took, by CPU time of the server and by the clock."""

    cpu: Outcome
    clock: Outcome


def cores() -> tuple[int, int]:
    """Return the core for servers and the one for load, which are the same if there is but one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def surroundings(most: int) -> dict[str, str]:
    """Say what the figures depend on: cores, and whether there may be so many connections."""
    server, load = cores()
    found = {"cores": f"servers on {server}, load on {load}"}
    if server == load:
        found["cores"] += ": the same, so times by the clock are of both together"
    if (enough := affordable(most)) < most:
        found["descriptors"] = f"the hard limit allows {enough:,} connections, not {most:,}"
    return found


def affordable(connections: int) -> int:
    """Return that many connections, or as many as the limit of descriptors has room for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return connections if hard < 0 else min(connections, hard - _OWN_DESCRIPTORS)


def stations(
    stack: ExitStack, programs: Sequence[Program], options: Sequence[str] = ()
) -> list[Station]:
    """Start servers, all at once, and their load generators; the stack ends them.

    Raises:
        ServerError: One does not start.
        LoadUnavailable: There is no load generator.
    """
    server_core, load_core = cores()
    started = [stack.enter_context(Server(program, options)) for program in programs]
    found = []
    for server in started:
        port = server.wait_ready()
        server.bind(server_core)
        found.append(Station(server, stack.enter_context(Load(port, load_core))))
        server.halt()
    return found


@contextmanager
def its_turn(at: Station, label: str) -> Iterator[None]:
    """Let a server run, and name it if it does not do the work."""
    at.server.go_on()
    try:
        yield
    except LoadError as error:
        raise UnequalWork(f"{label}: {at.name} does not do the work: {error}") from None
    finally:
        at.server.halt()


def measure(
    label: str, stations: Sequence[Station], work: Work, unit: int, timing: Timing
) -> Figures:
    """Measure a row; ours is the first station.

    Args:
        label: The row's.
        stations: With their connections open.
        work: What they do.
        unit: Numbers of messages are multiples of it.
        timing: How many turns, and how long.

    Raises:
        UnequalWork: A server does not do the work.
    """
    assert stations[0].name == US
    counts = [_count_for(label, at, work, unit, timing.seconds) for at in stations]
    entries = [*zip(stations, counts, strict=True), (stations[0], counts[0])]
    cpu: list[list[float]] = [[] for _ in entries]
    clock: list[list[float]] = [[] for _ in entries]
    for turn in range(timing.turns):
        order = range(len(entries))
        for index in order if turn % 2 == 0 else reversed(order):
            at, count = entries[index]
            before = at.server.cpu()
            with its_turn(at, label):
                done = work(at.load, count)
            time.sleep(_REST)
            cpu[index].append((at.server.cpu() - before) / done.done * 1e9)
            clock[index].append(done.seconds / done.done * 1e9)
    row = Row(
        label, [Contender(at.name, "", {}, peer=not at.server.program.raw) for at in stations], None
    )
    return Figures(outcome_of(row, cpu), outcome_of(row, clock))


def _count_for(label: str, at: Station, work: Work, unit: int, seconds: float) -> int:
    """Find how many messages take about that long; the search is the warm-up."""
    count = unit
    with its_turn(at, label):
        while (elapsed := work(at.load, count).seconds) < seconds / 2:
            count = max(count * 2, int(count * seconds / max(elapsed, 1e-6) / 2) // unit * unit)
    return max(1, round(count * seconds / elapsed / unit)) * unit
