"""Runs as JSON: written, read, put together; imports the harness and the goals."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks._harness import Outcome
from benchmarks.goals import Verdict

#: A measured row with what its goals say of it.
Judged = tuple[Outcome, list[Verdict]]
#: Rows by the title of their table.
Tables = Mapping[str, list[Judged]]
#: What the parts of one run may differ in.
PASSING = ("load", "load at the end")
#: What is said of a peer that a part of a run has no figures of.
LEFT_OUT = "left out"
#: What the titles of the Python twin's tables begin with.
TWIN_TITLE = "Python twin"
#: Significant digits of a figure: more say nothing.
DIGITS = 5


class ResultsError(Exception):
    """A file is not the JSON of a run, or two are of different machines."""


@dataclass(frozen=True)
class Run:
    """What was measured, and what the figures depend on."""

    surroundings: dict[str, str]
    tables: dict[str, list[Judged]]


def write(path: Path, run: Run) -> None:
    """Write a run; what is in the file until then stays in it until all of the new is there."""
    beside = path.with_name(f"{path.name}.part")
    beside.write_text(to_json(run), encoding="utf-8")
    beside.replace(path)


def fingerprint(run: Run) -> str:
    """Name a run by what it says, for telling whether a picture is of it."""
    return f"sha256:{hashlib.sha256(to_json(run).encode()).hexdigest()}"


def to_json(run: Run) -> str:
    """Write a run as JSON."""
    text = json.dumps(
        {
            "surroundings": run.surroundings,
            "tables": {
                title: [
                    {**_shortened(asdict(outcome)), "verdicts": [_shortened(asdict(v)) for v in vs]}
                    for outcome, vs in rows
                ]
                for title, rows in run.tables.items()
            },
        },
        indent=1,
        ensure_ascii=False,
    )
    return text + "\n"


def read(path: Path) -> Run:
    """Read a run.

    Raises:
        ResultsError: The file cannot be read, or is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        tables = {title: [_judged(dict(row)) for row in t] for title, t in found["tables"].items()}
        return Run(dict(found["surroundings"]), tables)
    except OSError as exc:
        raise ResultsError(f"{path}: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ResultsError(f"{path} is not the JSON of a run ({exc!r})") from exc


def merged(old: Run, new: Run) -> Run:
    """Put two parts of a run together; a row that both have is the new one's.

    Raises:
        ResultsError: They were measured with other things around them, so that they are no parts of
            one run.
    """
    for name in old.surroundings.keys() & new.surroundings.keys() - set(PASSING):
        before, after = old.surroundings[name], new.surroundings[name]
        if before != after and LEFT_OUT not in before + after:
            raise ResultsError(f"these are not parts of one run: {name}: {before} / {after}")
    facts = {
        name: fact
        for name, fact in [*new.surroundings.items(), *old.surroundings.items()]
        if LEFT_OUT not in fact
    }
    facts = {name: facts.get(name, fact) for name, fact in (old.surroundings | facts).items()}
    tables = {title: list(rows) for title, rows in old.tables.items()}
    for title, rows in new.tables.items():
        measured = {outcome.label for outcome, _ in rows}
        kept = [row for row in tables.get(title, []) if row[0].label not in measured]
        tables[title] = [*kept, *rows]
    return Run(facts, tables)


def rows_of(tables: Tables) -> Iterable[tuple[str, Judged]]:
    """List all rows with the titles of their tables."""
    for title, rows in tables.items():
        for row in rows:
            yield title, row


def _shortened(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: _shortened(one) for name, one in value.items()}
    return value


def _judged(row: dict[str, Any]) -> Judged:
    found = [Verdict(**verdict) for verdict in row.pop("verdicts")]
    return Outcome(**row), found
