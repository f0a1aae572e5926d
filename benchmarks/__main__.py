"""Run the benchmarks and print their tables: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import _live, _suites, idle, peers, servers
from benchmarks._harness import Timing, UnequalWork, warm_allocator
from benchmarks._report import Judged, goals_table, load, surroundings, table, to_json
from benchmarks.load import LoadUnavailable

#: Turns and their length in seconds: for figures, and for a look.
FULL, QUICK = Timing(17, 0.008), Timing(3, 0.002)
#: The same for servers.
SERVING, SERVING_QUICK = Timing(7, 0.2), Timing(3, 0.05)


def main(argv: list[str] | None = None) -> int:
    """Run the suites asked for; the exit status is 1 where a contender did not do the work."""
    options = parse(argv)
    found, versions = peers.find(options.peers)
    programs: list[servers.Program] = []
    if set(options.suite) & set(_suites.SERVERS):
        programs, facts_of_servers = servers.find(options.peers)
        versions |= {f"{name} server": fact for name, fact in facts_of_servers.items()}
    settings = _suites.Settings(
        peers=found,
        programs=programs,
        timing=timing(options, QUICK if options.quick else FULL),
        serving=timing(options, SERVING_QUICK if options.quick else SERVING),
        match=options.match,
        quick=options.quick,
        progress=progress,
    )
    facts = surroundings(versions)
    if programs:
        facts |= _live.surroundings(idle.MANY)
    print("\n".join(f"{name}: {fact}" for name, fact in facts.items()), flush=True)
    warm_allocator()
    measured: dict[str, list[Judged]] = {}
    try:
        for suite in options.suite:
            titles: list[str] = []
            try:
                for title, judged in _suites.run(suite, settings):
                    measured.setdefault(title, []).append(judged)
                    titles += [] if title in titles else [title]
            except LoadUnavailable as exc:
                print(f"{suite}: left out: {exc}", file=sys.stderr)
            progress("")
            for title in titles:
                print(f"\n{title}: ours, and how many times as much the others take")
                print(table(measured[title]), flush=True)
    except (UnequalWork, servers.ServerError) as exc:
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


def timing(options: argparse.Namespace, usual: Timing) -> Timing:
    """Take what was asked for, and what is usual for the rest."""
    return Timing(options.turns or usual.turns, options.seconds or usual.seconds)


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
    known = list(dict.fromkeys([*peers.MODULES, *servers.NAMES]))
    parser.add_argument(
        "--peers",
        type=names_of(known),
        default=known,
        metavar="NAME,…",
        help=f"of {', '.join(known)} (default: all)",
    )
    parser.add_argument("--match", default="", help="only rows whose name contains this")
    parser.add_argument("--quick", action="store_true", help="short turns: a look, no figures")
    parser.add_argument(
        "--turns", type=int, help=f"turns each (default: {FULL.turns}; of servers: {SERVING.turns})"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"length of a turn (default: {FULL.seconds}; of servers: {SERVING.seconds})",
    )
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
