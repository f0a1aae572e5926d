"""A log that begins a new epoch: nothing of it reaches a connection that was in the old one."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from chat.client import SESSION, Chat, ChatClient, Json, running
from trio.testing import MockClock, wait_all_tasks_blocked

from wscore.chat import ChatServer, Limits, MemoryBackend
from wscore.chat.backends.base import Command, Listener, Page, Result
from wscore.chat.backends.memory import _Kept
from wscore.chat.model import Log, inbox_log, room_log

ROOM = room_log("r")


class Forgetful(MemoryBackend):
    """A store that can lose a log, and whose answers can be held up, once they are there."""

    listener: Listener
    held: trio.Event | None = None

    def open(self, listener: Listener) -> AbstractAsyncContextManager[None]:
        self.listener = listener
        return super().open(listener)

    def lose(self, log: Log) -> None:
        self._logs[log] = _Kept(self._logs[log].name, self._logs[log].secret)
        self.listener.reset([log])

    def hold(self) -> None:
        self.held = trio.Event()

    def release(self) -> None:
        assert self.held is not None
        self.held.set()
        self.held = None

    async def wait(self) -> None:
        if self.held is not None:
            await self.held.wait()

    async def write(self, batch: Sequence[Command]) -> list[Result]:
        results = await super().write(batch)
        await self.wait()
        return results

    async def read_after(self, log: Log, after: int, last: int, limit: int) -> Page:
        page = await super().read_after(log, after, last, limit)
        await self.wait()
        return page

    async def read_before(self, log: Log, before: int, limit: int) -> Page:
        page = await super().read_before(log, before, limit)
        await self.wait()
        return page


class LateForgetful(Forgetful):
    """Holds up before it reads, so that what it reads is of the new epoch."""

    async def write(self, batch: Sequence[Command]) -> list[Result]:
        await self.wait()
        return await super().write(batch)

    async def read_after(self, log: Log, after: int, last: int, limit: int) -> Page:
        await self.wait()
        return await super().read_after(log, after, last, limit)

    async def read_before(self, log: Log, before: int, limit: int) -> Page:
        await self.wait()
        return await super().read_before(log, before, limit)


@pytest.fixture(params=[Forgetful, LateForgetful])
def backend(request: pytest.FixtureRequest) -> Forgetful:
    made = request.param()
    assert isinstance(made, Forgetful)
    return made


@pytest.fixture
async def chat(backend: Forgetful, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Chat]:
    async with running(ChatServer(backend, limits=Limits(rate=0, history=50))) as chat:
        yield chat
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def fill(client: ChatClient, number: int) -> None:
    for _ in range(number):
        await client.send("post", room="r", text="old")
    await client.sync()


async def new_life(chat: Chat) -> ChatClient:
    """Somebody new joins and posts: that is in the new epoch from its first entry on."""
    writer = await chat.user("Writer")
    joined = await writer.ok("join", room="r")
    assert (joined["offset"], joined["messages"]) == (0, [])
    for offset in (1, 2, 3):
        assert (await writer.ok("post", room="r", text="new"))["offset"] == offset
    return writer


async def end(client: ChatClient) -> list[Json]:
    """All that arrives until the connection is closed with 1012."""
    assert await client.closed() == 1012
    return client.pushes


def new(messages: list[Json]) -> list[Json]:
    """What is of the new epoch, as pushes or in slices."""
    found = [m for message in messages for m in (message, *message.get("messages", []))]
    return [message for message in found if message.get("text") == "new"]


async def test_live_ones_are_closed_and_can_come_back(chat: Chat, backend: Forgetful) -> None:
    anna = await chat.user("Anna", room="r")
    phone = await chat.user("Anna", room="r")
    other = await chat.user("Other", room="elsewhere")
    await fill(anna, 3)
    backend.lose(ROOM)
    await new_life(chat)
    for client in (anna, phone):
        assert new(await end(client)) == []
    await other.ok("ping")
    back = await chat.user("Anna")
    joined = await back.ok("join", room="r", position={"epoch": "the old one", "offset": 3})
    assert (joined["gap"], joined["offset"]) == (True, 3)
    assert [m["text"] for m in joined["messages"]] == ["new"] * 3


@pytest.mark.parametrize("first", [False, True])
async def test_in_the_middle_of_a_join(chat: Chat, backend: Forgetful, first: bool) -> None:
    anna = await chat.user("Anna", room="r")
    await fill(anna, 3)
    if first:  # nobody follows the log when the join begins
        await anna.ok("leave", room="r")
    bob = await chat.user("Bob")
    backend.hold()
    await bob.send("join", room="r")
    await wait_all_tasks_blocked()
    backend.lose(ROOM)
    backend.release()
    await wait_all_tasks_blocked()
    assert await end(bob) == []
    writer = await new_life(chat)
    assert (await writer.ok("rooms"))["rooms"][0]["count"] == 1


async def test_in_the_middle_of_joining_again(chat: Chat, backend: Forgetful) -> None:
    anna = await chat.user("Anna", room="r")
    await fill(anna, 3)
    backend.hold()
    await anna.send("join", room="r")
    await wait_all_tasks_blocked()
    backend.lose(ROOM)
    backend.release()
    await new_life(chat)
    assert new(await end(anna)) == []


async def test_in_the_middle_of_a_history(chat: Chat, backend: Forgetful) -> None:
    anna = await chat.user("Anna", room="r")
    await fill(anna, 3)
    backend.hold()
    await anna.send("history", room="r")
    await anna.send("history", room="r")
    await wait_all_tasks_blocked()
    backend.lose(ROOM)
    backend.release()
    await new_life(chat)
    assert new(await end(anna)) == []


async def test_in_the_middle_of_a_replay_that_waits_for_the_store(
    chat: Chat, backend: Forgetful
) -> None:
    anna = await chat.user("Anna", room="r")
    await fill(anna, 300)
    bob = await chat.user("Bob")
    epoch = (await bob.ok("join", room="r"))["epoch"]
    await bob.send("join", room="r", position={"epoch": epoch, "offset": 0}, id="again")
    while backend.held is None:
        message = await bob.receive()
        if message.get("id") == "again":
            backend.hold()
    await wait_all_tasks_blocked()
    backend.lose(ROOM)
    backend.release()
    await new_life(chat)
    found = await end(bob)
    assert new(found) == []
    assert [m["offset"] for m in found] == list(range(51, 51 + len(found)))


async def test_in_the_middle_of_a_replay_that_waits_for_the_socket(
    chat: Chat, backend: Forgetful, autojump_clock: MockClock
) -> None:
    anna = await chat.user("Anna", room="r")
    await fill(anna, 2000)
    bob = await chat.connect(blocking=True)
    await bob.hello("Bob")
    epoch = (await bob.ok("join", room="r"))["epoch"]
    joined = await bob.ok("join", room="r", position={"epoch": epoch, "offset": 0})
    await trio.sleep(1)
    backend.lose(ROOM)
    await new_life(chat)
    found = await end(bob)
    assert new(found) == []
    first = joined["messages"][-1]["offset"] + 1
    assert [m["offset"] for m in found] == list(range(first, first + len(found)))
    assert len(found) < 1900


async def test_with_posts_on_their_way(chat: Chat, backend: Forgetful) -> None:
    """They may be in either life; the client asks again with the same ids, and learns which."""
    anna = await chat.user("Anna", room="r")
    await fill(anna, 3)
    backend.hold()
    for number in range(5):
        await anna.send("post", room="r", text="new", id=f"m{number}")
    await anna.send("leave", room="r")
    await wait_all_tasks_blocked()
    backend.lose(ROOM)
    backend.release()
    assert [m for m in await end(anna) if m["type"] == "error"] == []
    back = await chat.user("Anna", room="r")
    offsets = [
        (await back.ok("post", room="r", text="new", id=f"m{number}"))["offset"]
        for number in range(5)
    ]
    assert offsets == [1, 2, 3, 4, 5]


async def test_an_inbox(chat: Chat, backend: Forgetful) -> None:
    anna, phone = await chat.user("Anna"), await chat.connect()
    bob = await chat.user("Bob")
    await bob.ok("direct", to="anna", text="old")
    backend.hold()
    await phone.send("hello", user="Anna", session=SESSION)
    await wait_all_tasks_blocked()
    backend.lose(inbox_log("anna"))
    backend.release()
    assert (await bob.ok("direct", to="anna", text="new"))["offset"] == 2
    assert new(await end(anna)) == []
    assert new(await end(phone)) == []
    back = await (await chat.connect()).hello("Anna")
    assert [m["text"] for m in back["inbox"]["messages"]] == ["new"]
    assert back["inbox"]["offset"] == 1
