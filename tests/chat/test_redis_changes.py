"""What a heartbeat asks for, and that it finds everything whatever happens to what is noted."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import coredis
import pytest
import trio
from chat.record import Record
from chat.redis_cluster import RedisCluster
from chat.redis_cluster import redis_cluster as start_cluster
from chat.redis_server import RedisServer
from chat.test_redis import ALWAYS, ANNAS, BOBS, LOG, Process, own_redis, post, process, until
from chat.test_redis_failover import leading_to, reopen, replica_of

from wscore.chat.backends import redis_changes, redis_news, redis_shards
from wscore.chat.backends.base import (
    CannotOpen,
    Opened,
    OpenRoom,
    PostTo,
    Result,
    SendTo,
    Stored,
    Unavailable,
)
from wscore.chat.backends.redis import RedisBackend
from wscore.chat.model import Head, Log, Name, room_log

NEVER = 1e6
SHORT = 0.02
ALONE = 3600.0
"""A lease that makes a process say but once that it is there."""


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@pytest.fixture(autouse=True)
def _only_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """All wake-ups are lost, and there is no round."""
    monkeypatch.setattr(redis_news.News, "_hear", lambda *_: None)
    monkeypatch.setattr(redis_news, "_HEARTBEAT", SHORT)
    monkeypatch.setattr(redis_news, "_ROUND", NEVER * NEVER)


def names(count: int) -> list[Name]:
    return [Name(f"r{number}", f"R{number}") for number in range(count)]


async def open_rooms(who: Process, rooms: Sequence[Name]) -> dict[Log, str]:
    """Follow them; returns their epochs."""
    epochs = {}
    for room in rooms:
        who.backend.follow(room_log(room.key))
    for room, found in zip(
        rooms, await who.backend.write([OpenRoom(r) for r in rooms]), strict=True
    ):
        assert isinstance(found, Opened), found
        epochs[room_log(room.key)] = found.head.epoch
    return epochs


async def say(who: Process, rooms: Sequence[Name], id: str) -> list[Result]:
    return await who.backend.write([PostTo("anna", room.key, id, id, 1000) for room in rooms])


async def commands(redis: RedisServer) -> dict[str, int]:
    """How often each command was carried out, those of scripts too."""
    async with coredis.Redis.from_url(redis.url) as client:
        stats = await client.info("commandstats")
    found: dict[str, int] = {}
    for name, value in stats.items():
        if isinstance(value, dict) and name != "cmdstat_info":
            found[name.removeprefix("cmdstat_")] = int(value["calls"])
    return found


async def beats(redis: RedisServer, count: int) -> dict[str, int]:
    """Wait for at least so many heartbeats; returns what was done meanwhile."""
    before = await commands(redis)
    with trio.fail_after(60):
        while True:
            after = await commands(redis)
            if after["evalsha"] - before["evalsha"] >= count:
                return {name: after[name] - before.get(name, 0) for name in after}
            await trio.sleep(0.01)


async def a_beat(redis: RedisServer) -> dict[str, float]:
    """What a heartbeat does once nothing else is to be done."""
    with trio.fail_after(60):
        while True:
            found = await beats(redis, 20)
            count = found["evalsha"]
            # Whoever looks at a log asks for its length, and who is told of one, how far it is.
            if not found["xlen"] and found["hmget"] == count:
                used = ("hmget", "zscore", "zrange", "zadd", "hset", "evalsha")
                return {name: found.get(name, 0) / count for name in used}


# --- What it costs --------------------------------------------------------------------------


async def test_a_heartbeat_costs_the_same_however_many_logs_are_followed(tmp_path: Path) -> None:
    with own_redis(tmp_path) as redis:
        async with process(redis.url, lease=ALONE) as one:
            few = await a_beat(redis)
            await open_rooms(one, names(500))
            assert await a_beat(redis) == few
        assert few["zadd"] == few["hset"] == 0  # nothing to write to a disk
        assert 1 <= sum(few.values()) < 10


async def test_a_heartbeat_looks_at_what_changed(tmp_path: Path) -> None:
    rooms = names(500)
    with own_redis(tmp_path) as redis:
        async with process(redis.url, lease=ALONE) as one, process(redis.url, lease=ALONE) as two:
            for each in one, two:
                await open_rooms(each, rooms)
            await one.do(post("1"))
            quiet = await a_beat(redis)
            before = await commands(redis)
            await say(one, rooms[7:10], "1")
            await one.do(SendTo("anna", "bob", "x", "1", 1000))
            await until(lambda: len(two.announced) == 6)
            assert await a_beat(redis) == quiet
            # Of five logs, by the one who writes and reads, and the one who reads.
            assert (await commands(redis))["xlen"] - before["xlen"] <= 20
            for room in rooms[7:10]:
                assert two.offsets(room_log(room.key)) == [1]
            assert two.offsets(ANNAS) == two.offsets(BOBS) == [1]


async def test_what_is_noted_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, logs=5, marks=3)
    with own_redis(tmp_path) as redis:
        async with process(redis.url, lease=ALONE) as one:
            rooms = names(40)
            await open_rooms(one, rooms)
            for n in range(10):
                await say(one, rooms, f"{n}")
                await ask_for_changes(one)
            assert redis.ask("ZCARD", "{chat}:changed") == ":5"
            assert redis.ask("ZCARD", "{chat}:marks") == ":3"


def keep(monkeypatch: pytest.MonkeyPatch, *, logs: int, marks: int = 1000) -> None:
    """Have Redis keep less."""
    script = redis_shards.CHAT
    for name, count in ("LOGS", logs), ("MARKS", marks):
        (line,) = (line for line in script.splitlines() if line.startswith(f"local {name} ="))
        script = script.replace(line, f"local {name} = {count}")
    monkeypatch.setattr(redis_shards, "CHAT", script)


async def ask_for_changes(who: Process) -> None:
    """As a heartbeat does."""
    await who.backend._news._ask_for_changes()


# --- What it finds --------------------------------------------------------------------------


async def test_it_finds_what_no_wake_up_told(redis: RedisServer, tmp_path: Path) -> None:
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        for n in range(20):
            await one.do(post(f"{n}"))
            await two.do(SendTo("bob", "anna", "x", f"{n}", 1000))
        for each in one, two:
            for log in LOG, ANNAS, BOBS:
                await until(lambda each=each, log=log: len(each.offsets(log)) == 20)  # type: ignore[misc]
                assert each.offsets(log) == [*range(1, 21)]
        one.backend.enter(LOG, Name("anna", "Anna"))
        await until(lambda: two.elsewhere.get(LOG) == {"Anna"})
        one.backend.leave(LOG, Name("anna", "Anna"))
        await until(lambda: two.elsewhere.get(LOG) == set())


async def test_more_than_is_told_at_a_time(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_changes, "_LOGS", 30)
    monkeypatch.setattr(redis_news, "_DUE_TOGETHER", 4)
    rooms = names(40)
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        for each in one, two:
            await open_rooms(each, rooms)
        for n in range(1, 4):
            await say(one, rooms, f"{n}")
            await until(lambda n=n: len(two.announced) == n * len(rooms))  # type: ignore[misc]
        assert all(two.offsets(room_log(room.key)) == [1, 2, 3] for room in rooms)


async def test_further_behind_than_is_noted(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All followed logs are looked at, some at a time; and that ends."""
    keep(monkeypatch, logs=5)
    monkeypatch.setattr(redis_news, "_LATER_TOGETHER", 7)
    monkeypatch.setattr(redis_news, "_DUE_TOGETHER", 5)
    asked: list[int] = []
    read = redis_news.Link.read

    async def watched(link: redis_news.Link, what: Any) -> Any:
        asked.append(sum(command[0] == "news" for _, command in what))
        return await read(link, what)

    monkeypatch.setattr(redis_news.Link, "read", watched)
    rooms = names(100)
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        for each in one, two:
            await open_rooms(each, rooms)
        assert all(isinstance(each, Stored) for each in await say(one, rooms, "1"))
        await until(lambda: all(two.offsets(room_log(room.key)) == [1] for room in rooms))
        assert 0 < max(asked) <= 7 + 5
        assert two.lost == []


async def test_a_mark_that_is_too_old(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that slept finds nothing that tells what it knew, and nothing is wrong."""
    keep(monkeypatch, logs=1000, marks=3)
    monkeypatch.setattr(redis_news, "_HEARTBEAT", NEVER)
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        await ask_for_changes(two)
        for n in range(10):
            await one.do(post(f"{n}"))
            await ask_for_changes(one)
        await ask_for_changes(two)
        await until(lambda: two.offsets() == [*range(1, 11)])
        assert one.lost == two.lost == []


async def test_a_look_that_failed_is_made_again(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changed is told but once."""
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        take, refused = redis_news.News.take, 0

        def failing(news: redis_news.News, questions: Any, replies: Any) -> None:
            nonlocal refused
            if news is two.backend._news and questions and refused < 3:
                refused += 1
                replies = [Unavailable("the answer was lost")] * len(questions)
            take(news, questions, replies)

        monkeypatch.setattr(redis_news.News, "take", failing)
        await one.do(post("1"))
        await until(lambda: two.offsets() == [1])
        assert refused == 3


async def test_a_head_that_comes_after_what_is_beyond_it(
    redis: RedisServer, tmp_path: Path
) -> None:
    """The connections to Redis overtake each other."""
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        (room,) = names(1)
        log = room_log(room.key)
        (opened,) = await one.backend.write([OpenRoom(room)])
        assert isinstance(opened, Opened)
        two.backend.follow(log)
        await say(one, [room], "1")
        await ask_for_changes(two)
        await until(lambda: two.backend._news._logs[log].is_doubtful)
        two.backend._news.seen(log, "R0", Head(opened.head.epoch, 0))
        await until(lambda: two.offsets(log) == [1])


async def test_the_round_finds_what_others_did_to_a_log(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_news, "_ROUND", 1.0)
    rooms = names(30)
    async with process(redis.url, tmp_path) as one:
        epochs = await open_rooms(one, rooms)
        await say(one, rooms, "1")
        redis.ask("DEL", f"{{{tmp_path}}}:stream:room:r17")
        await until(lambda: one.lost == [room_log("r17")])
        after = await open_rooms(one, rooms)
        assert [log for log in epochs if after[log] != epochs[log]] == [room_log("r17")]


# --- What is lost or put back ---------------------------------------------------------------


async def test_data_that_is_gone(tmp_path: Path) -> None:
    with own_redis(tmp_path) as redis:
        async with process(redis.url) as one:
            epochs = await open_rooms(one, names(30))
            assert redis.ask("FLUSHALL") == "+OK"
            await until(lambda: epochs.keys() | {LOG, ANNAS, BOBS} <= {*one.lost})
            assert len(one.lost) == 33


async def test_what_is_noted_is_gone(redis: RedisServer, tmp_path: Path) -> None:
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        for n in range(1, 6):
            await one.do(post(f"{n}"))
            redis.ask("DEL", f"{{{tmp_path}}}:changed")
            await until(lambda n=n: two.offsets() == [*range(1, n + 1)])  # type: ignore[misc]
        assert two.lost == []


async def reloaded(redis: RedisServer, *words: str) -> None:
    answer = await trio.to_thread.run_sync(redis.ask, "DEBUG", "RELOAD", *words)
    assert answer == "+OK"


async def test_data_that_is_read_back(tmp_path: Path) -> None:
    """Nothing is lost, and nobody is told so."""
    with own_redis(tmp_path, "--enable-debug-command", "yes") as redis:
        async with process(redis.url) as one, process(redis.url) as two:
            epochs = await one.begin()
            for n in range(1, 4):
                await one.insist(post(f"{n}"))
                await reloaded(redis)
                await until(lambda n=n: two.offsets() == [*range(1, n + 1)])  # type: ignore[misc]
            for each in one, two:
                await ask_for_changes(each)
            assert one.lost == two.lost == []
            assert await two.begin() == epochs


Harm = Callable[[Process, Process, RedisServer], Awaitable[None]]


async def nothing(one: Process, two: Process, redis: RedisServer) -> None:
    """It is found at the next look."""


async def as_many_changes(one: Process, two: Process, redis: RedisServer) -> None:
    """Others did as much as is missing before anybody looks."""
    assert isinstance(await two.do(PostTo("anna", "r0", "other", "other", 1000)), Stored)


async def more_changes(one: Process, two: Process, redis: RedisServer) -> None:
    for n in range(5):
        assert isinstance(await two.do(PostTo("anna", "r0", "other", f"o{n}", 1000)), Stored)


@pytest.mark.parametrize("harm", [nothing, as_many_changes, more_changes])
async def test_an_older_dump_is_put_back(
    tmp_path: Path, harm: Harm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The offsets of what is missing are given out again, so all logs begin a new epoch."""
    monkeypatch.setattr(redis_news, "_HEARTBEAT", NEVER)
    rooms = names(30)
    with own_redis(tmp_path, "--enable-debug-command", "yes") as redis:
        async with process(redis.url) as one, process(redis.url) as two:
            epochs = await open_rooms(one, rooms) | await one.begin()
            for each in one, two:
                await each.do(post("kept", "anna"))
                await ask_for_changes(each)
            assert redis.ask("SAVE") == "+OK"
            assert isinstance(await one.do(post("lost")), Stored)
            await ask_for_changes(one)
            assert one.offsets() == [1, 2]
            await reloaded(redis, "NOSAVE")
            await harm(one, two, redis)
            await ask_for_changes(one)
            await until(lambda: epochs.keys() <= {*one.lost})
            assert len(one.lost) == len(epochs)
            await ask_for_changes(two)
            await until(lambda: {LOG, ANNAS, BOBS} <= {*two.lost})
            one.lost.clear()
            after = await open_rooms(one, rooms) | await one.begin()
            assert all(after[log] != epochs[log] for log in epochs)
            stored = await one.do(post("new"))
            assert stored == Stored(after[LOG], 2, 1000, duplicate=False)
            for each in one, two:
                await ask_for_changes(each)
            assert one.lost == []


async def test_a_log_that_is_put_back_alone(redis: RedisServer, tmp_path: Path) -> None:
    """A position in it would mean another entry."""
    async with process(redis.url, tmp_path) as one:
        epochs = await one.begin()
        for n in range(3):
            await one.do(post(f"{n}"))
        key = f"{{{tmp_path}}}:"
        redis.ask("XTRIM", f"{key}stream:room:room", "MAXLEN", "2")
        redis.ask("XDEL", f"{key}stream:room:room", "3-0")
        redis.ask("HSET", f"{key}log:room:room", "start", "2", "last", "2")
        one.backend._news.doubt(LOG)
        await until(lambda: one.lost == [LOG])
        after = await one.begin()
        assert [log for log in epochs if after[log] != epochs[log]] == [LOG]


async def test_a_replica_that_lacks_what_was_written(tmp_path: Path) -> None:
    rooms = names(30)
    with own_redis(tmp_path, *ALWAYS, "--repl-diskless-sync-delay", "0") as first:
        async with (
            replica_of(tmp_path, "replica", first) as second,
            leading_to(first) as address,
            process(address.url) as one,
        ):
            epochs = await open_rooms(one, rooms) | await one.begin()
            await one.insist(post("kept"))
            with trio.fail_after(60):
                while not await trio.to_thread.run_sync(first.has_replica):
                    pass
            assert second.ask("REPLICAOF", "NO", "ONE") == "+OK"
            await one.insist(post("lost"))
            await until(lambda: one.offsets() == [1, 2])
            address.lead_to(second)
            await until(lambda: epochs.keys() <= {*one.lost})
            epoch = await reopen(one)
            assert epoch != epochs[LOG]
            stored = await one.insist(post("new"))
            assert stored == Stored(epoch, 2, 1000, duplicate=False)


# --- Elsewhere ------------------------------------------------------------------------------


async def test_on_a_cluster(
    redis_cluster: RedisCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_news, "_HEARTBEAT", 0.2)  # it asks 65 shards
    rooms = names(200)
    url = redis_cluster.url
    async with process(url, tmp_path) as one, process(url, tmp_path) as two:
        for each in one, two:
            await open_rooms(each, rooms)
        for n in range(1, 4):
            found = await say(one, rooms, f"{n}")
            assert all(isinstance(each, Stored) for each in found), found
            await one.do(SendTo("anna", "bob", "x", f"{n}", 1000))
            for log in *(room_log(room.key) for room in rooms), ANNAS, BOBS:
                await until(lambda log=log, n=n: two.offsets(log) == [*range(1, n + 1)])  # type: ignore[misc]
        assert one.lost == two.lost == []


async def test_a_node_of_a_cluster_loses_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_news, "_HEARTBEAT", 0.2)
    rooms = names(200)
    with start_cluster(tmp_path) as cluster:
        async with process(cluster.url) as one:
            epochs = await open_rooms(one, rooms)
            victim = cluster.nodes[1]
            keys = cluster.say(victim, "KEYS", "{chat:*}:log:room:*").split()
            hit = {room_log(key.rpartition(":")[2]) for key in keys} & epochs.keys()
            assert 0 < len(hit) < len(rooms)
            assert victim.ask("FLUSHALL") == "+OK"
            await until(lambda: hit <= {*one.lost})
            after = await open_rooms(one, rooms)
            assert {log for log in epochs if after[log] != epochs[log]} == hit


async def test_data_of_another_version(tmp_path: Path) -> None:
    """Processes that note changes in another way must not write beside these."""
    with own_redis(tmp_path) as redis:
        async with process(redis.url) as one:
            redis.ask("HSET", "{chat}:life", "format", "3")
            with pytest.raises(CannotOpen) as caught:
                async with RedisBackend(redis.url, prefix="chat").open(Record()):
                    pass
            (line,) = str(caught.value).splitlines()
            assert "another version of wscore: format 3, not 2" in line
            assert redis.ask("SCRIPT", "FLUSH") == "+OK"  # who is there has to load it again
            with pytest.raises(Unavailable, match="format 3, not 2"):
                await one.do(post("1"))
