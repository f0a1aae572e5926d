"""`python -m benchmarks`: measures the suites asked for and shows what was found; imports all."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import _live, _suites, embedding, idle, peers, servers
from benchmarks._harness import Outcome, Timing, UnequalWork, combined, warm_allocator
from benchmarks._progress import Progress
from benchmarks._report import show_goals, show_run
from benchmarks._results import TWIN_TITLE, Judged, ResultsError, Run, merged, read, write
from benchmarks._shown import add_outputs, check_outputs, write_outputs
from benchmarks._surroundings import load, surroundings
from benchmarks.goals import verdicts
from benchmarks.load import LoadUnavailable

#: Turns and their length in seconds: for figures, and for a look.
FULL, QUICK = Timing(17, 0.008), Timing(3, 0.002)
#: The same for servers.
SERVING, SERVING_QUICK = Timing(7, 0.2), Timing(3, 0.05)
#: The exit status after Ctrl-C: 128 and the signal's number, as shells have it.
INTERRUPTED = 130


class Measured:
    """What was found so far: for each table and row one outcome, or one of each repeat."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, list[Judged]]] = {}

    def add(self, title: str, judged: Judged) -> None:
        """Take a row."""
        self._found.setdefault(title, {}).setdefault(judged[0].label, []).append(judged)

    def table(self, title: str) -> list[Judged]:
        """Sum up the rows of a table."""
        return [_summed(title, found) for found in self._found[title].values()]

    def tables(self) -> dict[str, list[Judged]]:
        """Sum up everything."""
        return {title: self.table(title) for title in self._found}


def _summed(title: str, found: Sequence[Judged]) -> Judged:
    if len(found) == 1:
        return found[0]
    outcome: Outcome = combined([one for one, _ in found])
    if title.startswith(TWIN_TITLE):
        return outcome, verdicts(outcome, twin=True)
    return outcome, verdicts(outcome)


def main(argv: Sequence[str]) -> int:
    """Run the suites asked for.

    Returns:
        The exit status: 0; 1 where a contender did not do the work; 2 where what was measured
        before and is to be added to was measured elsewhere; 130 after Ctrl-C.
    """
    options = parse(argv)
    found, versions = peers.find(options.peers)
    programs: list[servers.Program] = []
    if set(options.suite) & set(_suites.SERVERS):
        programs, facts_of_servers = servers.find(options.peers)
        versions |= {f"{name} server": fact for name, fact in facts_of_servers.items()}
    if "embedding" in options.suite:
        versions |= embedding.facts()
    settings = _suites.Settings(
        peers=found,
        programs=programs,
        timing=timing(options, QUICK if options.quick else FULL),
        serving=timing(options, SERVING_QUICK if options.quick else SERVING),
        match=options.match,
        quick=options.quick,
        progress=lambda label: None,
    )
    if options.list:
        list_rows(options.suite, settings)
        return 0
    facts = surroundings(versions)
    if programs:
        facts |= _live.surroundings(idle.MANY)
    facts["measured"] = f"turns of {described(settings)}, repeated {options.repeats} times"
    try:
        before = read(options.json) if options.append and options.json.exists() else None
        if before is not None:
            merged(before, Run(facts, {}))
    except ResultsError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    print("\n".join(f"{name}: {fact}" for name, fact in facts.items()), flush=True)
    warm_allocator()
    measured = Measured()
    status = measure_all(options, settings, measured)
    # Whoever presses Ctrl-C once more does not want half a file.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    facts["load at the end"] = load()
    print(f"\nload at the end: {facts['load at the end']}")
    run = Run(facts, measured.tables())
    show_goals(run)
    if status != 1:
        whole = run if before is None else merged(before, run)
        if options.json:
            write(options.json, whole)
        write_outputs(options, whole)
    return status


def measure_all(options: argparse.Namespace, settings: _suites.Settings, measured: Measured) -> int:
    """Measure the suites as often as asked for, and show each at its last time.

    Returns:
        The exit status so far. What was measured before an interruption or an error is kept.
    """
    # Making all rows to name them takes seconds; nobody looks where there is no terminal.
    suites = options.suite if sys.stderr.isatty() else []
    plans = {name: _suites.plan(name, settings) for name in suites}
    weights = {label: weight for rows in plans.values() for label, weight in rows.items()}
    behind = 0.0
    try:
        with Progress(weights, options.repeats) as progress:
            telling = replace(settings, progress=progress.next)
            for repeat in range(options.repeats):
                for name in options.suite:
                    titles = measure_one(name, telling, measured)
                    behind += sum(plans.get(name, {}).values())
                    progress.reach(behind)
                    if repeat == options.repeats - 1:
                        with progress.paused():
                            show_run(Run({}, {title: measured.table(title) for title in titles}))
    except (UnequalWork, servers.ServerError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: what follows is of the rows measured so far", file=sys.stderr)
        show_run(Run({}, measured.tables()))
        return INTERRUPTED
    return 0


def measure_one(name: str, settings: _suites.Settings, measured: Measured) -> list[str]:
    """Measure a suite, and return the titles of its tables."""
    titles: dict[str, None] = {}
    try:
        for title, judged in _suites.run(name, settings):
            measured.add(title, judged)
            titles[title] = None
    except LoadUnavailable as exc:
        print(f"{name}: left out: {exc}", file=sys.stderr)
    return list(titles)


def list_rows(suites: Sequence[str], settings: _suites.Settings) -> None:
    """Print the rows that would be measured, by suite, with the time that all take, roughly."""
    total = 0.0
    for name in suites:
        rows = _suites.plan(name, settings)
        total += sum(rows.values())
        print(f"{name}:", *rows, sep="\n  ")
    print(f"about {max(1, round(total / 60))} min")


def described(settings: _suites.Settings) -> str:
    """Say how long was measured."""
    both = (settings.timing, settings.serving)
    core, serving = (f"{timing.turns} x {timing.seconds * 1000:g} ms" for timing in both)
    return f"{core}, of servers {serving}"


def timing(options: argparse.Namespace, usual: Timing) -> Timing:
    """Take what was asked for, and what is usual for the rest."""
    return Timing(options.turns or usual.turns, options.seconds or usual.seconds)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the suites, print their tables and the goals.",
        epilog="`python -m benchmarks compare OLD NEW` compares two runs, `show FILE` shows one.",
    )
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
    parser.add_argument("--list", action="store_true", help="name the rows, and measure nothing")
    parser.add_argument("--quick", action="store_true", help="short turns: a look, no figures")
    parser.add_argument(
        "--repeats", type=count, default=1, help="measure everything so often, from the start"
    )
    parser.add_argument(
        "--turns",
        type=count,
        help=f"turns each (default: {FULL.turns}; of servers: {SERVING.turns})",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"length of a turn (default: {FULL.seconds}; of servers: {SERVING.seconds})",
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument(
        "--append", action="store_true", help="put them to those of other suites in that file"
    )
    add_outputs(parser)
    options = parser.parse_args(argv)
    if options.append and not options.json:
        parser.error("--append needs --json")
    check_outputs(parser, options)
    return options


def count(text: str) -> int:
    """Read a number of times."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


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
