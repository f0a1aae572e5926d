"""The prover's posters and readers while the network between chat processes and Redis fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from chat.process import Server
from chat.prover import summary
from chat.redis_server import redis_server
from chat.shared_prover import ALWAYS, Faults, SharedWorld, prove
from chat.wire import Wire, wire

BEYOND_THE_TIME_OUT = 6
"""Seconds; a process gives up a Redis that has not answered for five."""


class WiredWorld(SharedWorld):
    """Each process reaches Redis over a wire of its own."""

    wires: list[Wire]

    @asynccontextmanager
    async def started(self, url: str | None = None) -> AsyncIterator[Server]:
        async with wire(self.redis.port) as line, super().started(line.url) as server:
            self.wires.append(line)
            try:
                yield server
            finally:
                self.wires.remove(line)

    def some(self) -> list[Wire]:
        return self.chance.sample(self.wires, self.chance.randint(1, len(self.wires)))


async def _cut(world: WiredWorld) -> None:
    for line in world.some():
        await line.cut()


async def _cut_in_a_request(world: WiredWorld) -> None:
    for line in world.some():
        line.cut_request_after(world.chance.randint(1, 5000))
    await trio.sleep(0.3)


async def _cut_in_a_reply(world: WiredWorld) -> None:
    """After Redis has stored what it was asked to, as a rule."""
    for line in world.some():
        line.cut_reply_after(world.chance.randint(1, 500))
    await trio.sleep(0.3)


async def _delay(world: WiredWorld) -> None:
    lines = world.some()
    for line in lines:
        line.delay = world.chance.uniform(0.01, 0.3)
    await trio.sleep(1)
    for line in lines:
        line.delay = 0


async def _swallow(world: WiredWorld, seconds: float) -> None:
    lines = world.some()
    for line in lines:
        line.hold()
    await trio.sleep(seconds)
    for line in lines:
        line.release()


async def _swallow_briefly(world: WiredWorld) -> None:
    await _swallow(world, world.chance.uniform(0.1, 1))


async def _swallow_for_long(world: WiredWorld) -> None:
    """What was held back arrives when its process has given it up."""
    await _swallow(world, BEYOND_THE_TIME_OUT)


FAULTS: Faults = {
    "connections cut": _cut,
    "cut in a request": _cut_in_a_request,
    "cut in a reply": _cut_in_a_reply,
    "answers late": _delay,
    "black hole": _swallow_briefly,
    "black hole beyond the time-out": _swallow_for_long,
    "process killed": WiredWorld.kill_one,
}


async def test_nothing_is_lost_or_repeated_over_a_bad_network(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder, *ALWAYS) as redis:
        world = WiredWorld(tmp_path, 7, redis)
        world.wires = []
        await prove(world, FAULTS)
    assert world.checker.complaints == [], summary(world)
    assert all(world.counts[fault] for fault in FAULTS), summary(world)
    assert world.counts["acknowledged again"], summary(world)
    assert world.counts["refused as unavailable"], summary(world)
    assert world.checker.acknowledged > 100, summary(world)
