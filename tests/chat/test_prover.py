"""A short run of the prover; ``make prove`` is the long one."""

from __future__ import annotations

from pathlib import Path

from chat.prover import FAULTS, prove, summary


async def test_nothing_is_lost_whatever_happens(tmp_path: Path) -> None:
    world = await prove(tmp_path, seconds=0, seed=11)
    assert world.checker.complaints == [], summary(world)
    # It was really tried.
    tried = {*FAULTS, "killed", "terminated"}
    assert tried <= {what for what, count in world.counts.items() if count}, summary(world)
    assert world.checker.acknowledged > 100, summary(world)
    assert world.checker.seen > world.checker.acknowledged, summary(world)
