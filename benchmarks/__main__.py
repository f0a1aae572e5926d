"""Run the benchmarks and print their tables: `python -m benchmarks [SUITE ...]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import connection, masking
from benchmarks._harness import Outcome, UnequalWork, measure, surroundings, table, to_json

SUITES = {"masking": masking, "connection": connection}


def main() -> int:
    """Run the suites asked for; the exit status is 1 where a contender did not do the work."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--match", default="", help="only rows whose name contains this")
    parser.add_argument("--turns", type=int, default=7, help="turns each (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=0.02, help="length of a turn (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    if unknown := set(options.suites) - set(SUITES):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    suites = [SUITES[name] for name in options.suites or SUITES]

    facts = surroundings(dict.fromkeys(peer for suite in suites for peer in suite.PEERS))
    print("\n".join(f"{name}: {fact}" for name, fact in facts.items()))
    measured: dict[str, list[Outcome]] = {}
    tables = {title: rows for suite in suites for title, rows in suite.TABLES.items()}
    for title, rows in tables.items():
        outcomes = measured.setdefault(title, [])
        try:
            for row in rows():
                if options.match in row.label:
                    progress(f"{title}: {row.label}")
                    outcomes.append(measure(row, turns=options.turns, seconds=options.seconds))
        except UnequalWork as exc:
            progress("")
            print(f"error: {exc}", file=sys.stderr)
            return 1
        progress("")
        if outcomes:
            print(f"\n{title}: our time, and how many times as long the others take")
            print(table(outcomes), flush=True)
    verdicts = [v.met for outcomes in measured.values() for o in outcomes for v in o.verdicts]
    print(f"\n{sum(verdicts)} of {len(verdicts)} goals met")
    if options.json:
        options.json.write_text(to_json(facts, measured), encoding="utf-8")
    return 0


def progress(text: str) -> None:
    """Show on a terminal what is being measured; an empty text clears the line."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
