"""The chat's stores by themselves: a batch of posts, with no server and no connection before it.

Beside ours and the one in memory stand two limits: `one sync`, which writes a batch's texts to a
file and syncs it, and `one page`, a bare SQLite transaction that changes one row, as safe as ours.
What a post costs beyond these is its own; what the posts' rows with connections take beyond these
rows is the server's.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import trio

from benchmarks._harness import US, Contender, Outcome, Row, Timing, UnequalWork, outcome_of
from benchmarks.servers.chat_wscore import FOLDER, BesideThread, OneSync
from wscore.chat import MemoryBackend, SQLiteBackend
from wscore.chat.backends.base import (
    Backend,
    Claim,
    Command,
    Listener,
    OpenRoom,
    PostTo,
    Result,
    Stored,
)
from wscore.chat.backends.database import connect
from wscore.chat.model import Name

#: Posts in a batch, each in a room of its own.
BATCHES = (1, 50, 500)
TEXT = "x" * 40


def batch_of(posts: int) -> str:
    """Name the row of a batch of so many posts."""
    return f"batch of {posts}" if posts > 1 else "batch of one post"


def labels() -> list[str]:
    """Name all rows."""
    return [batch_of(posts) for posts in BATCHES]


class Nobody(Listener):
    """Wants to hear of nothing."""

    def announce(self, entries: object) -> None:
        """Nobody wants to hear of it."""

    def reset(self, logs: object) -> None:
        """Nobody wants to hear of it."""

    def present(self, room: object, came: object, left: object) -> None:
        """Nobody wants to hear of it."""

    def typing(self, log: object, user: object) -> None:
        """Nobody wants to hear of it."""


class OnePage(BesideThread):
    """What SQLite takes for any transaction at all: a thread changes a row and commits."""

    def __init__(self, path: Path) -> None:
        super().__init__("one page")
        self._connection = connect(path, "rwc")
        self._held.callback(self._connection.close)
        self._connection.execute("CREATE TABLE batches (last INTEGER NOT NULL)")
        self._connection.execute("INSERT INTO batches VALUES (0)")

    async def write(self, batch: Sequence[Command]) -> list[Result]:
        await self._worker.run(self._commit)
        return await super().write(batch)

    def _commit(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("UPDATE batches SET last = last + 1")
        self._connection.execute("COMMIT")


def outcomes(timing: Timing, wanted: Callable[[str], bool]) -> Iterator[Outcome]:
    """Measure the rows that are wanted: the time of a post, by the clock."""
    for posts in BATCHES:
        if wanted(batch_of(posts)):
            yield trio.run(measured, posts, timing)


async def measured(posts: int, timing: Timing) -> Outcome:
    """Measure a row, in turns."""
    FOLDER.mkdir(exist_ok=True)
    ids = count()
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder)
        backends: dict[str, Backend] = {
            US: SQLiteBackend(path / "chat.db"),
            "memory": MemoryBackend(),
            "one sync": OneSync(path / "file"),
            "one page": OnePage(path / "bare.db"),
        }
        async with AsyncExitStack() as stack:
            for backend in backends.values():
                await stack.enter_async_context(backend.open(Nobody()))
                names = [Name(f"n{number}", f"n{number}") for number in range(posts)]
                await backend.write([Claim(name, b"") for name in names])
                await backend.write([OpenRoom(name) for name in names])
            order = [*backends, US]
            batches = {name: await _enough(backends[name], posts, ids, timing) for name in backends}
            times: list[list[float]] = [[] for _ in order]
            for turn in range(timing.turns):
                indices = range(len(order))
                for index in indices if turn % 2 == 0 else reversed(indices):
                    name = order[index]
                    # What the one in memory keeps is not to be looked through by the others.
                    gc.freeze()
                    took = await _write(backends[name], posts, ids, batches[name])
                    times[index].append(took / batches[name] / posts * 1e9)
    contenders = [Contender(name, "", {}, peer=False) for name in backends]
    return outcome_of(Row(batch_of(posts), contenders, None), times)


async def _enough(backend: Backend, posts: int, ids: Iterator[int], timing: Timing) -> int:
    """Find how many batches take about that long; the search is the warm-up."""
    batches = 1
    while (took := await _write(backend, posts, ids, batches)) < timing.seconds / 2:
        batches *= 2
    return max(1, round(batches * timing.seconds / took))


async def _write(backend: Backend, posts: int, ids: Iterator[int], batches: int) -> float:
    """Write so many batches; returns the seconds that it took, without making them."""
    took = 0.0
    for _ in range(batches):
        batch = [
            PostTo(f"n{number}", f"n{number}", TEXT, str(next(ids)), 1_700_000_000_000)
            for number in range(posts)
        ]
        began = time.perf_counter()
        results = await backend.write(batch)
        took += time.perf_counter() - began
        if not all(isinstance(result, Stored) and not result.duplicate for result in results):
            raise UnequalWork("a post was not stored")
    return took
