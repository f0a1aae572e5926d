"""A primary that is lost, and a replica that takes its place behind the same address."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from chat.process import serving
from chat.redis_server import RedisServer, redis_server
from chat.test_redis import ALWAYS, LOG, Process, own_redis, post, process, until
from chat.test_redis_processes import insist, user

from wscore.chat.backends.base import Opened, OpenRoom, PostTo, Stored, Unavailable
from wscore.chat.model import Name


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


class VirtualAddress:
    """Leads to one server after the other.

    Attributes:
        port: where it listens.
        is_deaf: whether what servers say is swallowed; it breaks the connections, too.
    """

    def __init__(self, server: RedisServer) -> None:
        self.port = 0
        self.is_deaf = False
        self._server = server
        self._connections: set[trio.CancelScope] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def lead_to(self, server: RedisServer) -> None:
        """The connections that are there break."""
        self._server = server
        for scope in self._connections:
            scope.cancel()

    async def relay(self, client: trio.SocketStream) -> None:
        scope = trio.CancelScope()
        self._connections.add(scope)
        try:
            with scope:
                await self._relay(client)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._connections.discard(scope)

    async def _relay(self, client: trio.SocketStream) -> None:
        async with (
            client,
            await trio.open_tcp_stream("127.0.0.1", self._server.port) as server,
            trio.open_nursery() as both,
        ):

            async def up() -> None:
                async for data in client:
                    await server.send_all(data)
                both.cancel_scope.cancel()

            both.start_soon(up)
            async for data in server:
                if self.is_deaf:
                    break
                await client.send_all(data)
            both.cancel_scope.cancel()


@asynccontextmanager
async def leading_to(server: RedisServer) -> AsyncIterator[VirtualAddress]:
    address = VirtualAddress(server)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, address.relay, 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        address.port = listeners[0].socket.getsockname()[1]
        yield address
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def replica_of(folder: Path, name: str, primary: RedisServer) -> AsyncIterator[RedisServer]:
    """A server that has what the primary has."""
    place = folder / name
    place.mkdir()
    with redis_server(place, *ALWAYS, "--repl-diskless-sync-delay", "0") as server:
        await follow(server, primary)
        yield server


async def follow(server: RedisServer, primary: RedisServer) -> None:
    assert server.ask("REPLICAOF", "127.0.0.1", str(primary.port)) == "+OK"
    await in_step(primary)


async def in_step(primary: RedisServer) -> None:
    """Until a replica has what there is."""
    with trio.fail_after(60):
        while not await trio.to_thread.run_sync(primary.has_replica):
            pass


async def reopen(who: Process) -> str:
    """As users do that come back; returns the epoch."""
    with trio.fail_after(60):
        while True:
            try:
                await who.begin()
                opened = await who.do(OpenRoom(Name("room", "Room")))
            except (Unavailable, AssertionError):
                await trio.sleep(0.02)
                continue
            assert isinstance(opened, Opened)
            return opened.head.epoch


async def test_nothing_is_lost_that_a_replica_had_to_have(tmp_path: Path) -> None:
    acknowledged: dict[str, int] = {}

    async def talk(who: Process, sender: str) -> None:
        for n in range(10**6):
            id = f"{sender}-{n}"
            acknowledged[id] = (await stored(who, post(id, sender))).offset

    async def stored(who: Process, command: PostTo) -> Stored:
        with trio.fail_after(60):
            while True:
                result = await who.insist(command)
                if isinstance(result, Stored):
                    return result
                await trio.sleep(0.01)

    async def come_back(who: Process) -> None:
        while True:
            await until(lambda: LOG in who.lost)
            who.lost.clear()
            await reopen(who)

    async with trio.open_nursery() as nursery:
        with own_redis(tmp_path, *ALWAYS, "--repl-diskless-sync-delay", "0") as primary:
            async with (
                replica_of(tmp_path, "replica", primary) as replica,
                leading_to(primary) as address,
                process(address.url, replicas=1) as one,
                process(address.url, replicas=1) as two,
            ):
                before = await reopen(one)
                async with trio.open_nursery() as talking:
                    talking.start_soon(talk, one, "anna")
                    talking.start_soon(talk, two, "bob")
                    await until(lambda: len(acknowledged) >= 100)
                    primary.kill()
                    nursery.start_soon(come_back, one)
                    nursery.start_soon(come_back, two)
                    assert replica.ask("REPLICAOF", "NO", "ONE") == "+OK"
                    address.lead_to(replica)
                    async with replica_of(tmp_path, "next", replica):
                        count = len(acknowledged)
                        await until(lambda: len(acknowledged) >= count + 100)
                        assert await reopen(one) != before
                    talking.cancel_scope.cancel()
                page = await one.backend.read_after(LOG, 0, 10**9, 10**6)
                stored = {entry.id: entry.offset for entry in page.entries}
                assert len(stored) == len(page.entries)  # once each
                assert [entry.offset for entry in page.entries] == [*range(1, len(stored) + 1)]
                assert acknowledged.items() <= stored.items()
                for sender in "anna", "bob":  # in the order sent
                    own = [entry.id for entry in page.entries if entry.id.startswith(sender)]
                    assert own == [f"{sender}-{n}" for n in range(len(own))]
        nursery.cancel_scope.cancel()


async def test_there_and_back_again(tmp_path: Path) -> None:
    """Each change may have cost something, also to a server that has served before."""
    with own_redis(tmp_path, *ALWAYS, "--repl-diskless-sync-delay", "0") as first:
        async with (
            replica_of(tmp_path, "replica", first) as second,
            leading_to(first) as address,
            process(address.url) as one,
        ):
            epochs = [await reopen(one)]
            for old, new in (first, second), (second, first), (first, second):
                one.lost.clear()
                await one.insist(post(f"{len(epochs)}"))
                await in_step(old)
                new.ask("REPLICAOF", "NO", "ONE")
                address.lead_to(new)
                await until(lambda: LOG in one.lost)
                epochs.append(await reopen(one))
                await follow(old, new)
            assert len({*epochs}) == 4


async def test_back_again_before_anybody_looked(tmp_path: Path) -> None:
    """The server that is there again has thrown away what only it had."""
    with own_redis(tmp_path, *ALWAYS, "--repl-diskless-sync-delay", "0") as first:
        async with (
            replica_of(tmp_path, "replica", first) as second,
            leading_to(first) as address,
        ):
            async with process(address.url) as one:
                before = await reopen(one)
                await one.insist(post("1"))
                await in_step(first)
            second.ask("REPLICAOF", "NO", "ONE")
            await follow(first, second)
            first.ask("REPLICAOF", "NO", "ONE")
            async with process(address.url) as one:
                assert await reopen(one) != before


async def test_a_replica_does_not_pass_for_the_primary(tmp_path: Path) -> None:
    with own_redis(tmp_path, *ALWAYS, "--repl-diskless-sync-delay", "0") as first:
        async with (
            replica_of(tmp_path, "replica", first) as second,
            leading_to(first) as address,
            process(address.url) as one,
        ):
            address.lead_to(second)
            with pytest.raises(Unavailable):
                await one.do(post("1"))
            with pytest.raises(Unavailable):
                await one.do(post("1"))
            await until(lambda: not one.backend.health().is_reachable)
            address.lead_to(first)
            assert isinstance(await one.insist(post("1")), Stored)
            await until(lambda: one.offsets() == [1])
            assert one.lost == []


async def test_clients_are_told_of_the_gap(tmp_path: Path) -> None:
    with own_redis(tmp_path, *ALWAYS, "--repl-diskless-sync-delay", "0") as first:
        async with (
            replica_of(tmp_path, "replica", first) as second,
            leading_to(first) as address,
            serving(tmp_path, "--engine", address.url, "--log-level", "error") as server,
        ):
            async with server.client() as anna:
                joined = await user(anna, "Anna")
                await anna.ok("post", room="r", text="1")
                await in_step(first)
                first.kill()
                second.ask("REPLICAOF", "NO", "ONE")
                address.lead_to(second)
                with trio.fail_after(60):
                    assert await anna.closed() == 1012
            async with server.client() as anna:
                await insist(anna, "hello", user="Anna", session="a-session-of-22-chars!")
                position = {"epoch": joined["epoch"], "offset": 1}
                again = await insist(anna, "join", room="r", position=position)
                assert again["gap"] is True
                assert [message["text"] for message in again["messages"]] == ["1"]
                assert again["epoch"] != joined["epoch"]


# --- Unavailable ----------------------------------------------------------------------------


async def test_unavailable_may_be_stored_and_is_stored_once(tmp_path: Path) -> None:
    """The answer gets lost after Redis has stored it: the client does not know, and asks again."""
    with own_redis(tmp_path, *ALWAYS) as redis:
        async with (
            leading_to(redis) as address,
            serving(tmp_path, "--engine", address.url, "--log-level", "error") as server,
            serving(tmp_path, "--engine", redis.url) as other,
            server.client() as anna,
            other.client() as bob,
        ):
            await user(anna, "Anna")
            await user(bob, "Bob")
            requests: dict[str, tuple[str, dict[str, str]]] = {
                "m": ("post", {"room": "r", "text": "once"}),
                "d": ("direct", {"to": "Bob", "text": "just once"}),
            }
            address.is_deaf = True
            for id, (type, fields) in requests.items():
                assert await anna.error(type, id=id, **fields) == "unavailable"
            address.is_deaf = False
            for id, (type, fields) in requests.items():
                first = await insist(anna, type, id=id, **fields)
                again = await anna.ok(type, id=id, **fields)
                assert (again["offset"], again["duplicate"]) == (first["offset"], True)
                refused = {**fields, "text": "another"}
                assert await anna.error(type, id=id, **refused) == "conflict"
            await anna.ok("post", room="r", text="after")
            for client in anna, bob:
                said: dict[str, list[str]] = {"message": [], "direct": [], "presence": []}
                with trio.fail_after(60):
                    while "after" not in said["message"] or not said["direct"]:
                        push = await client.push()
                        said[push["type"]].append(push.get("text", ""))
                assert (said["message"], said["direct"]) == (["once", "after"], ["just once"])
                inbox = await client.ok("history", inbox=True)
                assert [message["text"] for message in inbox["messages"]] == ["just once"]
