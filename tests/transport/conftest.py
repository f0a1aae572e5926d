"""A limit of real time for each test, so that one which waits in vain fails and does not hang."""

from __future__ import annotations

import signal

import pytest

LIMIT = 30


@pytest.fixture(autouse=True)
def _limit_of_real_time():
    if not hasattr(signal, "SIGALRM"):  # Windows
        yield
        return

    def give_up(signum, frame):
        raise TimeoutError(f"the test took more than {LIMIT} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
