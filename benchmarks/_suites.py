"""The suites by name, their rows, and how one is run; imports all suites.

A suite of the core is a module with `TABLES`: titles, and functions that make the rows for given
peers. Two measure otherwise: `growth` also counts bytes, and `twin` runs the others on the Python
twin. A suite of servers is a module with `labels`, and `outcomes`, which measures rows of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import (
    chat,
    deflate,
    echo,
    embedding,
    engine,
    fanout,
    framing,
    growth,
    idle,
    masking,
    receiving,
    sending,
)
from benchmarks._harness import Timing, measure, pinned
from benchmarks._results import TWIN_TITLE, Judged, read
from benchmarks.goals import verdicts
from benchmarks.peers import Peer
from benchmarks.servers import Program
from wscore._framing import IMPLEMENTATION

TIMED = {
    "masking": masking,
    "framing": framing,
    "receiving": receiving,
    "sending": sending,
    "deflate": deflate,
    "growth": growth,
}
TWIN = "twin"
#: Real servers in processes of their own.
SERVERS = {
    "echo": echo,
    "fanout": fanout,
    "idle": idle,
    "embedding": embedding,
    "chat": chat,
    "engine": engine,
}
NAMES = [*TIMED, TWIN, *SERVERS]
#: Seconds that the interrupted run of the Python twin may take to write what it has.
_LAST_WORDS = 30
#: About how many contenders a row has, and the seconds that a row of servers takes to begin.
_CONTENDERS, _START = 8, 4


@dataclass(frozen=True)
class Settings:
    """What was asked for on the command line.

    Attributes:
        peers: Those that the core is compared with.
        programs: The servers that ours is compared with.
        timing: How long to measure the core.
        serving: How long to measure servers.
        match: Only rows whose label contains this.
        quick: A look, not a measurement.
        progress: Is told what comes next.
    """

    peers: Sequence[Peer]
    programs: Sequence[Program]
    timing: Timing
    serving: Timing
    match: str
    quick: bool
    progress: Callable[[str], None]

    def wanted(self, label: str) -> bool:
        """Whether this row is to be measured; it is the next one then."""
        if self.match not in label:
            return False
        self.progress(label)
        return True


def labels(name: str, peers: Sequence[Peer]) -> list[str]:
    """Name the rows of a suite; of the Python twin's, only the suite."""
    if name == TWIN:
        return [f"the {TWIN_TITLE}, all suites of the core"]
    if name in SERVERS:
        return list(SERVERS[name].labels())
    if name == "growth":
        return growth.labels()
    return [row.label for rows in TIMED[name].TABLES.values() for row in rows(peers)]


def plan(name: str, settings: Settings) -> dict[str, float]:
    """Name the rows of a suite that are wanted, with the seconds that each takes, roughly."""
    core, serving = (
        timing.turns * timing.seconds * _CONTENDERS
        for timing in (settings.timing, settings.serving)
    )
    if name == TWIN:
        suites = twin_suites(settings)
        rows = [row for suite in suites for row in plan(suite, settings)]
        return (
            dict.fromkeys(labels(TWIN, ()), len(rows) * core) if IMPLEMENTATION != "python" else {}
        )
    seconds = serving + _START if name in SERVERS else core
    if name == "growth":
        seconds = 2 if settings.quick else 8
    return {label: seconds for label in labels(name, settings.peers) if settings.match in label}


def run(name: str, settings: Settings) -> Iterator[tuple[str, Judged]]:
    """Measure a suite.

    Yields:
        The title of its table and a row with the judgement of its goals.

    Raises:
        UnequalWork: A contender does not do the work.
        LoadUnavailable: Servers are to be measured, and there is nothing to load them with.
        ServerError: One of them does not start.
    """
    if name == TWIN:
        yield from run_twin(settings)
        return
    if name in SERVERS:
        programs = [p for p in settings.programs if p.echoes or SERVERS[name] is chat]
        found = SERVERS[name].outcomes(programs, settings.serving, settings.wanted)
        for title, outcome in found:
            yield title, (outcome, verdicts(outcome))
        return
    timing = settings.timing
    if name == "growth":  # a turn of its rows takes a second and more
        timing = replace(timing, turns=1 if settings.quick else min(timing.turns, 5))
    with pinned():
        for title, rows in TIMED[name].TABLES.items():
            for row in rows(settings.peers):
                if settings.wanted(row.label):
                    outcome = measure(row, timing)
                    yield title, (outcome, verdicts(outcome))
        if name == "growth":
            for outcome in growth.memory(settings.peers, settings.wanted):
                yield "growth, memory", (outcome, verdicts(outcome))


def twin_suites(settings: Settings) -> list[str]:
    """Name the suites that are run on the Python twin."""
    return [name for name in TIMED if not (settings.quick and name == "growth")]


def run_twin(settings: Settings) -> Iterator[tuple[str, Judged]]:
    """Run the other suites in an interpreter on the Python twin, beside wsproto only.

    Interrupted, it asks that run for what it has, and hands it on before the interruption.
    """
    if IMPLEMENTATION == "python":
        return  # this is it already
    settings.progress(labels(TWIN, ())[0])
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder, "twin.json")
        command = [
            *(sys.executable, "-m", "benchmarks", "--suite", ",".join(twin_suites(settings))),
            *("--peers", "wsproto", "--match", settings.match, "--json", str(figures)),
            *("--turns", str(settings.timing.turns)),
            *("--seconds", str(settings.timing.seconds)),
        ]
        process = subprocess.Popen(
            command,
            env={**os.environ, "WSCORE_PURE_PYTHON": "1"},
            cwd=Path(__file__).parents[1],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,  # Ctrl-C is for us, and we ask once
        )
        interruption = None
        try:
            _, errors = process.communicate()
        except KeyboardInterrupt as interrupted:
            interruption = interrupted
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=_LAST_WORDS)
        finally:
            process.kill()
            process.wait()
        if interruption is None and process.returncode != 0:
            raise RuntimeError(f"the Python twin's run failed: {errors.strip()}")
        tables = read(figures).tables if figures.exists() else {}
    for title, judged in tables.items():
        for row in judged:
            yield f"{TWIN_TITLE}: {title}", row
    if interruption is not None:
        raise interruption
