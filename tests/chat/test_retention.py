"""What is kept and what is not: the contract's rules of retention, over every back-end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio
from chat.client import running
from chat.record import Record
from chat.redis_server import kind_of
from trio.testing import MockClock

from wscore.chat import ChatServer
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
LOG, ANNAS, BOBS = room_log("room"), inbox_log("anna"), inbox_log("bob")
HOUR = 60 * 60 * 1000
DAY = 24 * HOUR
ROUND = 60
"""Seconds between two rounds of trimming."""
LONG_AGO = -(10**6) * DAY

_markers = count()


def patiently() -> Iterator[None]:
    """Once more for as long as a disk may take: how often that is says nothing."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        yield


class Store:
    """An open back-end, the time on its wall, and the clock that wakes it."""

    def __init__(self, backend: Backend, wall: list[int], clock: MockClock) -> None:
        self.backend = backend
        self._wall = wall
        self._clock = clock

    async def do(self, command: Command) -> Result:
        (result,) = await self.backend.write([command])
        return result

    async def post(self, *numbers: int, time: int | None = None, sender: str = "anna") -> None:
        at = self._wall[0] if time is None else time
        batch = [PostTo(sender, "room", f"text {n}", str(n), at) for n in numbers]
        assert all(isinstance(result, Stored) for result in await self.backend.write(batch))

    async def again(self, n: int, text: str = "") -> Result:
        return await self.do(PostTo("anna", "room", text or f"text {n}", str(n), self._wall[0]))

    async def direct(self, id: str, text: str = "hi", to: str = "bob") -> Result:
        return await self.do(SendTo("anna", to, text, id, self._wall[0]))

    def pass_time(self, ms: int) -> None:
        self._wall[0] += ms

    async def trimmed(self, log: Log, start: int) -> list[int]:
        """Let rounds of trimming pass until a log starts there; returns what is kept."""
        for _ in patiently():
            page = await self.backend.read_after(log, 0, 2**53, 2**31)
            if page.start == start:
                return [entry.offset for entry in page.entries]
            self._clock.jump(ROUND)
        pytest.fail(f"{log} starts at {page.start}, not at {start}")

    async def _start(self, room: Name) -> int:
        return (await self.backend.read_after(room_log(room.key), 0, 0, 0)).start

    async def round(self) -> None:
        """Let a whole round of trimming pass; the first one found may have been under way."""
        await self._round()
        await self._round()

    async def _round(self) -> None:
        """Let trimming get to one log, which is the same each time: to all others in between."""
        marker = Name("marker", "marker")
        ids = [f"marker-{next(_markers)}" for _ in range(20)]
        await self.do(OpenRoom(marker))
        start = await self._start(marker)
        await self.backend.write([PostTo("anna", marker.key, "x", id, LONG_AGO) for id in ids])
        for _ in patiently():
            if await self._start(marker) > start:
                return
            self._clock.jump(ROUND)
        pytest.fail("nothing was trimmed")


@pytest.fixture(params=["memory", "sqlite", "sqlite, merging", "redis", "redis_cluster"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What back-end there is to be: a kind, or the URL of a Redis."""
    if request.param == "sqlite, merging":
        monkeypatch.setattr(recent, "_MOST", 2)
    return kind_of(request)


@asynccontextmanager
async def opened(kind: str, path: Path, clock: MockClock, **options: Any) -> AsyncIterator[Store]:
    wall = [1_000 * DAY]
    backend: Backend
    if kind == "memory":
        backend = MemoryBackend(clock=lambda: wall[0], **options)
    elif kind.startswith("redis:"):
        # The clock jumps while Redis is at work.
        patient: dict[str, Any] = {"prefix": str(path), "timeout": 1e9, **options}
        backend = RedisBackend(kind, clock=lambda: wall[0], **patient)
    else:
        backend = SQLiteBackend(path / "chat.db", clock=lambda: wall[0], **options)
    async with backend.open(Record()):
        await backend.write([Claim(ANNA, b"a"), Claim(BOB, b"b"), OpenRoom(ROOM)])
        yield Store(backend, wall, clock)


async def test_the_newest_messages_are_kept(
    kind: str, tmp_path: Path, mock_clock: MockClock
) -> None:
    async with opened(kind, tmp_path, mock_clock, keep_messages=10) as store:
        await store.post(*range(1, 11))
        await store.round()
        assert (await store.backend.read_after(LOG, 0, 99, 99)).start == 1
        await store.post(*range(11, 26))
        assert await store.trimmed(LOG, 16) == list(range(16, 26))
        # Offsets go on, the end of the log is where it was.
        assert isinstance(head := await store.do(OpenRoom(ROOM)), Opened)
        assert head.head.offset == 25
        assert [room.offset for room in await store.backend.rooms(1)] == [25]
        await store.post(26)
        page = await store.backend.read_after(LOG, 14, 100, 3)
        assert (page.start, [entry.offset for entry in page.entries]) == (16, [16, 17, 18])
        page = await store.backend.read_after(LOG, 24, 25, 3)
        assert (page.start, [entry.offset for entry in page.entries]) == (16, [25])
        page = await store.backend.read_before(LOG, 18, 50)
        assert (page.start, [entry.offset for entry in page.entries]) == (16, [16, 17])
        page = await store.backend.read_before(LOG, 16, 50)
        assert page == (16, [])
        page = await store.backend.read_before(LOG, 5, 50)
        assert page == (16, [])


async def test_each_log_has_its_own_bound(kind: str, tmp_path: Path, mock_clock: MockClock) -> None:
    async with opened(kind, tmp_path, mock_clock, keep_messages=3) as store:
        await store.post(1, 2)
        for n in range(4):
            await store.direct(f"b{n}")
        for n in range(2):
            await store.direct(f"a{n}", to="anna")
        assert await store.trimmed(ANNAS, 4) == [4, 5, 6]
        assert await store.trimmed(BOBS, 2) == [2, 3, 4]
        assert await store.trimmed(LOG, 1) == [1, 2]


async def test_more_than_one_step_and_more_logs_than_one_step_sees(
    kind: str, tmp_path: Path, mock_clock: MockClock
) -> None:
    async with opened(kind, tmp_path, mock_clock, keep_messages=7) as store:
        rooms = [Name(f"r{n}", f"r{n}") for n in range(2500)]
        await store.backend.write([OpenRoom(room) for room in rooms])
        last = rooms[-1].key
        await store.backend.write([PostTo("anna", last, "x", str(n), 0) for n in range(10)])
        await store.post(*range(1, 1701))
        assert await store.trimmed(LOG, 1694) == list(range(1694, 1701))
        assert await store.trimmed(room_log(last), 4) == list(range(4, 11))


async def test_messages_are_kept_for_days(kind: str, tmp_path: Path, mock_clock: MockClock) -> None:
    async with opened(kind, tmp_path, mock_clock, keep_days=2) as store:
        await store.post(1, 2)
        store.pass_time(DAY)
        await store.post(3)
        store.pass_time(DAY)
        await store.round()
        assert (await store.backend.read_after(LOG, 0, 99, 99)).start == 1  # not older than 2 days
        store.pass_time(1)
        assert await store.trimmed(LOG, 3) == [3]
        store.pass_time(DAY)
        assert await store.trimmed(LOG, 4) == []
        await store.post(4)
        assert await store.trimmed(LOG, 4) == [4]


async def test_no_hole_where_the_clock_went_back(
    kind: str, tmp_path: Path, mock_clock: MockClock
) -> None:
    async with opened(kind, tmp_path, mock_clock, keep_days=1) as store:
        await store.post(1, time=900 * DAY)
        await store.post(2)
        await store.post(3, time=900 * DAY)
        assert await store.trimmed(LOG, 2) == [2, 3]
        await store.round()
        assert await store.trimmed(LOG, 2) == [2, 3]


async def test_both_bounds(kind: str, tmp_path: Path, mock_clock: MockClock) -> None:
    async with opened(kind, tmp_path, mock_clock, keep_messages=3, keep_days=1) as store:
        await store.post(1, 2, 3, 4, 5)
        assert await store.trimmed(LOG, 3) == [3, 4, 5]
        store.pass_time(DAY + 1)
        assert await store.trimmed(LOG, 6) == []


async def test_ids_are_remembered_for_a_day(
    kind: str, tmp_path: Path, mock_clock: MockClock
) -> None:
    async with opened(kind, tmp_path, mock_clock, keep_messages=1) as store:
        first = await store.again(1)
        assert isinstance(first, Stored)
        await store.post(2)
        assert await store.trimmed(LOG, 2) == [2]
        store.pass_time(DAY)
        await store.round()
        assert await store.again(1) == first._replace(duplicate=True)
        refused = await store.again(1, "another text")
        assert isinstance(refused, Refused)
        assert refused.code == "conflict"
        store.pass_time(1)
        await store.round()
        new = await store.again(1)
        assert isinstance(new, Stored)
        assert (new.offset, new.duplicate) == (3, False)
        # That of the message that is still kept is remembered for however long.
        assert await store.trimmed(LOG, 3) == [3]
        store.pass_time(10 * DAY)
        await store.round()
        assert await store.again(1) == new._replace(duplicate=True)


async def test_old_messages_need_no_memory_of_their_ids(
    kind: str, tmp_path: Path, mock_clock: MockClock
) -> None:
    async with opened(kind, tmp_path, mock_clock, keep_days=3) as store:
        await store.post(1)
        store.pass_time(3 * DAY + 1)
        assert await store.trimmed(LOG, 2) == []
        await store.round()
        new = await store.again(1)
        assert isinstance(new, Stored)
        assert (new.offset, new.duplicate) == (2, False)


async def test_ids_of_direct_messages_are_remembered_while_either_side_keeps_them(
    kind: str, tmp_path: Path, mock_clock: MockClock
) -> None:
    async with opened(kind, tmp_path, mock_clock, keep_messages=1) as store:
        first = await store.direct("1")
        assert isinstance(first, Stored)
        await store.direct("note", to="anna")
        assert await store.trimmed(ANNAS, 2) == [2]
        store.pass_time(5 * DAY)
        await store.round()
        assert await store.trimmed(BOBS, 1) == [1]
        assert await store.direct("1") == first._replace(duplicate=True)
        for text, to in ("other", "bob"), ("hi", "anna"), ("hi", "nobody"):
            refused = await store.direct("1", text, to)
            assert isinstance(refused, Refused)
            assert refused.code == "conflict"
        # Now Bob's inbox lets go of it as well.
        await store.do(SendTo("bob", "bob", "note", "1", 0))
        assert await store.trimmed(BOBS, 2) == [2]
        store.pass_time(DAY)
        await store.round()
        new = await store.direct("1")
        assert isinstance(new, Stored)
        assert (new.offset, new.duplicate) == (3, False)


async def test_ids_are_remembered_after_a_restart(tmp_path: Path, mock_clock: MockClock) -> None:
    async with opened("sqlite", tmp_path, mock_clock, keep_messages=1) as store:
        first = await store.again(1)
        assert isinstance(first, Stored)
        await store.post(2)
        assert await store.trimmed(LOG, 2) == [2]
    # Without retention from here on, and yet what is past its time is forgotten.
    async with opened("sqlite", tmp_path, mock_clock) as store:
        assert isinstance(claimed := await store.do(Claim(ANNA, b"a")), Claimed)
        assert claimed.user == "Anna"
        assert await store.again(1) == first._replace(duplicate=True)
        page = await store.backend.read_after(LOG, 0, 99, 99)
        assert (page.start, len(page.entries)) == (2, 1)
        store.pass_time(DAY + 1)
        for _ in patiently():
            mock_clock.jump(ROUND)
            result = await store.again(1)
            if isinstance(result, Stored) and not result.duplicate:
                break
        assert isinstance(result, Stored)
        assert result.offset == 3


async def test_nothing_is_trimmed_unasked(kind: str, tmp_path: Path, mock_clock: MockClock) -> None:
    async with opened(kind, tmp_path, mock_clock) as store:
        await store.post(1, 2, time=LONG_AGO)
        for _ in range(3):
            mock_clock.jump(ROUND)
            assert len((await store.backend.read_after(LOG, 0, 99, 99)).entries) == 2


async def test_a_reader_never_sees_a_hole(kind: str, tmp_path: Path, mock_clock: MockClock) -> None:
    """A page starts where it was asked to, or where the log does by its own account."""
    async with opened(kind, tmp_path, mock_clock, keep_messages=5) as store:
        await store.post(*range(1, 6001))
        page = await store.backend.read_after(LOG, 0, 6000, 1000)
        while page.start < 5996:
            mock_clock.jump(ROUND)
            page = await store.backend.read_after(LOG, 100, 6000, 10)
            begin = max(page.start, 101)
            assert [e.offset for e in page.entries] == list(range(begin, min(begin + 10, 6001)))
        assert page.start == 5996


async def test_posters_are_let_in_between_the_steps(tmp_path: Path, mock_clock: MockClock) -> None:
    starts: list[int] = []

    class Looker(Record):
        def announce(self, entries: Sequence[tuple[Log, Entry]]) -> None:
            super().announce(entries)
            nursery.start_soon(look)

    async def look() -> None:
        starts.append((await backend.read_before(LOG, 0, 1)).start)

    backend = SQLiteBackend(tmp_path / "chat.db", keep_messages=1)
    async with trio.open_nursery() as nursery, backend.open(Looker()):
        await backend.write([Claim(ANNA, b"a"), OpenRoom(ROOM)])
        batch = [PostTo("anna", "room", "x", str(n), 0) for n in range(50_000)]
        await backend.write(batch)
        while not starts or starts[-1] == 1:
            mock_clock.jump(ROUND)
            await backend.write([PostTo("anna", "room", "x", f"more {len(starts)}", 0)])
        # A commit went through while there was more to trim.
        assert starts[-1] < 50_000


@pytest.mark.parametrize("options", [{"keep_messages": 0}, {"keep_days": 0}, {"keep_days": -1}])
def test_bounds_that_keep_nothing(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="keep_"):
        MemoryBackend(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="keep_"):
        SQLiteBackend(tmp_path / "chat.db", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="keep_"):
        RedisBackend("redis://127.0.0.1", **options)  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


async def test_clients_are_told_of_what_is_gone(autojump_clock: MockClock) -> None:
    async with running(ChatServer(MemoryBackend(keep_messages=5))) as chat:
        anna = await chat.user("Anna", room="r")
        for n in range(1, 11):
            await anna.ok("post", room="r", text=str(n))
        await trio.sleep(ROUND + 1)
        epoch = (await anna.ok("join", room="r"))["epoch"]

        async def resume(offset: int) -> tuple[bool, list[str], bool]:
            slice = await anna.ok("join", room="r", position={"epoch": epoch, "offset": offset})
            return slice["gap"], [message["text"] for message in slice["messages"]], slice["more"]

        assert await resume(5) == (False, ["6", "7", "8", "9", "10"], False)
        assert await resume(8) == (False, ["9", "10"], False)
        assert await resume(4) == (True, ["6", "7", "8", "9", "10"], False)
        assert await resume(0) == (True, ["6", "7", "8", "9", "10"], False)
        history = await anna.ok("history", room="r", before=8)
        assert [message["offset"] for message in history["messages"]] == [6, 7]
        assert history["more"] is False
        history = await anna.ok("history", room="r", limit=2)
        assert [message["offset"] for message in history["messages"]] == [9, 10]
        assert history["more"] is True
        history = await anna.ok("history", room="r", before=3)
        assert (history["messages"], history["more"]) == ([], False)
        stored = await anna.ok("post", room="r", text="11")
        assert stored["offset"] == 11
