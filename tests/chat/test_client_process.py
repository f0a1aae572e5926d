"""The Python client with a real server process, which is killed and started again, and with a
network that is cut in between.
"""

from __future__ import annotations

import random
import signal
from functools import partial
from pathlib import Path

import trio
from chat.process import Server, serving
from chat.proxy import proxy

from wscore.chat.client import ChatClient, Connected, Direct, Gap, Message, open_chat


class Notes:
    """What was written or heard so far."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._more = trio.Event()

    def append(self, text: str) -> None:
        self.texts.append(text)
        self._more.set()
        self._more = trio.Event()

    async def reach(self, count: int) -> None:
        while len(self.texts) < count:
            await self._more.wait()


async def write(chat: ChatClient, name: str, count: int, done: Notes) -> None:
    """Post and send; ten at a time."""
    limit = trio.CapacityLimiter(10)

    async def one(text: str) -> None:
        async with limit:
            await chat.post("r", text)
            await chat.direct("Reader", text)
            done.append(text)

    async with trio.open_nursery() as nursery:
        for n in range(count):
            nursery.start_soon(one, f"{name}-{n}")


async def read(chat: ChatClient, total: int, rooms: Notes, directs: Notes) -> None:
    """Read until there were so many of both; the client itself checks their order."""
    async for event in chat:
        assert not isinstance(event, Gap)
        if isinstance(event, Message):
            rooms.append(event.text)
        if isinstance(event, Direct):
            directs.append(event.text)
        if min(len(rooms.texts), len(directs.texts)) >= total:
            return


async def test_a_server_that_is_killed_again_and_again_loses_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    chance = random.Random(7)
    total = 120
    heard, directs, done = Notes(), Notes(), Notes()
    with trio.fail_after(120):
        async with proxy() as way, trio.open_nursery() as nursery:
            url = f"http://127.0.0.1:{way.port}/"
            connect = partial(open_chat, url, first_delay=0.05, max_delay=0.2)
            async with (
                connect("Reader") as reader,
                connect("One") as one,
                connect("Two") as two,
            ):

                async def kill(server: Server) -> None:
                    await done.reach(len(done.texts) + 25)
                    await trio.sleep(chance.random() * 0.05)
                    way.target = None
                    assert (await server.end(signal.SIGKILL))[0] == -signal.SIGKILL

                async with serving(tmp_path) as server:
                    way.target = server.port
                    for chat in (reader, one, two):
                        await chat.join("r")
                    nursery.start_soon(read, reader, total, heard, directs)
                    nursery.start_soon(write, one, "one", total // 2, done)
                    nursery.start_soon(write, two, "two", total // 2, done)
                    await kill(server)
                for _ in range(2):
                    async with serving(tmp_path) as server:
                        way.target = server.port
                        await kill(server)
                async with serving(tmp_path) as server:
                    way.target = server.port
                    for notes in (done, heard, directs):
                        await notes.reach(total)
    expected = sorted(f"{name}-{n}" for name in ("one", "two") for n in range(total // 2))
    assert [sorted(notes.texts) for notes in (done, heard, directs)] == 3 * [expected]


async def test_a_network_that_is_cut_again_and_again_loses_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    chance = random.Random(8)
    total = 100
    heard, directs, done = Notes(), Notes(), Notes()
    cuts = 0
    with trio.fail_after(120):
        async with serving(tmp_path) as server, proxy() as way:
            way.target = server.port
            url = f"http://127.0.0.1:{way.port}/"
            connect = partial(open_chat, url, first_delay=0.05, max_delay=0.2)
            async with connect("Reader") as reader, connect("One") as one:
                await reader.join("r")
                await one.join("r")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(read, reader, total, heard, directs)
                    nursery.start_soon(write, one, "one", total, done)
                    while any(len(notes.texts) < total for notes in (done, heard, directs)):
                        await trio.sleep(0.05 + chance.random() * 0.2)
                        await way.cut()
                        cuts += 1
    assert cuts >= 3
    expected = sorted(f"one-{n}" for n in range(total))
    assert [sorted(notes.texts) for notes in (done, heard, directs)] == 3 * [expected]


async def test_a_server_that_stops_is_awaited(tmp_path: Path) -> None:
    """SIGTERM, and a new process on the same data."""
    with trio.fail_after(60):
        async with proxy() as way:
            url = f"http://127.0.0.1:{way.port}/"
            async with open_chat(url, "Anna", first_delay=0.05) as anna:
                async with serving(tmp_path) as server:
                    way.target = server.port
                    await anna.join("r")
                    await anna.post("r", "one")
                    assert (await server.end(signal.SIGTERM))[0] == 0
                async with serving(tmp_path) as server:
                    way.target = server.port
                    await anna.post("r", "two")
                    heard, connections = [], 0
                    async for event in anna:
                        connections += isinstance(event, Connected)
                        if isinstance(event, Message):
                            heard.append((event.offset, event.text))
                            if event.text == "two":
                                break
                    assert heard == [(1, "one"), (2, "two")]
                    assert connections == 2
