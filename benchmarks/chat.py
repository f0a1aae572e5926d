"""The chat: durable posts, fan-out in a room, resuming, memory of a member, the cost of a join.

The chat runs with its default store, SQLite with ``synchronous=FULL`` on a file in ``build/``, and
beside it, in the same turns, with the store in memory. A room's fan-out stands beside the
transport's bare broadcast of messages of the same size. Each answer is checked by the load
generator: errors end a run, and so does a message of a room that is not the next one.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from benchmarks import servers, stores
from benchmarks._harness import US, Outcome, Timing, compared
from benchmarks._live import Figures, Station, affordable, its_turn, measure, stations
from benchmarks.load import Done, Load
from benchmarks.servers import Program
from benchmarks.servers.chat_wscore import FOLDER
from wscore.chat import SQLiteBackend
from wscore.chat.backends.base import Claim, Opened, OpenRoom, PostTo, Refused
from wscore.chat.model import parse_name

STORES = (servers.CHAT, servers.CHAT_IN_MEMORY)
#: The transport alone; `broadcast` is what it is compared as.
BARE = replace(servers.US, name="broadcast")

HELLO = '{"type":"hello","id":"$","user":"u#","session":"a-session-of-22-characters"}'
#: With the rest of a push, about `SIZE` bytes.
TEXT = "x" * 40
SIZE = 155

POSTERS = (1, 50, 1000)
MEMBERS = (1000, 5000)
#: How many posts may be on their way before the first of them has reached all members.
AHEAD = 4
WARM_UP = 20
MISSED = 10_000
TRIES = 5
JOINERS = 50
#: Members and messages of rooms that are joined; all have too many members to name them in pushes.
FEW, MANY = 300, 5000
SHORT, LONG = 1000, 100_000

Wanted = Callable[[str], bool]


@dataclass(frozen=True)
class Dialect:
    """How a chat is spoken with, as patterns of the load generator.

    Attributes:
        path: Of its WebSocket.
        requests: What each connection asks for before it posts in its own room.
        post: What it posts.
    """

    path: str
    requests: tuple[str, ...]
    post: str


def post(room: str) -> str:
    """The request that posts in a room."""
    return f'{{"type":"post","id":"$","room":"{room}","text":"{TEXT}"}}'


def join(room: str, position: str = "") -> str:
    """The request that joins a room, with a position to continue from."""
    return f'{{"type":"join","id":"$","room":"{room}"{position}}}'


OURS = Dialect("/ws", (HELLO, join("r#")), post("r#"))
#: Socket.IO 5 on Engine.IO 4: 40 connects, 42 is an event, and 43 acknowledges it by its number.
SOCKET_IO = Dialect(
    "/socket.io/?EIO=4&transport=websocket",
    ("40", '42$["join","r#"]'),
    f'42$["post",{{"room":"r#","text":"{TEXT}"}}]',
)


def leave(room: str) -> str:
    """The request that leaves a room."""
    return f'{{"type":"leave","id":"$","room":"{room}"}}'


def posting(posters: int) -> str:
    """Name the rows of so many posters."""
    return f"posts of {posters:,} at once"


def room(members: int, ahead: int) -> str:
    """Name the rows of a room."""
    name = f"room of {affordable(members):,}"
    return name if ahead == 1 else f"{name}, {ahead} posts ahead"


RESUME = f"{MISSED:,} missed messages"
HELD = f"member of a room of {MEMBERS[0]:,}"
BIG_ROOM, LONG_LOG = f"join a room of {MANY:,}", f"join a log of {LONG:,}"


def labels() -> list[str]:
    """Name all rows."""
    rows = [f"{posting(n)}, {what}" for n in POSTERS for what in ("time", "CPU", "p50", "p99")]
    rows += [f"{room(n, a)}, {c}" for n in MEMBERS for a in (1, AHEAD) for c in ("time", "CPU")]
    return [*stores.labels(), *rows, RESUME, HELD, BIG_ROOM, LONG_LOG]


def outcomes(
    programs: Sequence[Program], timing: Timing, wanted: Wanted
) -> Iterator[tuple[str, Outcome]]:
    """Measure the rows that are wanted."""
    for outcome in stores.outcomes(timing, wanted):
        yield "chat: a durable post in the store alone", outcome
    for posters in POSTERS:
        if wanted(posting(posters)):
            for outcome in acknowledged(programs, posters, timing):
                yield "chat: a durable post until its ok", outcome
    for members in MEMBERS:
        if wanted(room(members, 1)):
            for outcome in delivered(affordable(members), timing):
                yield "chat: a delivery in a room", outcome
    if wanted(RESUME):
        yield "chat: resuming", resumed()
    if wanted(HELD):
        yield "chat: memory", held()
    if wanted(BIG_ROOM):
        yield "chat: joining", joined_room()
    if wanted(LONG_LOG):
        yield "chat: joining", joined_log()


def enter(load: Load, first: int, count: int, name: str) -> None:
    """Open connections to a chat, and have them join a room."""
    load.open(count, "/ws")
    load.ask(first, count, HELLO)
    load.ask(first, count, join(name))


# --- Posts ----------------------------------------------------------------------------------


def acknowledged(programs: Sequence[Program], posters: int, timing: Timing) -> Iterator[Outcome]:
    """Measure posts of so many, each to a room of their own and again when they have the ok."""
    label = posting(posters)
    chats = [replace(program, module=program.chat) for program in programs if program.chat]
    spoken: dict[Load, Dialect] = {}
    latencies: dict[Load, list[Done]] = {}

    def work(load: Load, messages: int) -> Done:
        done = load.post(0, posters, messages, spoken[load].post)
        latencies.setdefault(load, []).append(done)
        return done

    with ExitStack() as stack:
        found = stations(stack, [*STORES, servers.CHAT_ONE_SYNC, *chats])
        for at in found:
            dialect = spoken[at.load] = OURS if at.server.program.echoes else SOCKET_IO
            with its_turn(at, label):
                at.load.open(posters, dialect.path)
                for request in dialect.requests:
                    at.load.ask(0, posters, request)
        figures = measure(label, found, work, posters, timing)
    yield replace(figures.clock, label=f"{label}, time")
    yield replace(figures.cpu, label=f"{label}, CPU")
    for share in ("p50", "p99"):
        values = {
            at.name: statistics.median(getattr(done, share) for done in latencies[at.load]) * 1e9
            for at in found
        }
        yield compared(f"{label}, {share}", "ns", values, [])


# --- Fan-out --------------------------------------------------------------------------------


def delivered(members: int, timing: Timing) -> Iterator[Outcome]:
    """Measure a room beside the bare broadcast, one post at a time and several."""
    label = room(members, 1)
    with ExitStack() as stack:
        found = stations(stack, [*STORES, BARE])
        chats = [at.load for at in found[:-1]]
        for at in found:
            with its_turn(at, label):
                if at.load in chats:
                    enter(at.load, 0, members + 1, "r")
                else:
                    at.load.open(members, "/members")
                    at.load.open(1, "/publish")
        for ahead in (1, AHEAD):

            def work(load: Load, messages: int, ahead: int = ahead) -> Done:
                if load in chats:
                    return load.spread(messages, ahead, post("r"))
                return load.publish(messages, SIZE)

            figures: Figures = measure(room(members, ahead), found, work, ahead, timing)
            yield replace(figures.clock, label=f"{room(members, ahead)}, time")
            yield replace(figures.cpu, label=f"{room(members, ahead)}, CPU")


def held() -> Outcome:
    """Measure the resident memory of a member who has had some messages."""
    members = affordable(MEMBERS[0])
    with ExitStack() as stack:
        (at,) = stations(stack, [servers.CHAT])
        with its_turn(at, HELD):
            enter(at.load, 0, WARM_UP, "r")
            at.load.spread(WARM_UP, 1, post("r"))
            before = at.server.memory()
            enter(at.load, WARM_UP, members, "r")
            at.load.spread(WARM_UP, 1, post("r"))
            memory = (at.server.memory() - before) / members
    return compared(HELD, "B", {US: memory}, [])


# --- Resuming and joining -------------------------------------------------------------------


async def fill(path: Path, rooms: dict[str, int]) -> dict[str, str]:
    """Make a database whose rooms have so many messages; returns the rooms' epochs."""
    epochs: dict[str, str] = {}
    author = parse_name("author")
    assert author is not None
    backend = SQLiteBackend(path)
    async with backend.open(stores.Nobody()):
        await backend.write([Claim(author, b"")])
        for shown, count in rooms.items():
            name = parse_name(shown)
            assert name is not None
            (opened,) = await backend.write([OpenRoom(name)])
            assert isinstance(opened, Opened)
            epochs[shown] = opened.head.epoch
            for start in range(0, count, 1000):
                ids = [f"{start + n}" for n in range(min(1000, count - start))]
                results = await backend.write(
                    [PostTo(author.key, name.key, TEXT, id, 1_700_000_000_000) for id in ids]
                )
                assert not any(isinstance(result, Refused) for result in results)
    return epochs


def started(stack: ExitStack, rooms: dict[str, int]) -> tuple[Station, dict[str, str]]:
    """Start a chat whose rooms have so many messages; returns the rooms' epochs too."""
    FOLDER.mkdir(exist_ok=True)
    folder = stack.enter_context(tempfile.TemporaryDirectory(dir=FOLDER))
    path = Path(folder, "chat.db")
    epochs = trio.run(fill, path, rooms)
    (at,) = stations(stack, [servers.CHAT], ["--data", os.fspath(path)])
    return at, epochs


def resumed() -> Outcome:
    """Measure from the request to join to the last of the messages that were missed."""
    with ExitStack() as stack:
        at, epochs = started(stack, {"missed": MISSED})
        position = f',"position":{{"epoch":"{epochs["missed"]}","offset":0}}'
        with its_turn(at, RESUME):
            enter(at.load, 0, 1, "r")
            times = []
            for _ in range(TRIES):
                done = at.load.follow(MISSED, join("missed", position))
                times.append(done.seconds * 1e9)
                at.load.ask(0, 1, leave("missed"))
    return median(RESUME, {US: times})


def joined_room() -> Outcome:
    """Measure a join where few are, and where many are."""
    times: dict[str, list[float]] = {}
    with ExitStack() as stack:
        (at,) = stations(stack, [servers.CHAT])
        with its_turn(at, BIG_ROOM):
            enter(at.load, 0, affordable(MANY), "many")
            at.load.ask(0, FEW, join("few"))
            enter(at.load, affordable(MANY), JOINERS, "lobby")
            times = joins(at.load, affordable(MANY), {f"room of {FEW}": "few", US: "many"})
    return median(BIG_ROOM, times)


def joined_log() -> Outcome:
    """Measure a join where few messages are kept, and where many are."""
    with ExitStack() as stack:
        at, _ = started(stack, {"short": SHORT, "long": LONG})
        with its_turn(at, LONG_LOG):
            enter(at.load, 0, JOINERS, "lobby")
            times = joins(at.load, 0, {f"log of {SHORT:,}": "short", US: "long"})
    return median(LONG_LOG, times)


def joins(load: Load, first: int, rooms: dict[str, str]) -> dict[str, list[float]]:
    """Have the joiners join and leave each of the rooms in turn; returns the times of a join."""
    times: dict[str, list[float]] = {name: [] for name in rooms}
    for turn in range(TRIES):
        for name in list(rooms)[:: 1 if turn % 2 == 0 else -1]:
            done = load.ask(first, JOINERS, join(rooms[name]))
            times[name].append(done.seconds / JOINERS * 1e9)
            load.ask(first, JOINERS, leave(rooms[name]))
    return times


def median(label: str, times: dict[str, list[float]]) -> Outcome:
    """Make the outcome of times that were taken in turns."""
    outcome = compared(label, "ns", {n: statistics.median(t) for n, t in times.items()}, [])
    outcome.noise = statistics.median(abs(t / outcome.values[US] - 1) for t in times[US])
    return outcome
