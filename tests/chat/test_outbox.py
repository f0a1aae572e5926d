from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from wscore.chat.outbox import Outbox
from wscore.chat.protocol import Encoded


def message(size: int = 10) -> Encoded:
    return Encoded(f"message of {size}", size)


class Owner:
    """Counts the calls for help."""

    def __init__(self) -> None:
        self.calls = 0
        self.outbox = Outbox(self.on_full)

    def on_full(self) -> None:
        self.calls += 1


async def test_first_in_first_out() -> None:
    outbox = Owner().outbox
    outbox.put(Encoded("1", 1))
    outbox.put_replayed(Encoded("2", 1))
    outbox.put(Encoded("3", 1))
    assert [await outbox.get() for _ in range(3)] == ["1", "2", "3"]


async def test_bounded_in_bytes() -> None:
    owner = Owner()
    for _ in range(16):
        owner.outbox.put(message(64 * 1024))
    assert owner.calls == 0
    owner.outbox.put(message(1))
    assert owner.calls == 1
    owner.outbox.put(message(1))
    assert owner.calls == 1


async def test_bounded_in_messages() -> None:
    owner = Owner()
    for _ in range(1024):
        owner.outbox.put(message())
    assert owner.calls == 0
    owner.outbox.put(message())
    assert owner.calls == 1


async def test_what_was_taken_makes_room() -> None:
    owner = Owner()
    for _ in range(5000):
        owner.outbox.put(message(100_000))
        await owner.outbox.get()
    assert owner.calls == 0


async def test_a_replay_never_counts_as_full() -> None:
    owner = Owner()
    for _ in range(2000):
        owner.outbox.put_replayed(message(1000))
    for _ in range(1024):
        owner.outbox.put(message(1024))
    assert owner.calls == 0
    owner.outbox.put(message(1))
    assert owner.calls == 1


async def test_low_waits_for_relief(autojump_clock: trio.testing.MockClock) -> None:
    outbox = Owner().outbox
    for _ in range(70):
        outbox.put_replayed(message(1024))
    assert not outbox.is_low
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.low)
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        for _ in range(5):
            await outbox.get()
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        await outbox.get()
    assert outbox.is_low


async def test_low_counts_messages_too() -> None:
    outbox = Owner().outbox
    for _ in range(512):
        assert outbox.is_low
        outbox.put(message(1))
    assert not outbox.is_low


async def test_drained_means_sent() -> None:
    outbox = Owner().outbox
    outbox.put(message())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.drained)
        await outbox.get()
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1  # taken, and not sent yet
        with trio.move_on_after(0):
            await outbox.get()  # the consumer is back


async def test_a_closed_one_forgets() -> None:
    owner = Owner()
    owner.outbox.put(message(1024 * 1024))
    owner.outbox.close()
    owner.outbox.put(message())
    owner.outbox.put_replayed(message())
    await owner.outbox.low()
    await owner.outbox.drained()
    assert owner.calls == 0
