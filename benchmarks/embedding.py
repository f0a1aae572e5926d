"""Servers written for wsproto, on it and on wscore in its place, by their CPU time a message.

Nothing in the servers is changed: `python -m wscore.as_wsproto` runs them. What is left between is
the server's own work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import metadata

from benchmarks import echo
from benchmarks._harness import US, Outcome, Timing
from benchmarks.load import can_deflate
from benchmarks.servers import Program, runs

PEER = "wsproto"
TITLE = "servers written for wsproto, CPU time a message"
SERVERS = {
    "hypercorn on trio": Program(PEER, "hypercorn_trio", ("hypercorn",)),
    "hypercorn on asyncio": Program(PEER, "hypercorn_asyncio", ("hypercorn",)),
    "uvicorn": Program(PEER, "uvicorn_wsproto", ("uvicorn",)),
}
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


def labels() -> list[str]:
    """Name all rows."""
    return [label(server, row) for server in SERVERS for row in ROWS]


def facts() -> dict[str, str]:
    """Return the servers' versions, or that one is left out."""
    return {
        server: ", ".join(f"{name} {metadata.version(name)}" for name in program.distributions)
        if runs(program)
        else "not installed, left out"
        for server, program in SERVERS.items()
    }


def outcomes(
    programs: Sequence[Program], timing: Timing, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, Outcome]]:
    """Measure the rows that are wanted, of those servers here that are installed."""
    for server, program in SERVERS.items():
        if not runs(program):
            continue
        for row in ROWS:
            named = replace(row, label=label(server, row))
            if (not row.deflate or can_deflate()) and wanted(named.label):
                yield TITLE, echo.measured(named, pair(program), timing)


def pair(program: Program) -> list[Program]:
    """Return a server on wscore and the same on wsproto; either ends if it is on the other."""
    both = [replace(program, name=US, stands_in=True), program]
    return [replace(one, arguments=("--core", one.name)) for one in both]
