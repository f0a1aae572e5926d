"""A store that is away for a while: told, survived, and over without a restart."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from chat.client import running
from trio.testing import MockClock

from wscore.chat import ChatServer, Limits, MemoryBackend
from wscore.chat.backends.base import (
    Command,
    Listener,
    Page,
    Result,
    RoomHead,
    Unavailable,
)
from wscore.chat.model import Log, room_log


class Moody(MemoryBackend):
    """A store that can be told to be away, or to be wrong."""

    fault: Exception | None = None

    def check(self) -> None:
        if self.fault is not None:
            raise self.fault

    async def write(self, batch: Sequence[Command]) -> list[Result]:
        self.check()
        return await super().write(batch)

    async def read_after(self, log: Log, after: int, last: int, limit: int) -> Page:
        self.check()
        return await super().read_after(log, after, last, limit)

    async def read_before(self, log: Log, before: int, limit: int) -> Page:
        self.check()
        return await super().read_before(log, before, limit)

    async def rooms(self, limit: int) -> list[RoomHead]:
        self.check()
        return await super().rooms(limit)


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Unavailable("the disk is full"), "unavailable"), (KeyError("a bug"), "internal")],
)
async def test_every_request_says_so_and_connections_stay(
    fault: Exception, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Moody()
    async with running(ChatServer(backend)) as chat:
        anna, bob = await chat.user("Anna", room="r"), await chat.user("Bob")
        backend.fault = fault
        assert await anna.error("post", room="r", text="x", id="m1") == code
        assert await anna.error("direct", to="bob", text="x", id="m1") == code
        assert await anna.error("history", room="r") == code
        assert await anna.error("join", room="r") == code
        assert await anna.error("join", room="other") == code
        assert await anna.error("rooms") == code
        carol = await chat.connect()
        assert await carol.error("hello", user="Carol") == code
        await anna.ok("ping")
        backend.fault = None
        # The same ids, now for the first time; the room is still joined, the other one is not.
        assert "duplicate" not in await anna.ok("post", room="r", text="x", id="m1")
        assert "duplicate" not in await anna.ok("direct", to="bob", text="x", id="m1")
        assert [push["type"] for push in await anna.sync()] == ["message", "direct"]
        assert [push["type"] for push in await bob.sync()] == ["direct"]
        assert await anna.error("post", room="other", text="x") == "not_joined"
        await carol.hello("Carol")
    has_traceback = any(record.exc_info for record in caplog.records)
    assert has_traceback is (code == "internal")
    caplog.clear()


async def test_a_replay_waits_for_the_store(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "wscore.chat")
    backend = Moody()
    async with running(ChatServer(backend, limits=Limits(rate=0))) as chat:
        anna = await chat.user("Anna", room="r")
        for n in range(3000):
            await anna.send("post", room="r", text=str(n))
        await anna.sync()
        bob = await chat.connect(blocking=True)
        await bob.hello("Bob")
        epoch = (await bob.ok("join", room="r"))["epoch"]
        joined = await bob.ok("join", room="r", position={"epoch": epoch, "offset": 0})
        found = [message["offset"] for message in joined["messages"]]
        backend.fault = Unavailable("the disk is full")

        async def read() -> None:
            while found[-1] < 3000:
                found.append((await bob.push("message"))["offset"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(5)
            assert found[-1] < 3000
            backend.fault = None
        assert found == list(range(1, 3001))


class Overheard(MemoryBackend):
    """A store whose listener can be told things."""

    listener: Listener

    def open(self, listener: Listener) -> AbstractAsyncContextManager[None]:
        self.listener = listener
        return super().open(listener)


async def test_a_log_that_was_lost_closes_those_who_follow_it_and_nobody_else() -> None:
    backend = Overheard()
    async with running(ChatServer(backend)) as chat:
        anna, bob = await chat.user("Anna", room="r"), await chat.user("Bob", room="other")
        backend.listener.reset([room_log("r")])
        assert await anna.closed() == 1012
        assert await bob.ok("post", room="other", text="x", id="m1")
