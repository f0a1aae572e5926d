"""The promise: an ``ok`` means stored, whatever happens to the server next."""

from __future__ import annotations

import math
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import trio
from chat.client import ChatClient
from chat.process import Server, serving

from wscore.trio import ConnectionClosed, HandshakeError

Json = dict[str, Any]


class Poster:
    """Posts and sends without pause, and notes what was acknowledged."""

    def __init__(self, name: str, tell: trio.MemorySendChannel[str]) -> None:
        self.name = name
        self.sent = 0
        self.acknowledged: dict[str, tuple[int, int]] = {}
        self._tell = tell

    async def run(self, server: Server) -> None:
        try:
            async with server.client() as client:
                await client.hello(self.name)
                await client.ok("join", room="r")
                while True:
                    await self.round(client)
        except (ConnectionClosed, HandshakeError, OSError):
            pass

    async def round(self, client: ChatClient) -> None:
        ids = []
        for _ in range(5):
            self.sent += 1
            id = f"{self.name}-{self.sent}"
            ids.append(await client.send("post", room="r", text=id, id=id))
            await client.send("direct", to="Reader", text=id, id=f"d-{id}")
        for id in ids:
            post, direct = await client.reply(id), await client.reply(f"d-{id}")
            if post["type"] == "ok" and direct["type"] == "ok":
                self.acknowledged[id] = post["offset"], direct["offset"]
                self._tell.send_nowait(id)
            else:
                assert post.get("code", "rate_limited") == "rate_limited"
                await trio.sleep(0.1)


class Reader:
    """Follows the room and the inbox from where it was, and checks them by arithmetic."""

    def __init__(self) -> None:
        self.positions: dict[str, Json] = {}
        self.texts: dict[str, list[str]] = {"room": [], "inbox": []}

    async def run(self, server: Server, until: dict[str, int] | None = None) -> None:
        """Read until the connection ends, or until the logs are known up to some offsets."""
        try:
            async with server.client() as client:
                inbox = self.position("inbox")
                self.take_slice("inbox", (await client.hello("Reader", **inbox))["inbox"])
                self.take_slice("room", await client.ok("join", room="r", **self.position("room")))
                while until is None or any(len(self.texts[log]) < until[log] for log in until):
                    push = await client.push()
                    if push["type"] != "presence":
                        self.take("room" if push["type"] == "message" else "inbox", push)
        except (ConnectionClosed, HandshakeError, OSError):
            assert until is None

    def position(self, log: str) -> Json:
        return {"position": self.positions[log]} if log in self.positions else {}

    def take_slice(self, log: str, slice: Json) -> None:
        assert slice["gap"] is False
        epoch = self.positions.setdefault(log, {"epoch": slice["epoch"], "offset": 0})["epoch"]
        assert slice["epoch"] == epoch
        for message in slice["messages"]:
            self.take(log, message)
        assert slice["more"] is (self.positions[log]["offset"] < slice["offset"])

    def take(self, log: str, message: Json) -> None:
        self.positions[log]["offset"] += 1
        assert message["offset"] == self.positions[log]["offset"]
        self.texts[log].append(message["text"])


async def head(server: Server) -> dict[str, int]:
    async with server.client() as client:
        inbox = (await client.hello("Reader"))["inbox"]["offset"]
        return {"room": (await client.ok("join", room="r"))["offset"], "inbox": inbox}


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_acknowledged_is_lost(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    tell, told = trio.open_memory_channel[str](math.inf)
    posters = [Poster(f"poster-{n}", tell) for n in range(3)]
    reader = Reader()
    async with serving(tmp_path) as server:
        await reader.run(server, until={"room": 0})
    for _ in range(4):
        async with serving(tmp_path) as server, trio.open_nursery() as nursery:
            nursery.start_soon(reader.run, server)
            for poster in posters:
                nursery.start_soon(poster.run, server)
            with trio.fail_after(60):
                for _ in range(20):
                    await told.receive()
            await trio.sleep(chance.random() * 0.05)
            assert (await server.end(signal.SIGKILL))[0] == -signal.SIGKILL
    async with serving(tmp_path) as server:
        with trio.fail_after(60):
            ends = await head(server)
            await reader.run(server, until=ends)
    room, inbox = reader.texts["room"], reader.texts["inbox"]
    assert (len(room), len(inbox)) == (ends["room"], ends["inbox"])
    assert len(set(room)) == len(room)
    assert len(set(inbox)) == len(inbox)
    acknowledged = 0
    for poster in posters:
        for id, (in_room, in_inbox) in poster.acknowledged.items():
            acknowledged += 1
            assert room[in_room - 1] == id
            assert id in inbox
            assert in_inbox <= poster.sent
        own = [text for text in room if text.startswith(f"{poster.name}-")]
        assert own == sorted(own, key=lambda text: int(text.rpartition("-")[2]))
    assert acknowledged >= 80


async def test_ids_are_remembered_over_a_kill(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.client() as anna:
        session = (await anna.ok("hello", user="Anna"))["session"]
        joined = await anna.ok("join", room="r")
        first = await anna.ok("post", room="r", text="once", id="m1")
        await server.end(signal.SIGKILL)
    async with serving(tmp_path) as server, server.client() as anna:
        assert await anna.error("hello", user="Anna", session="x" * 22) == "name_taken"
        await anna.ok("hello", user="anna", session=session)
        position = {"epoch": joined["epoch"], "offset": joined["offset"]}
        again = await anna.ok("join", room="R", position=position)
        assert [message["id"] for message in again["messages"]] == ["m1"]
        assert again["room"] == "r"
        assert await anna.ok("post", room="r", text="once", id="m1") == {
            **first,
            "duplicate": True,
        }
        assert await anna.error("post", room="r", text="twice", id="m1") == "conflict"
