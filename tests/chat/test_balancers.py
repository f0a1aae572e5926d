"""Two chat processes on one Redis behind nginx and HAProxy, configured as the guide says."""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from chat.balancers import KINDS, NAME, Balancer, balancer
from chat.client import SESSION, ChatClient
from chat.plain_http import Answer
from chat.process import Server, serving
from chat.redis_server import RedisServer, redis_server

from wscore.chat.client import ChatClient as Client
from wscore.chat.client import Connected, Disconnected, Gap, Message, open_chat
from wscore.trio import ConnectionClosed, ConnectionRejected, open_websocket_url

#: A chat whose pings come sooner, so that nobody has to wait for a minute.
PINGING = """
import os, sys
from wscore.chat import server
server._PING_SECONDS = float(os.environ["PING_SECONDS"])
from wscore.chat.__main__ import main
sys.exit(main())
"""

#: An embedding program that lets in whom the balancer describes.
EMBEDDING = """
import json, os, trio
from wscore.chat import ChatError, ChatServer, Identity
from wscore.chat.backends.redis import RedisBackend

async def authenticate(hello, request):
    seen = [[name.decode(), value.decode()] for name, value in request.headers]
    raise ChatError("unauthorized", json.dumps([each for each in seen if each[0] in NAMES]))

NAMES = "host", "origin", "x-forwarded-for", "x-forwarded-proto"

async def main():
    chat = ChatServer(RedisBackend(os.environ["URL"]), authenticate=authenticate)
    async with trio.open_nursery() as nursery:
        await nursery.start(chat.serve, "127.0.0.1", 0)
        print(f"wscore chat on http://127.0.0.1:{chat.port}/ (data: redis)", flush=True)

trio.run(main)
"""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder) as server:
        yield server


@asynccontextmanager
async def behind(
    kind: str, folder: Path, redis: RedisServer
) -> AsyncIterator[tuple[Balancer, Server, Server]]:
    arguments = "--engine", redis.url, "--log-level", "error"
    async with serving(folder, *arguments) as one, serving(folder, *arguments) as other:
        with balancer(kind, folder / "balancer", (one.port, other.port)) as found:
            yield found, one, other


@asynccontextmanager
async def client(at: Balancer, **headers: str) -> AsyncIterator[ChatClient]:
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    async with open_websocket_url(
        at.url, ssl_context=at.tls, subprotocols=["chat.wscore.v1"], extra_headers=given
    ) as connection:
        yield ChatClient(connection)


async def get(at: Balancer, path: str) -> Answer:
    def run() -> Answer:
        connection = http.client.HTTPSConnection(NAME, at.port, timeout=60, context=at.tls)
        try:
            connection.request("GET", path)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    return await trio.to_thread.run_sync(run)


async def until_status(at: Balancer, status: int) -> None:
    while (await get(at, "/")).status != status:  # noqa: ASYNC110
        await trio.sleep(0.02)


async def hello_fails(client: ChatClient) -> bool:
    reply = await client.ask("hello", user="Bob", session=SESSION)
    return bool(reply["type"] != "ok")


async def connections(server: Server) -> int:
    """How many a process has, as it says itself."""

    def run() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        try:
            connection.request("GET", "/healthz")
            body = connection.getresponse().read()
        finally:
            connection.close()
        (found,) = [part for part in body.split(b",") if b"connections" in part]
        return int(found.rpartition(b":")[2])

    return await trio.to_thread.run_sync(run)


async def test_two_clients_on_two_processes(kind: str, tmp_path: Path, own: RedisServer) -> None:
    async with behind(kind, tmp_path, own) as (at, one, other):
        page = await get(at, "/")
        assert page.status == 200
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        for path in "/metrics", "/healthz":
            assert (await get(at, path)).status == 403
        # The page's own origin is the balancer's, where TLS ends; another one is refused.
        async with (
            client(at, origin=f"https://{at.authority}") as anna,
            client(at) as bob,
        ):
            assert (await connections(one), await connections(other)) == (1, 1)
            for who, name in (anna, "Anna"), (bob, "Bob"):
                await who.hello(name)
                await who.ok("join", room="r")
            for n in range(10):
                await anna.ok("post", room="r", text=f"a{n}")
                await bob.ok("direct", to="Anna", text=f"b{n}")
            with trio.fail_after(60):
                assert [(await bob.push("message"))["text"] for _ in range(10)] == [
                    f"a{n}" for n in range(10)
                ]
                found = [anna.pushes.pop(0) for _ in range(len(anna.pushes))]
                while len([push for push in found if push["type"] == "direct"]) < 10:
                    found.append(await anna.push())
            directs = [push["text"] for push in found if push["type"] == "direct"]
            assert directs == [f"b{n}" for n in range(10)]
        with pytest.raises(ConnectionRejected) as rejected:
            async with client(at, origin="https://elsewhere.example"):
                pass
        assert rejected.value.status_code == 403


async def test_what_the_processes_are_told_of_the_client(
    kind: str, tmp_path: Path, own: RedisServer
) -> None:
    program = "-c", EMBEDDING
    async with serving(tmp_path, program=program, URL=own.url) as server:
        with balancer(kind, tmp_path / "balancer", (server.port, server.port)) as at:
            lies = {"X_Forwarded_For": "192.0.2.1", "X_Forwarded_Proto": "gopher"}
            async with client(at, Origin=f"https://{at.authority}", **lies) as anna:
                reply = await anna.ask("hello", user="Anna")
    assert sorted(json.loads(reply["reason"])) == [
        ["host", at.authority],
        ["origin", f"https://{at.authority}"],
        ["x-forwarded-for", "127.0.0.1"],
        ["x-forwarded-proto", "https"],
    ]


@pytest.mark.parametrize("is_pinged", [True, False])
async def test_idle_connections_stay_because_of_the_pings(
    kind: str, tmp_path: Path, own: RedisServer, is_pinged: bool
) -> None:
    """At a tenth of the guide's times, and with more pings in it; without pings they are cut."""
    arguments = "--engine", own.url
    ping = "0.5" if is_pinged else "1000"
    program = "-c", PINGING
    async with serving(tmp_path, *arguments, program=program, PING_SECONDS=ping) as server:
        ports = server.port, server.port
        with balancer(kind, tmp_path / "balancer", ports, timeout="6s") as at:
            async with client(at) as anna:
                await anna.hello("Anna")
                if is_pinged:
                    with pytest.raises(trio.TooSlowError), trio.fail_after(9):
                        await anna.receive()
                    await anna.ok("ping")
                else:
                    with trio.fail_after(60), pytest.raises(ConnectionClosed):
                        await anna.receive()


async def test_redis_is_away(kind: str, tmp_path: Path, own: RedisServer) -> None:
    """Connections stay, and there are new ones when it is back; HAProxy refuses them until then."""
    async with behind(kind, tmp_path, own) as (at, _, _), client(at) as anna:
        await anna.hello("Anna")
        own.kill()
        assert await anna.error("direct", to="Anna", text="x") == "unavailable"
        with trio.fail_after(60):
            if kind == "haproxy":
                await until_status(at, 503)
            else:
                async with client(at) as bob:
                    assert await bob.error("hello", user="Bob") == "unavailable"
            await anna.ok("ping")
            own.start()
            await until_status(at, 200)
            async with client(at) as bob:
                while await hello_fails(bob):  # noqa: ASYNC110
                    await trio.sleep(0.02)


async def test_who_was_on_a_process_that_is_killed_goes_on_at_the_other(
    kind: str, tmp_path: Path, own: RedisServer
) -> None:
    """Without a gap, and new ones get in at once."""
    async with behind(kind, tmp_path, own) as (at, one, other), trio.open_nursery() as nursery:
        texts: dict[str, list[str]] = {}
        troubles: list[object] = []

        async def follow(user: str, *, task_status: trio.TaskStatus[Client]) -> None:
            notes = texts[user] = []
            options = {"ssl_context": at.tls, "first_delay": 0.05, "max_delay": 0.5}
            async with open_chat(at.page, user, **options) as chat:  # type: ignore[arg-type]
                await chat.join("r")
                task_status.started(chat)
                async for event in chat:
                    if isinstance(event, Message):
                        notes.append(event.text)
                    elif isinstance(event, Gap):
                        troubles.append(event)
                    elif isinstance(event, Connected | Disconnected):
                        came[user] = came.get(user, 0) + isinstance(event, Connected)

        came: dict[str, int] = {}
        clients = [await nursery.start(follow, f"User{n}") for n in range(6)]
        assert (await connections(one), await connections(other)) == (3, 3)
        expected = []
        with trio.fail_after(60):
            for n in range(30):
                if n == 10:
                    await one.end(signal.SIGKILL)
                expected.append(f"m{n}")
                await clients[n % 6].post("r", f"m{n}")
            while any(found != expected for found in texts.values()):  # noqa: ASYNC110
                await trio.sleep(0.01)
            while await connections(other) < 6:  # noqa: ASYNC110
                await trio.sleep(0.05)
            async with client(at) as late:
                await late.hello("Late")
        assert troubles == []
        assert sorted(came.values()) == [1, 1, 1, 2, 2, 2]
        nursery.cancel_scope.cancel()
