"""The limit of real time of these tests: it ends what hangs, and never breaks trio."""

from __future__ import annotations

import signal

import pytest
import trio
from time_limit import time_limit

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="there is no alarm")


#: Seconds; none of these tests waits for it.
LIMIT = 600


def time_is_up():
    """Let the limit's alarm ring soon, as if all but that had passed.

    Called by what hangs and not before: starting trio or a task may take longer than one thinks.
    """
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0.02)
    assert 0 < left <= LIMIT


async def sleep():
    time_is_up()
    await trio.sleep_forever()


async def compute():
    time_is_up()
    while True:
        pass


async def yield_for_ever():
    time_is_up()
    while True:
        await trio.lowlevel.checkpoint()


async def wait_in_many_tasks():
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(trio.sleep_forever)
        for _ in range(100):
            nursery.start_soon(yield_for_ever)


async def ignore_the_interrupt():
    with trio.CancelScope() as scope:
        try:
            await sleep()
        except KeyboardInterrupt:
            scope.cancel()


@trio.lowlevel.enable_ki_protection
async def do_not_react():
    await compute()


def compute_without_trio():
    time_is_up()
    while True:
        pass


def causes(error):
    """The leaves of what the TimeoutError came from."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in causes(part)]
    return [error]


@pytest.mark.parametrize("hang", [sleep, compute, yield_for_ever, wait_in_many_tasks])
def test_it_interrupts_what_hangs(hang):
    for _ in range(5):
        with pytest.raises(TimeoutError, match=r"more than 600 s") as info, time_limit(LIMIT):
            trio.run(hang)
        assert {type(leaf) for leaf in causes(info.value.__cause__)} == {KeyboardInterrupt}


def test_it_interrupts_what_is_not_trio():
    with pytest.raises(TimeoutError), time_limit(LIMIT):
        compute_without_trio()


def test_who_catches_the_interrupt_was_too_slow_all_the_same():
    with pytest.raises(TimeoutError), time_limit(LIMIT):
        trio.run(ignore_the_interrupt)


def test_what_does_not_react_is_struck_anywhere():
    with pytest.raises(TimeoutError), time_limit(LIMIT, patience=0.05):
        trio.run(do_not_react)


def test_an_outer_limit_goes_on():
    def hang_twice():
        with pytest.raises(TimeoutError, match=r"more than 500 s"), time_limit(500):
            trio.run(sleep)
        trio.run(sleep)

    with pytest.raises(TimeoutError, match=r"more than 600 s"), time_limit(LIMIT):
        hang_twice()


def test_what_is_in_time_is_left_alone():
    with time_limit(LIMIT):
        trio.run(trio.sleep, 0)
    with pytest.raises(ZeroDivisionError), time_limit(20):
        divmod(1, 0)
