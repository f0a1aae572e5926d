"""A store that many processes share: Redis 7 or newer; imports the other ``redis`` modules.

What `base` promises of `Unavailable` is less here: when the way to Redis is cut while a batch is
under way, nobody knows whether it was stored. If it was, it is announced like what other processes
store, and whoever sends it again with the same id is told where it is. What is stored is stored
once, whatever is repeated.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from wscore.chat.model import Head, Log, Name, inbox_log, room_log

from . import base
from .base import Claimed, Opened, Page, Refused, Result, RoomHead, Stored, Unavailable
from .redis_link import Command, Link, Reply
from .redis_news import Found, News, parse_page
from .retention import ID_MEMORY, STEP, Retention, digest, looked_after, wall_clock

logger = logging.getLogger("wscore.chat")

_LOGS = 200
"""How many logs one step of trimming looks at."""
_OTHERS = 200
"""How many entries of others are read with a batch of ours, of each log."""
_RESTART_SECONDS = 1.0


class RedisBackend:
    """Keeps everything in one Redis, for any number of processes; see `base` for the contract.

    What an ``ok`` means depends on how that Redis is set up; see `health`.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with user, password and database.
        prefix: what the names of all keys begin with, in braces: chats with different ones share
            a Redis without knowing of each other.
        replicas: how many replicas have to have a message before it counts as stored (``WAIT``).
        timeout: seconds until a Redis that does not answer is given up.
        max_rooms: how many rooms there can be.
        max_users: how many users there can be.
        keep_messages: how many messages of each log are kept; None: all.
        keep_days: how many days messages are kept; None: for ever.
        clock: the time in ms since 1970.

    Raises:
        ValueError: the URL is none, or ``keep_messages`` or ``keep_days`` is not positive.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "wscore",
        replicas: int = 0,
        timeout: float = 5,
        max_rooms: int = 100_000,
        max_users: int = 1_000_000,
        keep_messages: int | None = None,
        keep_days: float | None = None,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        self._link = Link(url, prefix, timeout, replicas)
        self._news = News(self._link)
        self.follow = self._news.follow
        self.unfollow = self._news.unfollow
        self._caps = str(max_users), str(max_rooms)
        self._retention = Retention(keep_messages, keep_days, clock)
        self._trimming = "inbox", 0
        self._turn = trio.Lock()
        self._nursery: trio.Nursery | None = None
        self._promise = ""

    @property
    def place(self) -> str:
        """The URL without secrets."""
        return self._link.place

    def health(self) -> base.Health:
        """See `base.Backend.health`; what Redis promises is as it was when the store was opened."""
        return base.Health("redis", self._link.is_reachable, self._promise)

    @asynccontextmanager
    async def open(self, listener: base.Listener) -> AsyncGenerator[None]:
        """See `base.Backend.open`."""
        life = trio.CancelScope()
        ready, ended = trio.Event(), trio.Event()
        # Not in a nursery: that would put what the body raises into a group.
        trio.lowlevel.spawn_system_task(self._run, listener, life, ready, ended)
        try:
            await ready.wait()
            self._promise = await self._link.check()
            async with looked_after(self._trim):
                yield
        finally:
            life.cancel()
            with trio.CancelScope(shield=True):
                await ended.wait()

    async def _run(
        self,
        listener: base.Listener,
        life: trio.CancelScope,
        ready: trio.Event,
        ended: trio.Event,
    ) -> None:
        try:
            with life:
                while True:
                    try:
                        async with self._link.connected(), trio.open_nursery() as self._nursery:
                            ready.set()
                            await self._news.run(listener)
                    except* Exception:
                        if not life.cancel_called:
                            logger.exception("the way to Redis is built anew")
                    finally:
                        self._nursery = None
                    await trio.sleep(_RESTART_SECONDS)
        finally:
            ended.set()

    # --- Writing ----------------------------------------------------------------------------

    async def write(self, batch: Sequence[base.Command]) -> list[Result]:
        """See `base.Backend.write`."""
        if not batch:
            return []
        if self._nursery is None:
            raise Unavailable(f"{self.place}: not connected")
        done = trio.Event()
        outcome: list[list[Result] | Exception] = []

        async def commit() -> None:
            try:
                outcome.append(await self._commit(batch))
            except Exception as error:
                outcome.append(error)
            finally:
                done.set()

        # In a task of its own: what is on its way is not called back by cancelling.
        self._nursery.start_soon(commit)
        await done.wait()
        if not outcome:
            raise Unavailable(f"{self.place}: the connection was given up")
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    async def _commit(self, batch: Sequence[base.Command]) -> list[Result]:
        async with self._turn:
            commands = [self._translate(command) for command in batch]
            logs = dict.fromkeys(log for command in batch for log in _logs(command))
            questions = self._news.questions(logs, len(batch) + _OTHERS)
            asked = [*commands, *(command for _, _, command in questions)]
            replies = await self._link.write(asked)
            self._news.take(questions, replies[len(batch) :])
            return [self._result(*pair) for pair in zip(batch, replies, strict=False)]

    def _translate(self, command: base.Command) -> Command:
        users, rooms = self._caps
        match command:
            case base.Claim(user, secret):
                return ["claim", *user, secret.hex(), users]
            case base.OpenRoom(room):
                return ["open", *room, rooms]
            case base.PostTo(sender, room, text, id, time):
                epoch = self._news.epoch(room_log(room))
                return ["post", sender, room, text, id, str(time), digest(text).hex(), epoch]
            case base.SendTo(sender, to, text, id, time):
                epoch = self._news.epoch(inbox_log(sender))
                return ["send", sender, to, text, id, str(time), digest(text).hex(), epoch]

    def _result(self, command: base.Command, reply: Reply) -> Result:
        kind, *values = (part.decode() for part in reply)
        if kind == "lost":
            self._news.doubt(_logs(command)[0])
        if kind in _REFUSALS:
            return _REFUSALS[kind]
        if kind == "full":
            things = "users" if isinstance(command, base.Claim) else "rooms"
            return Refused("limit_reached", f"there are too many {things}")
        if kind == "head":
            name, epoch, offset = values
            log = _logs(command)[0]
            head = self._news.seen(log, Head(epoch, int(offset)))
            return Claimed(name, head) if log.kind == "inbox" else Opened(name, head)
        epoch, offset, time = values
        stored = Stored(epoch, int(offset), int(time), duplicate=kind == "duplicate")
        self._news.wake(_logs(command)[0], stored.offset)  # if there was too much to take at once
        return stored

    # --- Reading ----------------------------------------------------------------------------

    async def read_after(self, log: Log, after: int, last: int, limit: int) -> Page:
        """See `base.Backend.read_after`."""
        command = ["read", *log, str(after + 1), str(last), str(limit), "0"]
        found = await self._page(log, command)
        return Page(found.start, found.entries)

    async def read_before(self, log: Log, before: int, limit: int) -> Page:
        """See `base.Backend.read_before`."""
        command = ["read", *log, "1", str(max(before - 1, 0)), str(limit), "1"]
        found = await self._page(log, command)
        return Page(found.start, found.entries[::-1])

    async def _page(self, log: Log, command: Command) -> Found:
        epoch = self._news.epoch(log)
        (reply,) = await self._link.read([command])
        found = parse_page(reply)
        if found is None or (epoch and found.epoch != epoch):
            self._news.doubt(log)  # the listener has to hear of that first
            raise Unavailable(f"{self.place}: {log.kind} {log.key!r} was lost")
        self._news.wake(log, found.last)
        return found

    async def rooms(self, limit: int) -> list[RoomHead]:
        """See `base.Backend.rooms`."""
        ((_, *rooms),) = await self._link.read([["rooms", str(limit)]])
        return [RoomHead(Name(key.decode(), name.decode()), int(last)) for key, name, last in rooms]

    # --- Retention --------------------------------------------------------------------------

    async def _trim(self) -> bool:
        """Do one step of a round through all logs; returns False at its end.

        Every process does it. That costs some reading, and none has to be there.
        """
        kind, first = self._trimming
        keep, now = self._retention.keep_messages, self._retention.clock()
        oldest = self._retention.oldest_time(now)
        bounds = "" if keep is None else str(keep), str(oldest), str(now), str(ID_MEMORY)
        try:
            (reply,) = await self._link.read(
                [["trim", kind, str(first), str(_LOGS), *bounds, str(STEP)]]
            )
        except Unavailable as error:
            logger.error("nothing could be trimmed: %s", error)
            return False
        if reply[0] == b"next":
            self._trimming = kind, int(reply[1])
            return True
        self._trimming = ("room", 0) if kind == "inbox" else ("inbox", 0)
        return kind == "inbox"


_REFUSALS = {
    "lost": base.LOST,
    "conflict": base.CONFLICT,
    "taken": Refused("name_taken", "this name belongs to somebody else"),
    "unknown": Refused("unknown_user", "nobody has this name"),
}


def _logs(command: base.Command) -> list[Log]:
    """The logs that a command looks at, first the one that its result is about."""
    match command:
        case base.Claim(user):
            return [inbox_log(user.key)]
        case base.OpenRoom(room):
            return [room_log(room.key)]
        case base.PostTo(_, room):
            return [room_log(room)]
        case base.SendTo(sender, to):
            return [inbox_log(sender), inbox_log(to)]
