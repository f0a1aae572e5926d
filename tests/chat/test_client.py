"""The Python client against a real server in memory, on a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import trio
import trio.testing
from chat.client import Chat, MemoryListener, running
from chat.streams import Door

from wscore.chat import ChatServer, Limits, MemoryBackend
from wscore.chat.client import (
    ChatClient,
    ChatError,
    Connected,
    Direct,
    Disconnected,
    Event,
    Gap,
    Joined,
    Left,
    Message,
    Presence,
    Typing,
    new_id,
    open_chat,
)
from wscore.trio import ConnectionClosed, HandshakeError


@pytest.fixture(autouse=True)
def clock(autojump_clock: trio.testing.MockClock) -> None:
    """No test waits."""


@pytest.fixture
def door(chat: Chat) -> Door:
    """The way to the server, which can be cut."""
    return Door(chat.listener)


async def until(chat: ChatClient, kind: type[Event], count: int = 1) -> list[Event]:
    """Take events until there were so many of a kind; returns these."""
    found: list[Event] = []
    with trio.fail_after(1000):
        async for event in chat:
            if isinstance(event, kind):
                found.append(event)
                if len(found) == count:
                    break
    return found


def texts(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Message | Direct)]


# --- Rooms and messages -------------------------------------------------------------------------


async def test_what_is_posted_comes_back_as_a_message(door: Door) -> None:
    async with door.open_chat("Anna") as anna:
        joined = await anna.join("Lobby")
        assert joined == Joined("Lobby", 1, ("Anna",))
        stored = await anna.post("lobby", "hello")
        assert stored.offset == 1
        events = [await anext(anna) for _ in range(3)]
        assert isinstance(events[0], Connected)
        assert events[0].user == "Anna"
        assert events[1] == joined
        assert isinstance(events[2], Message)
        assert (events[2].sender, events[2].text, events[2].id) == ("Anna", "hello", stored.id)
        assert (events[2].room, events[2].offset, events[2].time) == ("Lobby", 1, stored.time)


async def test_two_users_see_each_other(door: Door) -> None:
    async with door.open_chat("Anna") as anna:
        await anna.join("r")
        async with door.open_chat("Bela") as bela:
            assert (await bela.join("R")).members == ("Anna", "Bela")
            [came] = await until(anna, Presence)
            assert (came.user, came.state, came.count) == ("Bela", "joined", 2)
            bela.typing("r")
            [typing] = await until(anna, Typing)
            assert (typing.user, typing.room) == ("Bela", "r")
            await bela.direct("anna", "psst")
            [direct] = await until(anna, Direct)
            assert (direct.sender, direct.to, direct.text) == ("Bela", "Anna", "psst")
            await bela.leave("r")
        [left] = await until(anna, Presence)
        assert (left.user, left.state) == ("Bela", "left")
