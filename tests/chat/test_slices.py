"""Positions, gaps, replays: what a client gets of a log, counted by arithmetic alone."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from chat.client import Chat, ChatClient, running

from wscore.chat import ChatServer, Limits, MemoryBackend


@pytest.fixture
def limits() -> Limits:
    return Limits(rate=0, replay=1000)


async def fill(client: ChatClient, number: int, text: str = "{}") -> None:
    """Post this many messages to the room ``r``, which the client has joined."""
    for n in range(number):
        await client.send("post", room="r", text=text.format(n))
    await client.sync()


def offsets(messages: list[dict[str, Any]]) -> list[int]:
    return [message["offset"] for message in messages]


async def test_without_a_position_the_newest_page(chat: Chat) -> None:
    anna = await chat.user("Anna", room="r")
    await fill(anna, 120)
    joined = await (await chat.user("Bob")).ok("join", room="r")
    assert offsets(joined["messages"]) == list(range(71, 121))
    assert (joined["offset"], joined["gap"], joined["more"]) == (120, False, False)


async def test_with_a_position_what_follows_it(chat: Chat) -> None:
    anna = await chat.user("Anna", room="r")
    await fill(anna, 20)
    bob = await chat.user("Bob")
    epoch = (await bob.ok("join", room="r"))["epoch"]
    for after in (0, 7, 19, 20):
        joined = await bob.ok("join", room="r", position={"epoch": epoch, "offset": after})
        assert offsets(joined["messages"]) == list(range(after + 1, 21))
        assert (joined["offset"], joined["gap"], joined["more"]) == (20, False, False)


async def test_gaps(chat: Chat) -> None:
    anna = await chat.user("Anna", room="r")
    await fill(anna, 1010)
    bob = await chat.user("Bob")
    epoch = (await bob.ok("join", room="r"))["epoch"]
    for position in (
        {"epoch": "another", "offset": 1005},
        {"epoch": epoch, "offset": 1011},
        {"epoch": epoch, "offset": 2**53 - 1},
        {"epoch": epoch, "offset": 9},
    ):
        joined = await bob.ok("join", room="r", position=position)
        assert joined["gap"] is True
        assert joined["more"] is False
        assert offsets(joined["messages"]) == list(range(961, 1011))
    joined = await bob.ok("join", room="r", position={"epoch": epoch, "offset": 10})
    assert joined["gap"] is False


async def test_a_long_continuation_comes_as_pushes(chat: Chat) -> None:
    anna = await chat.user("Anna", room="r")
    await fill(anna, 900)
    bob = await chat.user("Bob")
    epoch = (await bob.ok("join", room="r"))["epoch"]
    joined = await bob.ok("join", room="r", position={"epoch": epoch, "offset": 3})
    assert (joined["offset"], joined["gap"], joined["more"]) == (900, False, True)
    await anna.ok("post", room="r", text="live")
    found = offsets(joined["messages"])
    while found[-1] < 901:
        found.append((await bob.push("message"))["offset"])
    assert found == list(range(4, 902))


async def test_the_inbox_resumes_too(chat: Chat) -> None:
    anna = await chat.user("Anna")
    first = await (await chat.connect()).hello("Bob")
    for n in range(300):
        await anna.send("direct", to="bob", text=str(n))
    await anna.sync()
    bob = await chat.connect()
    position = {"epoch": first["inbox"]["epoch"], "offset": 0}
    inbox = (await bob.hello("Bob", position=position))["inbox"]
    assert inbox["more"] is True
    found = offsets(inbox["messages"])
    while found[-1] < 300:
        found.append((await bob.push("direct"))["offset"])
    assert found == list(range(1, 301))
    newest = (await (await chat.connect()).hello("Bob"))["inbox"]
    assert offsets(newest["messages"]) == list(range(251, 301))
    gap = (await (await chat.connect()).hello("Bob", position={"epoch": "?", "offset": 0}))["inbox"]
    assert gap["gap"] is True


async def test_slices_and_histories_fit_into_a_message(chat: Chat) -> None:
    """The client checks the size of whatever it receives."""
    anna = await chat.user("Anna", room="r")
    await fill(anna, 60, "😀" * 4000)
    bob = await chat.user("Bob")
    newest = await bob.ok("join", room="r")
    found = offsets(newest["messages"])
    assert found == list(range(61 - len(found), 61))
    assert len(found) >= 5
    assert newest["more"] is False
    history = await bob.ok("history", room="r", limit=200)
    assert history["more"] is True
    assert offsets(history["messages"])[-1] == 60
    position = {"epoch": newest["epoch"], "offset": 0}
    joined = await bob.ok("join", room="r", position=position)
    assert joined["more"] is True
    found = offsets(joined["messages"])
    while found[-1] < 60:
        found.append((await bob.push("message"))["offset"])
    assert found == list(range(1, 61))


async def test_joining_again_during_a_replay(chat: Chat) -> None:
    anna = await chat.user("Anna", room="r")
    await fill(anna, 900)
    bob = await chat.user("Bob")
    epoch = (await bob.ok("join", room="r"))["epoch"]
    await bob.send("join", room="r", position={"epoch": epoch, "offset": 0}, id="first")
    await bob.send("join", room="r", position={"epoch": epoch, "offset": 600}, id="second")
    await bob.send("leave", room="r", id="third")
    await bob.send("join", room="r", position={"epoch": epoch, "offset": 100}, id="fourth")
    last = None
    for id in ("first", "second", "third", "fourth"):
        reply = await bob.reply(id)
        for push in bob.pushes:
            assert last is not None
            assert push["offset"] == last + 1
            last = push["offset"]
        bob.pushes.clear()
        last = offsets(reply["messages"])[-1] if "messages" in reply else None
    while last != 900:
        push = await bob.push("message")
        assert push["offset"] == last + 1
        last = push["offset"]
    assert [push["type"] for push in await bob.sync()] == []


@pytest.mark.parametrize("seed", range(5))
async def test_no_hole_and_no_repeat_while_others_post(chat: Chat, seed: int) -> None:
    anna = await chat.user("Anna", room="r")
    await fill(anna, 50 * seed)
    posted = 50 * seed + 400

    async def post() -> None:
        for n in range(400):
            await anna.send("post", room="r", text=str(n))
            if n % (3 + seed) == 0:
                await trio.lowlevel.checkpoint()
        await anna.sync()

    async def read(bob: ChatClient) -> None:
        joined = await bob.ok("join", room="r")
        epoch, last = joined["epoch"], joined["offset"]
        while last < posted:
            for _ in range(10 + seed):
                if last < posted:
                    push = await bob.push("message")
                    assert push["offset"] == last + 1
                    last += 1
            back = max(0, last - 30 * seed)
            joined = await bob.ok("join", room="r", position={"epoch": epoch, "offset": back})
            # What was pushed before the reply continues the old slice.
            for push in bob.pushes:
                if push["type"] == "message":
                    assert push["offset"] == last + 1
                    last += 1
            bob.pushes.clear()
            assert joined["gap"] is False
            found = offsets(joined["messages"])
            assert found == list(range(back + 1, back + 1 + len(found)))
            last = back + len(found)
            assert joined["more"] is (last < joined["offset"])

    async with trio.open_nursery() as nursery:
        for name in ("Bob", "Carol"):
            nursery.start_soon(read, await chat.user(name))
        nursery.start_soon(post)


async def test_positions_outlive_an_empty_room() -> None:
    async with running(ChatServer(MemoryBackend())) as chat:
        anna = await chat.user("Anna")
        first = await anna.ok("join", room="r")
        await anna.ok("leave", room="r")
        position = {"epoch": first["epoch"], "offset": 0}
        again = await anna.ok("join", room="r", position=position)
        assert (again["epoch"], again["gap"]) == (first["epoch"], False)
