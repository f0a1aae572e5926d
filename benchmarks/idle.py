"""What a server holds for connections that do nothing, by the resident memory of its process.

The difference in resident memory between a server that has a few connections and one that has many,
by the number of those that came. What the kernel holds for sockets is the same for all, and not in
it. Ours is also measured with ten thousand: memory, keepalive, and one message to all of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from benchmarks import servers
from benchmarks._harness import US, Outcome, Timing, UnequalWork, compared
from benchmarks._live import Station, affordable, its_turn, stations
from benchmarks.servers import Program

TITLE, TITLE_MANY = "memory of idle connections", "many idle connections"
CONNECTIONS, WARM_UP = 1000, 20
#: Labels, and whether permessage-deflate is negotiated.
ROWS = {"idle on a server": False, "idle on a server, deflate negotiated, unused": True}
#: Bytes of the message that each connection has had, where nothing is compressed.
SIZE = 32

MANY, MANY_SIZE, BROADCASTS = 10_000, 128, 5
#: Seconds: of silence until a ping, and until all must have answered one.
PING_INTERVAL, PATIENCE = 3, 60
HELD, PING, BROADCAST = "a connection", "a ping and its pong, CPU", "a broadcast to all, time"


def many(what: str) -> str:
    """Name a row for ten thousand connections, or for as many as there may be."""
    return f"{affordable(MANY):,} idle: {what}"


def labels() -> list[str]:
    """Name all rows."""
    return [*ROWS, *map(many, (HELD, PING, BROADCAST))]


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
            again = held(label, servers.US, deflate)
            yield TITLE, compared(label, "B", values, names, again)
    # One server for these, so that they come together.
    if any(wanted(many(what)) for what in (HELD, PING, BROADCAST)):
        for outcome in ten_thousand():
            yield TITLE_MANY, outcome


def held(label: str, program: Program, deflate: bool) -> float:
    """Measure the memory for a connection, in bytes."""
    with ExitStack() as stack:
        (at,) = stations(stack, [program])
        with its_turn(at, label):
            for count, all_of_them in ((WARM_UP, WARM_UP), (CONNECTIONS, WARM_UP + CONNECTIONS)):
                before = at.server.memory()
                at.load.open(count, raw=program.raw, deflate=deflate)
                if not deflate:
                    at.load.echo(all_of_them, SIZE)
            return (at.server.memory() - before) / CONNECTIONS


def ten_thousand() -> Iterator[Outcome]:
    """Measure ours with ten thousand members that are pinged."""
    count = affordable(MANY)
    with ExitStack() as stack:
        (at,) = stations(stack, [servers.US], ["--ping-interval", str(PING_INTERVAL)])
        with its_turn(at, many(PING)):
            at.load.open(WARM_UP, "/members")
            before = at.server.memory()
            at.load.open(count, "/members")
            ping = cpu_of_a_ping(at, count + WARM_UP)
        with its_turn(at, many(BROADCAST)):
            at.load.open(1, "/publish")
            times = [at.load.publish(1, MANY_SIZE).seconds * 1e9 for _ in range(BROADCASTS)]
            memory = (at.server.memory() - before) / count
    yield compared(many(HELD), "B", {US: memory}, [])
    yield compared(many(PING), "ns", {US: ping}, [])
    broadcast = compared(many(BROADCAST), "ns", {US: statistics.median(times)}, [])
    broadcast.noise = statistics.median(abs(t / broadcast.values[US] - 1) for t in times)
    yield broadcast


def cpu_of_a_ping(at: Station, count: int) -> float:
    """Let that many connections answer a ping once, and measure the next time, in ns.

    Raises:
        UnequalWork: They are not pinged.
    """
    pings, cpu = answered(at, count), at.server.cpu()
    more = answered(at, pings + count) - pings
    return (at.server.cpu() - cpu) / more * 1e9


def answered(at: Station, pings: int) -> int:
    """Wait until so many pings were answered since the start, and return how many it are."""
    for _ in range(PATIENCE * 4):
        if (found := at.load.wait(0.25).pings) >= pings:
            return found
    raise UnequalWork(f"{many(PING)}: the keepalive of {at.name} does not ping")
