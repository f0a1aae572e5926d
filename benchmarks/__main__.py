"""Run the benchmarks and print their tables: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import _suites, peers
from benchmarks._harness import Timing, UnequalWork, warm_allocator
from benchmarks._report import Judged, goals_table, load, surroundings, table, to_json

#: Turns and their length in seconds: for figures, and for a look.
FULL, QUICK = Timing(17, 0.008), Timing(3, 0.002)


def main(argv: list[str] | None = None) -> int:
    """Run the suites asked for; the exit status is 1 where a contender did not do the work."""
    options = parse(argv)
    usual = QUICK if options.quick else FULL
    found, versions = peers.find(options.peers)
    settings = _suites.Settings(
        peers=found,
        timing=Timing(options.turns or usual.turns, options.seconds or usual.seconds),
        match=options.match,
        quick=options.quick,
        progress=progress,
    )
    facts = surroundings(versions)
    print("\n".join(f"{name}: {fact}" for name, fact in facts.items()), flush=True)
    warm_allocator()
    measured: dict[str, list[Judged]] = {}
    try:
        for suite in options.suite:
            titles: list[str] = []
            for title, judged in _suites.run(suite, settings):
                measured.setdefault(title, []).append(judged)
                titles += [] if title in titles else [title]
            progress("")
            for title in titles:
                print(f"\n{title}: ours, and how many times as much the others take")
                print(table(measured[title]), flush=True)
    except UnequalWork as exc:
        progress("")
        print(f"error: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        progress("")
        print("\ninterrupted: what follows is of the rows measured so far", file=sys.stderr)
    facts["load at the end"] = load()
    print(f"\nload at the end: {facts['load at the end']}")
    print_goals(measured)
    if options.json:
        options.json.write_text(to_json(facts, measured), encoding="utf-8")
    return 0


def print_goals(measured: Mapping[str, list[Judged]]) -> None:
    """Print the goals, those of the Python twin apart."""
    for heading, twin in (("goals", False), (f"goals of the {_suites.TWIN_TITLE}", True)):
        tables = {
            title: rows
            for title, rows in measured.items()
            if title.startswith(_suites.TWIN_TITLE) == twin
        }
        if any(verdicts for rows in tables.values() for _, verdicts in rows):
            print(f"\n{heading}\n{goals_table(tables)}")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--suite",
        type=names_of(_suites.NAMES),
        default=_suites.NAMES,
        metavar="NAME,…",
        help=f"of {', '.join(_suites.NAMES)} (default: all)",
    )
    parser.add_argument(
        "--peers",
        type=names_of(list(peers.MODULES)),
        default=list(peers.MODULES),
        metavar="NAME,…",
        help=f"of {', '.join(peers.MODULES)} (default: all)",
    )
    parser.add_argument("--match", default="", help="only rows whose name contains this")
    parser.add_argument("--quick", action="store_true", help="short turns: a look, no figures")
    parser.add_argument("--turns", type=int, help=f"turns each (default: {FULL.turns})")
    parser.add_argument("--seconds", type=float, help=f"length of a turn (default: {FULL.seconds})")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser.parse_args(argv)


def names_of(known: list[str]) -> Callable[[str], list[str]]:
    """Make the type of an option that takes names, separated by commas."""

    def names(text: str) -> list[str]:
        given = text.split(",")
        if unknown := set(given) - set(known):
            raise argparse.ArgumentTypeError(
                f"no {', '.join(sorted(unknown))}; known: {', '.join(known)}"
            )
        return [name for name in known if name in given]

    return names


def progress(text: str) -> None:
    """Show on a terminal what is being measured; an empty text clears the line."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
