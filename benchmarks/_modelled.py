"""Writes down what `benchmarks.model` reckons: `python -m benchmarks model RUN.json`."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import engine
from benchmarks._harness import US
from benchmarks._report import Lines
from benchmarks._results import ResultsError, Run, read, rows_of
from benchmarks.model import (
    BUSY,
    CHAT,
    RECEIVED,
    REDIS,
    ROUND,
    SENT,
    SHARES,
    Chat,
    Check,
    Costs,
    Cpu,
    checks,
    costs,
    largest,
    need,
)

BEGIN, END = "<!-- made by `python -m benchmarks model` -->", "<!-- end of what is made -->"
WIDTH = 100


def costs_table(costs: Costs) -> Lines:
    """Lay out what a post takes."""
    lines = [["", *SHARES]]
    for kind, scale, unit in (
        (CHAT, 1e3, "µs"),
        (REDIS, 1e3, "µs"),
        (RECEIVED, 1, "B"),
        (SENT, 1, "B"),
    ):
        lines.append([kind, *(f"{_short(cost / scale)} {unit}" for cost in costs.shares[kind])])
    return lines


def _short(value: float) -> str:
    """Write a figure with as many digits as it deserves."""
    if value < 0.1:
        return "0"
    return f"{value:.2g}" if value < 100 else f"{value:,.0f}"


def checks_table(found: Sequence[Check]) -> Lines:
    """Lay out what was predicted beside what was measured, of CPU time."""
    lines = [["", "processes", "predicted", "measured", "error", "±"]]
    for check in found:
        if check.kind in (CHAT, REDIS):
            lines.append(
                [
                    check.point.talk.label(check.kind),
                    str(check.point.processes),
                    f"{check.predicted / 1e3:,.0f} µs",
                    f"{check.measured / 1e3:,.0f} µs",
                    f"{check.error:+.0%}",
                    f"{check.noise:.0%}",
                ]
            )
    return lines


def projection(costs: Costs, chats: Sequence[Chat]) -> Lines:
    """Lay out what chats take."""
    lines = [["for each connection", *(_every(chat.posts) for chat in chats)]]
    needs = [need(costs, chat, is_cluster=True) for chat in chats]

    def row(title: str, cells: Iterator[str]) -> None:
        lines.append([title, *cells])

    row("posts a second", (f"{chat.rate:,.0f}" for chat in chats))
    row("deliveries a second", (f"{one.deliveries:,.0f}" for one in needs))
    row("processes, a core each", (f"{one.processes:,}" for one in needs))
    row("of them read each post", (f"{one.readers:,.0f}" for one in needs))
    row("memory of a process", (f"{one.process_memory / 2**30:.1f} GiB" for one in needs))
    row("cores of Redis", (f"{one.redis:,.1f}" for one in needs))
    row("of that for heartbeats and silent logs", (f"{one.redis_heartbeat:,.1f}" for one in needs))
    row("of that on the node of the inboxes", (f"{one.redis_inboxes:,.1f}" for one in needs))
    row(f"nodes, busy to {BUSY:.0%}", (f"{-(-one.redis // BUSY):.0f}" for one in needs))
    row("to Redis", (f"{one.to_redis * 8 / 1e6:,.0f} Mbit/s" for one in needs))
    row("from Redis", (f"{one.from_redis * 8 / 1e6:,.0f} Mbit/s" for one in needs))
    return lines


def _every(posts: float) -> str:
    return f"{posts:g} a minute" if posts >= 1 else f"one in {1 / posts:g} min"


def section(run: Run) -> str:
    """Write what the guide says."""
    found = costs(run)
    chats = [Chat(1_000_000, 10_000, posts) for posts in (1 / 60, 1 / 10, 1)]
    needs = [need(found, chat, is_cluster=True) for chat in chats]
    tried = [check for check in checks(run) if check.kind in (CHAT, REDIS)]
    errors = sorted(abs(check.error) for check in tried)
    within = sum(abs(check.error) <= check.noise for check in tried)
    silent, alive = (largest(found, 100, posts) for posts in (1e-9, 1 / 10))
    machine, python = run.surroundings["machine"], run.surroundings["python"]
    return "\n".join(
        [
            _filled(
                f"""Measured on {machine}, {python}. Chat, clients and Redis, which writes with
                `appendfsync always`, share these cores, so that more processes are no faster
                there; what counts is the CPU time. A message has 40 characters. What a post
                takes is a sum of shares. Readers are the processes with members of its room,
                beside the one that stores it; a call stores or reads many posts where much is
                said, and else one:"""
            ),
            _markdown(costs_table(found)),
            _filled(
                f"""As fast as it goes, with {engine.AHEAD} posts on their way in a room of
                {engine.CROWD:,}, so that a member gets several in one write, the deliveries a
                second were: {_rates(run)}."""
            ),
            _filled(
                f"""A heartbeat asks each shard what changed and says who is there. Where nothing
                did, each of both takes {_us(found.beat)} (of each shard of a Cluster
                {_us(found.shard)}), however many logs are followed; each log that changed
                somewhere takes {_us(found.told)} more. A look at a log takes {_us(found.look)}, and
                one that is silent has one in {ROUND / 60:.0f} minutes. A kept message takes
                {found.message:.0f} B of Redis, a user {found.user:.0f} B, a connection
                {found.connection / 1024:.1f} KiB of its process."""
            ),
            _filled(
                f"""That is found from all figures, of one, two and four processes. Found from
                those of one and half of those of two, such shares predict the others: {within}
                of {len(errors)} within the noise of what was measured, half of them to
                {errors[(len(errors) - 1) // 2]:.0%} or better, the worst to {errors[-1]:.0%}:"""
            ),
            _markdown(checks_table(tried)),
            _filled(
                f"""**A million connections in ten thousand rooms**, a hundred in each, wherever
                the balancer put them. Cores are busy to {BUSY:.0%}, and
                {found.together:.0f} reads go together in a call, as with four processes here:"""
            ),
            _markdown(projection(found, chats)),
            _filled(
                f"""Beside that, Redis holds {needs[0].redis_memory / 2**30:.1f} GiB for the users
                and {found.message * 1e9 / 2**30:.0f} GiB for each thousand million messages that
                are kept."""
            ),
            _filled(
                f"""**Where it bends first.** One Redis does all of this on one core. That is busy
                at {silent:,} connections where nobody says anything, and at {alive:,} where each
                says something every ten minutes: what is said is what costs, as each process with
                a member of the room reads it. Memory and network are far from their ends then.
                Next come the processes: with a hundred members in a room nearly each is on another
                process, so that {needs[-1].readers:.0f} of them read each post."""
            ),
            _filled(
                f"""**What to do then.** All but the inboxes is of one room at a time, so that
                the rooms can be spread over the nodes of a Redis Cluster, and what they take
                with them. Inboxes stay on one node, as a direct message goes into two in one
                piece. Silent ones keep it busy at {found.inboxes:,} connections only, so that it
                is direct messages that bound the chat there: each is a post in two logs. Where it
                is rooms that cost, fewer and larger processes read less."""
            ),
        ]
    )


def _us(cost: Cpu) -> str:
    return f"{cost.chat / 1e3:,.0f} µs of a process and {cost.redis / 1e3:,.0f} µs of Redis"


def _rates(run: Run) -> str:
    """Say how many deliveries a second there were, by who made them."""
    (row,) = (row for _, (row, _) in rows_of(run.tables) if row.label == engine.fast())
    names = {engine.SQLITE: "one process on SQLite", US: "one on Redis"}
    return ", ".join(
        f"{names.get(name, name)} {float(f'{1e9 / row.values[name]:.2g}'):,.0f}"
        for name in sorted(row.values, key=lambda name: (name != engine.SQLITE, name != US, name))
    )


def _filled(text: str) -> str:
    """Break a paragraph into lines."""
    words = " ".join(text.split())
    return textwrap.fill(words, WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def _markdown(lines: Lines) -> str:
    head, *rest = lines
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *rest))


def replaced(page: str, made: str) -> str:
    """Put what is made into a page, between its marks.

    Raises:
        ResultsError: The page has no place for it.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ResultsError(f"the page lacks the lines {BEGIN} and {END}")
    return f"{before}{begin}\n\n{made}\n{end}{after}"


def main(argv: Sequence[str]) -> int:
    """Print the section, or put it into a page; the exit status is 2 if a file is none."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks model", description=__doc__)
    parser.add_argument("file", type=Path, help="the JSON of a run with the suite engine")
    parser.add_argument("--markdown", type=Path, metavar="PAGE", help="put it there, in its place")
    options = parser.parse_args(argv)
    try:
        made = section(read(options.file))
        if options.markdown is None:
            print(made, end="")
        else:
            page = options.markdown.read_text(encoding="utf-8")
            options.markdown.write_text(replaced(page, made), encoding="utf-8")
    except (ResultsError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    return 0
