"""The thread for what blocks: one job at a time, and no call that waits once it is cancelled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from wscore.chat.backends.worker import Worker


@contextmanager
def working() -> Iterator[Worker]:
    worker = Worker("worker of a test")
    try:
        yield worker
    finally:
        worker.stop()


async def test_one_thread_does_all_jobs_in_order() -> None:
    done: list[int] = []
    threads: set[int] = set()

    def job(number: int) -> int:
        threads.add(threading.get_ident())
        done.append(number)
        return -number

    with working() as worker:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(worker.run, partial(job, number))
                await wait_all_tasks_blocked()
        assert await worker.run(partial(job, 5)) == -5
    assert done == [*range(6)]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_what_a_job_raises_is_raised_and_the_next_one_is_done() -> None:
    with working() as worker:
        for error in ValueError, SystemExit:

            def fail(error: type[BaseException] = error) -> None:
                raise error

            with pytest.raises(error):
                await worker.run(fail)
        assert await worker.run(lambda: "done") == "done"


async def test_a_cancelled_call_does_not_wait_and_the_next_job_does() -> None:
    begun, gate = threading.Event(), threading.Event()
    done: list[str] = []

    def slow() -> None:
        begun.set()
        gate.wait()
        done.append("slow")

    with working() as worker:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as given_up:
                nursery.start_soon(worker.run, lambda: done.append("before"))
                await wait_all_tasks_blocked()

                async def give_up() -> None:
                    await trio.to_thread.run_sync(begun.wait)
                    given_up.cancel()

                nursery.start_soon(give_up)
                await worker.run(slow)
            assert given_up.cancelled_caught
            # One that has not begun is never done.
            with trio.CancelScope() as impatient:
                impatient.cancel()
                await worker.run(lambda: done.append("never"))
            async with trio.open_nursery() as waiting:
                waiting.start_soon(worker.run, lambda: done.append("never"))
                await wait_all_tasks_blocked()
                waiting.cancel_scope.cancel()
            nursery.start_soon(worker.run, lambda: done.append("after"))
            await wait_all_tasks_blocked()
            assert done == ["before"]
            gate.set()
        assert done == ["before", "slow", "after"]


async def test_it_can_be_stopped_at_work_and_used_again() -> None:
    begun, gate = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def slow() -> None:
        threads.append(threading.current_thread())
        begun.set()
        gate.wait()

    with working() as worker:

        async def wait_in_vain() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await worker.run(slow)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_in_vain)
            await trio.to_thread.run_sync(begun.wait)
            worker.stop()
        assert await worker.run(lambda: "done") == "done"
        gate.set()
        await trio.to_thread.run_sync(threads[0].join)


async def test_its_thread_ends_when_it_is_stopped() -> None:
    with working() as worker:
        thread = await worker.run(threading.current_thread)
        assert thread.is_alive()
    await trio.to_thread.run_sync(thread.join)
