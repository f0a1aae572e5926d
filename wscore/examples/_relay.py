"""Texts for groups, passed through Redis to every process that serves them."""

from __future__ import annotations

from collections.abc import Callable

import coredis
import trio

_PREFIX = "room:"


class Relay:
    """Publishes, and hands on what any process published, this one included.

    Args:
        url: of Redis.
        deliver: is called with a group and a text.
    """

    def __init__(self, url: str, deliver: Callable[[str, str], object]) -> None:
        self._redis = coredis.Redis.from_url(url, decode_responses=True)
        self._deliver = deliver

    async def publish(self, group: str, text: str) -> bool:
        """Pass a text on to a group; returns False where Redis is out of reach."""
        try:
            await self._redis.publish(_PREFIX + group, text)
        except (coredis.exceptions.RedisError, OSError):
            return False
        return True

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hand on until cancelled; a connection that is lost is made anew."""
        async with (
            self._redis,
            self._redis.pubsub(patterns=[_PREFIX + "*"], ignore_subscribe_messages=True) as said,
        ):
            task_status.started()
            while True:
                message = await said.get_message()
                if message is not None:
                    self._deliver(
                        str(message["channel"]).removeprefix(_PREFIX), str(message["data"])
                    )
