"""A store that many processes share: Redis 7 or newer; imports the other ``redis`` modules.

What `base` promises of `Unavailable` is less here: when the way to Redis is cut while a batch is
under way, nobody knows whether it was stored. If it was, it is announced like what other processes
store, and whoever sends it again with the same id is told where it is. What is stored is stored
once, whatever is repeated.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import trio

from wscore.chat.model import Head, Log, Name, inbox_log, room_log

from . import base
from .base import Claimed, Opened, Page, Refused, Result, RoomHead, Stored, Unavailable
from .redis_link import Asked, Link
from .redis_news import Found, News, parse_page
from .redis_node import Command, Reply
from .redis_presence import Presence
from .redis_spread import Prelude, play
from .retention import ID_MEMORY, STEP, Retention, digest, looked_after, wall_clock

logger = logging.getLogger("wscore.chat")

_LOGS = 200
"""How many logs one step of trimming looks at."""
_OTHERS = 200
"""How many entries of others are read with a batch of ours, of each log."""
_RESTART_SECONDS = 1.0
_FAREWELL_SECONDS = 2
"""How long it may take to say that this process ends."""
_ANY = str(2**53)
"""Of rooms that were counted already."""


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
        lease: seconds after which the users of a process that died are not present any more.
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
        lease: float = 10,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        self._link = Link(url, prefix, timeout, replicas)
        self._process = secrets.token_hex(8)
        self._presence = Presence(self._link, self._process, lease)
        self._news = News(self._link, self._presence, self._process)
        self.follow = self._news.follow
        self.unfollow = self._news.unfollow
        self.enter = self._presence.enter
        self.leave = self._presence.leave
        self.type = self._presence.type
        self._caps = str(max_users), str(max_rooms)
        self._retention = Retention(keep_messages, keep_days, clock)
        self._next: int | None = None
        self._trimming = self._rounds()
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
            try:
                async with looked_after(self._trim):
                    yield
            finally:
                with trio.move_on_after(_FAREWELL_SECONDS, shield=True):
                    await self._presence.stop()
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
                            self._nursery.start_soon(self._presence.run)
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
            known = await self._prelude(batch)
            found = known.done
            rest = [index for index in range(len(batch)) if index not in found]
            asked = [self._translate(batch[index], known) for index in rest]
            logs = dict.fromkeys(log for command in batch for log in _logs(command))
            questions = self._news.questions(logs, len(batch) + _OTHERS)
            replies = await self._link.write([*asked, *(command for _, _, command in questions)])
            self._news.take(questions, replies[len(asked) :])
            found |= zip(rest, replies, strict=False)
            failures = [reply for reply in found.values() if isinstance(reply, Unavailable)]
            if len(failures) == len(batch):
                raise failures[0]
            return [self._result(command, found[index]) for index, command in enumerate(batch)]

    async def _prelude(self, batch: Sequence[base.Command]) -> Prelude:
        if not self._link.shards.is_spread:
            return Prelude()
        return await play(
            self._link,
            batch,
            self._caps[1],
            lambda sender: self._news.name(inbox_log(sender)),
            lambda command: self._translate(command, Prelude())[1],
        )

    def _translate(self, command: base.Command, known: Prelude) -> Asked:
        users, rooms = self._caps
        shards = self._link.shards
        match command:
            case base.Claim(user, secret):
                return shards.main, ["claim", *user, secret.hex(), users]
            case base.OpenRoom(room):
                age = known.ages.get(room.key)
                caps = [rooms, self._process] if age is None else [_ANY, self._process, age]
                return shards.of(room_log(room.key)), ["open", *room, *caps]
            case base.PostTo(sender, room, text, id, time):
                log = room_log(room)
                name = known.names.get(sender, "")
                message = text, id, str(time), digest(text).hex(), self._news.epoch(log)
                return shards.of(log), ["post", sender, name, room, *message]
            case base.SendTo(sender, to, text, id, time):
                epoch = self._news.epoch(inbox_log(sender))
                message = text, id, str(time), digest(text).hex(), epoch
                return shards.main, ["send", sender, to, *message]

    def _result(self, command: base.Command, reply: Reply | Unavailable) -> Result:
        log = _logs(command)[0]
        if isinstance(reply, Unavailable):
            logger.error("the store is unavailable: %s", reply)
            return Refused("unavailable", "the store is out of reach: try again")
        kind: str = reply[0].decode()
        if kind == "lost":
            self._news.doubt(log)
        if kind in _REFUSALS:
            return _REFUSALS[kind]
        if kind == "full":
            things = "users" if isinstance(command, base.Claim) else "rooms"
            return Refused("limit_reached", f"there are too many {things}")
        if kind == "head":
            name, epoch, offset = (part.decode() for part in reply[1:4])
            head = self._news.seen(log, name, Head(epoch, int(offset)), *reply[4:])
            return Claimed(name, head) if log.kind == "inbox" else Opened(name, head)
        epoch, offset, time = (part.decode() for part in reply[1:])
        stored = Stored(epoch, int(offset), int(time), duplicate=kind == "duplicate")
        self._news.wake(log, stored.offset)  # if there was too much to take at once
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
        reply = await self._link.one(self._link.shards.of(log), command)
        found = parse_page(reply)
        if found is None or (epoch and found.epoch != epoch):
            self._news.doubt(log)  # the listener has to hear of that first
            raise Unavailable(f"{self.place}: {log.kind} {log.key!r} was lost")
        self._news.wake(log, found.last)
        return found

    async def rooms(self, limit: int) -> list[RoomHead]:
        """See `base.Backend.rooms`."""
        command = ["rooms", str(limit)]
        found: list[tuple[tuple[int, ...], RoomHead]] = []
        for answer in await self._link.read([(each, command) for each in self._link.shards.rooms]):
            if isinstance(answer, Unavailable):
                raise Unavailable(str(answer))
            for key, name, last, *rank in answer[1:]:
                present, touched, age = map(int, rank)
                head = RoomHead(Name(key.decode(), name.decode()), int(last), present)
                found.append(((present, touched, age), head))
        found.sort(key=lambda each: each[0], reverse=True)
        return [head for _, head in found[:limit]]

    # --- Retention --------------------------------------------------------------------------

    def _rounds(self) -> Iterator[Asked]:
        """What to ask next, without end; ``_next`` says where in the shard to go on."""
        while True:
            shards = self._link.shards
            for kind, places in ("inbox", [shards.main]), ("room", shards.rooms):
                for shard in places:
                    self._next = 0
                    while self._next is not None:
                        yield shard, ["trim", kind, str(self._next), str(_LOGS)]
            yield shards.main, []

    async def _trim(self) -> bool:
        """Do one step of a round through all logs; returns False at its end.

        Every process does it. That costs some reading, and none has to be there.
        """
        shard, command = next(self._trimming)
        if not command:
            return False
        keep, now = self._retention.keep_messages, self._retention.clock()
        oldest = self._retention.oldest_time(now)
        bounds = "" if keep is None else str(keep), str(oldest), str(now), str(ID_MEMORY)
        try:
            reply = await self._link.one(shard, [*command, *bounds, str(STEP)])
        except Unavailable as error:
            logger.error("nothing could be trimmed: %s", error)
            return False
        self._next = int(reply[1]) if reply[0] == b"next" else None
        return True


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
