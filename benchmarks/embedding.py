"""Servers and a client written for wsproto, on it and on wscore in its place, by their CPU time.

Nothing in them is changed: `python -m wscore.as_wsproto` runs them. What is left between is their
own work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib import metadata

from benchmarks import echo, servers
from benchmarks._harness import US, Outcome, Timing
from benchmarks._live import Station, cores, its_turn, measure
from benchmarks.load import Load, can_deflate
from benchmarks.servers import Measured, Program, Server, runs

PEER = "wsproto"
TITLE = "written for wsproto, CPU time a message"
SERVERS = {
    "hypercorn on trio": Program(PEER, "hypercorn_trio", ("hypercorn",)),
    "hypercorn on asyncio": Program(PEER, "hypercorn_asyncio", ("hypercorn",)),
    "uvicorn": Program(PEER, "uvicorn_wsproto", ("uvicorn",)),
    "trio-websocket": Program(PEER, "trio_websocket_trio", ("trio-websocket",), deflate=False),
    "simple-websocket": Program(PEER, "simple_websocket_threads", ("simple-websocket", "werkzeug")),
}
#: Those that speak to our server.
CLIENTS = {
    "httpx-ws, a client": Program(PEER, "httpx_ws_asyncio", ("httpx-ws",), deflate=False),
}
ALL = SERVERS | CLIENTS
ROWS = [
    row
    for row in echo.ROWS
    if row.label
    in (
        "echo 32 B, 10 connections",
        "echo 32 B, 64 pipelined",
        "echo JSON 1 KiB, deflate as each has it",
    )
]


def label(server: str, row: echo.Echo) -> str:
    """Name a row."""
    return f"{server}: {row.label.partition(' as each')[0]}"


def rows(program: Program) -> list[echo.Echo]:
    """Choose the rows that a program can do."""
    return [row for row in ROWS if row.takes(program)]


def labels() -> list[str]:
    """Name all rows."""
    return [label(name, row) for name, program in ALL.items() for row in rows(program)]


def facts() -> dict[str, str]:
    """Return the versions, or that one is left out."""
    return {
        name: ", ".join(f"{name} {metadata.version(name)}" for name in program.distributions)
        if runs(program)
        else "not installed, left out"
        for name, program in ALL.items()
    }


def outcomes(
    programs: Sequence[Program], timing: Timing, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, Outcome]]:
    """Measure the rows that are wanted, of those servers and clients that are installed."""
    for name, program in ALL.items():
        if not runs(program):
            continue
        of = of_client if name in CLIENTS else echo.measured
        for row in rows(program):
            named = replace(row, label=label(name, row))
            if (not row.deflate or can_deflate()) and wanted(named.label):
                yield TITLE, of(named, pair(program), timing)


def pair(program: Program) -> list[Program]:
    """Return a program on wscore and the same on wsproto; either ends if it is on the other."""
    both = [replace(program, name=US, stands_in=True), program]
    return [replace(one, arguments=("--core", one.name)) for one in both]


class Client(Load, Measured):
    """A client that takes the load generator's commands, and is what is measured.

    Args:
        program: Which one.
        port: Of the server.
        core: The processor's core that it is bound to.
    """

    def __init__(self, program: Program, port: int, core: int) -> None:
        super().__init__(port, core, program=[*program.command, "--to", str(port)])
        self.program = program


def of_client(row: echo.Echo, programs: Sequence[Program], timing: Timing) -> Outcome:
    """Start the clients and a server for all, open a row's connections, and measure."""
    ours, theirs = cores()
    with ExitStack() as stack:
        server = stack.enter_context(Server(servers.US))
        port = server.wait_ready()
        server.bind(theirs)
        clients = [stack.enter_context(Client(program, port, ours)) for program in programs]
        found = [Station(client, client) for client in clients]
        for at in found:
            with its_turn(at, row.label):
                at.load.open(row.connections)
        return measure(row.label, found, row.work, row.unit, timing).cpu
