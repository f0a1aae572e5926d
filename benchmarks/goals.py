"""What each row should reach, as data, and the judgement of a measured row; imports the harness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks._harness import US, Outcome
from wscore import _framing

#: Stands for whichever peer of the row is the fastest.
BEST_PEER = "the best peer"
EMPTY_CALL = "empty call"
COPY = "bytes(buf)"
ZLIB = "zlib alone"
#: The most noise that a tie is granted: beyond, a run says nothing, and the goal is not met.
TIE = 0.05
#: Work counts as linear where 16 times of it take at most this much more time a byte; so does
#: twice of it, which would be at 2 if it grew with the square.
LINEAR = 1.25


@dataclass(frozen=True)
class Goal:
    """What a row should reach.

    Attributes:
        kind: `faster`, at least `limit` times as fast as `against`; `of`, at most `limit` times its
            time; `over`, at most `limit` nanoseconds more; `at most`, a limit of our own figure.
        limit: The number.
        against: The contender's name.
        stretch: Hoped for, and not counted among the goals.
    """

    kind: Literal["faster", "of", "over", "at most"]
    limit: float
    against: str = "wsproto"
    stretch: bool = False

    def __str__(self) -> str:
        match self.kind:
            case "faster":
                text = f"≥ {self.limit:g}x {self.against}"
            case "of":
                text = f"≤ {self.limit:g}x {self.against}"
            case "over":
                text = f"≤ {self.limit:g} ns over {self.against}"
            case "at most":
                text = f"≤ {self.limit:g} B"
        return f"stretch {text}" if self.stretch else text


@dataclass(frozen=True)
class Verdict:
    """A goal, the figure that it is about as measured, and whether that reaches it.

    Attributes:
        measured: None where the contender that it is about is not there.
        unit: Of that figure: `x`, `ns` or `B`.
        tie: Reached only because the difference is within the row's noise.
    """

    goal: str
    measured: float | None
    unit: str
    met: bool
    tie: bool = False
    stretch: bool = False

    def __str__(self) -> str:
        if self.measured is None:
            return "not measured"
        return "met (a tie)" if self.tie else "met" if self.met else "NOT MET"


def judge(goal: Goal, outcome: Outcome) -> Verdict:
    """Compare what was measured with a goal; only an aim to be level allows for the noise."""
    against = goal.against
    if against == BEST_PEER and outcome.peers:
        against = min(outcome.peers, key=lambda peer: outcome.ratios[peer])
    if goal.kind == "at most":
        value = outcome.values[US]
        return Verdict(str(goal), value, outcome.unit, value <= goal.limit, stretch=goal.stretch)
    if against not in outcome.ratios:
        return Verdict(str(goal), None, "x", False, stretch=goal.stretch)
    tie, unit = False, "x"
    match goal.kind:
        case "faster":
            value = outcome.ratios[against]
            tie = goal.limit == 1 and 1 - min(outcome.noise, TIE) <= value < 1
            met = tie or value >= goal.limit
        case "of":
            value = 1 / outcome.ratios[against]
            met = value <= goal.limit
        case "over":
            value, unit = outcome.excess[against], "ns"
            met = value <= goal.limit
    text = str(goal) if against == goal.against else f"{goal}, {against}"
    return Verdict(text, value, unit, met, tie, goal.stretch)


def verdicts(outcome: Outcome, twin: bool = _framing.IMPLEMENTATION == "python") -> list[Verdict]:
    """Judge all goals of a row.

    The Python twin has the same for memory, and one goal in every row for time that wsproto is in:
    to be no slower.
    """
    if not twin or outcome.unit != "ns":
        goals = GOALS.get(outcome.label, ())
    else:
        goals = (Goal("faster", 1),) if "wsproto" in outcome.ratios else ()
    return [judge(goal, outcome) for goal in goals]


_LEVEL = (Goal("faster", 1, BEST_PEER),)
_ECHO = (Goal("of", 0.75, "serve_tcp"), Goal("faster", 1, "picows", stretch=True))

GOALS: dict[str, tuple[Goal, ...]] = {
    "in place, 16 B": (Goal("over", 5, EMPTY_CALL),),
    "copying, 16 B": (Goal("faster", 35),),
    "copying, 125 B": (Goal("faster", 35),),
    "copying, 16 KiB": (Goal("of", 1.3, COPY),),
    "copying, 64 KiB": (Goal("of", 1.3, COPY),),
    "copying, 1 MiB": (Goal("of", 1.05, COPY),),
    "server receives text 32 B, frame a call": (Goal("faster", 50),),
    "server receives text 32 B, 64 KiB chunks": (Goal("faster", 90),),
    "server receives text 1 KiB ASCII, frame a call": (Goal("faster", 60),),
    "server receives text 1 KiB non-ASCII, frame a call": (
        Goal("faster", 10),
        Goal("faster", 25, stretch=True),
    ),
    "server receives binary 1 MiB, frame a call": (Goal("faster", 45),),
    "server sends text 32 B": (Goal("faster", 45),),
    "client sends text 32 B": (Goal("faster", 65),),
    "client sends binary 1 MiB": (Goal("faster", 100),),
    # Without a copy the size cannot matter.
    "server sends binary 1 MiB as header and payload": (Goal("of", 1.5, "wscore, 32 B"),),
    "server receives JSON 1 KiB, level 6, window 15": _LEVEL,
    "client receives JSON 1 KiB, level 6, window 15": _LEVEL,
    "server sends JSON 1 KiB, level 6, window 15": _LEVEL,
    "client sends JSON 1 KiB, level 6, window 15": _LEVEL,
    "text 128 B, plain": (Goal("over", 500, EMPTY_CALL),),
    "text 128 B, level 6, window 15": (Goal("over", 500, EMPTY_CALL),),
    "1 MiB in 1-byte fragments, a byte": (Goal("of", LINEAR, "wscore, 1/16"),),
    "1 MiB frame byte by byte, a byte": (Goal("of", LINEAR, "wscore, 1/16"),),
    "64 MiB message in 64 KiB chunks, a byte": (Goal("of", LINEAR, "wscore, 1/2"),),
    "1 MiB in 1-byte fragments, held a byte": (Goal("at most", 4),),
    "1 MiB frame byte by byte, held a byte": (Goal("at most", 4),),
    "64 MiB message in 64 KiB chunks, held a byte": (Goal("at most", 4),),
    "echo 32 B, 10 connections": _ECHO,
    "echo 32 B, 100 connections": _ECHO,
    "echo 32 B, 64 pipelined": (
        Goal("faster", 80, "trio-websocket"),
        Goal("faster", 0.6, "serve_tcp"),
    ),
    "echo JSON 1 KiB, deflate level 1, window 15": (Goal("faster", 1, "aiohttp"),),
    "fan-out to 1,000 members, time": (
        Goal("faster", 5, "trio-websocket"),
        Goal("faster", 0.9, "socketify"),
    ),
    "fan-out to 5,000 members, time": (
        Goal("faster", 3.5, "trio-websocket"),
        Goal("faster", 0.9, "socketify"),
    ),
    "posts of 50 at once, time": (Goal("faster", 0.8, "memory"),),
    "posts of 1,000 at once, time": (Goal("faster", 0.8, "memory"),),
    "room of 1,000, time": (Goal("faster", 0.8, "broadcast"),),
    "room of 5,000, time": (Goal("faster", 0.8, "broadcast"),),
    "room of 1,000, 4 posts ahead, time": (Goal("faster", 0.8, "broadcast"),),
    "room of 5,000, 4 posts ahead, time": (Goal("faster", 0.8, "broadcast"),),
    "member of a room of 1,000": (Goal("at most", 12 * 1024),),
    "join a room of 5,000": (Goal("of", LINEAR, "room of 300"),),
    "join a log of 100,000": (Goal("of", LINEAR, "log of 1,000"),),
    "idle on a server": (Goal("at most", 5 * 1024),),
    "10,000 idle: a connection": (Goal("at most", 5 * 1024),),
    "idle on a server, deflate negotiated, unused": (Goal("at most", 6 * 1024),),
    "idle connection": (Goal("at most", 1024),),
    "idle connection, deflate negotiated, unused": (Goal("at most", 1024),),
}
