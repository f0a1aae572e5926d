"""Texts for groups, kept in Redis for a day and read by every process that serves the group."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import trio

from wscore.chat.backends.base import (
    CannotOpen,
    Claim,
    OpenRoom,
    PostTo,
    Refused,
    Unavailable,
)
from wscore.chat.backends.redis import RedisBackend
from wscore.chat.model import Entry, Log, Name, room_log

_SPEAKER = Name("everybody", "everybody")


class Relay:
    """Hands on what any process published, this one included: in one order, and once.

    Args:
        url: of Redis.
        deliver: is called with a group and a text.
        lose: is called with a group of which texts may be missing.
    """

    def __init__(
        self, url: str, deliver: Callable[[str, str], object], lose: Callable[[str], object]
    ) -> None:
        self._backend = RedisBackend(url, prefix="room_chat", keep_messages=100, keep_days=1)
        self._deliver = deliver
        self._lose = lose
        self._members: Counter[str] = Counter()

    async def enter(self, group: str) -> bool:
        """Hand on what is published in a group from now on; False: Redis is out of reach."""
        self._members[group] += 1
        self._backend.follow(_log(group))
        has_entered = False
        try:
            has_entered = await self._write(OpenRoom(Name(_log(group).key, group)))
        finally:
            if not has_entered:
                self.leave(group)
        return has_entered

    def leave(self, group: str) -> None:
        """Take back one `enter`."""
        self._members[group] -= 1
        if not self._members[group]:
            del self._members[group]
            self._backend.unfollow(_log(group))

    async def publish(self, group: str, text: str | bytes) -> bool:
        """Pass a text on to a group; False: it may not reach anybody. Bytes are passed over."""
        if isinstance(text, bytes):
            return True
        now = time.time_ns() // 1_000_000
        post = PostTo(_SPEAKER.key, _log(group).key, text, secrets.token_hex(16), now)
        return await self._write(post)

    async def _write(self, command: OpenRoom | PostTo) -> bool:
        try:
            # Redis may have lost who speaks, too.
            result = (await self._backend.write([Claim(_SPEAKER, b""), command]))[1]
        except Unavailable:
            return False
        return not isinstance(result, Refused)

    def announce(self, entries: Sequence[tuple[Log, Entry]]) -> None:
        """See `wscore.chat.backends.base.Listener`."""
        for log, entry in entries:
            self._deliver(_group(log), entry.text)

    def reset(self, logs: Collection[Log] | None) -> None:
        """See `wscore.chat.backends.base.Listener`."""
        for log in logs or ():
            self._lose(_group(log))

    def present(self, room: Log, came: Collection[Name], left: Collection[Name]) -> None:
        """See `wscore.chat.backends.base.Listener`: nobody says who is there."""

    def typing(self, log: Log, user: Name) -> None:
        """See `wscore.chat.backends.base.Listener`: nobody says who writes."""

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hand on until cancelled.

        Raises:
            ConnectionError: Redis cannot be used.
        """
        try:
            async with self._backend.open(self):
                task_status.started()
                await trio.sleep_forever()
        except CannotOpen as error:
            raise ConnectionError(str(error)) from None


def _log(group: str) -> Log:
    """The log of a group; its key has no sign that means something to the store."""
    return room_log(group.encode().hex())


def _group(log: Log) -> str:
    return bytes.fromhex(log.key).decode()
