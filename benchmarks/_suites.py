"""The suites by name, and how one is run; imports all suites.

A suite of the core is a module with `TABLES`: titles, and functions that make the rows for given
peers. Two measure otherwise: `growth` also counts bytes, and `twin` runs the others on the Python
twin. A suite of servers is a module with `outcomes`, which measures rows of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import chat, deflate, echo, fanout, growth, idle, masking, receiving, sending
from benchmarks._harness import Timing, measure
from benchmarks._report import Judged, from_json
from benchmarks.goals import verdicts
from benchmarks.peers import Peer
from benchmarks.servers import Program
from wscore._framing import IMPLEMENTATION

TIMED = {
    "masking": masking,
    "receiving": receiving,
    "sending": sending,
    "deflate": deflate,
    "growth": growth,
}
TWIN = "twin"
#: What its tables' titles begin with.
TWIN_TITLE = "Python twin"
#: Real servers in processes of their own.
SERVERS = {"echo": echo, "fanout": fanout, "idle": idle, "chat": chat}
NAMES = [*TIMED, TWIN, *SERVERS]


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
        found = SERVERS[name].outcomes(settings.programs, settings.serving, settings.wanted)
        for title, outcome in found:
            yield title, (outcome, verdicts(outcome))
        return
    timing = settings.timing
    if name == "growth":  # a turn of its rows takes a second and more
        timing = replace(timing, turns=1 if settings.quick else min(timing.turns, 5))
    for title, rows in TIMED[name].TABLES.items():
        for row in rows(settings.peers):
            if settings.wanted(row.label):
                outcome = measure(row, timing)
                yield title, (outcome, verdicts(outcome))
    if name == "growth":
        for outcome in growth.memory(settings.peers, settings.wanted):
            yield "growth, memory", (outcome, verdicts(outcome))


def run_twin(settings: Settings) -> Iterator[tuple[str, Judged]]:
    """Run the other suites in an interpreter on the Python twin, beside wsproto only."""
    if IMPLEMENTATION == "python":
        return  # this is it already
    settings.progress("the Python twin, all suites")
    suites = [name for name in TIMED if not (settings.quick and name == "growth")]
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder, "twin.json")
        command = [
            *(sys.executable, "-m", "benchmarks", "--suite", ",".join(suites)),
            *("--peers", "wsproto", "--match", settings.match, "--json", str(figures)),
            *("--turns", str(settings.timing.turns)),
            *("--seconds", str(settings.timing.seconds)),
        ]
        environment = {**os.environ, "WSCORE_PURE_PYTHON": "1"}
        done = subprocess.run(
            command, env=environment, cwd=Path(__file__).parents[1], capture_output=True, text=True
        )
        if done.returncode != 0:
            raise RuntimeError(f"the Python twin's run failed: {done.stderr.strip()}")
        tables = from_json(figures.read_text(encoding="utf-8"))
    for title, judged in tables.items():
        for row in judged:
            yield f"{TWIN_TITLE}: {title}", row
