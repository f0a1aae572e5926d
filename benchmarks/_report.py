"""Lays out what was measured as tables: for a terminal, for a file, as Markdown; imports the
results.

A table is lines of cells, the first its heading. rich draws it on a terminal, where rich is there.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence

from benchmarks._harness import US, Outcome
from benchmarks._results import TWIN_TITLE, Judged, Run
from benchmarks.goals import Verdict

Lines = list[list[str]]
#: Headings of columns that are not numbers.
WORDS = ("", "goal")
#: What the title of each table goes on with.
MEANING = "ours, and how many times as much the others take"


def table(rows: Sequence[Judged]) -> Lines:
    """Lay rows out: our figure, its spread, the noise, and how many times as much others take."""
    others = list(dict.fromkeys(name for outcome, _ in rows for name in outcome.ratios))
    lines = [["", US, "spread", "±", *(f"{name} ÷" for name in others)]]
    goals = any(verdicts for _, verdicts in rows)
    lines[0] += ["goal"] * goals
    for outcome, verdicts in rows:
        cells = [outcome.label, amount(outcome.values[US], outcome.unit)]
        cells += [percent(outcome.spread.get(US, 0.0)), percent(outcome.noise)]
        cells += [ratio(outcome, name) for name in others]
        lines.append([*cells, *["; ".join(f"{v.goal}: {v}" for v in verdicts)] * goals])
    return lines


def goals_table(tables: Mapping[str, Sequence[Judged]]) -> tuple[Lines, str]:
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
    return lines, f"{met} of {counted} goals met"


def goals(run: Run) -> Iterator[tuple[str, Lines, str]]:
    """List the goals of a run, those of the Python twin apart: heading, table and count."""
    for heading, twin in (("goals", False), (f"goals of the {TWIN_TITLE}", True)):
        tables = {
            title: rows
            for title, rows in run.tables.items()
            if title.startswith(TWIN_TITLE) == twin and any(found for _, found in rows)
        }
        if tables:
            yield heading, *goals_table(tables)


def show_run(run: Run) -> None:
    """Print all tables of a run."""
    for title, rows in run.tables.items():
        show(f"{title}: {MEANING}", table(rows), rivals(rows))


def show_goals(run: Run) -> None:
    """Print the goals of a run."""
    for heading, lines, count in goals(run):
        show(heading, lines)
        print(count)


def rivals(rows: Sequence[Judged]) -> set[str]:
    """Name the columns of other libraries, which we are to be faster than; not those of limits."""
    return {f"{name} ÷" for outcome, _ in rows for name in outcome.peers}


def goal_figure(verdict: Verdict, value: float) -> str:
    """Write a measured figure in its unit."""
    return f"{figure(value)}x" if verdict.unit == "x" else amount(value, verdict.unit)


def show(title: str, lines: Lines, rivals: Collection[str] = ()) -> None:
    """Print a table: drawn on a terminal, in columns elsewhere.

    Args:
        title: Above it.
        lines: Its cells.
        rivals: Columns of ratios where more is better.
    """
    if not (sys.stdout.isatty() and _drawn(title, lines, rivals)):
        print(f"\n{title}\n{aligned(lines)}", flush=True)


def _drawn(title: str, lines: Lines, rivals: Collection[str]) -> bool:
    """Draw a table with rich; whether rich is there."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    made = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for name in lines[0]:
        made.add_column(name, justify="left" if name in WORDS else "right", overflow="fold")
    for line in lines[1:]:
        made.add_row(
            *(
                Text(cell, style=style(name in rivals, cell))
                for name, cell in zip(lines[0], line, strict=True)
            )
        )
    Console().print("", made)
    return True


def style(rival: bool, cell: str) -> str:
    """Choose the look of a cell: what is slower than a peer, or not met, stands out."""
    if rival and cell:
        return "dim" if cell.startswith("=") else "green" if float(cell) >= 1 else "red"
    return "red" if "NOT MET" in cell or cell == "SLOWER" else ""


def aligned(lines: Lines) -> str:
    """Put cells into columns."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if name in WORDS else cell.rjust(width)
            for name, cell, width in zip(lines[0], line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def markdown(lines: Lines) -> str:
    """Write a table as Markdown."""
    rule = [":--" if name in WORDS else "--:" for name in lines[0]]
    safe = [[cell.replace("|", "\\|") for cell in line] for line in [lines[0], rule, *lines[1:]]]
    return "\n".join(f"| {' | '.join(line)} |" for line in safe)


def document(run: Run, pictures: Sequence[tuple[str, str]] = ()) -> str:
    """Write a run as a page of Markdown.

    Args:
        run: What was measured.
        pictures: Titles and paths, relative to the page.
    """
    parts = ["# Measured", "Made by `python -m benchmarks`; how to read it is in its README."]
    parts.append("\n".join(f"- {name}: {fact}" for name, fact in run.surroundings.items()))
    parts += [f"![{title}]({path})" for title, path in pictures]
    for title, rows in run.tables.items():
        parts += [
            f"## {title[:1].upper()}{title[1:]}",
            f"{MEANING.capitalize()}.",
            markdown(table(rows)),
        ]
    for heading, lines, count in goals(run):
        parts += [f"## {heading.capitalize()}", f"{count}.", markdown(lines)]
    return "\n\n".join(parts) + "\n"


def percent(part: float) -> str:
    """Write a spread or a noise, where it was measured."""
    return f"{part * 100:.0f}%" if part else ""


def ratio(outcome: Outcome, name: str) -> str:
    """Write how many times as much a contender takes; `=` marks what is within the noise."""
    if name not in outcome.ratios:
        return ""
    value = outcome.ratios[name]
    return f"={figure(value)}" if is_tie(value, outcome.noise) else figure(value)


def is_tie(value: float, noise: float) -> bool:
    """Whether a ratio, either way round, is within the noise."""
    return max(value, 1 / max(value, 1e-9)) - 1 <= noise


def amount(value: float, unit: str) -> str:
    """Write a figure in a unit that keeps it short."""
    scales: dict[str, list[tuple[str, float]]] = {
        "ns": [("s", 1e9), ("ms", 1e6), ("µs", 1e3)],
        "B": [("MiB", 1 << 20), ("KiB", 1 << 10)],
        "": [],
    }
    for name, scale in scales[unit]:
        if value >= scale:
            return f"{value / scale:.3g} {name}"
    return f"{value:.3g} {unit}".rstrip()


def figure(value: float) -> str:
    """Write a ratio with as many digits as it deserves."""
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 2 else f"{value:.2f}"
