"""Rules of time, on a clock that jumps: deadlines, rates, intervals, slow and dead clients."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
import trio
from chat.client import Chat, ChatClient, SilentStream, running
from trio.testing import MockClock

from wscore.chat import ChatServer, Limits, MemoryBackend
from wscore.chat.backends.base import Command, Page, Result
from wscore.chat.model import Log


async def test_no_hello(chat: Chat, autojump_clock: MockClock) -> None:
    begin = trio.current_time()
    anna = await chat.connect()
    assert await anna.closed() == 1008
    assert trio.current_time() - begin == pytest.approx(10)


async def test_refused_hellos_do_not_extend_the_time(chat: Chat, autojump_clock: MockClock) -> None:
    anna = await chat.connect()
    begin = trio.current_time()
    for _ in range(4):
        await trio.sleep(2)
        assert await anna.error("hello", user="not a name") == "invalid_name"
        assert await anna.error("ping") == "hello_required"
    assert await anna.closed() == 1008
    assert trio.current_time() - begin == pytest.approx(10)


async def test_a_hello_in_time(chat: Chat, autojump_clock: MockClock) -> None:
    anna = await chat.connect()
    await trio.sleep(9.9)
    await anna.hello("Anna")
    await trio.sleep(5)
    await anna.ok("ping")


async def test_the_rate_of_posts(chat: Chat, autojump_clock: MockClock) -> None:
    anna = await chat.user("Anna", room="r")
    for n in range(40):
        await anna.ok(*(["post"] if n % 2 else ["direct"]), room="r", to="anna", text="x")
    reply = await anna.ask("post", room="r", text="x", id="late")
    assert reply["code"] == "rate_limited"
    assert 0 < reply["retry_after"] <= 0.05
    await anna.ok("ping")  # other requests have a rate of their own
    await trio.sleep(reply["retry_after"])
    stored = await anna.ok("post", room="r", text="x", id="late")
    assert "duplicate" not in stored
    await trio.sleep(1)
    for _ in range(20):
        await anna.ok("post", room="r", text="x")
    assert await anna.error("direct", to="anna", text="x") == "rate_limited"
    # The rate is the connection's, not the user's.
    phone = await chat.user("Anna", room="r")
    await phone.ok("post", room="r", text="x")


async def test_the_rate_of_other_requests(chat: Chat, autojump_clock: MockClock) -> None:
    anna = await chat.user("Anna")
    for _ in range(199):
        await anna.ok("ping")
    reply = await anna.ask("ping")
    assert reply["code"] == "rate_limited"
    await trio.sleep(reply["retry_after"])
    await anna.ok("ping")
    await anna.ok("direct", to="anna", text="x")  # posts have a rate of their own


async def test_typing_is_coalesced(chat: Chat, autojump_clock: MockClock) -> None:
    anna, bob = await chat.user("Anna", room="r"), await chat.user("Bob", room="r")
    await anna.sync()

    async def typing(client: ChatClient, fields: str) -> None:
        await client.connection.send_message(f'{{"type":"typing",{fields}}}')
        await client.sync()

    for _ in range(3):
        await typing(bob, '"room":"R"')
        await typing(bob, '"to":"ANNA"')
    assert await anna.sync() == [
        {"type": "typing", "room": "r", "user": "Bob"},
        {"type": "typing", "to": "Anna", "user": "Bob"},
    ]
    await trio.sleep(1)
    await typing(bob, '"room":"r"')
    await typing(bob, '"room":"elsewhere"')
    await typing(bob, '"room":"not a name"')
    await typing(bob, '"to":"nobody"')
    assert await anna.sync() == [{"type": "typing", "room": "r", "user": "Bob"}]
    assert await bob.sync() == []


async def test_a_client_that_answers_no_pings_is_ended(
    chat: Chat, autojump_clock: MockClock
) -> None:
    anna = await chat.user("Anna", room="r")
    stream = SilentStream(chat.listener.connect())
    silent = await chat.connect(stream=stream)
    await silent.hello("Silent")
    await silent.ok("join", room="r")
    begin = trio.current_time()
    assert (await anna.push("presence"))["state"] == "joined"
    stream.silent = True  # Anna's pings are answered, though she does nothing
    assert await anna.push("presence") == {
        "type": "presence",
        "room": "r",
        "user": "Silent",
        "state": "left",
        "count": 1,
    }
    assert trio.current_time() - begin == pytest.approx(40)
    assert silent.connection.closed is None  # it was not told: it could not be
    await trio.sleep(1)
    await anna.ok("ping")


class TestBigRoom:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(presence=2)

    async def test_only_counts_and_one_a_second(
        self, chat: Chat, autojump_clock: MockClock
    ) -> None:
        anna = await chat.user("Anna", room="r")
        for n in range(8):
            await chat.user(f"u{n}", room="r")
        await trio.sleep(1)
        pushes = await anna.sync()
        assert [push.get("user") for push in pushes[:1]] == ["u0"]
        assert {"type": "presence", "room": "r", "count": 9} in pushes
        assert all(set(push) == {"type", "room", "count"} for push in pushes[1:])
        assert len(pushes) <= 3
        await trio.sleep(5)
        assert await anna.sync() == []


class TestSlow:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(rate=0)

    async def test_the_slow_one_is_closed_and_nobody_waits(
        self, chat: Chat, autojump_clock: MockClock
    ) -> None:
        anna = await chat.user("Anna", room="r")
        slow = await chat.connect(blocking=True)
        await slow.hello("Slow")
        joined = await slow.ok("join", room="r")
        await anna.push("presence")
        for n in range(2500):
            await anna.ok("post", room="r", text=str(n))
        assert (await anna.push("presence"))["user"] == "Slow"
        assert await slow.closed() == 4000
        # Nothing is lost: from its position it gets all of it.
        last = max(push["offset"] for push in slow.pushes if push["type"] == "message")
        found = [push["offset"] for push in slow.pushes]
        assert found == list(range(1, last + 1))
        back = await chat.user("Slow")
        slice = await back.ok("join", room="r", position={"epoch": joined["epoch"], "offset": last})
        found = [message["offset"] for message in slice["messages"]]
        while found[-1] < 2500:
            found.append((await back.push("message"))["offset"])
        assert found == list(range(last + 1, 2501))

    async def test_one_that_never_reads_is_cut(self, chat: Chat, autojump_clock: MockClock) -> None:
        anna = await chat.user("Anna", room="r")
        slow = await chat.connect(blocking=True)
        await slow.hello("Slow")
        await slow.ok("join", room="r")
        begin = trio.current_time()
        for n in range(2500):
            await anna.ok("post", room="r", text=str(n))
        await trio.sleep(6)
        assert await slow.closed() == 1006
        assert trio.current_time() - begin < 20

    async def test_a_replay_waits_for_the_socket(
        self, chat: Chat, autojump_clock: MockClock
    ) -> None:
        anna = await chat.user("Anna", room="r")
        for n in range(3000):
            await anna.send("post", room="r", text=str(n))
        await anna.sync()
        slow = await chat.connect(blocking=True)
        await slow.hello("Slow")
        epoch = (await slow.ok("join", room="r"))["epoch"]
        joined = await slow.ok("join", room="r", position={"epoch": epoch, "offset": 0})
        found = [message["offset"] for message in joined["messages"]]
        await trio.sleep(15)  # it does not read, and is not cut for it
        for n in range(1500):
            await anna.send("post", room="r", text=str(n))
        await anna.sync()
        while found[-1] < 4500:
            found.append((await slow.push("message"))["offset"])
        assert found == list(range(1, 4501))

    async def test_unread_replies_stop_the_reading(
        self, chat: Chat, autojump_clock: MockClock
    ) -> None:
        anna = await chat.user("Anna", room="r")
        for _ in range(50):
            await anna.ok("post", room="r", text="x" * 4000)
        slow = await chat.connect(blocking=True)
        await slow.hello("Slow")
        await slow.ok("join", room="r")
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                for _ in range(30):
                    await slow.send("history", room="r")

            nursery.start_soon(ask)
            await trio.sleep(5)
            for _ in range(30):
                assert (await slow.receive())["type"] == "ok"
        await slow.ok("ping")


class SlowBackend(MemoryBackend):
    """Takes a second to write."""

    async def write(self, batch: Sequence[Command]) -> list[Result]:
        await trio.sleep(1)
        return await super().write(batch)


async def test_stopping(autojump_clock: MockClock) -> None:
    async with running(ChatServer(SlowBackend())) as chat:
        anna, silent = await chat.user("Anna", room="r"), await chat.connect(blocking=True)
        await silent.hello("Silent")
        stranger = await chat.connect()
        await anna.send("post", room="r", text="last words", id="m1")
        await trio.sleep(0.5)
        begin = trio.current_time()
        chat.server.stop()
        # What is on its way to the store is answered; then everybody is told.
        assert await anna.closed() == 1012
        last = [(message["type"], message["id"]) for message in anna.pushes]
        assert sorted(last) == [("message", "m1"), ("ok", "m1")] or last == [("ok", "m1")]
        assert await stranger.closed() == 1012
        await chat.stopped.wait()
        assert trio.current_time() - begin < 10


async def test_order_with_a_slow_store(autojump_clock: MockClock) -> None:
    async with running(ChatServer(SlowBackend())) as chat:
        anna = await chat.user("Anna", room="r")
        await anna.send("post", room="r", text="x", id="p")
        await anna.send("history", room="r", id="h")
        await anna.send("post", room="r", text="y", id="q")
        await anna.send("leave", room="r", id="l")
        assert [m["id"] for m in (await anna.reply("h"))["messages"]] == ["p"]
        await anna.reply("l")
        assert [push["id"] for push in anna.pushes] == ["p", "q"]


async def test_nothing_is_done_after_the_end(autojump_clock: MockClock) -> None:
    async with running(ChatServer(SlowBackend())) as chat:
        anna, bob = await chat.user("Anna", room="r"), await chat.user("Bob")
        await anna.send("post", room="r", text="x")
        await anna.send("history", room="r")  # while this waits, the rest arrives as one piece
        for _ in range(10):
            await anna.connection.send_message("nonsense")
        await anna.send("direct", to="bob", text="too late")
        assert await anna.closed() == 1008
        await trio.sleep(5)
        assert await bob.sync() == []


class SlowReads(MemoryBackend):
    """Takes a second to read."""

    async def read_after(self, log: Log, after: int, last: int, limit: int) -> Page:
        await trio.sleep(1)
        return await super().read_after(log, after, last, limit)


async def test_a_replay_ends_when_the_next_slice_begins(autojump_clock: MockClock) -> None:
    async with running(ChatServer(SlowReads(), limits=Limits(rate=0))) as chat:
        anna = await chat.user("Anna", room="r")
        for n in range(450):
            await anna.send("post", room="r", text=str(n))
        await anna.sync()
        bob = await chat.user("Bob")
        epoch = (await bob.ok("join", room="r"))["epoch"]
        position = {"epoch": epoch, "offset": 0}
        await bob.ok("join", room="r", position=position)
        await trio.sleep(1.2)
        # The replay would reach the end, and go live, while this slice is being read.
        joined = await bob.ok("join", room="r", position=position)
        bob.pushes.clear()
        for _ in range(3):
            await anna.ok("post", room="r", text="live")
            await trio.sleep(0.3)
        found = [message["offset"] for message in joined["messages"]]
        while found[-1] < 453:
            found.append((await bob.push("message"))["offset"])
        assert found == list(range(1, 454))
        assert await bob.sync() == []


@pytest.mark.parametrize("ending", ["leave", "loss"])
async def test_a_replay_of_a_room_that_nobody_follows_any_more(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, ending: str
) -> None:
    async with running(ChatServer(SlowReads(), limits=Limits(rate=0))) as chat:
        anna = await chat.user("Anna", room="r")
        for n in range(450):
            await anna.send("post", room="r", text=str(n))
        await anna.sync()
        epoch = (await anna.ok("join", room="r"))["epoch"]
        await anna.ok("join", room="r", position={"epoch": epoch, "offset": 0})
        await trio.sleep(0.5)  # it reads on
        if ending == "leave":
            await anna.ok("leave", room="r")
            assert await anna.sync() == []
        else:
            await anna.connection.aclose()
        await trio.sleep(5)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


class Trimmed(MemoryBackend):
    """Takes a second to read on, and has forgotten what was before `start`."""

    start = 1

    async def read_after(self, log: Log, after: int, last: int, limit: int) -> Page:
        await trio.sleep(1)
        page = await super().read_after(log, max(after, self.start - 1), last, limit)
        return Page(self.start, page.entries)

    async def read_before(self, log: Log, before: int, limit: int) -> Page:
        page = await super().read_before(log, before, limit)
        return Page(self.start, [entry for entry in page.entries if entry.offset >= self.start])


async def test_a_trimmed_log(autojump_clock: MockClock) -> None:
    backend = Trimmed()
    async with running(ChatServer(backend, limits=Limits(rate=0))) as chat:
        anna = await chat.user("Anna", room="r")
        for n in range(450):
            await anna.send("post", room="r", text=str(n))
        await anna.sync()
        bob = await chat.connect(blocking=True)
        await bob.hello("Bob")
        epoch = (await bob.ok("join", room="r"))["epoch"]
        backend.start = 100
        for after, gap in ((98, True), (99, False), (100, False)):
            position = {"epoch": epoch, "offset": after}
            joined = await bob.ok("join", room="r", position=position)
            assert joined["gap"] is gap
            first = 401 if gap else after + 1
            assert joined["messages"][0]["offset"] == first
        history = await bob.ok("history", room="r", before=102)
        assert [m["offset"] for m in history["messages"]] == [100, 101]
        assert history["more"] is False
        # Trimmed under a replay: no hole in silence, but a new start.
        await bob.ok("join", room="r", position={"epoch": epoch, "offset": 99})
        backend.start = 440
        assert await bob.closed() == 1012


async def test_one_commit_for_many(autojump_clock: MockClock) -> None:
    """Neither a client that pipelines nor several clients wait for each other's commits."""
    async with running(ChatServer(SlowBackend())) as chat:
        anna, bob = await chat.user("Anna", room="r"), await chat.user("Bob", room="r")
        begin = trio.current_time()
        for n in range(20):
            await anna.send("post", room="r", text=str(n))
            await bob.send("post", room="r", text=str(n))
        await bob.ok("ping")
        assert trio.current_time() == begin
        await anna.sync()
        await bob.sync()
        assert trio.current_time() - begin <= 2
