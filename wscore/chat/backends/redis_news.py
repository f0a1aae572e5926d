"""What other processes stored: which logs are followed here, and how far they were announced.

Imports the ``redis`` modules below. Redis says on a channel for each log that it has a new entry,
or who is in the room has changed; this only says when to look. What is announced is read from the
log itself, from the last announced offset on. A heartbeat asks each shard which logs changed since
the last one, whatever was said of them: a wake-up that was lost, or a subscription that is down,
costs some seconds and no entry. Where the shard cannot say, all followed logs there are looked at.

That rests on every change being noted. So each log is looked at in a long *round*, too, however
silent it is: that finds what was changed by other hands than the script's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import trio
from coredis.patterns.pubsub import PubSub

from wscore.chat.model import Entry, Head, Log, parse_name

from .base import Listener, Unavailable
from .redis_changes import Change, Positions
from .redis_elsewhere import Elsewhere
from .redis_link import Asked, Link
from .redis_node import Reply
from .redis_presence import Presence
from .redis_shards import Shard, log_of

logger = logging.getLogger("wscore.chat")

_HEARTBEAT = 2.0
_ROUND = 300.0
"""Seconds within which each followed log is looked at, whatever is said of changes."""
_PAUSE = 0.5
"""Before the next try to subscribe."""
_PAGE = 200
"""How many entries of a log are read at a time."""
_SUBSCRIBED_TOGETHER = 1000
_DUE_TOGETHER = 200
_LATER_TOGETHER = 50
"""Of how many logs that may wait news is asked together, beside those that may not."""


@dataclass(slots=True, eq=False)
class Followed:
    """A log that is followed, and how far it was announced; no epoch: its head was not seen yet.

    Attributes:
        is_doubtful: whether there may be more than the head that will be seen.
    """

    epoch: str | None = None
    offset: int = 0
    name: str = ""
    is_doubtful: bool = False
    elsewhere: Elsewhere = field(default_factory=Elsewhere)


Question = tuple[Log, Followed, Asked]


class News:
    """Announces each entry of the followed logs once, in order.

    Args:
        link: to Redis.
        presence: told when what it said of a room may be lost.
        process: what this process is called.
    """

    def __init__(self, link: Link, presence: Presence, process: str) -> None:
        self._link = link
        self._presence = presence
        self._process = process
        self._listener: Listener | None = None
        self._logs: dict[Log, Followed] = {}
        self._positions = Positions()
        self._due: dict[Log, float] = {}  # which to look at, if not announced so far meanwhile
        self._later: dict[Log, None] = {}  # which to look at beside these
        self._failed: dict[Log, None] = {}  # and with the next heartbeat
        self._round: list[Log] = []  # which to look at until it is over
        self._turns = 0.0
        self._arrival = trio.Event()
        self._changed = trio.Event()

    # --- Who follows what -------------------------------------------------------------------

    def follow(self, log: Log) -> None:
        """Announce this log from where its head is seen first."""
        if log not in self._logs:
            self._logs[log] = Followed()
            self._changed.set()

    def unfollow(self, log: Log) -> None:
        """Let go of it."""
        if self._logs.pop(log, None) is not None:
            self._changed.set()

    def epoch(self, log: Log) -> str:
        """The epoch that is followed, or nothing."""
        followed = self._logs.get(log)
        return (followed and followed.epoch) or ""

    def name(self, log: Log) -> str:
        """How a log's name is spelled, if that was heard, or nothing."""
        followed = self._logs.get(log)
        return followed.name if followed else ""

    def seen(self, log: Log, name: str, head: Head, elsewhere: Sequence[Any] = ()) -> Head:
        """Redis said where a log ends.

        Args:
            log: which one.
            name: how it is spelled.
            head: what was said.
            elsewhere: of a room, who is there, as the script says it.

        Returns:
            Where it ends as far as it was announced, for a log that is followed: what is between
            will be announced, and whoever was told of it as past would get it twice.
        """
        followed = self._logs.get(log)
        if followed is None:
            return head
        followed.name = name
        if followed.epoch is None:
            followed.epoch, followed.offset = head
            followed.elsewhere = Elsewhere()
            self._presence.repeat(log)
            if followed.is_doubtful:
                followed.is_doubtful = False
                self._look([log])
        elif head.epoch != followed.epoch:
            self._look([log])
        elif head.offset > followed.offset:
            self.wake(log, head.offset)
        if elsewhere and head.epoch == followed.epoch:
            self._take_present(log, followed, elsewhere)
        return Head(followed.epoch, followed.offset)

    def _take_present(self, log: Log, followed: Followed, answer: Sequence[Any]) -> None:
        assert self._listener is not None
        came, left = followed.elsewhere.take(answer, self._process)
        if came or left:
            self._listener.present(log, came, left)

    def wake(self, log: Log, offset: int) -> None:
        """There may be entries up to this offset; look soon."""
        followed = self._logs.get(log)
        if followed is not None and offset > followed.offset:
            self._look([log], offset)

    def doubt(self, log: Log) -> None:
        """This log may have been lost; look soon."""
        self._look([log])

    def _look(self, logs: Iterable[Log], offset: float = math.inf) -> None:
        for log in logs:
            self._due[log] = max(offset, self._due.get(log, 0))
        self._arrival.set()

    def _look_later(self, logs: Iterable[Log]) -> None:
        self._later |= dict.fromkeys(logs)
        if self._later:
            self._arrival.set()

    # --- Reading ----------------------------------------------------------------------------

    def questions(self, logs: Iterable[Log], limit: int = _PAGE) -> list[Question]:
        """What to ask Redis for the news of these logs, as far as they are followed."""
        found: list[Question] = []
        for log in logs:
            followed = self._logs.get(log)
            if followed is None:
                continue
            if followed.epoch is None:
                followed.is_doubtful = True  # the head may be on its way, and be behind
            else:
                version = followed.elsewhere.version
                since = "" if version is None else str(version)
                first = str(followed.offset + 1)
                place = first, str(limit), self._process, since, followed.epoch
                asked = self._link.shards.of(log), ["news", *log, *place]
                found.append((log, followed, asked))
        return found

    def take(self, questions: Sequence[Question], replies: Sequence[Reply | Unavailable]) -> None:
        """Announce what Redis answered, unless somebody was quicker."""
        assert self._listener is not None
        fresh: list[tuple[Log, Entry]] = []
        lost: list[Log] = []
        for (log, followed, _), reply in zip(questions, replies, strict=True):
            if self._logs.get(log) is not followed or followed.epoch is None:
                continue
            if isinstance(reply, Unavailable):
                logger.debug("no news: %s", reply)
                self._failed[log] = None
                continue
            page = parse_page(reply)
            if page is None or page.epoch != followed.epoch or page.start > followed.offset + 1:
                # Another epoch, or trimmed further than we are: nobody can go on from here.
                followed.epoch = None
                followed.is_doubtful = True  # a head of before may be on its way
                lost.append(log)
                continue
            news = [entry for entry in page.entries if entry.offset > followed.offset]
            if news:
                followed.offset = news[-1].offset
                fresh += [(log, entry) for entry in news]
            if page.last > followed.offset:
                self.wake(log, page.last)
            if page.elsewhere:
                self._take_present(log, followed, page.elsewhere)
        if fresh:
            self._listener.announce(fresh)
        if lost:
            self._listener.reset(lost)

    async def run(self, listener: Listener) -> None:
        """Announce until cancelled."""
        self._listener = listener
        # What the last run was told and did not come to is told again.
        self._positions = Positions()
        await self._link.known.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._catch_up)
            nursery.start_soon(self._beat)
            nursery.start_soon(self._listen)

    async def _catch_up(self) -> None:
        while True:
            await self._arrival.wait()
            await trio.lowlevel.checkpoint()  # a write may be about to bring the same
            due = self._portion()
            if not self._due and not self._later:
                self._arrival = trio.Event()
            asked = self.questions(due)
            questions = [each for each in asked if each[1].offset < due[each[0]]]
            self.take(questions, await self._link.read([command for _, _, command in questions]))

    def _portion(self) -> dict[Log, float]:
        """Take what to look at next: those that may wait beside the others, but never before."""
        later = [*islice(self._later, _LATER_TOGETHER)]
        due = [*islice(self._due, _DUE_TOGETHER)]
        for log in later:
            del self._later[log]
        return {log: self._due.pop(log) for log in due} | dict.fromkeys(later, math.inf)

    async def _beat(self) -> None:
        while True:
            await self._ask_for_changes()
            self._look_around()
            await trio.sleep(_HEARTBEAT)

    async def _ask_for_changes(self) -> None:
        failed, self._failed = self._failed, {}
        self._look_later(failed)
        shards = self._link.shards.all()
        unknown: set[Shard] = set()
        while shards:
            asked = [self._positions.question(shard) for shard in shards]
            rest: list[Shard] = []
            for shard, reply in zip(shards, await self._link.read(asked), strict=True):
                if isinstance(reply, Unavailable):
                    continue  # its position stays
                changes = self._positions.take(shard, reply)
                if changes.logs is None:
                    unknown.add(shard)
                else:
                    for change in changes.logs:
                        self._heard(change)
                if changes.is_more:
                    rest.append(shard)
            shards = rest
        if unknown:
            of = self._link.shards.of
            self._look_later([log for log in self._logs if of(log) in unknown])

    def _look_around(self) -> None:
        """Look at a part of all logs, so that each has its turn in a round."""
        if not self._round:
            self._round = list(self._logs)
        self._turns += len(self._logs) * _HEARTBEAT / _ROUND
        for _ in range(min(int(self._turns), len(self._round))):
            self._look_later([self._round.pop()])
        self._turns %= 1

    # --- Wake-ups ---------------------------------------------------------------------------

    async def _listen(self) -> None:
        is_up = True
        while True:
            try:
                async with self._link.subscriber() as subscriber, trio.open_nursery() as nursery:
                    nursery.start_soon(self._subscribe, subscriber)
                    # Never waits for anybody, as the client's buffer has no bound: what is due has
                    # one, as many logs as are followed.
                    while True:
                        message = await subscriber.get_message(timeout=60)
                        if message is not None and message["type"] == "message":
                            is_up = True
                            self._hear(message["channel"], message["data"])
            except* Exception as errors:  # of many kinds, and together with our being cancelled
                if is_up and trio.current_effective_deadline() > -math.inf:
                    logger.warning("no wake-ups from %s: %r", self._link.place, errors.exceptions)
                is_up = False
            await trio.sleep(_PAUSE)

    def _hear(self, channel: object, data: object) -> None:
        if not isinstance(channel, bytes) or not isinstance(data, bytes):
            return
        log = log_of(channel.decode())
        first, second, third = data.decode().split(":", 2)
        if log not in self._logs:
            return
        if first == "typing":
            user = parse_name(third)
            if second != self._process and user is not None and self._listener is not None:
                self._listener.typing(log, user)
        else:
            self._heard(Change(log, first, int(second), int(third)))

    def _heard(self, change: Change) -> None:
        log = change.log
        followed = self._logs.get(log)
        if followed is None:
            return
        is_present_known = followed.elsewhere.version in (None, change.version)
        if change.epoch == followed.epoch and is_present_known:
            self.wake(log, change.offset)
        else:
            self._look([log])

    async def _subscribe(self, subscriber: PubSub[bytes]) -> None:
        """Keep what is subscribed to in step with what is followed."""
        subscribed: set[Log] = set()
        while True:
            self._changed = trio.Event()
            wanted = set(self._logs)
            for some in _portions(wanted - subscribed):
                await subscriber.subscribe(*map(self._link.shards.channel, some))
                # What came before the subscription, or, with a head on its way, with a heartbeat.
                self._look_later(log for log in some if self.epoch(log))
            for some in _portions(subscribed - wanted):
                await subscriber.unsubscribe(*map(self._link.shards.channel, some))
            subscribed = wanted
            await self._changed.wait()


@dataclass(frozen=True, slots=True)
class Found:
    """A part of a log, and where it begins and ends at the same moment.

    Attributes:
        elsewhere: of a room of which news was asked, who is there; see `Elsewhere.take`.
    """

    epoch: str
    start: int
    last: int
    entries: list[Entry]
    elsewhere: Sequence[Any] = ()


def parse_page(reply: Reply) -> Found | None:
    """Read the script's answer to ``read`` or ``news``; None where there is no such log."""
    if reply[0] != b"page":
        return None
    epoch, start, last, rows, *elsewhere = reply[1:]
    entries = [_entry(*row) for row in rows]
    return Found(epoch.decode(), int(start), int(last), entries, *elsewhere)


def _entry(id: bytes, fields: Sequence[bytes]) -> Entry:
    sender, to, text, time, message, _ = (field.decode() for field in fields[1::2])
    return Entry(int(id.partition(b"-")[0]), sender, to or None, text, int(time), message)


def _portions(logs: set[Log]) -> Iterable[list[Log]]:
    rest = list(logs)
    return (rest[n : n + _SUBSCRIBED_TOGETHER] for n in range(0, len(rest), _SUBSCRIBED_TOGETHER))
