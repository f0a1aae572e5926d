"""Tells the other processes who is present at this one; imports the ``redis`` modules below.

What is told is what is the case when it is told: who came and left meanwhile is not mentioned, and
what failed is said again. A beat says that the process is there; one that is not heard of for the
time of a lease is forgotten, by whoever notices first. If that happens to one that lives, the
answer to its next beat says so, and it tells everything anew.
"""

from __future__ import annotations

import trio

from wscore.chat.model import Log, Name

from .base import Unavailable
from .redis_link import Asked, Link
from .redis_shards import Shard

_BEATS = 5
"""In the time of a lease."""
_TOLD_TOGETHER = 500
_TYPING = 1000
"""Who types while Redis does not answer is not told beyond so many."""
_ROOMS = 50
"""How many rooms of a process that is gone are looked at in one step."""


class Presence:
    """What this process says of its users.

    Args:
        link: to Redis.
        process: what this process is called.
        lease: seconds after which a process that is not heard of has no users.
    """

    def __init__(self, link: Link, process: str, lease: float) -> None:
        self._link = link
        self._process = process
        self._lease = lease
        self._here: dict[Log, set[str]] = {}
        self._due: dict[tuple[Log, str], None] = {}
        self._arrival = trio.Event()
        # Since when each of them answers: who could not hear others must not call them dead.
        self._answers_since: dict[Shard, float] = {}
        self._typing: dict[tuple[Log, str], None] = {}

    def enter(self, room: Log, user: Name) -> None:
        """See `base.Backend.enter`."""
        self._here.setdefault(room, set()).add(user.text)
        self._tell(room, user.text)

    def leave(self, room: Log, user: Name) -> None:
        """See `base.Backend.leave`."""
        here = self._here.get(room, set())
        here.discard(user.text)
        if not here:
            self._here.pop(room, None)
        self._tell(room, user.text)

    def type(self, log: Log, user: Name) -> None:
        """See `base.Backend.type`."""
        if len(self._typing) < _TYPING:
            self._typing[log, user.text] = None
            self._arrival.set()

    def repeat(self, room: Log) -> None:
        """What was told of this room may be lost."""
        for user in self._here.get(room, ()):
            self._tell(room, user)

    def _tell(self, room: Log, user: str) -> None:
        self._due[room, user] = None
        self._arrival.set()

    async def run(self) -> None:
        """Tell until cancelled."""
        await self._link.known.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_changes)
            nursery.start_soon(self._beat)

    # --- Changes ----------------------------------------------------------------------------

    async def _tell_changes(self) -> None:
        while True:
            await self._arrival.wait()
            typing, self._typing = self._typing, {}
            told = [*self._due][:_TOLD_TOGETHER]
            for each in told:
                del self._due[each]
            if not self._due:
                self._arrival = trio.Event()
            asked = [self._change(*each) for each in told]
            asked += [
                (self._link.shards.of(log), ["type", *log, self._process, user])
                for log, user in typing
            ]
            if await self._ask(asked, told):
                await trio.sleep(self._lease / _BEATS)

    def _change(self, room: Log, user: str) -> Asked:
        shard = self._link.shards.of(room)
        if user in self._here.get(room, ()):
            return shard, ["enter", self._process, self._lease_ms, room.key, user]
        return shard, ["leave", self._process, room.key, user]

    @property
    def _lease_ms(self) -> str:
        return str(round(self._lease * 1000))

    async def _ask(self, asked: list[Asked], told: list[tuple[Log, str]]) -> bool:
        """Tell; returns whether some of it has to be told again."""
        failed = False
        renewed: set[Shard] = set()
        for index, reply in enumerate(await self._link.read(asked)):
            shard = asked[index][0]
            if isinstance(reply, Unavailable):
                self._answers_since.pop(shard, None)
                if index < len(told):
                    failed = True
                    self._tell(*told[index])
            elif reply[0] == b"new":
                renewed.add(shard)
        self._repeat_all(renewed, {*told})
        return failed

    def _repeat_all(self, shards: set[Shard], but: set[tuple[Log, str]]) -> None:
        """Redis does not know this process there, or did not until now."""
        for room, users in self._here.items() if shards else ():
            if self._link.shards.of(room) in shards:
                for user in users:
                    if (room, user) not in but:
                        self._tell(room, user)

    # --- Beats ------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            if not await self._look_around():
                await trio.sleep(self._lease / _BEATS)

    async def _look_around(self) -> bool:
        """Say that we are there; returns whether there is more to be done for the dead."""
        now = trio.current_time()
        asked: list[Asked] = []
        for shard in self._link.shards.all():
            since = self._answers_since.get(shard, now)
            may_reap = "1" if now - since >= self._lease else "0"
            command = ["alive", self._process, self._lease_ms, may_reap, str(_ROOMS)]
            asked.append((shard, command))
        renewed: set[Shard] = set()
        is_more = False
        for (shard, _), reply in zip(asked, await self._link.read(asked), strict=True):
            if isinstance(reply, Unavailable):
                self._answers_since.pop(shard, None)
                continue
            self._answers_since.setdefault(shard, now)
            is_more = is_more or reply[1] == b"1"
            if reply[0] == b"new":
                renewed.add(shard)
        self._repeat_all(renewed, set())
        return is_more

    async def stop(self) -> None:
        """Take back everything at once: this process ends."""
        self._here.clear()
        self._due.clear()
        rest = self._link.shards.all()
        while rest:
            asked: list[Asked] = [(shard, ["gone", self._process, str(_ROOMS)]) for shard in rest]
            replies = await self._link.read(asked)
            rest = [
                shard
                for shard, reply in zip(rest, replies, strict=True)
                if not isinstance(reply, Unavailable) and reply[1] == b"1"
            ]
