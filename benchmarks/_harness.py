"""Times contenders side by side and prints ratios; knows nothing of WebSockets.

The contenders of a row take turns, so that whatever else the machine does slows all of them alike.
A ratio is taken within each turn, and the median of these ratios is what is printed. Before any
timing every contender shows its result once, and one that is not as expected is an error.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import timeit
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from wscore import __version__
from wscore._framing import IMPLEMENTATION, KERNEL

#: The contender whose times the others are compared with.
US = "wscore"


@dataclass(frozen=True)
class Contender:
    """One way of doing the work of a row.

    Attributes:
        name: The library, `wscore` for ours.
        statement: What is timed, as Python source.
        names: The statement's global names.
        work: How many units of work (messages, calls) one execution does.
        result: Does the work once and returns what must equal the row's `expected`; None for a
            limit that does other work by intention, as a plain copy.
    """

    name: str
    statement: str
    names: Mapping[str, Any]
    work: int = 1
    result: Callable[[], object] | None = None


@dataclass(frozen=True)
class Verdict:
    """A goal in words, the figure that it is about as measured, and whether that reaches it."""

    goal: str
    measured: float
    met: bool

    def __str__(self) -> str:
        return f"{self.goal}: {figure(self.measured)}, {'met' if self.met else 'NOT MET'}"


@dataclass(frozen=True)
class Goal:
    """What a row should reach against one contender.

    Attributes:
        against: The contender's name.
        kind: `faster`, at least `limit` times as fast; `of`, at most `limit` times its time;
            `over`, at most `limit` nanoseconds more.
        limit: The number.
    """

    against: str
    kind: Literal["faster", "of", "over"]
    limit: float

    def judge(self, ratio: float, excess: float) -> Verdict:
        """Compare what was measured with the goal.

        Args:
            ratio: Their time divided by ours.
            excess: Our time less theirs, in nanoseconds.
        """
        match self.kind:
            case "faster":
                goal, value, met = f"≥ {self.limit:g}x {self.against}", ratio, ratio >= self.limit
            case "of":
                value = 1 / ratio
                goal, met = f"≤ {self.limit:g}x {self.against}", value <= self.limit
            case "over":
                value = excess
                goal, met = f"≤ {self.limit:g} ns over {self.against}", value <= self.limit
        return Verdict(goal, value, met)


@dataclass(frozen=True)
class Row:
    """One line of a table: the same work by several contenders, and what each must arrive at."""

    label: str
    contenders: Sequence[Contender]
    expected: object
    goals: Sequence[Goal] = ()


@dataclass
class Outcome:
    """What was measured for a row.

    Attributes:
        label: The row's.
        nanoseconds: Median time of one unit of work, by contender.
        ratios: Median of (contender's time / ours) within each turn, by contender.
        verdicts: One for each of the row's goals whose contender is there.
    """

    label: str
    nanoseconds: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)


class UnequalWork(Exception):
    """A contender's result is not what the row expects, so that its time means nothing."""


def check_work(row: Row) -> None:
    """Let every contender do the work once.

    Raises:
        UnequalWork: One arrives at something else than expected.
    """
    for contender in row.contenders:
        if contender.result is not None and contender.result() != row.expected:
            raise UnequalWork(f"{row.label}: {contender.name} does not do the work")


def measure(row: Row, *, turns: int, seconds: float) -> Outcome:
    """Time the contenders of a row in turns of about `seconds` each.

    Raises:
        UnequalWork: One of them does not do the row's work.
    """
    check_work(row)
    timers = {c.name: timeit.Timer(c.statement, globals=dict(c.names)) for c in row.contenders}
    work = {c.name: c.work for c in row.contenders}
    loops = {name: loops_for(timer, seconds) for name, timer in timers.items()}
    samples: dict[str, list[float]] = {name: [] for name in timers}
    order = list(timers)
    for turn in range(turns):
        for name in order if turn % 2 == 0 else reversed(order):
            elapsed = timers[name].timeit(loops[name])
            samples[name].append(elapsed / loops[name] / work[name] * 1e9)
    outcome = Outcome(row.label)
    for name, times in samples.items():
        pairs = list(zip(times, samples[US], strict=True))
        outcome.nanoseconds[name] = statistics.median(times)
        outcome.ratios[name] = statistics.median(theirs / ours for theirs, ours in pairs)
        excess = statistics.median(ours - theirs for theirs, ours in pairs)
        goals = [goal for goal in row.goals if goal.against == name]
        outcome.verdicts += [goal.judge(outcome.ratios[name], excess) for goal in goals]
    return outcome


def loops_for(timer: timeit.Timer, seconds: float) -> int:
    """Find how many executions take about `seconds`; the search is the warm-up."""
    loops = 1
    while (elapsed := timer.timeit(loops)) < seconds / 2:
        loops = max(loops * 2, int(loops * seconds / max(elapsed, 1e-9) / 2))
    return max(1, round(loops * seconds / elapsed))


def table(outcomes: Sequence[Outcome]) -> str:
    """Lay the outcomes out: our time, and how many times as long each other contender took."""
    others = list(dict.fromkeys(n for o in outcomes for n in o.nanoseconds if n != US))
    lines = [["", US, *(f"{name} ÷" for name in others), "goal"]]
    for outcome in outcomes:
        cells = [outcome.label, duration(outcome.nanoseconds[US])]
        cells += [figure(outcome.ratios[n]) if n in outcome.ratios else "" for n in others]
        lines.append([*cells, "; ".join(map(str, outcome.verdicts))])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, len(line) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def duration(nanoseconds: float) -> str:
    """Write a time with its unit."""
    for unit, scale in (("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= scale:
            return f"{nanoseconds / scale:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def figure(value: float) -> str:
    """Write a ratio with as many digits as it deserves."""
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 2 else f"{value:.2f}"


def surroundings(peers: Iterable[str]) -> dict[str, str]:
    """Describe what the figures depend on: machine, interpreter, revision, twin, peers."""
    facts = {
        "machine": f"{cpu_name()}, {os.cpu_count()} cores, {platform.system()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "wscore": f"{__version__} ({revision()}), {IMPLEMENTATION} twin, mask kernel {KERNEL}",
    }
    for peer in peers:
        try:
            facts[peer] = metadata.version(peer)
        except metadata.PackageNotFoundError:
            facts[peer] = "not installed, left out"
    return facts


def cpu_name() -> str:
    """Name the processor as the system does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def revision() -> str:
    """Name the commit that is measured, `+` where files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no revision"


def to_json(facts: Mapping[str, str], tables: Mapping[str, Sequence[Outcome]]) -> str:
    """Write a run for later comparison."""
    rows = {title: [asdict(outcome) for outcome in outcomes] for title, outcomes in tables.items()}
    return json.dumps({"surroundings": dict(facts), "tables": rows}, indent=1, ensure_ascii=False)
