"""Who is present and who writes, where several stores on one Redis tell each other."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
from chat.redis_server import RedisServer
from chat.test_redis import ALWAYS, ANNAS, LOG, Process, own_redis, process, until

from wscore.chat.backends.base import Opened, OpenRoom
from wscore.chat.backends.redis import RedisBackend
from wscore.chat.model import Name, room_log

ANNA, BOB, CAROL = Name("anna", "Anna"), Name("bob", "Bob"), Name("carol", "Carol")
LEASE = 1.0


def here(who: Process) -> set[str]:
    return who.elsewhere.get(LOG, set())


async def sees(who: Process, *names: str) -> None:
    await until(lambda: here(who) == set(names))


class Mortal(Process):
    """A process that can die without a word."""

    def __init__(self, backend: RedisBackend) -> None:
        super().__init__(backend)
        self.death = trio.CancelScope()

    async def live(self, task_status: trio.TaskStatus[Mortal]) -> None:
        with self.death:
            async with self.backend._link.connected(), trio.open_nursery() as nursery:
                await self.backend._link.check()
                nursery.start_soon(self.backend._presence.run)
                task_status.started(self)


@asynccontextmanager
async def three(url: str, prefix: object) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(process(url, prefix, lease=LEASE)) for _ in range(3)]


async def test_others_hear_who_comes_and_leaves(redis: RedisServer, tmp_path: Path) -> None:
    async with three(redis.url, tmp_path) as (one, two, last):
        one.backend.enter(LOG, ANNA)
        two.backend.enter(LOG, BOB)
        two.backend.enter(LOG, CAROL)
        await sees(one, "Bob", "Carol")
        await sees(two, "Anna")
        await sees(last, "Anna", "Bob", "Carol")
        two.backend.leave(LOG, BOB)
        await sees(one, "Carol")
        await sees(last, "Anna", "Carol")
        assert here(two) == {"Anna"}


async def test_a_user_at_several_processes_is_one(redis: RedisServer, tmp_path: Path) -> None:
    async with three(redis.url, tmp_path) as (one, two, last):
        one.backend.enter(LOG, ANNA)
        two.backend.enter(LOG, ANNA)
        await sees(one, "Anna")
        await sees(two, "Anna")
        await sees(last, "Anna")
        one.backend.leave(LOG, ANNA)
        await sees(two)
        assert here(last) == {"Anna"}
        two.backend.leave(LOG, ANNA)
        await sees(last)


async def test_who_is_there_is_heard_before_the_room_is_open(
    redis: RedisServer, tmp_path: Path
) -> None:
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        two.backend.unfollow(LOG)
        for user in ANNA, BOB:
            one.backend.enter(LOG, user)
        await until(lambda: redis.ask("HLEN", f"{{{tmp_path}}}:users:room") == ":2")
        two.elsewhere.clear()
        two.backend.follow(LOG)
        assert isinstance(await two.do(OpenRoom(Name("room", "Room"))), Opened)
        assert here(two) == {"Anna", "Bob"}


async def test_a_process_that_ends_takes_its_users_along_at_once(
    redis: RedisServer, tmp_path: Path
) -> None:
    async with process(redis.url, tmp_path, lease=3600) as one:
        async with process(redis.url, tmp_path, lease=3600) as two:
            for number in range(120):  # more than one step takes
                room = Name(f"room{number}", f"Room{number}")
                await two.do(OpenRoom(room))
                two.backend.enter(room_log(room.key), BOB)
            two.backend.enter(LOG, BOB)
            await sees(one, "Bob")
        await sees(one)
        assert redis.ask("ZCARD", f"{{{tmp_path}}}:crowds") == ":0"


async def test_a_process_that_dies_is_forgotten(redis: RedisServer, tmp_path: Path) -> None:
    async with process(redis.url, tmp_path, lease=LEASE) as one, trio.open_nursery() as nursery:
        one.backend.enter(LOG, ANNA)
        dead = Mortal(RedisBackend(redis.url, prefix=str(tmp_path), lease=LEASE))
        await nursery.start(dead.live)
        for user in ANNA, BOB:
            dead.backend.enter(LOG, user)
        await sees(one, "Anna", "Bob")
        dead.death.cancel()
        await sees(one)
        key = f"{{{tmp_path}}}:"
        assert redis.ask("SMEMBERS", f"{key}at:room") == "*1"
        assert redis.ask("ZCARD", f"{key}processes") == ":1"
        assert redis.ask("ZSCORE", f"{key}crowds", "room") in ("$1", ",1")


async def test_a_process_that_was_taken_for_dead_tells_anew(
    redis: RedisServer, tmp_path: Path
) -> None:
    async with three(redis.url, tmp_path) as (one, two, _):
        one.backend.enter(LOG, ANNA)
        await sees(two, "Anna")
        # As if nobody had heard of it for the time of the lease: the next one to look removes it.
        key = f"{{{tmp_path}}}:"
        name = one.backend._process
        redis.ask("DEL", f"{key}here:{name}:room", f"{key}rooms:{name}", f"{key}users:room")
        redis.ask("DEL", f"{key}changes:room", f"{key}at:room")
        redis.ask("HINCRBY", f"{key}log:room:room", "version", "1")
        redis.ask("ZREM", f"{key}processes", name)
        await until(lambda: redis.ask("HLEN", f"{key}users:room") == ":1")
        await sees(two, "Anna")
        one.backend.leave(LOG, ANNA)
        await sees(two)


async def test_flushall_and_a_new_life(tmp_path: Path) -> None:
    with own_redis(tmp_path) as redis:
        async with process(redis.url) as one, process(redis.url) as two:
            one.backend.enter(LOG, ANNA)
            await sees(two, "Anna")
            for harm in ("FLUSHALL",), ("DEL", "{chat}:life"):
                for each in one, two:
                    each.lost.clear()
                redis.ask(*harm)
                for each in one, two:
                    await until(lambda each=each: LOG in each.lost)  # type: ignore[misc]
                assert here(two) == set()
                await two.begin()
                await one.begin()
                await sees(two, "Anna")


async def test_redis_dies_and_comes_back_with_what_it_had(tmp_path: Path) -> None:
    """The lease is over then, but nobody could have been heard of: nobody is called dead."""
    with own_redis(tmp_path, *ALWAYS) as redis:
        async with (
            process(redis.url, lease=LEASE) as one,
            process(redis.url, lease=LEASE) as two,
        ):
            one.backend.enter(LOG, ANNA)
            two.backend.enter(LOG, BOB)
            await sees(one, "Bob")
            await sees(two, "Anna")
            redis.kill()
            two.backend.leave(LOG, BOB)
            two.backend.enter(LOG, CAROL)
            redis.start()
            await sees(one, "Carol")
            assert here(two) == {"Anna"}
            assert one.lost == two.lost == []


async def test_wake_ups_that_are_lost(redis: RedisServer, tmp_path: Path) -> None:
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        for number in range(20):
            redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
            one.backend.enter(LOG, Name(f"user{number}", f"User{number}"))
        await sees(two, *(f"User{number}" for number in range(20)))


async def test_many_changes_and_a_crowd(redis: RedisServer, tmp_path: Path) -> None:
    """More than is kept of changes, and more users than each of whom wakes everybody."""
    users = [Name(f"user{number}", f"User{number}") for number in range(1200)]
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        for user in users:
            one.backend.enter(LOG, user)
        await sees(two, *(user.text for user in users))
        for user in users[:-1]:
            one.backend.leave(LOG, user)
        await sees(two, users[-1].text)


async def test_a_redis_that_answers_nobody_keeps_nobody_waiting(tmp_path: Path) -> None:
    with own_redis(tmp_path) as redis:
        async with process(redis.url, timeout=3) as one, process(redis.url, timeout=3) as two:
            redis.send_signal(signal.SIGSTOP)
            for _ in range(3):
                one.backend.enter(LOG, ANNA)
                one.backend.leave(LOG, ANNA)
                one.backend.enter(LOG, BOB)
            await until(lambda: not one.backend.health().is_reachable)
            redis.send_signal(signal.SIGCONT)
            await sees(two, "Bob")


async def test_others_hear_who_writes(redis: RedisServer, tmp_path: Path) -> None:
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:

        async def heard(log: object, user: Name) -> None:
            with trio.fail_after(60):
                while (log, user.text) not in two.typed:
                    one.backend.type(LOG if log == LOG else ANNAS, user)
                    await trio.sleep(0.01)

        await heard(LOG, ANNA)
        await heard(ANNAS, BOB)
        assert one.typed == []


async def test_rooms_with_most_present_come_first(redis: RedisServer, tmp_path: Path) -> None:
    async with process(redis.url, tmp_path) as one, process(redis.url, tmp_path) as two:
        for name, users in ("few", [ANNA]), ("many", [ANNA, BOB, CAROL]), ("some", [ANNA, BOB]):
            await one.do(OpenRoom(Name(name, name.title())))
            for user in users:
                one.backend.enter(room_log(name), user)
        two.backend.enter(room_log("some"), ANNA)  # the same Anna
        key = f"{{{tmp_path}}}:"
        await until(lambda: redis.ask("HLEN", f"{key}users:many") == ":3")
        await until(lambda: redis.ask("SCARD", f"{key}at:some") == ":2")
        rooms = await two.backend.rooms(10)
        assert [(room.room.text, room.present) for room in rooms] == [
            ("Many", 3),
            ("Some", 2),
            ("Few", 1),
            ("Room", 0),
        ]
        assert await two.backend.rooms(2) == rooms[:2]


@pytest.mark.parametrize("options", [ALWAYS, ("--appendonly", "yes")])
async def test_chats_that_share_a_redis_begin_new_lives_of_their_own(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    """What one of them does after a restart does not hide the restart from the other."""
    with own_redis(tmp_path, *options) as redis:
        epochs: dict[str, list[str]] = {"a": [], "b": []}
        for _ in range(2):
            for prefix, known in epochs.items():
                async with process(redis.url, prefix) as one:
                    known.append((await one.begin())[LOG])
            redis.kill()
            redis.start()
        is_new = [before != after for before, after in epochs.values()]
        assert is_new == [options != ALWAYS] * 2
