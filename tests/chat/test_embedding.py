"""A chat server inside somebody else's program: life, several at once, health and metrics."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from chat.client import Chat, ChatClient, MemoryListener, running
from chat.plain_http import UPGRADE, ask
from chat.process import environment
from prometheus_client.parser import text_string_to_metric_families

from wscore.chat import CannotOpen, ChatServer, Limits, MemoryBackend, SQLiteBackend
from wscore.chat.backends.base import Command, Result, Unavailable
from wscore.trio import (
    open_unix_listener,
    open_websocket_url,
    serve_until_signal,
    wrap_client_stream,
)


class FailingBackend(MemoryBackend):
    """A store whose disk can be full."""

    is_full = False

    async def write(self, batch: Sequence[Command]) -> list[Result]:
        if self.is_full:
            raise Unavailable("the disk is full")
        return await super().write(batch)


async def figures(port: int) -> dict[tuple[str, ...], float]:
    """The samples at /metrics, by name and values of labels."""
    answer = await ask(port, "GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    return samples(answer.body.decode())


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("wscore_chat_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# --- Life -----------------------------------------------------------------------------------


async def test_several_servers_in_one_program_are_apart(nursery: trio.Nursery) -> None:
    one, two = ChatServer(MemoryBackend()), ChatServer(MemoryBackend())
    for chat in (one, two):
        assert await nursery.start(chat.serve, "127.0.0.1", 0) is chat
    async with open_websocket_url(f"ws://127.0.0.1:{one.port}/ws") as connection:
        anna = ChatClient(connection)
        await anna.hello("Anna", session="1" * 22)
        async with open_websocket_url(f"ws://127.0.0.1:{two.port}/ws") as elsewhere:
            await ChatClient(elsewhere).hello("Anna", session="2" * 22)
            for chat in (one, two):
                assert (await figures(chat.port))["connections",] == 1
            await two.aclose()
        await anna.ok("ping")
        assert (await figures(one.port))["connections",] == 1
    await one.aclose()


async def test_on_somebodys_listeners(nursery: trio.Nursery, tmp_path: object) -> None:
    chat = ChatServer(MemoryBackend())
    memory = MemoryListener()
    tcp = await trio.open_tcp_listeners(0, host="127.0.0.1")
    unix = await open_unix_listener(f"{tmp_path}/socket")
    await nursery.start(chat.serve_listeners, [memory, *tcp, unix])
    port = tcp[0].socket.getsockname()[1]
    assert (await ask(port, "GET", "/healthz")).status == 200
    assert len(chat.listeners) == 3
    with pytest.raises(RuntimeError):
        _ = chat.port
    await chat.aclose()
    with pytest.raises(OSError):
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_it_is_stopped_by_its_owner_and_everybody_hears_1012(nursery: trio.Nursery) -> None:
    chat = ChatServer(MemoryBackend())
    await nursery.start(chat.serve, "127.0.0.1", 0)
    async with open_websocket_url(f"ws://127.0.0.1:{chat.port}/ws") as connection:
        anna = ChatClient(connection)
        await anna.hello("Anna")
        await anna.ok("join", room="r")
        posts = [await anna.send("post", room="r", text="t") for _ in range(20)]
        await anna.ok("ping")
        closing = trio.Event()

        async def close() -> None:
            await chat.aclose()
            closing.set()

        nursery.start_soon(close)
        assert await anna.closed() == 1012
        answers = [push for push in anna.pushes if push["type"] == "ok"]
        assert {answer["id"] for answer in answers} | set(anna.replies) == set(posts)
        await closing.wait()
    await chat.aclose()  # again: nothing


async def test_aclose_with_no_grace_cuts(autojump_clock: trio.testing.MockClock) -> None:
    async with running(ChatServer(MemoryBackend())) as chat:
        anna = await chat.user("Anna")
        nursery_begin = trio.current_time()
        await chat.server.aclose(0)
        await chat.stopped.wait()
        assert trio.current_time() == nursery_begin
        assert await anna.closed() in (1006, 1012)


async def test_a_server_serves_once() -> None:
    chat = ChatServer(MemoryBackend())
    for attribute in ("port", "listeners", "counters"):
        with pytest.raises(RuntimeError):
            getattr(chat, attribute)
    await chat.aclose()  # before it served: it will end at once
    await chat.serve("127.0.0.1", 0)
    with pytest.raises(RuntimeError):
        await chat.serve("127.0.0.1", 0)


async def test_what_cannot_start_says_so(tmp_path: object) -> None:
    with pytest.raises(CannotOpen):
        await ChatServer(SQLiteBackend(f"{tmp_path}/missing/chat.db")).serve("127.0.0.1", 0)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        with pytest.raises(OSError):
            await ChatServer(MemoryBackend()).serve("127.0.0.1", port)
    for origin in ("example.com", "https://example.com/path"):
        with pytest.raises(ValueError, match="not an origin"):
            ChatServer(MemoryBackend(), origins=[origin])


async def test_as_a_program_of_its_own(nursery: trio.Nursery) -> None:
    chat = ChatServer(MemoryBackend())
    ended = trio.Event()

    async def program() -> None:
        await serve_until_signal(partial(chat.serve, "127.0.0.1", 0))
        ended.set()

    nursery.start_soon(program)
    await trio.testing.wait_all_tasks_blocked()
    await chat.aclose()
    await ended.wait()


async def test_more_origins(nursery: trio.Nursery) -> None:
    chat = ChatServer(MemoryBackend(), origins=["https://example.com", "null"])
    await nursery.start(chat.serve, "127.0.0.1", 0)
    for origin, status in {
        "https://example.com": 101,
        "https://EXAMPLE.com:443": 101,
        f"http://127.0.0.1:{chat.port}": 101,
        "null": 101,
        "http://example.com": 403,
        "https://example.com.evil.test": 403,
        "https://evil.test": 403,
    }.items():
        answer = await ask(chat.port, "GET", "/ws", {**UPGRADE, "Origin": origin})
        assert answer.status == status, origin
    assert (await ask(chat.port, "GET", "/ws", UPGRADE)).status == 101
    await chat.aclose(0)


# --- Health and metrics ---------------------------------------------------------------------


async def plain(chat: Chat, path: str) -> tuple[int, bytes]:
    """Status and body of an answer, of a server in memory."""
    stream = chat.listener.connect()
    await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = b""
    async for data in stream:
        answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_health_follows_the_last_write(
    mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    backend = FailingBackend()
    async with running(ChatServer(backend)) as chat:

        async def health() -> tuple[int, object]:
            status, body = await plain(chat, "/healthz")
            return status, json.loads(body)

        good = {"status": "ok", "uptime": 0, "connections": 0, "store": "ok"}
        good["engine"] = "memory"
        assert await health() == (200, good)
        anna = await chat.user("Anna", room="r")
        mock_clock.jump(5)
        assert await health() == (200, {**good, "uptime": 5, "connections": 1})
        backend.is_full = True
        assert await anna.error("post", room="r", text="t") == "unavailable"
        bad = {"status": "unavailable", "store": "unavailable", "uptime": 5, "connections": 1}
        bad["engine"] = "memory"
        assert await health() == (503, bad)
        assert samples((await plain(chat, "/metrics"))[1].decode())["store_available",] == 0
        backend.is_full = False
        await anna.ok("post", room="r", text="t")
        assert (await health())[0] == 200
        now = samples((await plain(chat, "/metrics"))[1].decode())
        assert now["store_available",] == now["commit_failures_total",] == 1
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


async def test_metrics(nursery: trio.Nursery) -> None:
    chat = ChatServer(MemoryBackend(), limits=Limits(rate=0))
    await nursery.start(chat.serve, "127.0.0.1", 0)
    before = await figures(chat.port)
    assert before["connections",] == before["rooms",] == before["queue_bytes",] == 0
    assert before["messages_total", "room"] == before["messages_total", "direct"] == 0
    url = f"ws://127.0.0.1:{chat.port}/ws"
    async with open_websocket_url(url) as connection:
        anna = ChatClient(connection)
        await anna.hello("Anna")
        for room in ("r", "s"):
            await anna.ok("join", room=room)
        for id in ("p1", "p2", "p2"):
            await anna.ok("post", room="r", text="t", id=id)
        await anna.ok("direct", to="Anna", text="t")
        now = await figures(chat.port)
        assert now["connections",] == now["accepted_total",] == 1
        assert now["rooms",] == 2
        assert now["messages_total", "room"] == 2
        assert now["messages_total", "direct"] == 1
        # Each of these requests was a batch of its own: hello, two joins, three posts, a direct.
        assert now["commit_seconds_count",] == now["commit_seconds_bucket", "+Inf"] == 7
        assert 0 < now["commit_seconds_sum",] < 7
        buckets = [value for key, value in now.items() if key[0] == "commit_seconds_bucket"]
        assert buckets == sorted(buckets)
        assert now["store_available",] == 1
        await anna.connection.send_message(b"binary")
        assert await anna.closed() == 1003
    await ask(chat.port, "GET", "/nothing")
    after = await figures(chat.port)
    assert after["connections",] == after["rooms",] == 0
    assert after["closed_total", "1003"] == 1
    assert after["refused_total", "404"] == 1
    await chat.aclose()


async def test_what_waits_and_who_is_cut_for_it(autojump_clock: trio.testing.MockClock) -> None:
    async def look() -> dict[tuple[str, ...], float]:
        return samples((await plain(door, "/metrics"))[1].decode())

    async with running(ChatServer(MemoryBackend(), limits=Limits(rate=0))) as door:
        anna = await door.user("Anna", room="r")
        slow = await door.connect(blocking=True)
        await slow.hello("Slow")
        await slow.ok("join", room="r")
        assert (await look())["queue_bytes",] == 0
        for _ in range(100):
            await anna.ok("post", room="r", text="x" * 1000)
        now = await look()
        assert 90_000 < now["queue_bytes",] < 150_000
        assert ("cuts_total", "unsent limit") not in now
        for _ in range(1000):
            await anna.ok("post", room="r", text="x" * 1000)
        assert (await anna.push("presence"))["state"] == "joined"
        assert (await anna.push("presence"))["state"] == "left"
        await slow.closed()
        await trio.testing.wait_all_tasks_blocked()
        now = await look()
        assert now["queue_bytes",] == 0
        assert now["cuts_total", "unsent limit"] == now["closed_total", "4000"] == 1


GUIDE = (Path(__file__).parents[2] / "docs" / "running-the-chat.md").read_text(encoding="utf-8")


async def test_the_guide_names_every_metric(nursery: trio.Nursery) -> None:
    chat = ChatServer(MemoryBackend())
    await nursery.start(chat.serve, "127.0.0.1", 0)
    text = (await ask(chat.port, "GET", "/metrics")).body.decode()
    await chat.aclose()
    listed = re.findall(r"^\| `(\w+)(?:\{\w+\})?` \|", GUIDE, re.MULTILINE)
    exposed = [
        family.name.removeprefix("wscore_chat_") + "_total" * (family.type == "counter")
        for family in text_string_to_metric_families(text)
    ]
    assert listed == exposed


async def test_the_program_in_the_guide_runs() -> None:
    names: dict[str, Any] = {}
    [program] = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    exec(program, names)

    async def connect(*headers: tuple[bytes, bytes]) -> ChatClient:
        return ChatClient(
            await wrap_client_stream(
                chat.nursery,
                chat.listener.connect(),
                "chat.example",
                "/ws",
                extra_headers=list(headers),
            )
        )

    async with running(names["chat"]) as chat:
        assert await (await connect()).error("hello", user="Anna") == "unauthorized"
        for user, reply in ((b"Anna", "ok"), (b"Bob", "error")):
            client = await connect((b"X-User", user))
            assert (await client.ok("hello", user="anything"))["user"] == user.decode()
            assert (await client.ask("join", room="STAFF"))["type"] == reply


def test_without_prometheus_there_is_a_hint_and_everything_else_works() -> None:
    program = """
import sys, trio
sys.modules["prometheus_client"] = None
from wscore.chat import ChatServer, MemoryBackend
from chat.plain_http import ask
async def main():
    async with trio.open_nursery() as nursery:
        chat = await nursery.start(ChatServer(MemoryBackend()).serve, "127.0.0.1", 0)
        for path in ("/metrics", "/healthz"):
            answer = await ask(chat.port, "GET", path)
            print(answer.status, answer.body.decode(), end="")
        await chat.aclose()
trio.run(main)
"""
    places = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment() | places,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    metrics, health = done.stdout.splitlines()
    assert metrics.startswith("404 ")
    assert "wscore[metrics]" in metrics
    assert health.startswith("200 ")
