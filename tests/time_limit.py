"""A limit of real time for a block that runs trio, and waits in vain."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def time_limit(seconds: float, patience: float = 10) -> Iterator[None]:
    """Raise TimeoutError out of a block that takes longer; its cause says what the block was doing.

    An exception that a signal raises anywhere strikes trio itself as well, which then reports an
    internal error, or loses it. So the block is interrupted as by Ctrl-C, with which trio is
    careful: it raises KeyboardInterrupt in a test's own code, or else in the main task. Only what
    does not react to that within the seconds of ``patience`` is struck wherever it is.
    """
    if not hasattr(signal, "SIGALRM"):  # Windows
        yield
        return
    error: TimeoutError | None = None

    def give_up(signum: int, frame: FrameType | None) -> None:
        nonlocal error
        if error is not None:
            raise error
        error = TimeoutError(f"it took more than {seconds:g} s")
        signal.setitimer(signal.ITIMER_REAL, patience)
        signal.raise_signal(signal.SIGINT)

    handler = signal.signal(signal.SIGALRM, give_up)
    outer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except BaseException as caught:
        if error is None or caught is error:
            raise
        raise error from caught
    finally:
        signal.setitimer(signal.ITIMER_REAL, *outer)
        signal.signal(signal.SIGALRM, handler)
    if error is not None:  # the interrupt was caught, or nobody's
        raise error
