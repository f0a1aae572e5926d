"""Reckons from measured figures what a chat of any size takes, in processes and in Redis.

Costs of a post are taken to be sums of shares: of the post itself, of the calls of Redis that store
and that read, of each other process that reads it, of each delivery. To see how well that holds,
they are also found from the figures of one process and some of those of two only, and predict all
others, with two processes and with four. No I/O: figures of `benchmarks.engine` in, others out;
`benchmarks._modelled` writes them down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks import engine
from benchmarks._harness import US, Outcome
from benchmarks._results import ResultsError, Run, rows_of
from benchmarks.engine import PROCESSES, TALKS, Talk, contender

CHAT, REDIS, CALLS, RECEIVED, SENT = (
    "CPU of the chat",
    "CPU of Redis",
    "calls of Redis",
    "bytes to Redis",
    "bytes from Redis",
)
#: What the shares are of, in the order of `Point.shares`.
SHARES = ("a post", "a call to store", "a call to read", "a reader", "a delivery")
#: Seconds between two heartbeats of a process, and within which it looks at each log.
HEARTBEAT, ROUND = 2.0, 300.0
#: What a process does at each shard in that time: it asks what changed, and says that it is there.
BEATS = 2
#: Shards of a Cluster: those of rooms, and the one of names and inboxes.
SHARDS = 65
#: Of how many logs in each of them Redis keeps the last change.
NOTED = 10_000
#: How busy a core may be, so that there is room for the unforeseen.
BUSY = 0.6
#: Connections of a process, at most: what a core can also do in the seconds after a restart.
CONNECTIONS = 20_000


def shares(readers: float, calls: float, members: float) -> tuple[float, ...]:
    """Say how often each of `SHARES` is in a post.

    Args:
        readers: Processes with members of the room, the one that stores the post among them.
        calls: Of Redis; of all of these, every process makes as many.
        members: Of the room.
    """
    return (1, calls / readers, calls * (1 - 1 / readers), readers - 1, members)


class Point(NamedTuple):
    """One measured setting."""

    talk: Talk
    processes: int
    figures: Mapping[str, float]
    noise: Mapping[str, float]

    @property
    def shares(self) -> tuple[float, ...]:
        """How often each of `SHARES` is in a post."""
        return shares(self.processes, self.figures[CALLS], self.talk.members)

    @property
    def is_fitted(self) -> bool:
        """Whether predictions are made from it; else they are of it."""
        smallest = min(talk.members for talk in TALKS if talk.rooms == self.talk.rooms)
        return self.processes == 1 or (self.processes == 2 and self.talk.members == smallest)


class Cpu(NamedTuple):
    """CPU time, in ns."""

    chat: float
    redis: float


@dataclass(frozen=True)
class Costs:
    """What the shares of a post take, by kind, in the units of the figures; and all else.

    Attributes:
        look: At a log.
        beat: At the one shard there is, where nothing has changed.
        shard: The same at each of those of a Cluster.
        told: Of a log that has changed.
    """

    shares: Mapping[str, Sequence[float]]
    message: float
    user: float
    connection: float
    look: Cpu
    beat: Cpu
    shard: Cpu
    told: Cpu
    together: float

    @property
    def inboxes(self) -> int:
        """How many inboxes one node has the time to look after; to two digits."""
        each = self.look.redis / ROUND + BEATS * self.shard.redis / HEARTBEAT / CONNECTIONS
        return int(float(f"{BUSY / each * 1e9:.1e}"))

    def of(self, kind: str, shares: Sequence[float]) -> float:
        """What a post takes."""
        return sum(cost * share for cost, share in zip(self.shares[kind], shares, strict=True))


def points(run: Run) -> list[Point]:
    """Take the settings out of a run.

    Raises:
        ResultsError: It has not all rows of the suite.
    """
    rows = {outcome.label: outcome for _, (outcome, _) in rows_of(run.tables)}
    if missing := [label for label in engine.labels() if label not in rows]:
        raise ResultsError(f"the run has no row {missing[0]!r}: run the suite engine")
    return [
        Point(
            talk,
            processes,
            {kind: rows[talk.label(kind)].values[contender(processes)] for kind in engine.KINDS},
            {kind: _noise(rows[talk.label(kind)], processes) for kind in engine.KINDS},
        )
        for talk in TALKS
        for processes in PROCESSES
    ]


def _noise(row: Outcome, processes: int) -> float:
    """How far a figure may be from itself: within a turn, and from turn to turn."""
    return row.noise + row.spread.get(contender(processes), 0)


def costs(run: Run, *, all_points: bool = True) -> Costs:
    """Find the costs, from all that was measured or only from what predicts the rest."""
    found = points(run)
    rows = {outcome.label: outcome for _, (outcome, _) in rows_of(run.tables)}
    fitted = [point for point in found if point.is_fitted or all_points]
    busiest = max(found, key=lambda point: (point.talk.rooms, point.processes, point.talk.members))
    value = {label: row.values[US] for label, row in rows.items() if label in engine.REST}
    look, beat, shard, told = (
        Cpu(*(value[label] for label in labels))
        for labels in (engine.LOOK, engine.BEAT, engine.SHARD, engine.TOLD)
    )
    parts = [point.shares for point in fitted]
    return Costs(
        {
            kind: fit(parts, [point.figures[kind] for point in fitted])
            for kind in (CHAT, REDIS, RECEIVED, SENT)
        },
        value[engine.MESSAGE],
        value[engine.USER],
        value[engine.MEMBER],
        look,
        beat,
        shard,
        told,
        together=busiest.processes / busiest.figures[CALLS],
    )


def fit(features: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """Find the costs that come closest, none of them negative, by least squares of the ratios.

    A cost that would be negative is left out, the most negative one first.
    """
    kept = list(range(len(features[0])))
    while True:
        scaled = [
            [row[at] / value for at in kept] for row, value in zip(features, values, strict=True)
        ]
        solution = _solve(
            [
                [sum(row[a] * row[b] for row in scaled) for b in range(len(kept))]
                for a in range(len(kept))
            ],
            [sum(row[a] for row in scaled) for a in range(len(kept))],
        )
        if min(solution) >= 0:
            found = dict(zip(kept, solution, strict=True))
            return [found.get(at, 0.0) for at in range(len(features[0]))]
        del kept[solution.index(min(solution))]


def _solve(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Solve linear equations by elimination, with a pivot from each column."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for at in range(len(rows)):
        pivot = max(range(at, len(rows)), key=lambda index: abs(rows[index][at]))
        rows[at], rows[pivot] = rows[pivot], rows[at]
        for index in range(len(rows)):
            if index != at:
                factor = rows[index][at] / rows[at][at]
                rows[index] = [a - factor * b for a, b in zip(rows[index], rows[at], strict=True)]
    return [row[-1] / row[at] for at, row in enumerate(rows)]


class Check(NamedTuple):
    """A figure that the costs were not found from."""

    point: Point
    kind: str
    predicted: float

    @property
    def measured(self) -> float:
        return self.point.figures[self.kind]

    @property
    def error(self) -> float:
        """How far off the prediction is, as a part of what was measured."""
        return self.predicted / self.measured - 1

    @property
    def noise(self) -> float:
        return self.point.noise[self.kind]


def checks(run: Run) -> list[Check]:
    """Predict what the costs were not found from."""
    found = costs(run, all_points=False)
    return [
        Check(point, kind, found.of(kind, point.shares))
        for point in points(run)
        if not point.is_fitted
        for kind in found.shares
    ]


# --- Projection -----------------------------------------------------------------------------


class Chat(NamedTuple):
    """A chat of any size; everybody is in one room.

    Attributes:
        posts: Of each connection, a minute.
    """

    connections: int
    rooms: int
    posts: float

    @property
    def members(self) -> float:
        return self.connections / self.rooms

    @property
    def rate(self) -> float:
        """Posts a second."""
        return self.connections * self.posts / 60


class Need(NamedTuple):
    """What a chat takes: cores, bytes, bytes a second.

    Attributes:
        processes: Of the chat, each on a core of its own.
        readers: How many of them have members of a room.
        chat: Cores of all processes together.
        redis: Cores.
        redis_heartbeat: What of that is for heartbeats, and for looks at silent logs,
        redis_inboxes: and what of that is on the node of the inboxes.
        redis_memory: Of all users.
        process_memory: Of the connections of one process.
        to_redis: A second.
        from_redis: A second.
        deliveries: A second.
    """

    processes: int
    readers: float
    chat: float
    redis: float
    redis_heartbeat: float
    redis_inboxes: float
    redis_memory: float
    process_memory: float
    to_redis: float
    from_redis: float
    deliveries: float


def need(costs: Costs, chat: Chat, *, is_cluster: bool = False) -> Need:
    """Reckon what a chat takes, with as many processes as it needs.

    More processes have to do more in all, since more of them read each post.
    """
    processes = max(1, -(-chat.connections // CONNECTIONS))
    while True:
        found = _need(costs, chat, processes, is_cluster=is_cluster)
        if found.chat <= BUSY * processes:
            return found
        processes = max(processes + 1, round(found.chat / BUSY))


def _need(costs: Costs, chat: Chat, processes: int, *, is_cluster: bool) -> Need:
    # Of so many processes have one member and more: whoever is in a room is anywhere.
    readers = processes * (1 - (1 - 1 / processes) ** chat.members)
    parts = shares(readers, readers / costs.together, chat.members)
    logs = chat.connections + chat.rooms * readers
    looks = logs / ROUND
    shard_count = SHARDS if is_cluster else 1
    beats = processes * BEATS * shard_count / HEARTBEAT
    beat = costs.shard if is_cluster else costs.beat
    # Each process is told of each room in which something was said since its last heartbeat.
    changed = chat.rooms * (1 - math.exp(-chat.rate * HEARTBEAT / chat.rooms))
    if changed > NOTED * shard_count:  # then all logs are looked at
        changed, looks = 0, logs / HEARTBEAT
    told = processes * changed / HEARTBEAT

    def a_second(kind: str) -> float:
        return chat.rate * costs.of(kind, parts)

    heartbeat = Cpu(
        *(
            (looks * look + beats * each + told * of_it) / 1e9
            for look, each, of_it in zip(costs.look, beat, costs.told, strict=True)
        )
    )
    inboxes = chat.connections / ROUND * costs.look.redis
    inboxes += processes * BEATS / HEARTBEAT * beat.redis
    return Need(
        processes,
        readers,
        a_second(CHAT) / 1e9 + heartbeat.chat,
        a_second(REDIS) / 1e9 + heartbeat.redis,
        heartbeat.redis,
        inboxes / 1e9,
        chat.connections * costs.user,
        chat.connections / processes * costs.connection,
        a_second(RECEIVED),
        a_second(SENT),
        chat.rate * chat.members,
    )


def largest(costs: Costs, members: int, posts: float) -> int:
    """How many connections, in rooms of so many, one Redis has the time for; to two digits."""
    low, high = members, 10**9
    while high - low > low // 200 + 1:
        middle = (low + high) // 2
        is_enough = need(costs, Chat(middle, middle // members, posts)).redis <= BUSY
        low, high = (middle, high) if is_enough else (low, middle)
    return int(float(f"{low:.1e}"))
