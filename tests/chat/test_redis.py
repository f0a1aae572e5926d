"""The store on Redis where several share it, and where Redis is harmed."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from chat.record import Record
from chat.redis_server import RedisServer, redis_server

from wscore.chat.backends.base import (
    CannotOpen,
    Claim,
    Claimed,
    Command,
    Opened,
    OpenRoom,
    PostTo,
    Refused,
    Result,
    SendTo,
    Stored,
    Unavailable,
)
from wscore.chat.backends.redis import RedisBackend
from wscore.chat.model import Log, Name, inbox_log, room_log

ANNA, BOB, ROOM = Name("anna", "Anna"), Name("bob", "Bob"), Name("room", "Room")
LOG, ANNAS, BOBS = room_log("room"), inbox_log("anna"), inbox_log("bob")
ALWAYS = "--appendonly", "yes", "--appendfsync", "always"
EVERYSEC = "--appendonly", "yes", "--appendfsync", "everysec"


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


class Process(Record):
    """A back-end as one process of many has it, following Anna's and Bob's inboxes and a room."""

    def __init__(self, backend: RedisBackend) -> None:
        super().__init__()
        self.backend = backend

    async def begin(self) -> dict[Log, str]:
        """Claim and open everything; returns the epochs."""
        results = await self.backend.write([Claim(ANNA, b"a"), Claim(BOB, b"b"), OpenRoom(ROOM)])
        anna, bob, room = results
        assert isinstance(anna, Claimed)
        assert isinstance(bob, Claimed)
        assert isinstance(room, Opened)
        return {ANNAS: anna.inbox.epoch, BOBS: bob.inbox.epoch, LOG: room.head.epoch}

    async def do(self, command: Command) -> Result:
        (result,) = await self.backend.write([command])
        return result

    async def insist(self, command: Command) -> Result:
        """As a client does that is told that the store is unavailable."""
        while True:
            try:
                return await self.do(command)
            except Unavailable:
                await trio.sleep(0.02)

    def texts(self, log: Log = LOG) -> list[str]:
        return [entry.text for which, entry in self.announced if which == log]

    def offsets(self, log: Log = LOG) -> list[int]:
        return [entry.offset for which, entry in self.announced if which == log]


@asynccontextmanager
async def process(url: str, prefix: object = "chat", **options: Any) -> AsyncIterator[Process]:
    backend = RedisBackend(url, prefix=str(prefix), **options)
    process = Process(backend)
    async with backend.open(process):
        for log in LOG, ANNAS, BOBS:
            backend.follow(log)
        await process.begin()
        yield process


@contextmanager
def own_redis(path: Path, *options: str) -> Iterator[RedisServer]:
    folder = path / "redis"
    folder.mkdir()
    with redis_server(folder, *options) as server:
        yield server


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


def post(id: str, sender: str = "anna") -> PostTo:
    return PostTo(sender, "room", f"text {id}", id, 1000)


# --- Several processes ----------------------------------------------------------------------


async def test_what_others_store_is_announced_in_order_once(
    redis: RedisServer, tmp_path: Path
) -> None:
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        async with trio.open_nursery() as nursery:

            async def talk(who: Process, sender: str, to: str) -> None:
                for n in range(100):
                    await who.do(post(str(n), sender))
                    await who.do(SendTo(sender, to, f"{sender} {n}", f"d{n}", 1000))

            nursery.start_soon(talk, one, "anna", "bob")
            nursery.start_soon(talk, two, "bob", "anna")
        for each in one, two:
            await until(lambda each=each: len(each.announced) == 600)  # type: ignore[misc]
            for log in LOG, ANNAS, BOBS:
                assert each.offsets(log) == list(range(1, 201))
        for log in LOG, ANNAS, BOBS:
            assert one.texts(log) == two.texts(log)


async def test_what_is_announced_comes_before_the_head_that_tells_of_it(
    redis: RedisServer, tmp_path: Path
) -> None:
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        for n in range(50):
            await two.do(post(str(n)))
            opened = await one.do(OpenRoom(ROOM))
            assert isinstance(opened, Opened)
            assert opened.head.offset == n + 1
            assert one.offsets() == list(range(1, n + 2))


async def test_names_and_ids_are_shared(redis: RedisServer, tmp_path: Path) -> None:
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        thief = await two.do(Claim(ANNA, b"wrong"))
        assert isinstance(thief, Refused)
        assert thief.code == "name_taken"
        first = await one.do(post("1"))
        assert isinstance(first, Stored)
        assert await two.do(post("1")) == first._replace(duplicate=True)
        await until(lambda: two.offsets() == [1])


async def test_many_entries_at_once(redis: RedisServer, tmp_path: Path) -> None:
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        await one.backend.write([post(str(n)) for n in range(3000)])
        await until(lambda: len(two.announced) == 3000)
        await until(lambda: len(one.announced) == 3000)
        assert one.offsets() == two.offsets() == list(range(1, 3001))


async def test_what_nobody_follows_is_not_announced(redis: RedisServer, tmp_path: Path) -> None:
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        two.backend.unfollow(LOG)
        await one.do(post("1"))
        await one.do(SendTo("anna", "bob", "x", "1", 1000))
        await until(lambda: two.offsets(BOBS) == [1])
        assert two.offsets() == []
        # And from the head on when it is followed again.
        two.backend.follow(LOG)
        await two.do(OpenRoom(ROOM))
        await one.do(post("2"))
        await until(lambda: two.offsets() == [2])


# --- Faults ---------------------------------------------------------------------------------


async def test_wake_ups_that_are_lost_cost_no_entry(redis: RedisServer, tmp_path: Path) -> None:
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        for n in range(30):
            if n % 5 == 0:
                assert redis.ask("CLIENT", "KILL", "TYPE", "pubsub").startswith(":")
            if n % 7 == 0:
                redis.ask("CLIENT", "KILL", "TYPE", "normal")
            assert isinstance(await one.insist(post(str(n))), Stored)
        for each in one, two:
            await until(lambda each=each: len(each.announced) == 30)  # type: ignore[misc]
            assert each.offsets() == list(range(1, 31))


async def test_an_answer_that_is_lost(redis: RedisServer, tmp_path: Path) -> None:
    """What was stored all the same is announced, and found by whoever sends it again."""
    async with trio.open_nursery() as nursery:
        is_deaf = False

        async def relay(client: trio.SocketStream) -> None:
            async with (
                client,
                await trio.open_tcp_stream("127.0.0.1", redis.port) as server,
                trio.open_nursery() as both,
            ):

                async def up() -> None:
                    async for data in client:
                        await server.send_all(data)
                    both.cancel_scope.cancel()

                both.start_soon(up)
                async for data in server:
                    if is_deaf:
                        break
                    await client.send_all(data)
                both.cancel_scope.cancel()

        async def relay_quietly(client: trio.SocketStream) -> None:
            try:
                await relay(client)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        listeners = await nursery.start(partial(trio.serve_tcp, relay_quietly, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with process(f"redis://127.0.0.1:{port}", tmp_path) as one:
            is_deaf = True
            with pytest.raises(Unavailable):
                await one.do(post("1"))
            assert not one.backend.health().is_reachable
            is_deaf = False
            again = await one.insist(post("1"))
            assert isinstance(again, Stored)
            assert (again.offset, again.duplicate) == (1, True)
            await one.do(post("2"))
            await until(lambda: len(one.announced) == 2)
            assert one.offsets() == [1, 2]
        nursery.cancel_scope.cancel()


async def test_a_redis_that_answers_nobody(tmp_path: Path) -> None:
    with own_redis(tmp_path) as redis:
        async with process(redis.url, timeout=3) as one, process(redis.url, timeout=3) as two:
            await one.do(post("1"))
            redis.send_signal(signal.SIGSTOP)
            with pytest.raises(Unavailable):
                await one.do(post("2"))
            with pytest.raises(Unavailable):
                await two.backend.read_after(LOG, 0, 10, 10)
            redis.send_signal(signal.SIGCONT)
            assert isinstance(await one.insist(post("2")), Stored)
            assert isinstance(await one.insist(post("3")), Stored)
            for each in one, two:
                await until(lambda each=each: len(each.announced) == 3)  # type: ignore[misc]
                assert each.offsets() == [1, 2, 3]
            assert one.lost == two.lost == []


async def test_killed_with_appendonly_always(tmp_path: Path) -> None:
    with own_redis(tmp_path, *ALWAYS) as redis:
        async with process(redis.url) as one, process(redis.url) as two:
            epochs = await one.begin()
            ids = iter(range(10**6))
            for _ in range(3):
                stored = [str(next(ids)) for _ in range(20)]
                for id in stored:
                    assert isinstance(await one.insist(post(id)), Stored)
                redis.kill()
                with pytest.raises(Unavailable):
                    await one.do(post("while it is away"))
                redis.start()
            assert isinstance(await one.insist(post("last")), Stored)
            for each in one, two:
                await until(lambda each=each: "text last" in each.texts())  # type: ignore[misc]
                assert each.offsets() == list(range(1, 62))
                assert each.lost == []
            assert await one.begin() == epochs


@pytest.mark.parametrize("options", [(), EVERYSEC])
async def test_killed_where_something_may_be_lost(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Offsets may be given out again then: all logs begin a new epoch, and all are told."""
    with own_redis(tmp_path, *options) as redis:
        async with process(redis.url) as one, process(redis.url) as two:
            epochs = await one.begin()
            await one.do(post("1"))
            redis.kill()
            redis.start()
            for each in one, two:
                await until(lambda each=each: {LOG, ANNAS, BOBS} <= {*each.lost})  # type: ignore[misc]
            after = await one.begin()
            assert all(after[log] != epochs[log] for log in epochs)
            assert await two.begin() == after


async def test_flushall(tmp_path: Path) -> None:
    with own_redis(tmp_path) as redis:
        async with process(redis.url) as one, process(redis.url) as two:
            epochs = await one.begin()
            await one.do(post("1"))
            assert redis.ask("FLUSHALL") == "+OK"
            refused = await one.do(post("2"))
            assert isinstance(refused, Refused)
            assert refused.code == "unavailable"
            for each in one, two:
                await until(lambda each=each: {LOG, ANNAS, BOBS} <= {*each.lost})  # type: ignore[misc]
            after = await two.begin()
            assert all(after[log] != epochs[log] for log in epochs)
            first = await two.do(post("3"))
            assert first == Stored(after[LOG], 1, 1000, duplicate=False)


async def test_a_log_that_is_damaged_begins_anew(redis: RedisServer, tmp_path: Path) -> None:
    """Whoever uses it first finds it, and the others hear of that."""
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        epochs = await one.begin()
        await one.do(post("1"))
        await one.do(SendTo("anna", "bob", "x", "1", 1000))
        redis.ask("DEL", f"{{{tmp_path}}}:stream:room:room")
        refused = await one.do(post("lost"))
        assert isinstance(refused, Refused)
        assert refused.code == "unavailable"
        for each in one, two:
            await until(lambda each=each: each.lost == [LOG])  # type: ignore[misc]
        after = await one.begin()
        assert [log for log in after if after[log] != epochs[log]] == [LOG]
        assert await one.do(post("2")) == Stored(after[LOG], 1, 1000, duplicate=False)


async def test_a_new_life_on_demand(redis: RedisServer, tmp_path: Path) -> None:
    async with process(redis.url, tmp_path) as one:
        epochs = await one.begin()
        await one.do(post("1"))
        redis.ask("DEL", f"{{{tmp_path}}}:life")
        await until(lambda: {LOG, ANNAS, BOBS} <= {*one.lost})
        after = await one.begin()
        assert all(after[log] != epochs[log] for log in epochs)
        page = await one.backend.read_after(LOG, 0, 10, 10)
        assert [entry.text for entry in page.entries] == ["text 1"]


async def test_trimmed_further_than_a_process_is(redis: RedisServer, tmp_path: Path) -> None:
    """It cannot go on without a hole: those who follow there have to resume."""
    async with process(redis.url, tmp_path) as one:
        page = "news", "room", "room"
        questions = one.backend._news.questions([LOG])
        reply = [b"page", one.backend._news.epoch(LOG).encode(), b"5", b"7", []]
        assert questions[0][2][1][:3] == [*page]
        one.backend._news.take(questions, [reply])
        assert (one.lost, one.announced) == ([LOG], [])


# --- Opening --------------------------------------------------------------------------------


async def test_nobody_there(tmp_path: Path) -> None:
    with own_redis(tmp_path) as redis:
        url = redis.url
    with pytest.raises(CannotOpen, match=r"redis://127\.0\.0\.1:\d+/0"):
        async with RedisBackend(url).open(Record()):
            pass


async def test_secrets_are_not_told(tmp_path: Path) -> None:
    with own_redis(tmp_path, "--requirepass", "geheim") as redis:
        place = f"127.0.0.1:{redis.port}"
        with pytest.raises(CannotOpen) as caught:
            async with RedisBackend(f"redis://:falsch@{place}").open(Record()):
                pass
        assert place in str(caught.value)
        assert "falsch" not in str(caught.value)
        async with process(f"redis://:geheim@{place}") as one:
            assert isinstance(await one.do(post("1")), Stored)
            assert "geheim" not in one.backend.place


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:6379", ""])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match="redis://"):
        RedisBackend(url)


@pytest.mark.parametrize(
    ("options", "word"), [((), "appendonly off"), (ALWAYS, "always"), (EVERYSEC, "everysec")]
)
async def test_what_redis_promises_is_told(
    tmp_path: Path, options: tuple[str, ...], word: str
) -> None:
    with own_redis(tmp_path, *options) as redis:
        async with process(redis.url) as one:
            health = one.backend.health()
            assert (health.engine, health.is_reachable) == ("redis", True)
            assert word in health.promise


async def test_replicas(tmp_path: Path) -> None:
    """With a number of replicas to wait for, nothing is acknowledged that they do not have."""
    other = tmp_path / "other"
    other.mkdir()
    with own_redis(tmp_path) as redis:
        async with process(redis.url) as plain:
            assert isinstance(await plain.do(post("1")), Stored)
        backend = RedisBackend(redis.url, prefix="chat", replicas=1, timeout=3)
        one = Process(backend)
        async with backend.open(one):
            with pytest.raises(Unavailable, match="replicas"):
                await one.do(post("2"))
            with redis_server(other, "--replicaof", "127.0.0.1", str(redis.port)) as replica:
                result = await one.insist(post("2"))
                assert isinstance(result, Stored)
                assert (result.offset, result.duplicate) == (2, True)
                length = ("XLEN", "{chat}:stream:room:room")
                assert replica.ask(*length) == ":2"
