"""`python -m benchmarks compare OLD NEW`: whether we became slower between two runs.

Times of two runs say little, as the machine is not the same from one hour to the next. What the
peers took in both runs tells by how much: our change is divided by theirs. What is left counts when
it is beyond the noise of both runs together with how far the peers' changes are apart, and beyond a
limit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks._harness import US, Outcome
from benchmarks._report import amount, show
from benchmarks._results import ResultsError, Run, read, rows_of

#: The exit statuses, beside 0.
SLOWER, UNUSABLE = 1, 2
#: What only says where a figure came from; peers are named as their versions are.
SERVER = " server"


@dataclass(frozen=True)
class Change:
    """How a row changed.

    Attributes:
        title: Of its table.
        label: The row's.
        before: Our figure, in `unit`.
        after: The same in the newer run.
        unit: `ns` or `B`.
        factor: How many times as much we take now, beside the others; None where that cannot be
            told.
        noise: What of it may be chance.
        by: How many contenders it is beside; 0 for a figure taken as it is.
    """

    title: str
    label: str
    before: float
    after: float
    unit: str
    factor: float | None
    noise: float
    by: int

    def verdict(self, limit: float) -> str:
        """Say it in a word; a change is one if it is beyond the noise and the limit."""
        if self.factor is None:
            return "cannot tell: nothing beside it"
        beyond = 1 + max(self.noise, limit)
        return "SLOWER" if self.factor > beyond else "faster" if self.factor < 1 / beyond else "="


def changes(old: Run, new: Run) -> Iterator[Change]:
    """Compare the rows that both runs have."""
    same = unchanged(old, new)
    elsewhere = old.surroundings.get("machine") != new.surroundings.get("machine")
    before = {(title, outcome.label): outcome for title, (outcome, _) in rows_of(old.tables)}
    for title, (outcome, _) in rows_of(new.tables):
        if (title, outcome.label) in before:
            yield change(title, before[title, outcome.label], outcome, same, elsewhere)


def change(title: str, old: Outcome, new: Outcome, unchanged: set[str], elsewhere: bool) -> Change:
    """Compare a row of two runs.

    Args:
        title: Of its table.
        old: The older.
        new: The newer.
        unchanged: Contenders that are the same in both runs.
        elsewhere: The machines are different.
    """
    ours = new.values[US] / max(old.values[US], 1e-9)
    factor: float | None = ours
    noise, by = old.noise + new.noise, 0
    if new.unit == "ns":
        theirs = [
            new.values[name] / old.values[name]
            for name in new.values.keys() & old.values.keys()
            if name in unchanged and old.values[name] > 0
        ]
        by = len(theirs)
        if theirs:
            drift = statistics.median(theirs)
            factor = ours / drift
            noise += statistics.median(abs(one / drift - 1) for one in theirs)
        elif elsewhere or not noise:
            factor = None
    values = old.values[US], new.values[US]
    return Change(title, new.label, *values, new.unit, factor, noise, by)


def unchanged(old: Run, new: Run) -> set[str]:
    """Name the contenders that are of the same version in both runs, and the limits.

    A limit, as a plain copy, has no version; it changes with Python. Our own other sizes are ours.
    """
    facts = [
        {name.removesuffix(SERVER): fact for name, fact in run.surroundings.items()}
        for run in (old, new)
    ]
    same_python = facts[0].get("python") == facts[1].get("python")
    names = {
        name
        for run in (old, new)
        for _, (outcome, _) in rows_of(run.tables)
        for name in outcome.values
        if not name.startswith(US) and name != "pure twin"
    }
    return {name for name in names if same_python and facts[0].get(name) == facts[1].get(name)}


def main(argv: Sequence[str]) -> int:
    """Compare two files written with `--json`.

    Returns:
        The exit status: 0; 1 if a row became slower; 2 if a file is unusable, or the two have no
        row in common.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks compare", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument(
        "--limit",
        type=float,
        default=10,
        metavar="PERCENT",
        help="changes up to this do not count, noise or not (default: 10)",
    )
    options = parser.parse_args(argv)
    try:
        old, new = read(options.old), read(options.new)
    except ResultsError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return UNUSABLE
    return report(old, new, options.limit / 100)


def report(old: Run, new: Run, limit: float) -> int:
    """Print what changed, and return the exit status."""
    found = list(changes(old, new))
    if not found:
        print("error: the runs have no row in common", file=sys.stderr)
        return UNUSABLE
    for name in old.surroundings.keys() | new.surroundings.keys():
        facts = old.surroundings.get(name, "not there"), new.surroundings.get(name, "not there")
        if facts[0] != facts[1]:
            print(f"{name}: {facts[0]} -> {facts[1]}")
    for title in dict.fromkeys(change.title for change in found):
        lines = [["", "before", "now", "x", "±", "beside", ""]]
        for one in found:
            if one.title == title:
                lines.append(
                    [
                        one.label,
                        amount(one.before, one.unit),
                        amount(one.after, one.unit),
                        "" if one.factor is None else f"{one.factor:.2f}",
                        f"{one.noise * 100:.0f}%",
                        f"{one.by} others" if one.by else "",
                        one.verdict(limit),
                    ]
                )
        show(f"{title}: our figure, and its change beside the others'", lines)
    said = [one.verdict(limit) for one in found]
    slower = said.count("SLOWER")
    print(f"\n{slower} slower, {said.count('faster')} faster, of {len(said)} rows in both runs")
    return SLOWER if slower else 0
