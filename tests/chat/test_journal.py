"""How commands become batches: those who come at about the same time share a write."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from trio.testing import MockClock

from wscore.chat.backends.base import Command, PostTo, Result, Stored
from wscore.chat.backends.memory import MemoryBackend
from wscore.chat.journal import Journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Slow(MemoryBackend):
    """A store whose writes take a second; notes how many commands each of them had."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    async def write(self, batch: Sequence[Command]) -> list[Result]:
        self.batches.append(len(batch))
        await trio.sleep(1)
        return [Stored("e", 1, 1, duplicate=False) for _ in batch]


@asynccontextmanager
async def running(backend: Slow) -> AsyncIterator[Journal]:
    journal = Journal(backend, lambda replies: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        yield journal
        nursery.cancel_scope.cancel()


def post(id: str) -> PostTo:
    return PostTo("anna", "room", "x", id, 1000)


async def test_who_was_answered_at_once_comes_again_in_one_batch(
    autojump_clock: MockClock,
) -> None:
    """One after the other, as their sockets are read; nobody waits for two writes."""
    backend = Slow()

    async def poster(number: int) -> None:
        for _ in range(5):
            for _ in range(number):
                await trio.lowlevel.checkpoint()
            await journal.ask(post(str(number)))

    async with running(backend) as journal, trio.open_nursery() as posters:
        for number in range(20):
            posters.start_soon(poster, number)
    # How long a write takes is known from the first one on: that one had no time.
    assert sum(backend.batches) == 100
    assert backend.batches[1:-1] == [20] * 4


async def test_one_who_is_alone_does_not_wait_for_others(autojump_clock: MockClock) -> None:
    backend = Slow()
    async with running(backend) as journal:
        for number in range(3):
            await journal.ask(post(str(number)))
    assert backend.batches == [1, 1, 1]
    assert trio.current_time() == 3


async def test_an_endless_stream_of_commands_is_written_all_the_same(
    mock_clock: MockClock,
) -> None:
    backend = Slow()
    async with running(backend) as journal, trio.open_nursery() as stream:

        async def submit() -> None:
            while True:
                journal.submit(post("x"), lambda result: None)
                await trio.lowlevel.checkpoint()

        stream.start_soon(submit)
        while len(backend.batches) < 3:
            mock_clock.jump(0.01)
            await trio.lowlevel.checkpoint()
        stream.cancel_scope.cancel()
    assert max(backend.batches) <= 1000
