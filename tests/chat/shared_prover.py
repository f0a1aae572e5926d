"""Several processes that share a Redis, and the prover's posters and readers on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from chat.checker import Whole
from chat.process import Server, serving
from chat.prover import (
    DEVICES,
    POSTERS,
    READERS,
    ROOMS,
    Device,
    Poster,
    World,
    _all,
    _hello,
    _read_whole,
    _start,
)
from chat.redis_server import RedisServer

PROCESSES = 3
ALWAYS = "--appendonly", "yes", "--appendfsync", "always"


class SharedWorld(World):
    """Several servers; whoever connects gets any of them."""

    def __init__(self, folder: Path, seed: int, redis: RedisServer) -> None:
        self.servers: list[Server] = []
        super().__init__(folder, seed)
        self.redis = redis

    @property
    def server(self) -> Server | None:
        return self.chance.choice(self.servers) if self.servers else None

    @server.setter
    def server(self, server: Server | None) -> None:
        assert server is None  # there is none yet

    @asynccontextmanager
    async def started(self, url: str | None = None) -> AsyncIterator[Server]:
        """A process that reaches Redis, by the URL if there is one."""
        arguments = "--rate", "0", "--log-level", "error", "--engine", url or self.redis.url
        async with serving(self.folder, *arguments) as server:
            yield server

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Server]:
        async with self.started() as server, trio.open_nursery() as nursery:
            nursery.start_soon(self._listen_to, server)
            self.servers.append(server)
            self._up.set()
            try:
                yield server
            finally:
                self.servers.remove(server)
                if not self.servers:
                    self._up = trio.Event()
                server.process.kill()

    async def all_up(self) -> None:
        """Wait for every process: one that starts while Redis is away says so and ends."""
        with trio.fail_after(60):
            while len(self.servers) < PROCESSES:  # noqa: ASYNC110
                await trio.sleep(0.01)

    async def keep_running(self) -> None:
        """A server, and another one when it was killed."""
        while True:
            async with self.running() as server:
                await trio.to_thread.run_sync(server.process.wait, abandon_on_cancel=True)

    async def kill_one(self) -> None:
        """Kill a process, and wait until there is another in its place."""
        victim = self.chance.choice(self.servers)
        victim.process.kill()
        with trio.fail_after(60):
            while victim in self.servers:  # noqa: ASYNC110
                await trio.sleep(0.01)
        await self.all_up()


Faults = Mapping[str, Callable[[SharedWorld], Awaitable[None]]]


async def prove(world: SharedWorld, faults: Faults) -> None:
    """Let everybody run through all the faults, twice, and have the checker judge."""
    posters = [Poster(world, number) for number in range(POSTERS)]
    users = [f"Reader{number}" for number in range(READERS)]
    devices = [Device(world, user, number) for user in users for number in range(DEVICES)]
    async with trio.open_nursery() as clients:
        for _ in range(PROCESSES):
            clients.start_soon(world.keep_running)
        await world.all_up()
        for user in users:  # before anybody sends to them
            async with world.client() as client:
                await _hello(client, user)
        acknowledged = [_start(clients, world, poster.visit) for poster in posters]
        read = [_start(clients, world, device.visit, device.is_slow) for device in devices]
        for fault in [*faults, *faults]:
            await trio.sleep(world.chance.uniform(0.2, 1))
            await faults[fault](world)
            world.counts[fault] += 1
        await trio.sleep(1)
        world.is_posting = False
        if await _all(acknowledged):
            logs: dict[str, Whole] = {}
            for user in (*users, *(poster.user for poster in posters)):
                logs |= await _read_whole(world, user, () if logs else ROOMS)
            world.ends = {log: whole.end for log, whole in logs.items()}
            if not await _all(read):
                world.checker.complain("not every reader came to the end")
            world.checker.finish(logs, may_trim=False)
        else:
            world.checker.complain("not every message could be acknowledged")
        clients.cancel_scope.cancel()
