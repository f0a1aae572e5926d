"""Writes what was measured as tables for people and as JSON; imports the harness and the goals."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks._harness import US, Outcome
from benchmarks.goals import Verdict
from wscore import __version__
from wscore._framing import IMPLEMENTATION, KERNEL

#: A measured row with what its goals say of it.
Judged = tuple[Outcome, list[Verdict]]


def table(rows: Sequence[Judged]) -> str:
    """Lay rows out: our figure, its noise, how many times as much each other contender takes."""
    others = list(dict.fromkeys(name for outcome, _ in rows for name in outcome.ratios))
    lines = [["", US, "±", *(f"{name} ÷" for name in others), "goal"]]
    for outcome, verdicts in rows:
        cells = [outcome.label, amount(outcome.values[US], outcome.unit), percent(outcome)]
        cells += [ratio(outcome, name) for name in others]
        lines.append([*cells, "; ".join(f"{v.goal}: {v}" for v in verdicts)])
    return aligned(lines)


def goals_table(tables: Mapping[str, Sequence[Judged]]) -> str:
    """List the goals of all rows with what was measured, and count them."""
    lines, met, counted = [["", "goal", "measured", ""]], 0, 0
    for rows in tables.values():
        for outcome, verdicts in rows:
            for verdict in verdicts:
                value = verdict.measured
                shown = "" if value is None else goal_figure(verdict, value)
                lines.append([outcome.label, verdict.goal, shown, str(verdict)])
                if not verdict.stretch and value is not None:
                    counted, met = counted + 1, met + verdict.met
    return f"{aligned(lines)}\n{met} of {counted} goals met"


def goal_figure(verdict: Verdict, value: float) -> str:
    """Write a measured figure in its unit."""
    return f"{figure(value)}x" if verdict.unit == "x" else amount(value, verdict.unit)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Put cells into columns: the first and last to the left, the others to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, len(line) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def percent(outcome: Outcome) -> str:
    """Write the noise of a row, where it was measured."""
    return f"{outcome.noise * 100:.0f}%" if outcome.unit == "ns" and outcome.noise else ""


def ratio(outcome: Outcome, name: str) -> str:
    """Write how many times as much a contender takes; `=` marks what is within the noise."""
    if name not in outcome.ratios:
        return ""
    value = outcome.ratios[name]
    return f"={figure(value)}" if abs(value - 1) <= outcome.noise else figure(value)


def amount(value: float, unit: str) -> str:
    """Write a time or a size with its unit."""
    scales = {"ns": (("ms", 1e6), ("µs", 1e3)), "B": (("MiB", 1 << 20), ("KiB", 1 << 10))}
    for name, scale in scales[unit]:
        if value >= scale:
            return f"{value / scale:.3g} {name}"
    return f"{value:.3g} {unit}"


def figure(value: float) -> str:
    """Write a ratio with as many digits as it deserves."""
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 2 else f"{value:.2f}"


def surroundings(peers: Mapping[str, str]) -> dict[str, str]:
    """Describe what the figures depend on: machine, interpreter, revision, twin, peers."""
    return {
        "machine": f"{cpu_name()}, {os.cpu_count()} cores, {platform.system()}",
        "load": load(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "wscore": f"{__version__} ({revision()}), {IMPLEMENTATION} twin, mask kernel {KERNEL}",
        **peers,
    }


def load() -> str:
    """Say how busy the machine is, over 1, 5 and 15 minutes."""
    if not hasattr(os, "getloadavg"):
        return "unknown"
    return ", ".join(f"{average:.2f}" for average in os.getloadavg())


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


def to_json(facts: Mapping[str, str], tables: Mapping[str, Sequence[Judged]]) -> str:
    """Write a run for later comparison."""
    rows = {
        title: [{**asdict(outcome), "verdicts": [asdict(v) for v in found]} for outcome, found in t]
        for title, t in tables.items()
    }
    return json.dumps({"surroundings": dict(facts), "tables": rows}, indent=1, ensure_ascii=False)


def from_json(text: str) -> dict[str, list[Judged]]:
    """Read the tables of a run."""
    tables: dict[str, list[dict[str, Any]]] = json.loads(text)["tables"]
    return {title: [_judged(dict(row)) for row in rows] for title, rows in tables.items()}


def _judged(row: dict[str, Any]) -> Judged:
    found = [Verdict(**verdict) for verdict in row.pop("verdicts")]
    return Outcome(**row), found
