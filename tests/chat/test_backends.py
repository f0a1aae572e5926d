"""The contract of `wscore.chat.backends.base`, over every back-end."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import trio
from chat.record import Record
from chat.redis_server import kind_of

from wscore.chat.backends import recent
from wscore.chat.backends.base import (
    Backend,
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
)
from wscore.chat.backends.memory import MemoryBackend
from wscore.chat.backends.redis import RedisBackend
from wscore.chat.backends.sqlite import SQLiteBackend
from wscore.chat.model import Entry, Log, Name, inbox_log, room_log

ANNA, BOB, ROOM = Name("anna", "Anna"), Name("bob", "Bob"), Name("room", "Room")


class Store(Record):
    """An open back-end, with what it announced."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend

    async def do(self, command: Command) -> Result:
        (result,) = await self.backend.write([command])
        return result

    async def all(self, log: Log) -> list[Entry]:
        return (await self.backend.read_after(log, 0, 10**9, 10**6)).entries


@pytest.fixture(params=["memory", "sqlite", "sqlite, merging", "redis", "redis_cluster"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What back-end there is to be: a kind, or the URL of a Redis."""
    if request.param == "sqlite, merging":
        monkeypatch.setattr(recent, "_MOST", 2)
    return kind_of(request)


def make(kind: str, path: Path, max_rooms: int = 100, max_users: int = 100) -> Backend:
    if kind == "memory":
        return MemoryBackend(max_rooms=max_rooms, max_users=max_users)
    if kind.startswith("redis:"):
        many = {"max_rooms": max_rooms, "max_users": max_users}
        return RedisBackend(kind, prefix=str(path), timeout=60, **many)
    return SQLiteBackend(path / "chat.db", max_rooms=max_rooms, max_users=max_users)


@pytest.fixture
async def store(kind: str, tmp_path: Path) -> AsyncIterator[Store]:
    """An open store that knows Anna, Bob and a room."""
    store = Store(make(kind, tmp_path))
    async with store.backend.open(store):
        for log in inbox_log("anna"), inbox_log("bob"), room_log("room"):
            store.backend.follow(log)
        await store.backend.write([Claim(ANNA, b"a"), Claim(BOB, b"b"), OpenRoom(ROOM)])
        yield store


def post(text: str, id: str, sender: str = "anna", room: str = "room", time: int = 1000) -> PostTo:
    return PostTo(sender, room, text, id, time)


async def test_names_are_claimed(store: Store) -> None:
    first = await store.do(Claim(Name("straße", "Straße"), b"secret"))
    assert isinstance(first, Claimed)
    assert first.user == "Straße"
    assert first.inbox.offset == 0
    assert await store.do(Claim(Name("straße", "STRASSE"), b"secret")) == first
    thief = await store.do(Claim(Name("straße", "STRASSE"), b"another"))
    assert isinstance(thief, Refused)
    assert thief.code == "name_taken"


async def test_rooms_are_opened(store: Store) -> None:
    first = await store.do(OpenRoom(Name("küche", "Küche")))
    assert isinstance(first, Opened)
    assert (first.room, first.head.offset) == ("Küche", 0)
    assert await store.do(OpenRoom(Name("küche", "KÜCHE"))) == first
    other = await store.do(OpenRoom(ROOM))
    assert isinstance(other, Opened)
    assert other.head.epoch != first.head.epoch


async def test_a_room_and_a_user_of_one_name_are_two_logs(store: Store) -> None:
    assert isinstance(await store.do(OpenRoom(ANNA)), Opened)
    await store.do(post("x", "1", room="anna"))
    assert await store.all(inbox_log("anna")) == []
    assert len(await store.all(room_log("anna"))) == 1


async def test_posts(store: Store) -> None:
    results = await store.backend.write(
        [post("one", "1"), post("two", "1", sender="bob", time=2000), post("\0😀", "3")]
    )
    opened = await store.do(OpenRoom(ROOM))
    assert isinstance(opened, Opened)
    epoch = opened.head.epoch
    assert results == [
        Stored(epoch, 1, 1000, duplicate=False),
        Stored(epoch, 2, 2000, duplicate=False),
        Stored(epoch, 3, 1000, duplicate=False),
    ]
    entries = [
        Entry(1, "Anna", None, "one", 1000, "1"),
        Entry(2, "Bob", None, "two", 2000, "1"),
        Entry(3, "Anna", None, "\0😀", 1000, "3"),
    ]
    assert opened.head.offset == 3
    assert await store.all(room_log("room")) == entries
    assert store.announced == [(room_log("room"), entry) for entry in entries]


async def test_direct_messages_go_to_both_inboxes(store: Store) -> None:
    await store.do(SendTo("bob", "anna", "first", "1", 1000))
    sent = await store.do(SendTo("anna", "bob", "second", "1", 2000))
    own = await store.do(SendTo("anna", "anna", "note", "2", 3000))
    assert isinstance(sent, Stored)
    assert isinstance(own, Stored)
    assert (sent.offset, own.offset) == (2, 3)
    first = Entry(1, "Bob", "Anna", "first", 1000, "1")
    second = Entry(2, "Anna", "Bob", "second", 2000, "1")
    note = Entry(3, "Anna", "Anna", "note", 3000, "2")
    assert await store.all(inbox_log("anna")) == [first, second, note]
    assert await store.all(inbox_log("bob")) == [first, second]
    for key, entries in ("anna", [first, second, note]), ("bob", [first, second]):
        assert [e for log, e in store.announced if log == inbox_log(key)] == entries
    claimed = await store.do(Claim(ANNA, b"a"))
    assert isinstance(claimed, Claimed)
    assert (claimed.inbox.epoch, claimed.inbox.offset) == (sent.epoch, 3)


async def test_unknown_users(store: Store) -> None:
    result = await store.do(SendTo("anna", "nobody", "x", "1", 1))
    assert isinstance(result, Refused)
    assert result.code == "unknown_user"
    assert await store.all(inbox_log("anna")) == []
    assert store.announced == []


async def test_ids_are_remembered(store: Store) -> None:
    first, again, conflict, other_user = await store.backend.write(
        [post("x", "1"), post("x", "1", time=9), post("y", "1"), post("y", "1", sender="bob")]
    )
    assert isinstance(first, Stored)
    assert isinstance(conflict, Refused)
    assert isinstance(other_user, Stored)
    assert again == first._replace(duplicate=True)
    assert conflict.code == "conflict"
    assert (other_user.offset, other_user.duplicate) == (2, False)
    assert await store.do(post("x", "1")) == again
    assert len(await store.all(room_log("room"))) == 2
    assert len(store.announced) == 2


async def test_ids_of_direct_messages_are_remembered(store: Store) -> None:
    first = await store.do(SendTo("anna", "bob", "x", "1", 5))
    assert isinstance(first, Stored)
    again = await store.do(SendTo("anna", "bob", "x", "1", 6))
    assert again == first._replace(duplicate=True)
    for to, text in ("bob", "y"), ("anna", "x"), ("nobody", "x"):
        refused = await store.do(SendTo("anna", to, text, "1", 6))
        assert isinstance(refused, Refused)
        assert refused.code == "conflict"
    # The same id of the other user, in both directions, and in a room, is another message.
    other = await store.do(SendTo("bob", "anna", "x", "1", 7))
    assert isinstance(other, Stored)
    assert not other.duplicate
    assert isinstance(await store.do(post("x", "1")), Stored)
    assert len(await store.all(inbox_log("anna"))) == 2


async def test_a_refusal_leaves_the_rest_of_the_batch_alone(store: Store) -> None:
    results = await store.backend.write(
        [
            post("1", "1"),
            SendTo("anna", "nobody", "x", "1", 1),
            Claim(ANNA, b"wrong"),
            post("2", "2"),
        ]
    )
    assert [type(result) for result in results] == [Stored, Refused, Refused, Stored]
    assert [entry.text for entry in await store.all(room_log("room"))] == ["1", "2"]


async def test_what_a_batch_creates_serves_the_rest_of_it(store: Store) -> None:
    new = Name("new", "New")
    results = await store.backend.write(
        [
            Claim(new, b"n"),
            OpenRoom(new),
            post("x", "1", sender="new", room="new"),
            SendTo("anna", "new", "hi", "1", 1),
        ]
    )
    assert [type(result) for result in results] == [Claimed, Opened, Stored, Stored]


async def test_those_who_write_to_what_is_lost_do_not_harm_others(store: Store) -> None:
    results = await store.backend.write(
        [
            post("x", "1", room="gone"),
            post("x", "1", sender="gone"),
            SendTo("gone", "anna", "x", "1", 1),
            post("x", "1"),
        ]
    )
    codes = [result.code if isinstance(result, Refused) else None for result in results]
    assert codes == ["unavailable", "unavailable", "unavailable", None]


async def test_caps(kind: str, tmp_path: Path) -> None:
    store = Store(make(kind, tmp_path, max_rooms=1, max_users=2))
    async with store.backend.open(store):
        results = await store.backend.write(
            [
                Claim(ANNA, b"a"),
                OpenRoom(ROOM),
                OpenRoom(BOB),
                Claim(BOB, b"b"),
                Claim(Name("c", "C"), b"c"),
                OpenRoom(ROOM),
                Claim(ANNA, b"a"),
            ]
        )
        codes = [result.code if isinstance(result, Refused) else None for result in results]
        assert codes == [None, None, "limit_reached", None, "limit_reached", None, None]
        third = await store.do(Claim(Name("c", "C"), b"c"))
        assert isinstance(third, Refused)


async def test_reading(store: Store) -> None:
    log = room_log("room")
    await store.backend.write([post(str(n), str(n)) for n in range(1, 21)])

    async def after(offset: int, last: int, limit: int) -> list[int]:
        page = await store.backend.read_after(log, offset, last, limit)
        assert page.start == 1
        return [entry.offset for entry in page.entries]

    async def before(offset: int, limit: int) -> list[int]:
        page = await store.backend.read_before(log, offset, limit)
        assert page.start == 1
        return [entry.offset for entry in page.entries]

    assert await after(0, 20, 5) == [1, 2, 3, 4, 5]
    assert await after(5, 7, 5) == [6, 7]
    assert await after(18, 100, 5) == [19, 20]
    assert await after(20, 100, 5) == []
    assert await after(50, 100, 5) == []
    assert await before(21, 3) == [18, 19, 20]
    assert await before(10**15, 3) == [18, 19, 20]
    assert await before(3, 5) == [1, 2]
    assert await before(1, 5) == []
    assert await before(0, 5) == []


async def test_listing_rooms(store: Store) -> None:
    await store.backend.write([OpenRoom(Name(n, n.upper())) for n in ("a", "b", "c")])
    await store.do(post("x", "1", room="b", time=2000))
    await store.do(post("x", "1", room="a", time=1000))
    await store.do(SendTo("anna", "bob", "x", "1", 3000))
    rooms = await store.backend.rooms(100)
    assert [(room.room.text, room.offset) for room in rooms] == [
        ("B", 1),
        ("A", 1),
        ("C", 0),
        ("Room", 0),
    ]
    assert await store.backend.rooms(1) == rooms[:1]


async def test_entries_can_be_read_when_they_are_announced(kind: str, tmp_path: Path) -> None:
    backend = make(kind, tmp_path)
    log = room_log("room")
    ends: list[int] = []

    async with trio.open_nursery() as nursery:

        async def look(offset: int) -> None:
            page = await backend.read_after(log, 0, offset, 100)
            assert [entry.offset for entry in page.entries] == list(range(1, offset + 1))
            ends.append(offset)

        class Looker(Record):
            def announce(self, entries: Sequence[tuple[Log, Entry]]) -> None:
                for _, entry in entries:
                    nursery.start_soon(look, entry.offset)

        async with backend.open(Looker()):
            backend.follow(log)
            await backend.write([Claim(ANNA, b"a"), OpenRoom(ROOM)])
            for n in range(10):
                await backend.write([post(str(n), str(n))])
            while len(ends) < 10:
                await trio.lowlevel.checkpoint()
    assert sorted(ends) == list(range(1, 11))


@pytest.mark.parametrize("seed", range(3))
async def test_a_cancelled_write_is_whole_or_nothing(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    log = room_log("room")
    n = 0
    for _ in range(30):
        with trio.CancelScope() as scope:
            batch = [post(str(n + k), str(n + k)) for k in range(5)]
            n += 5
            if chance.random() < 0.5:
                scope.cancel()
            else:
                scope.deadline = trio.current_time() + chance.random() * 0.002
            await store.backend.write(batch)
    await store.do(post("last", "last"))
    entries = await store.all(log)
    assert [entry for _, entry in store.announced] == entries
    assert [entry.offset for entry in entries] == list(range(1, len(entries) + 1))
    assert len(entries) % 5 == 1
