"""How much of a log is kept, and when it is looked after; imports no other layer.

A back-end trims in steps of at most `STEP` entries, each one a short transaction of its own with
room for posters between two of them, so that no log is too long to be trimmed while people talk.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

logger = logging.getLogger("wscore.chat")

STEP = 500
"""How many entries one step removes at most."""

_INTERVAL = 60
"""Seconds between two rounds through all logs."""

_DAY = 24 * 60 * 60 * 1000
ID_MEMORY = _DAY
"""How long the id of a message is remembered at least, in ms from its time."""


def wall_clock() -> int:
    """The time in ms since 1970 (UTC), as in `model.Entry.time`."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept of each log: what both bounds allow; None is no bound.

    Args:
        keep_messages: the newest so many.
        keep_days: what is not older, in days of 24 hours.
        clock: the time in ms since 1970, to which the entries' times are compared.

    Raises:
        ValueError: a bound is not positive.
    """

    keep_messages: int | None = None
    keep_days: float | None = None
    clock: Callable[[], int] = wall_clock

    def __post_init__(self) -> None:
        if self.keep_messages is not None and self.keep_messages < 1:
            raise ValueError(f"keep_messages is at least 1, not {self.keep_messages}")
        if self.keep_days is not None and not self.keep_days > 0:
            raise ValueError(f"keep_days is above 0, not {self.keep_days}")

    def oldest_offset(self, last: int) -> int:
        """The first offset to keep for the number of messages in a log that ends at ``last``."""
        return 1 if self.keep_messages is None else last - self.keep_messages + 1

    def oldest_time(self, now: int) -> int:
        """What is older than this is not kept; far back where age does not matter."""
        return -(2**53) if self.keep_days is None else now - round(self.keep_days * _DAY)


def digest(text: str) -> bytes:
    """What is remembered of a text that is gone: enough to tell it from another one."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


@asynccontextmanager
async def looked_after(trim: Callable[[], Awaitable[bool]]) -> AsyncGenerator[None]:
    """Trim now and then while the context is open.

    Args:
        trim: does one step, and returns whether the round needs another one.
    """
    life = trio.CancelScope()
    ended = trio.Event()

    async def go_round() -> None:
        try:
            with life:
                while True:
                    while await trim():
                        pass
                    await trio.sleep(_INTERVAL)
        except Exception:
            logger.exception("trimming has ended")
        finally:
            ended.set()

    # Not in a nursery: that would put what the body raises into a group.
    trio.lowlevel.spawn_system_task(go_round)
    try:
        yield
    finally:
        life.cancel()
        with trio.CancelScope(shield=True):
            await ended.wait()
