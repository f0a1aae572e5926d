"""How often somebody may ask; imports nothing, and has no clock."""

from __future__ import annotations


class Bucket:
    """A token bucket.

    Args:
        rate: tokens a second; 0 means unlimited.
        burst: tokens at the start, and at most.
        now: the time, in seconds.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> float:
        """Take a token; returns 0, or the seconds until there will be one."""
        if not self._rate:
            return 0.0
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0
