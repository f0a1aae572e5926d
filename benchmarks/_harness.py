"""Times contenders side by side; knows nothing of WebSockets, imports nothing of the suite.

What counts is CPU time, so that waiting for a busy core does not. The contenders of a row take
short turns, so that whatever else the machine does slows all of them alike. A ratio is taken within
each turn, and the median of these ratios is what is printed. We run twice in each turn, first and
last: how much these two differ is the row's noise. Before any timing every contender shows its
result once, and one that is not as expected is an error.
"""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import timeit
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import thread_time
from typing import Any

#: The contender whose times the others are compared with.
US = "wscore"

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


@dataclass(frozen=True)
class Contender:
    """One way of doing the work of a row.

    Attributes:
        name: The library, `wscore` for ours.
        statement: What is timed, as Python source.
        names: The statement's global names.
        work: How many units of work (messages, calls, bytes) one execution does.
        result: Does the work once and returns what must equal the row's `expected`; None for a
            limit that does other work by intention, as a plain copy.
        peer: Another library doing the same work; false for limits and for our own other sizes.
    """

    name: str
    statement: str
    names: Mapping[str, Any]
    work: int = 1
    result: Callable[[], object] | None = None
    peer: bool = True


@dataclass(frozen=True)
class Row:
    """One line of a table: the same work by several contenders, and what each must arrive at."""

    label: str
    contenders: Sequence[Contender]
    expected: object


@dataclass
class Outcome:
    """What was measured for a row.

    Attributes:
        label: The row's.
        unit: Of the values: `ns` (time of one unit of work), `B` (bytes) or nothing (a number).
        values: The median, by contender.
        ratios: Theirs divided by ours, by contender: the median of the turns.
        noise: How far we are from ourselves within a turn (0.03: three per cent).
        peers: Which of the contenders are other libraries.
        excess: Our value less theirs, by contender: the median of the turns.
        spread: Half the distance between the quartiles of the turns, as a part of the median, by
            contender: of our times, and of their ratios.
    """

    label: str
    unit: str
    values: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    noise: float = 0.0
    peers: list[str] = field(default_factory=list)
    excess: dict[str, float] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)


class UnequalWork(Exception):
    """A contender's result is not what the row expects, so that its time means nothing."""


@dataclass(frozen=True)
class Timing:
    """How long to measure.

    Attributes:
        turns: How often each contender is timed.
        seconds: About how long each time.
    """

    turns: int
    seconds: float


def warm_allocator() -> None:
    """Make large blocks as cheap for everybody as in a process that has run for a while.

    glibc gives a block above its threshold back to the system when it is freed, and takes it again
    page by page; the threshold grows to the largest block freed so far, up to 32 MiB. Otherwise a
    row with 1 MiB messages would measure what the rows before it have freed, and one with 64 MiB
    mostly the system. Here it keeps what is freed.
    """
    bytes(31 << 20)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:  # glibc, with the numbers of its malloc.h
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 1 << 30)


def check_work(row: Row) -> None:
    """Let every contender do the work once.

    Raises:
        UnequalWork: One arrives at something else than expected.
    """
    for contender in row.contenders:
        if contender.result is not None and contender.result() != row.expected:
            raise UnequalWork(f"{row.label}: {contender.name} does not do the work")


def measure(row: Row, timing: Timing) -> Outcome:
    """Time the contenders of a row in turns; ours is the first of them.

    Raises:
        UnequalWork: One of them does not do the row's work.
    """
    check_work(row)
    gc.collect()
    assert row.contenders[0].name == US
    # Ourselves once more at the other end of the turn: the A/A pair.
    entries = [*row.contenders, row.contenders[0]]
    timers = [timeit.Timer(c.statement, timer=thread_time, globals=dict(c.names)) for c in entries]
    loops = [loops_for(timer, timing.seconds) for timer in timers[:-1]]
    loops.append(loops[0])
    samples: list[list[float]] = [[] for _ in entries]
    for turn in range(timing.turns):
        order = range(len(entries))
        for at in order if turn % 2 == 0 else reversed(order):
            elapsed = timers[at].timeit(loops[at])
            samples[at].append(elapsed / loops[at] / entries[at].work * 1e9)
    return outcome_of(row, samples)


def outcome_of(row: Row, samples: Sequence[Sequence[float]]) -> Outcome:
    """Sum up the turns; the last list of samples is ours once more."""
    first, again = samples[0], samples[-1]
    ours = [(a + b) / 2 for a, b in zip(first, again, strict=True)]
    outcome = Outcome(row.label, "ns")
    outcome.noise = statistics.median(abs(b / a - 1) for a, b in zip(first, again, strict=True))
    outcome.peers = [c.name for c in row.contenders if c.peer and c.name != US]
    outcome.values[US] = statistics.median(ours)
    outcome.spread[US] = spread_of(ours)
    for contender, times in zip(row.contenders[1:], samples[1:-1], strict=True):
        pairs = list(zip(times, ours, strict=True))
        outcome.values[contender.name] = statistics.median(times)
        ratios = [t / o for t, o in pairs]
        outcome.ratios[contender.name] = statistics.median(ratios)
        outcome.spread[contender.name] = spread_of(ratios)
        outcome.excess[contender.name] = statistics.median(o - t for t, o in pairs)
    return outcome


def spread_of(values: Sequence[float]) -> float:
    """Return half the distance between the quartiles, as a part of the median (0.03: 3 %)."""
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / max(middle, 1e-9)


def compared(
    label: str,
    unit: str,
    values: Mapping[str, float],
    peers: Iterable[str],
    again: float | None = None,
) -> Outcome:
    """Make the outcome of figures that come without turns, such as counted bytes.

    Args:
        label: The row's.
        unit: Of the values.
        values: By contender.
        peers: Which of them are other libraries.
        again: Our own figure once more, for the noise.
    """
    others = {name: value for name, value in values.items() if name != US}
    return Outcome(
        label,
        unit,
        values=dict(values),
        ratios={name: value / max(values[US], 1e-9) for name, value in others.items()},
        noise=0.0 if again is None else abs(again / max(values[US], 1e-9) - 1),
        peers=[name for name in peers if name in others],
        excess={name: values[US] - value for name, value in others.items()},
    )


def combined(repeats: Sequence[Outcome]) -> Outcome:
    """Sum up a row that was measured several times from the start: medians of its medians.

    The noise is what one measurement says of itself or how far the repeats' ratios are apart,
    whichever is more: what changes from process to process is not seen within one.
    """
    first = repeats[0]
    if len(repeats) == 1:
        return first
    apart = [
        (max(found) - min(found)) / 2 / max(statistics.median(found), 1e-9)
        for name in first.ratios
        if (found := [outcome.ratios[name] for outcome in repeats if name in outcome.ratios])
    ]
    within = statistics.median(outcome.noise for outcome in repeats)
    return Outcome(
        first.label,
        first.unit,
        values=_medians([outcome.values for outcome in repeats]),
        ratios=_medians([outcome.ratios for outcome in repeats]),
        noise=max([within, *([statistics.median(apart)] if apart else [])]),
        peers=first.peers,
        excess=_medians([outcome.excess for outcome in repeats]),
        spread=_medians([outcome.spread for outcome in repeats]),
    )


def _medians(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in found if name in one) for name in found[0]}


@contextmanager
def pinned() -> Iterator[None]:
    """Keep this process on one core of the processor while it measures, where that is possible."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(usable)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


def loops_for(timer: timeit.Timer, seconds: float) -> int:
    """Find how many executions take about `seconds`; the search is the warm-up."""
    loops = 1
    while (elapsed := timer.timeit(loops)) < seconds / 2:
        loops = max(loops * 2, int(loops * seconds / max(elapsed, 1e-9) / 2))
    return max(1, round(loops * seconds / elapsed))
