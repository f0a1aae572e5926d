"""Several chat processes that share a Redis, with clients on each, while parts of it fail."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from chat.client import ChatClient, Json
from chat.plain_http import ask
from chat.process import Server, serving
from chat.redis_server import RedisServer, redis_server

ALWAYS = "--appendonly", "yes", "--appendfsync", "always"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that may be harmed, and keeps what it acknowledges."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder, *ALWAYS) as server:
        yield server


@asynccontextmanager
async def two(folder: Path, redis: RedisServer) -> AsyncIterator[tuple[Server, Server]]:
    arguments = "--engine", redis.url, "--log-level", "error"
    async with serving(folder, *arguments) as one, serving(folder, *arguments) as other:
        yield one, other


async def user(client: ChatClient, name: str) -> Json:
    await client.hello(name)
    return await client.ok("join", room="r")


async def insist(client: ChatClient, type: str, **fields: object) -> Json:
    """Send a request again, with the same id, for as long as the store is out of reach."""
    with trio.fail_after(60):
        while True:
            reply = await client.ask(type, **fields)
            if reply.get("code") != "unavailable":
                assert reply["type"] == "ok", reply
                return reply
            await trio.sleep(0.05)


async def texts(client: ChatClient, count: int) -> list[str]:
    with trio.fail_after(60):
        return [(await client.push("message"))["text"] for _ in range(count)]


async def test_two_processes_are_one_chat(tmp_path: Path, own: RedisServer) -> None:
    async with two(tmp_path, own) as (one, other):
        clients = one.client(), other.client(), other.client()
        async with clients[0] as anna, clients[1] as bob, clients[2] as thief:
            await user(anna, "Anna")
            await user(bob, "Bob")
            for n in range(20):
                await anna.ok("post", room="r", text=f"a{n}")
                await bob.ok("post", room="r", text=f"b{n}")
            seen = await texts(anna, 40)
            assert seen == await texts(bob, 40)
            assert [text for text in seen if text[0] == "a"] == [f"a{n}" for n in range(20)]
            await anna.ok("direct", to="bob", text="hi")
            assert (await bob.push("direct"))["text"] == "hi"
            another = {"session": "another-session-of-22-chars"}
            assert await thief.error("hello", user="ANNA", **another) == "name_taken"
            # Whoever comes back at the other process goes on where they were.
            join = await bob.ok("join", room="r")
            position = {"epoch": join["epoch"], "offset": 37}
            async with other.client() as again:
                await again.hello("Anna")
                slice = await again.ok("join", room="r", position=position)
                assert ([m["text"] for m in slice["messages"]], slice["gap"]) == (seen[37:], False)
                await anna.ok("direct", to="anna", text="note")
                assert (await again.push("direct"))["text"] == "note"


async def test_a_redis_that_is_killed(tmp_path: Path, own: RedisServer) -> None:
    """Requests are answered, connections stay, and nothing acknowledged is lost."""
    async with two(tmp_path, own) as (one, other), one.client() as anna, other.client() as bob:
        await user(anna, "Anna")
        await user(bob, "Bob")
        for life in range(2):
            for n in range(10):
                await insist(anna, "post", id=f"{life}-{n}", room="r", text=f"{life}-{n}")
            own.kill()
            refused = "post", f"{life}-away"
            assert await anna.error(refused[0], id=refused[1], room="r", text="x") == (
                "unavailable"
            )
            await anna.ok("ping")
            await bob.ok("ping")
            health = await ask(one.port, "GET", "/healthz")
            assert (health.status, json.loads(health.body)["engine"]) == (503, "redis")
            own.start()
            await insist(anna, "post", id=refused[1], room="r", text="x")
        expected = [f"0-{n}" for n in range(10)] + ["x"]
        expected += [f"1-{n}" for n in range(10)] + ["x"]
        assert await texts(bob, 22) == expected
        assert await texts(anna, 22) == expected
        assert (await ask(one.port, "GET", "/healthz")).status == 200


async def test_a_process_that_is_killed(tmp_path: Path, own: RedisServer) -> None:
    async with two(tmp_path, own) as (one, other):
        async with one.client() as anna, other.client() as bob:
            epoch = (await user(anna, "Anna"))["epoch"]
            await user(bob, "Bob")
            await anna.ok("post", room="r", text="1")
            await one.end(signal.SIGKILL)
            await bob.ok("post", room="r", text="2")
            assert await texts(bob, 2) == ["1", "2"]
        async with other.client() as again:
            await again.hello("Anna")
            slice = await again.ok("join", room="r", position={"epoch": epoch, "offset": 1})
            assert [message["text"] for message in slice["messages"]] == ["2"]


async def test_flushall_is_a_gap(tmp_path: Path, own: RedisServer) -> None:
    async with two(tmp_path, own) as (one, other):
        async with one.client() as anna, other.client() as bob:
            before = await user(anna, "Anna")
            await user(bob, "Bob")
            await anna.ok("post", room="r", text="1")
            assert own.ask("FLUSHALL") == "+OK"
            with trio.fail_after(60):
                assert await anna.closed() == await bob.closed() == 1012
        async with other.client() as again:
            await again.hello("Anna")
            position = {"epoch": before["epoch"], "offset": 1}
            slice = await again.ok("join", room="r", position=position)
            assert (slice["gap"], slice["messages"], slice["offset"]) == (True, [], 0)
            assert slice["epoch"] != before["epoch"]


async def test_it_says_what_an_ok_means(tmp_path: Path, own: RedisServer) -> None:
    async with serving(tmp_path, "--engine", own.url) as server:
        assert server.line.endswith(f"(data: {own.url})\n")
        assert server.process.stdout is not None
        await trio.to_thread.run_sync(server.process.stdout.readline)
        line = await trio.to_thread.run_sync(server.process.stdout.readline)
        assert "redis: appendonly always" in line
        metrics = (await ask(server.port, "GET", "/metrics")).body.decode()
        assert 'wscore_chat_engine_info{engine="redis"} 1.0' in metrics
        assert (await server.end(signal.SIGTERM)) == (0, "")
