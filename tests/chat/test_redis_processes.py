"""Several chat processes that share a Redis, with clients on each, while parts of it fail."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from chat.client import ChatClient, Json
from chat.plain_http import ask
from chat.process import Server, command, environment, serving
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


async def until_told(client: ChatClient, state: str, *names: str) -> None:
    """Until the client was told that all of these joined, or left."""
    told: set[str] = set()
    with trio.fail_after(60):
        while not told.issuperset(names):
            push = await client.push("presence")
            if push["state"] == state:
                told.add(push["user"])


async def test_presence_is_of_all_processes(tmp_path: Path, own: RedisServer) -> None:
    async with two(tmp_path, own) as (one, other):
        async with one.client() as anna, other.client() as bob, other.client() as phone:
            await user(anna, "Anna")
            join = await user(bob, "Bob")
            assert (join["count"], join["members"]) == (2, ["Anna", "Bob"])
            push = await anna.push("presence")
            assert (push["user"], push["state"], push["count"]) == ("Bob", "joined", 2)
            # Anna's phone at the other process is the same Anna.
            join = await user(phone, "Anna")
            assert (join["count"], join["members"]) == (2, ["Anna", "Bob"])
            await anna.ok("leave", room="r")
            await anna.connection.aclose()
            rooms = (await bob.ok("rooms"))["rooms"]
            assert [(room["room"], room["count"]) for room in rooms] == [("r", 2)]
            await phone.ok("leave", room="r")
            await until_told(bob, "left", "Anna")
            assert bob.pushes == []
        async with one.client() as carol, other.client() as bob:
            await user(bob, "Bob")
            await carol.hello("Carol")
            with trio.fail_after(60):
                while True:  # whom Redis has not heard of yet
                    rooms = (await carol.ok("rooms"))["rooms"]
                    if [(room["room"], room["count"]) for room in rooms] == [("r", 1)]:
                        break
                    await trio.sleep(0.01)


async def test_typing_is_heard_at_other_processes(tmp_path: Path, own: RedisServer) -> None:
    async with two(tmp_path, own) as (one, other), one.client() as anna, other.client() as bob:
        await user(anna, "Anna")
        await user(bob, "Bob")

        async def write() -> None:
            while True:  # until somebody heard it: it may get lost
                for place in {"room": "r"}, {"to": "Bob"}:
                    await anna.connection.send_message(json.dumps({"type": "typing", **place}))
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            places: set[str] = set()
            with trio.fail_after(60):
                while places != {"room r", "to Bob"}:
                    push = await bob.push("typing")
                    assert push["user"] == "Anna"
                    places |= {f"{key} {push[key]}" for key in ("room", "to") if key in push}
            nursery.cancel_scope.cancel()
        await anna.sync()
        assert not [push for push in anna.pushes if push["type"] == "typing"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_who_was_at_a_process_that_ends_has_left(
    tmp_path: Path, own: RedisServer, number: signal.Signals
) -> None:
    """At once where it could say so, else when the others have not heard of it for a while."""
    async with two(tmp_path, own) as (one, other), other.client() as bob:
        await user(bob, "Bob")
        async with one.client() as anna, one.client() as carol:
            await user(anna, "Anna")
            await user(carol, "Carol")
            await until_told(bob, "joined", "Anna", "Carol")
            await one.end(number)
            await until_told(bob, "left", "Anna", "Carol")
        join = await bob.ok("join", room="r")
        assert (join["count"], join["members"]) == (1, ["Bob"])


async def test_presence_when_redis_lost_everything(tmp_path: Path, own: RedisServer) -> None:
    async with two(tmp_path, own) as (one, other):
        for life in range(2):
            async with one.client() as anna, other.client() as bob:
                await user(anna, "Anna")
                join = await user(bob, "Bob")
                assert join["members"] == ["Anna", "Bob"]
                if not life:
                    own.ask("FLUSHALL")
                    for client in anna, bob:
                        with trio.fail_after(60):
                            assert await client.closed() == 1012


async def test_a_big_room_over_processes(tmp_path: Path, own: RedisServer) -> None:
    """Above the limit only the number is told, and it is that of all processes."""
    options = "--engine", own.url, "--log-level", "error", "--presence-limit", "1"
    async with (
        serving(tmp_path, *options) as one,
        serving(tmp_path, *options) as other,
        one.client() as anna,
        other.client() as bob,
        other.client() as carol,
    ):
        await user(anna, "Anna")
        await user(bob, "Bob")
        join = await user(carol, "Carol")
        assert (join["count"], join["members"]) == (3, ["Anna", "Bob", "Carol"])
        with trio.fail_after(60):
            while (push := await anna.push("presence"))["count"] != 3:
                pass
        assert "user" not in push


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


# --- Workers --------------------------------------------------------------------------------


def children(pid: int) -> set[int]:
    """The processes that one started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(child) for child in found.split()}


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until_gone(pids: set[int]) -> None:
    with trio.fail_after(60):
        while any(map(is_alive, pids)):  # noqa: ASYNC110
            await trio.sleep(0.01)


async def say_hello(server: Server) -> None:
    """Somebody gets in, whoever of the workers takes them."""
    async with server.client() as client:
        await user(client, "Anna")
        await client.ok("post", room="r", text="x")


async def test_workers_share_a_port_and_are_replaced(tmp_path: Path, own: RedisServer) -> None:
    arguments = "--engine", own.url, "--workers", "3", "--log-level", "error"
    async with serving(tmp_path, *arguments) as server:
        workers = children(server.process.pid)
        assert len(workers) == 3
        for victim in workers:
            os.kill(victim, signal.SIGKILL)
        with trio.fail_after(60):
            while len(children(server.process.pid) - workers) < 3:  # noqa: ASYNC110
                await trio.sleep(0.01)
        await say_hello(server)
        replaced = children(server.process.pid)
        async with server.client() as anna:
            await user(anna, "Anna")
            status, stderr = await server.end(signal.SIGTERM)
            assert await anna.closed() == 1012
        assert status == 0
        assert stderr.count("there will be another") == 3
        assert "Traceback" not in stderr
        await until_gone(replaced)


async def test_workers_end_with_their_parent(tmp_path: Path, own: RedisServer) -> None:
    async with serving(tmp_path, "--engine", own.url, "--workers", "2") as server:
        workers = children(server.process.pid)
        await say_hello(server)
        server.process.kill()
        await until_gone(workers)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--workers", "2"), 2, "need --engine"),
        (("--workers", "2", "--engine", "redis://127.0.0.1:1"), 1, "cannot use redis://"),
    ],
)
async def test_workers_that_cannot_start(
    tmp_path: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    process = await trio.run_process(
        command("--port", "0", *arguments),
        capture_stderr=True,
        check=False,
        cwd=tmp_path,
        env=environment(),
    )
    said = process.stderr.decode()
    assert (process.returncode, "Traceback" in said) == (status, False)
    assert words in said
