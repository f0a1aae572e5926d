"""Chat processes in network namespaces: the network between them and Redis is parted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from chat.namespaces import Namespace, Place, places
from chat.process import Server, serving
from chat.redis_server import RedisServer, redis_server
from chat.shared_prover import ALWAYS
from chat.test_redis_processes import insist, texts


class Stage(NamedTuple):
    """A Redis in the middle, and the places of two processes around it."""

    middle: Namespace
    places: list[Place]
    redis: RedisServer

    @asynccontextmanager
    async def chat(self, folder: Path, at: int) -> AsyncIterator[Server]:
        """A process, which reaches Redis over a link of its own."""
        place = self.places[at]
        url = f"redis://{place.redis.here}:{self.redis.port}/0"
        arguments = "--host", place.clients.there, "--engine", url, "--log-level", "error"
        async with serving(folder, *arguments, through=place.namespace.within) as server:
            yield server


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with places(2) as (middle, found):
        addresses = "127.0.0.1", *(place.redis.here for place in found)
        options = *ALWAYS, "--protected-mode", "no", "--bind", *addresses
        with redis_server(folder, *options, entered=middle.entered) as redis:
            yield Stage(middle, found, redis)


async def test_a_process_that_is_parted_from_redis(tmp_path: Path, stage: Stage) -> None:
    """It says so and keeps its clients; the other one goes on; nothing is lost or repeated."""
    async with (
        stage.chat(tmp_path, 0) as one,
        stage.chat(tmp_path, 1) as other,
        one.client(stage.middle.entered) as anna,
        other.client(stage.middle.entered) as bob,
    ):
        for client, name in (anna, "Anna"), (bob, "Bob"):
            await client.hello(name)
            await client.ok("join", room="r")
        await anna.ok("post", id="a1", room="r", text="before")
        stage.places[0].redis.part()
        lost = await anna.send("post", id="a2", room="r", text="in between")
        for n in range(20):  # while it is not noticed, and after
            await bob.ok("post", room="r", text=f"b{n}")
        with trio.fail_after(60):
            reply = await anna.reply(lost)
        assert reply["code"] == "unavailable"
        await anna.ok("ping")
        assert await anna.error("post", id="a3", room="r", text="later") == "unavailable"
        stage.places[0].redis.join()
        # Redis may have got the first one by now, from the kernel that sent it again.
        for id, text in ("a2", "in between"), ("a3", "later"):
            await insist(anna, "post", id=id, room="r", text=text)
        seen = await texts(bob, 23)
        assert await texts(anna, 23) == seen
        assert seen[0] == "before"
        assert [text for text in seen if text.startswith("b") and text != "before"] == [
            f"b{n}" for n in range(20)
        ]
        assert sorted(set(seen) - {f"b{n}" for n in range(20)}) == ["before", "in between", "later"]
        await bob.ok("post", room="r", text="end")
        assert await texts(anna, 1) == await texts(bob, 1) == ["end"]


async def test_all_are_parted_from_redis(tmp_path: Path, stage: Stage) -> None:
    """As long as the kernel would try; positions and epochs are what they were."""
    async with (
        stage.chat(tmp_path, 0) as one,
        stage.chat(tmp_path, 1) as other,
        one.client(stage.middle.entered) as anna,
        other.client(stage.middle.entered) as bob,
    ):
        for client, name in (anna, "Anna"), (bob, "Bob"):
            await client.hello(name)
            joined = await client.ok("join", room="r")
        await anna.ok("post", room="r", text="0")
        for place in stage.places:
            place.redis.part()
        for client in anna, bob:
            assert await client.error("direct", to="Anna", text="x") == "unavailable"
            assert await client.error("join", room="new") == "unavailable"
            await client.ok("ping")
        for place in stage.places:
            place.redis.join()
        for client, text in (anna, "1"), (bob, "2"):
            await insist(client, "post", id=text, room="r", text=text)
        assert await texts(anna, 3) == await texts(bob, 3) == ["0", "1", "2"]
        async with other.client(stage.middle.entered) as late:
            await insist(late, "hello", user="Late", session="s" * 22)
            slice = await insist(
                late, "join", room="r", position={"epoch": joined["epoch"], "offset": 1}
            )
            found = [message["text"] for message in slice["messages"]]
            assert (found, slice["gap"]) == (["1", "2"], False), json.dumps(slice)
