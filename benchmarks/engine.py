"""The chat in several processes on one Redis: what a post and a delivery cost, and where.

The members of each room are spread evenly over the processes, and so are those who post. Redis
writes to the disk before it answers (``appendfsync always``), as SQLite does beside it. A post is
measured alone, when nothing else is to be done, and where fifty rooms are talked in at once, so
that much is done together. The heartbeat is left out of it, and a row of its own.
`benchmarks.model` reckons from these figures.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, Self, TypeVar

from benchmarks import servers
from benchmarks._harness import (
    US,
    Contender,
    Outcome,
    Row,
    Timing,
    UnequalWork,
    compared,
    outcome_of,
)
from benchmarks._live import affordable, cores
from benchmarks.chat import HELLO, join, post
from benchmarks.load import Done, Load, LoadError
from benchmarks.servers import Program, Server
from benchmarks.servers.redis_server import Figures, Redis

#: How many processes share a Redis; the first of them is `US`.
PROCESSES = (1, 2, 4)
SQLITE = "SQLite"
#: How many posts may be on their way in the room that is posted in as fast as it goes.
CROWD, AHEAD = 1000, 16
#: Users who do nothing, and messages that are kept.
IDLE, KEPT = 2000, 5000
#: Users who say hello together.
TOGETHER = 200
#: Seconds between two heartbeats, where they are watched, and for how long.
HEARTBEAT, WATCHED = 0.02, 5.0
#: How often to watch a process that stands still.
PATIENCE = 20
#: Seconds in which each log is looked at where that is watched, and rooms of which is told.
ROUND, CHANGED = 1.0, 500
NEVER = 1e6
_REST = 0.01

Sample = TypeVar("Sample")

COSTS, FAST, HELD = (
    "engine: a post",
    "engine: a delivery, as fast as it goes",
    "engine: what is held, and looked after",
)
#: What a post is measured in: the row's name, its unit, whether SQLite has it too.
KINDS = {
    "CPU of the chat": ("ns", True),
    "CPU of Redis": ("ns", False),
    "calls of Redis": ("", False),
    "commands of Redis": ("", False),
    "bytes to Redis": ("B", False),
    "bytes from Redis": ("B", False),
}
MESSAGE, USER, MEMBER = (
    "a message, in Redis",
    "a user, in Redis",
    "a connection, in a process",
)
#: Of the chat, and of Redis.
LOOK, BEAT, SHARD, TOLD = (
    (f"{what}, CPU of the chat", f"{what}, CPU of Redis")
    for what in (
        "a look at a log",
        "a heartbeat that finds nothing",
        "a heartbeat that finds nothing in a shard of a Cluster",
        "a log that a heartbeat finds changed",
    )
)
REST = MESSAGE, USER, MEMBER, *LOOK, *BEAT, *SHARD, *TOLD


@dataclass(frozen=True)
class Talk:
    """In how many rooms is talked at once, and how many members each has."""

    rooms: int
    members: int

    @property
    def name(self) -> str:
        rooms = "one room" if self.rooms == 1 else f"{self.rooms} rooms at once"
        return f"{rooms}, of {self.members:,}"

    def label(self, kind: str) -> str:
        """Name a row."""
        return f"{self.name}: {kind}"


#: What is measured; the last are the ones that a busy chat is reckoned from.
TALKS = (Talk(1, 100), Talk(1, 1000), Talk(50, 20), Talk(50, 80))


def contender(processes: int) -> str:
    """Name so many processes on one Redis."""
    return US if processes == 1 else f"{processes} processes"


def fast() -> str:
    """Name the row of the room where most is said."""
    return f"room of {CROWD:,}, {AHEAD} posts ahead, time"


def labels() -> list[str]:
    """Name all rows."""
    rows = [talk.label(kind) for talk in TALKS for kind in KINDS]
    return [*rows, fast(), *REST]


def outcomes(
    programs: Sequence[Program], timing: Timing, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, Outcome]]:
    """Measure the rows that are wanted."""
    talks = [t for t in TALKS if any(wanted(t.label(kind)) for kind in KINDS)]
    for outcome in posted(talks, timing):
        yield COSTS, outcome
    if wanted(fast()):
        yield FAST, delivered(timing)
    if any(wanted(label) for label in REST):
        for outcome in (*held(), *looked_after()):
            yield HELD, outcome


class Taken(NamedTuple):
    """What a fleet has used so far, or between two moments."""

    chat: float
    redis: float
    calls: int
    commands: int
    received: int
    sent: int

    def since(self, before: Taken) -> Taken:
        return Taken._make(now - then for now, then in zip(self, before, strict=True))

    def each(self, posts: int) -> dict[str, float]:
        """By kind, for one of so many posts."""
        scaled = (self.chat * 1e9, self.redis * 1e9, *self[2:])
        return {kind: value / posts for kind, value in zip(KINDS, scaled, strict=True)}


@dataclass(frozen=True)
class Fleet:
    """The processes of one chat, what they share, and a load generator before them."""

    name: str
    servers: Sequence[Server]
    ports: Sequence[int]
    redis: Redis | None
    load: Load

    def bind(self) -> None:
        """Let the processes share one core, and Redis and the load generator another."""
        first, second = cores()
        for server in self.servers:
            server.bind(first)
        if self.redis is not None:
            self.redis.bind(second)

    @classmethod
    def started(
        cls,
        stack: ExitStack,
        processes: int,
        *arguments: str,
        on_redis: bool = True,
        is_cluster: bool = False,
        heartbeat: float = NEVER,
    ) -> Self:
        """Start one; the stack ends it.

        Raises:
            ServerError: Redis or the chat does not start.
            LoadUnavailable: There is no load generator, or no Redis.
        """
        redis = stack.enter_context(Redis(is_cluster=is_cluster)) if on_redis else None
        options = list(arguments)
        if redis is not None:
            options += ["--engine", redis.url, "--heartbeat", str(heartbeat)]
        name = SQLITE if redis is None else contender(processes)
        program = replace(servers.CHAT, name=name)
        started = [stack.enter_context(Server(program, options)) for _ in range(processes)]
        ports = [server.wait_ready() for server in started]
        _, load_core = cores()
        return cls(name, started, ports, redis, stack.enter_context(Load(ports[0], load_core)))

    def fill(self, talk: Talk) -> None:
        """Open connections that post, one for each room, and the other members."""
        for at in range(talk.rooms):
            self.load.port(self.ports[at % len(self.ports)])
            self.load.open(1, "/ws")
        self.load.ask(0, talk.rooms, HELLO)
        self.load.ask(0, talk.rooms, join("r#"))
        first, others = talk.rooms, talk.members - 1
        for index, port in enumerate(self.ports):
            each = others // len(self.ports) + (index < others % len(self.ports))
            self.load.port(port)
            self.load.open(each * talk.rooms, "/ws")
            self.load.ask(first, each * talk.rooms, HELLO)
            for room in range(talk.rooms):
                self.load.ask(first, each, join(f"r{room}"))
                first += each

    def greet(self, first: int, count: int) -> None:
        """Open connections of users who only say hello; who does not soon is sent away."""
        for at in range(first, first + count, TOGETHER):
            some = min(TOGETHER, first + count - at)
            self.load.open(some, "/ws")
            self.load.ask(at, some, HELLO)

    def talk(self, talk: Talk, posts: int) -> Done:
        """Post so often, and wait until all members have got everything."""
        with named(self):
            done = self.load.talk(0, talk.rooms, posts, talk.members, post("r#"))
        if done.done != posts * talk.members:
            raise UnequalWork(f"{self.name} delivers {done.done:,}, not {posts * talk.members:,}")
        return done

    def taken(self) -> Taken:
        """Read what it has used until now."""
        chat = sum(server.cpu() for server in self.servers)
        if self.redis is None:
            return Taken(chat, 0, 0, 0, 0, 0)
        cpu, figures = self.redis.cpu(), self.redis.figures()
        return Taken(chat, cpu, figures.calls, figures.commands, figures.received, figures.sent)


def fleets(stack: ExitStack, talk: Talk) -> list[Fleet]:
    """Start all that are compared, with their members; ours is the first."""
    found = [Fleet.started(stack, n) for n in PROCESSES]
    found.append(Fleet.started(stack, 1, on_redis=False))
    for fleet in found:
        with named(fleet):
            fleet.fill(talk)
    return found


def named(fleet: Fleet) -> ExitStack:
    """Name a fleet that does not do the work."""

    def rename(kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, LoadError):
            raise UnequalWork(f"{fleet.name} does not do the work: {error}") from None
        return False

    stack = ExitStack()
    stack.push(rename)
    return stack


Work = Callable[[Fleet, int], Done]


def posts_for(fleet: Fleet, work: Work, unit: int, seconds: float) -> int:
    """Find how many posts take about that long; the search is the warm-up."""
    count = unit
    while (elapsed := work(fleet, count).seconds) < seconds / 2:
        count *= 2
    return max(unit, round(count * seconds / elapsed / unit) * unit)


@dataclass(frozen=True)
class Group:
    """Fleets that are compared with the first of them, and what they do."""

    fleets: Sequence[Fleet]
    work: Work
    unit: int

    def entries(self, seconds: float) -> list[tuple[Fleet, Work, int]]:
        """What a turn consists of; ours is first and last."""
        counts = [posts_for(fleet, self.work, self.unit, seconds) for fleet in self.fleets]
        found = [
            (fleet, self.work, count) for fleet, count in zip(self.fleets, counts, strict=True)
        ]
        return [*found, found[0]]


def turns(
    groups: Sequence[Group], timing: Timing, take: Callable[[Fleet, Work, int], Sample]
) -> list[list[list[Sample]]]:
    """Let all fleets take turns, so that the groups compare, too.

    Returns:
        By group and entry what each turn came to.
    """
    entries = [(at, entry) for at, g in enumerate(groups) for entry in g.entries(timing.seconds)]
    found: list[list[Sample]] = [[] for _ in entries]
    for turn in range(timing.turns):
        order = range(len(entries))
        for index in order if turn % 2 == 0 else reversed(order):
            found[index].append(take(*entries[index][1]))
    return [
        [samples for (owner, _), samples in zip(entries, found, strict=True) if owner == at]
        for at in range(len(groups))
    ]


def posted(talks: Sequence[Talk], timing: Timing) -> Iterator[Outcome]:
    """Measure what a post takes, of each kind."""

    def taken(fleet: Fleet, work: Work, posts: int) -> dict[str, float]:
        before = fleet.taken()
        work(fleet, posts)
        time.sleep(_REST)  # the kernel's clock of other processes may be a tick late
        return fleet.taken().since(before).each(posts)

    with ExitStack() as stack:
        groups = [Group(fleets(stack, t), partial(talked, t), t.rooms) for t in talks]
        for group in groups:
            for fleet in group.fleets:
                fleet.bind()  # or what four processes cost each other would be in it
        found = turns(groups, timing, taken)
    for talk, group, samples in zip(talks, groups, found, strict=True):
        for kind, (unit, has_sqlite) in KINDS.items():
            values = [[sample[kind] for sample in entry] for entry in samples]
            names = [fleet.name for fleet in group.fleets]
            if not has_sqlite:
                del values[-2], names[-1]
            yield summed(talk.label(kind), unit, names, values)


def talked(talk: Talk, fleet: Fleet, posts: int) -> Done:
    """Post in the rooms."""
    return fleet.talk(talk, posts)


def delivered(timing: Timing) -> Outcome:
    """Measure the time of a delivery by the clock, with several posts on their way."""
    talk = Talk(1, CROWD)

    def work(fleet: Fleet, posts: int) -> Done:
        with named(fleet):
            return fleet.load.spread(posts, AHEAD, post("r0"))

    def taken(fleet: Fleet, work: Work, posts: int) -> float:
        done = work(fleet, posts)
        return done.seconds / done.done * 1e9

    with ExitStack() as stack:
        found = fleets(stack, talk)
        (samples,) = turns([Group(found, work, AHEAD)], timing, taken)
    return summed(fast(), "ns", [fleet.name for fleet in found], samples)


def summed(
    label: str, unit: str, names: Sequence[str], samples: Sequence[Sequence[float]]
) -> Outcome:
    """Sum up turns; none of the contenders is another library."""
    row = Row(label, [Contender(name, "", {}, peer=False) for name in names], None)
    return replace(outcome_of(row, samples), unit=unit)


def held() -> Iterator[Outcome]:
    """Measure what messages and users take where nothing happens."""
    users = affordable(IDLE)
    with ExitStack() as stack:
        fleet = Fleet.started(stack, 1, "--round", str(ROUND), heartbeat=ROUND)
        redis, (server,), load = fleet.redis, fleet.servers, fleet.load
        assert redis is not None
        with named(fleet):
            load.open(20, "/ws")
            load.ask(0, 20, HELLO)
            load.ask(0, 20, join("r#"))
            load.post(0, 20, 200, post("r#"))
            before = redis.figures().memory
            load.post(0, 20, KEPT, post("r#"))
            yield compared(MESSAGE, "B", {US: (redis.figures().memory - before) / KEPT}, [])
            before, resident = redis.figures().memory, server.memory()
            fleet.greet(20, users)
            load.wait(2 * ROUND)
            yield compared(USER, "B", {US: (redis.figures().memory - before) / users}, [])
            yield compared(MEMBER, "B", {US: (server.memory() - resident) / users}, [])
            samples = [watched(fleet, lambda figures: figures.looks) for _ in range(2)]
    yield from of_both(LOOK, samples)


def looked_after() -> Iterator[Outcome]:
    """Measure heartbeats of a process whose users say nothing, and what is told of changed logs."""
    beats = silent(HEARTBEAT, is_cluster=False)
    yield from of_both(BEAT, beats)
    yield from of_both(SHARD, silent(HEARTBEAT * 10, is_cluster=True))
    beat = [statistics.mean(sample) for sample in zip(*beats, strict=True)]
    with ExitStack() as stack:
        fleet = Fleet.started(
            stack, 1, "--round", str(NEVER), "--forgets", heartbeat=HEARTBEAT * 10
        )
        with named(fleet):
            fleet.greet(0, CHANGED)
            fleet.load.ask(0, CHANGED, join("r#"))
            fleet.load.wait(1)
            told = [watched(fleet, lambda figures: figures.told, beat) for _ in range(2)]
    yield from of_both(TOLD, told)


def silent(heartbeat: float, *, is_cluster: bool) -> list[tuple[float, float]]:
    """Watch heartbeats that find nothing, with many users; returns what a shard takes, in ns.

    That is half of what both take that there are: one asks what changed, one says who is there.
    """
    users = affordable(IDLE)
    with ExitStack() as stack:
        options = "--round", str(NEVER)
        fleet = Fleet.started(stack, 1, *options, is_cluster=is_cluster, heartbeat=heartbeat)
        with named(fleet):
            fleet.greet(0, users)
            fleet.load.wait(1)
            return [watched(fleet, lambda figures: figures.calls) for _ in range(2)]


def of_both(labels: Sequence[str], samples: Sequence[Sequence[float]]) -> Iterator[Outcome]:
    """Sum up what was measured twice, of the chat and of Redis."""
    for label, (first, again) in zip(labels, zip(*samples, strict=True), strict=True):
        yield compared(label, "ns", {US: statistics.mean((first, again))}, [], again)


def watched(
    fleet: Fleet, counted: Callable[[Figures], int], beat: Sequence[float] = (0, 0)
) -> tuple[float, float]:
    """Watch a fleet in which nothing happens but heartbeats.

    Args:
        fleet: One process on Redis.
        counted: What is looked for.
        beat: What each of its calls of Redis takes of chat and Redis beside that, in ns.

    Returns:
        The CPU time of chat and Redis for one of what is counted, in ns.
    """
    assert fleet.redis is not None
    before, used_before = fleet.redis.figures(), fleet.taken()
    for _ in range(PATIENCE):
        fleet.load.wait(WATCHED)
        used, after = fleet.taken().since(used_before), fleet.redis.figures()
        count = counted(after) - counted(before)
        if count > 1:
            break
    else:
        raise UnequalWork(f"{fleet.name} has no heartbeat")
    chat, redis = (
        (cpu * 1e9 - used.calls * each) / count
        for cpu, each in zip((used.chat, used.redis), beat, strict=True)
    )
    return chat, redis
