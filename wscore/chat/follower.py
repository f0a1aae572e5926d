"""Brings logs to one connection: slices, replays, going live; imports `exchange` and `outbox`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import trio
from msgspec import Raw, UnsetType

from wscore.trio import ConnectionClosed

from . import protocol
from .backends.base import Unavailable
from .exchange import Exchange
from .model import Entry, Head, Log
from .outbox import Outbox
from .protocol import ChatError, CloseCode

logger = logging.getLogger("wscore.chat")

_RETRY_SECONDS = 1.0
"""Between tries to read a replay while the store is out of reach."""

_PORTION_BYTES = 64 * 1024
_PORTION_MESSAGES = 256
"""Of a replay that go out in one write."""

Answer = TypeVar("Answer")


class Slice(NamedTuple):
    """What was read for a slice, before it is cut to the size of a message."""

    head: Head
    entries: list[Entry]
    after: int | None
    """The position that is continued; None for the newest page."""
    gap: bool


class Follower:
    """One connection's view of the logs it follows.

    A slice goes `hold`, `read_slice`, `cut`, the reply, `settle`; where it fails, `hold` is
    undone by `give_up`. Between `hold` and `settle` no entry of the log reaches the connection.

    Args:
        exchange: what all connections share.
        outbox: of this connection.
        number: of this connection.
    """

    __slots__ = ("_backend", "_exchange", "_hub", "_limits", "_number", "_outbox", "_replays")

    def __init__(self, exchange: Exchange, outbox: Outbox, number: int) -> None:
        self._exchange = exchange
        self._backend = exchange.backend
        self._hub = exchange.hub
        self._limits = exchange.limits
        self._outbox = outbox
        self._number = number
        # Each running replay, by a token of its own: it ends when the token is taken away.
        self._replays: dict[Log, object] = {}

    def hold(self, log: Log) -> None:
        """Begin a slice.

        Raises:
            ChatError: ``limit_reached``.
        """
        self._hub.attach(self._number, log)
        self.stop(log)

    def give_up(self, log: Log) -> None:
        """The slice cannot be had; a connection that followed the log before goes on."""
        cursor = self._hub.abandon(self._number, log)
        if cursor is not None:
            self.settle(log, cursor)

    def stop(self, log: Log) -> None:
        """End the replay of this log, if one runs."""
        self._replays.pop(log, None)

    def stop_all(self) -> None:
        """End every replay."""
        self._replays.clear()

    async def read_slice(self, log: Log, position: protocol.Position | UnsetType) -> Slice:
        """Read what a slice begins with.

        Raises:
            ChatError: ``unavailable``.
        """
        head = self._hub.head(log)
        assert head is not None, "the log was opened"
        gap = not isinstance(position, UnsetType)
        if not isinstance(position, UnsetType) and self._reaches(position, head):
            after = position.offset
            if after == head.offset:
                return Slice(head, [], after, gap=False)
            page = await self.read(
                self._backend.read_after(log, after, head.offset, self._limits.history)
            )
            if page.start <= after + 1:
                return Slice(head, page.entries, after, gap=False)
        elif not isinstance(position, UnsetType) and position.epoch == head.epoch:
            await self._require_unknown(log, position.offset)
        page = await self.read(self._backend.read_before(log, head.offset + 1, self._limits.page))
        return Slice(head, page.entries, None, gap)

    async def _require_unknown(self, log: Log, offset: int) -> None:
        """See that a position that cannot be continued is not one that another process gave.

        That one may be ahead of us, and the client would get again what it has.

        Raises:
            ChatError: ``unavailable``, we have to hear of it first.
        """
        head = self._hub.head(log)
        if head is None or offset <= head.offset:
            return
        page = await self.read(self._backend.read_after(log, offset - 1, offset, 1))
        if page.entries:
            raise ChatError("unavailable", "this process is behind that position; try again")

    def _reaches(self, position: protocol.Position, head: Head) -> bool:
        """Whether a continuation from there to the end can be given, if it is still kept."""
        behind = head.offset - position.offset
        return position.epoch == head.epoch and 0 <= behind <= self._limits.replay

    def cut(self, log: Log, found: Slice, used: int) -> tuple[list[Raw], int]:
        """Fit a slice into one message: the first part of a continuation, the end of a page.

        Args:
            log: what the slice is of.
            found: what there is.
            used: bytes that the message has without it.

        Returns:
            The messages, and the offset up to which the client knows the log with them.
        """
        budget = self._limits.message - used
        encoded = [self.encode(log, entry) for entry in found.entries]
        if found.after is None:
            return protocol.fit(reversed(encoded), budget)[::-1], found.head.offset
        messages = protocol.fit(encoded, budget)
        return messages, found.after + len(messages)

    def encode(self, log: Log, entry: Entry) -> bytes:
        """Encode an entry of a log that is followed."""
        return protocol.encode_entry(entry, self._room(log))

    def _room(self, log: Log) -> str | None:
        """What messages call the room; None for an inbox."""
        return self._hub.name(log) if log.kind == "room" else None

    def settle(self, log: Log, cursor: int) -> None:
        """Go live after a slice, or have the rest brought by a replay."""
        if not self._hub.settle(self._number, log, cursor):
            token = self._replays[log] = object()
            self._exchange.spawn(self._replay, log, cursor, token)

    async def _replay(self, log: Log, cursor: int, token: object) -> None:
        """Bring the client from ``cursor`` to the end of the log, at the pace of its socket."""
        try:
            while self._replays.get(log) is token:
                try:
                    cursor = await self._replay_page(log, cursor, token)
                except Unavailable as error:
                    logger.error("the store is unavailable: %s", error)
                    await trio.sleep(_RETRY_SECONDS)
        except ConnectionClosed:
            pass
        except Exception:
            logger.exception("a replay failed")
            self._outbox.close(CloseCode.INTERNAL, "the server made a mistake: resume")

    async def _replay_page(self, log: Log, cursor: int, token: object) -> int:
        """Send what follows ``cursor`` as far as it is read at once; returns the new cursor.

        Raises:
            ConnectionClosed: the connection was closed meanwhile.
            Unavailable: the store is out of reach.
        """
        self._outbox.require_open()
        head = self._hub.head(log)
        assert head is not None, "an open connection's logs are known"
        room = self._room(log)
        page = await self._backend.read_after(log, cursor, head.offset, self._limits.history)
        self._outbox.require_open()
        if self._replays.get(log) is token and page.start > cursor + 1:
            self._outbox.close(CloseCode.RESTART, "the log was trimmed: resume")
            return cursor
        for portion in _portions(page.entries, room):
            await self._outbox.low()
            self._outbox.require_open()
            if self._replays.get(log) is not token:
                break
            self._outbox.put_replayed(portion)
            cursor += len(portion)
            if self._hub.settle(self._number, log, cursor):
                del self._replays[log]
                break
        return cursor

    async def read(self, reading: Awaitable[Answer]) -> Answer:
        """Wait for the store on behalf of a request.

        Raises:
            ChatError: ``unavailable``.
            ConnectionClosed: the connection was closed meanwhile.
        """
        try:
            found = await reading
        except Unavailable as error:
            logger.error("the store is unavailable: %s", error)
            raise ChatError("unavailable", "the store is out of reach; try again") from None
        self._outbox.require_open()
        return found


def _portions(entries: Sequence[Entry], room: str | None) -> Iterator[list[str]]:
    """Encode entries, a bounded number of bytes at a time."""
    portion: list[str] = []
    size = 0
    for entry in entries:
        data = protocol.encode_entry(entry, room)
        size += len(data)
        if portion and (size > _PORTION_BYTES or len(portion) == _PORTION_MESSAGES):
            yield portion
            portion, size = [], len(data)
        portion.append(data.decode())
    if portion:
        yield portion
