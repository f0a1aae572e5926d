"""What the Redis client library does by itself, and must not do to us."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import coredis
import pytest
import trio
from chat.record import Record
from chat.redis_server import RedisServer, redis_server
from chat.wire import wire

from wscore.chat.backends import redis_news
from wscore.chat.backends.base import Claim, OpenRoom, PostTo, Stored, Unavailable
from wscore.chat.backends.redis import RedisBackend
from wscore.chat.model import Name, room_log

ANNA = Name("anna", "Anna")
ROOM, LOG = Name("room", "Room"), room_log("room")
NEVER = 1e6


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@pytest.fixture
def no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only wake-ups make a process look."""
    monkeypatch.setattr(redis_news, "_HEARTBEAT", NEVER)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis whose commands nobody else counts in."""
    with redis_server(tmp_path) as server:
        yield server


class Process:
    def __init__(self, backend: RedisBackend, record: Record) -> None:
        self.backend = backend
        self.record = record

    async def post(self, text: str) -> Stored:
        (result,) = await self.backend.write([PostTo("anna", "room", text, text, 1000)])
        assert isinstance(result, Stored)
        return result

    async def reach(self, count: int) -> None:
        with trio.fail_after(60):
            while len(self.record.announced) < count:  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert [entry.offset for _, entry in self.record.announced] == [*range(1, count + 1)]


@asynccontextmanager
async def process(url: str, patience: float = 5) -> AsyncIterator[Process]:
    backend, record = RedisBackend(url, prefix="chat", timeout=patience), Record()
    async with backend.open(record):
        backend.follow(LOG)
        await backend.write([Claim(ANNA, b"a"), OpenRoom(ROOM)])
        yield Process(backend, record)


def calls(redis: RedisServer, command: str) -> int:
    """How often a command was carried out."""

    async def ask() -> int:
        async with coredis.Redis.from_url(redis.url) as client:
            stats = await client.info("commandstats")
            found = stats.get(f"cmdstat_{command}", {})
            return int(found.get("calls", 0)) if isinstance(found, dict) else 0

    return trio.run(ask)


async def count(redis: RedisServer, command: str) -> int:
    return await trio.to_thread.run_sync(calls, redis, command)


async def subscribed(redis: RedisServer, how_many: int) -> None:
    """Wait for so many who listen to the room, and for what they look up when they begin."""
    with trio.fail_after(60):
        while (await channels(redis)) != how_many:  # noqa: ASYNC110
            await trio.sleep(0.01)


async def channels(redis: RedisServer) -> int:
    async with coredis.Redis.from_url(redis.url) as client:
        (found,) = (await client.pubsub_numsub("{chat}:news:room:room")).values()
        return int(found)


async def test_a_subscription_that_ends_begins_again(own: RedisServer, no_heartbeat: None) -> None:
    """Iterating over the client's subscription would end without a word."""
    async with process(own.url) as one, process(own.url) as two:
        for n in range(5):
            await subscribed(own, 2)
            await one.post(str(n))
            await two.reach(n + 1)
            assert own.ask("CLIENT", "KILL", "TYPE", "pubsub") == ":2"


async def test_a_write_is_never_sent_twice(own: RedisServer, no_heartbeat: None) -> None:
    """The client's own retries would repeat what is cut."""
    posted = 0
    async with wire(own.port, keeps=True) as line, process(line.url) as one:
        for way, cut in ("request", line.cut_request_after), ("reply", line.cut_reply_after):
            text = await hit(one, way, cut)
            # The beginning of the request may be what was cut; whatever was sent was sent once.
            assert line.sent.count(text.encode()) <= 2  # its id, and its text
            await insist(one, text)
            posted += int(text.rpartition("-")[2])
        await one.reach(posted)


async def hit(one: Process, way: str, cut: Callable[[int], None]) -> str:
    """Post until it is a post that is cut, and nobody else's request; returns the text."""
    for number in itertools.count(1):
        text = f"cut-{way}-{number}"
        cut(1)
        try:
            await one.post(text)
        except Unavailable:
            break
    return text


async def insist(one: Process, text: str) -> None:
    with trio.fail_after(60):
        while True:
            try:
                await one.post(text)
            except Unavailable:
                await trio.sleep(0.02)
            else:
                return


async def test_a_black_hole_is_given_up(own: RedisServer) -> None:
    """There is no time-out in the client by default."""
    async with wire(own.port) as line, process(line.url, patience=3) as one:
        await one.post("1")
        line.hold()
        with trio.fail_after(60):
            with pytest.raises(Unavailable):
                await one.post("2")
            with pytest.raises(Unavailable):
                await one.backend.read_after(LOG, 0, 1, 1)
        assert not one.backend.health().is_reachable
        line.release()
        await insist(one, "2")
        await insist(one, "3")
        await one.reach(3)


async def test_three_connections_however_many_rooms(own: RedisServer) -> None:
    """Who waits for wake-ups has one alone, so that nobody waits behind."""
    async with wire(own.port) as line, process(line.url) as one:
        for n in range(100):
            await one.backend.write([OpenRoom(Name(f"r{n}", f"R{n}"))])
            one.backend.follow(room_log(f"r{n}"))
            await one.backend.read_after(LOG, 0, 0, 1)
        await subscribed(own, 1)
        assert line.opened == 3


async def test_the_heartbeat_finds_what_no_wake_up_told(
    own: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscription that looks alive and hears nothing."""
    monkeypatch.setattr(redis_news, "_HEARTBEAT", 0.1)
    async with wire(own.port) as line, process(own.url) as one:
        line.never_answer(b"SUBSCRIBE")
        async with process(line.url) as two:
            for n in range(20):
                await one.post(str(n))
            await two.reach(20)


async def test_a_flood_of_wake_ups_is_taken_at_once(
    own: RedisServer, no_heartbeat: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client keeps what nobody takes, without bound; we do, even while no log can be read."""
    kept: list[object] = []
    subscriber = redis_news.Link.subscriber

    @asynccontextmanager
    async def watched(link: redis_news.Link) -> AsyncIterator[object]:
        async with subscriber(link) as found:
            kept.append(found)
            yield found

    monkeypatch.setattr(redis_news.Link, "subscriber", watched)
    async with (
        process(own.url) as other,
        wire(own.port) as line,
        process(line.url, patience=60) as one,
    ):
        await subscribed(own, 2)
        listening = kept[-1]
        line.never_answer(b"EVALSHA")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.backend.read_after, LOG, 0, 1, 1)  # what all others wait behind
            for n in range(500):
                await other.post(f"{n}")
            with trio.fail_after(60):
                while buffered(listening):  # noqa: ASYNC110
                    await trio.sleep(0.01)
            assert await count(own, "publish") >= 500
            assert len(one.backend._news._due) <= 1
            assert nursery.child_tasks, "nobody was held up"
            nursery.cancel_scope.cancel()


def buffered(subscription: object) -> int:
    """How many messages the client keeps that nobody has taken."""
    found: int = subscription._receive_stream.statistics().current_buffer_used  # type: ignore[attr-defined]
    return found


async def test_what_is_asked_in_one_turn_goes_together(
    own: RedisServer, no_heartbeat: None
) -> None:
    async with process(own.url) as one:
        await subscribed(own, 1)
        await one.post("1")
        before = await count(own, "evalsha")
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(one.backend.read_after, LOG, 0, 1, 1)
        between = await count(own, "evalsha")
        assert between - before <= 3
        results = await one.backend.write(
            [PostTo("anna", "room", "text", f"b{n}", 1000) for n in range(100)]
        )
        assert all(isinstance(result, Stored) for result in results)
        assert await count(own, "evalsha") - between <= 3
        assert await count(own, "xadd") == 101
