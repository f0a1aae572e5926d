"""The prover's posters and readers on several processes that share a Redis which is harmed."""

from __future__ import annotations

import signal
from pathlib import Path

import trio
from chat.prover import summary
from chat.redis_server import redis_server
from chat.shared_prover import ALWAYS, Faults, SharedWorld, prove


async def _kill_redis(world: SharedWorld) -> None:
    await trio.to_thread.run_sync(world.redis.kill)
    await trio.sleep(world.chance.uniform(0, 1))
    await trio.to_thread.run_sync(world.redis.start)


async def _pause_redis(world: SharedWorld) -> None:
    world.redis.send_signal(signal.SIGSTOP)
    await trio.sleep(world.chance.uniform(0.1, 1))
    world.redis.send_signal(signal.SIGCONT)


async def _cut_connections(world: SharedWorld) -> None:
    for kind in world.chance.sample(("normal", "pubsub"), 2):
        await trio.to_thread.run_sync(world.redis.ask, "CLIENT", "KILL", "TYPE", kind)


FAULTS: Faults = {
    "redis killed": _kill_redis,
    "redis paused": _pause_redis,
    "connections cut": _cut_connections,
    "process killed": SharedWorld.kill_one,
}


async def test_nothing_is_lost_or_repeated_between_processes(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder, *ALWAYS) as redis:
        world = SharedWorld(tmp_path, 5, redis)
        await prove(world, FAULTS)
    assert world.checker.complaints == [], summary(world)
    assert all(world.counts[fault] for fault in FAULTS), summary(world)
    assert world.checker.acknowledged > 100, summary(world)
    assert world.checker.seen > world.checker.acknowledged, summary(world)
