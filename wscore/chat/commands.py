"""What one connection asks of the store; imports `journal`, `outbox` and `protocol`.

Posts and direct messages do not wait for each other: they go to the journal one after the other and
are answered when it has stored them, so that a client that pipelines gets group commits.
"""

from __future__ import annotations

from typing import TypeVar

import trio
from msgspec import UNSET

from . import protocol
from .backends import base
from .backends.base import Refused
from .journal import Journal
from .outbox import Outbox
from .protocol import ChatError, encode

_PENDING = 256
"""Posts of one connection that may wait for the store at once."""

Answer = TypeVar("Answer")


class Commands:
    """The commands of one connection, from requests to answers.

    Args:
        journal: what carries them out.
        outbox: of this connection.
        number: of this connection.
    """

    __slots__ = ("_answered", "_farewell", "_journal", "_number", "_outbox", "_pending")

    def __init__(self, journal: Journal, outbox: Outbox, number: int) -> None:
        self._journal = journal
        self._outbox = outbox
        self._number = number
        self._pending = 0
        self._answered: trio.Event | None = None  # made when somebody waits for an answer
        self._farewell: tuple[int, str] | None = None

    @property
    def are_ending(self) -> bool:
        """Whether `end` was called."""
        return self._farewell is not None

    def end(self, code: int, reason: str) -> None:
        """Close the connection as soon as every post is answered."""
        self._farewell = code, reason
        if not self._pending:
            self._outbox.close(code, reason)

    async def ask(self, command: base.Command, kind: type[Answer]) -> Answer:
        """Have the store carry out a command, and wait for that.

        Raises:
            ChatError: it was refused.
            ConnectionClosed: the connection was closed meanwhile.
        """
        result = await self._journal.ask(command)
        self._outbox.require_open()
        return _accepted(result, kind)

    async def submit(self, request_id: str, command: base.Command) -> None:
        """Have the store keep a message, and answer the request when it has.

        Waits only while too many wait already.

        Raises:
            ConnectionClosed: the connection was closed meanwhile.
        """
        await self.settled(_PENDING - 1)

        def done(result: base.Result) -> tuple[int, str] | None:
            self._pending -= 1
            if self._answered is not None:
                self._answered.set()
                self._answered = None
            reply = _answer(request_id, result)
            if self._farewell is None or self._pending:
                return self._number, reply
            self._outbox.put(reply)
            self._outbox.close(*self._farewell)
            return None

        self._pending += 1
        self._journal.submit(command, done)

    async def settled(self, most: int = 0) -> None:
        """Wait until at most so many messages are not answered.

        Raises:
            ConnectionClosed: the connection was closed meanwhile.
        """
        while self._pending > most:
            if self._answered is None:
                self._answered = trio.Event()
            await self._answered.wait()
            self._outbox.require_open()


def _answer(request_id: str, result: base.Result) -> str:
    """The reply to a post or a direct message."""
    try:
        stored = _accepted(result, base.Stored)
    except ChatError as error:
        return protocol.encode_error(error, request_id).text
    return encode(
        protocol.StoredOk(
            id=request_id,
            epoch=stored.epoch,
            offset=stored.offset,
            time=protocol.format_time(stored.time),
            duplicate=True if stored.duplicate else UNSET,
        )
    ).text


def _accepted(result: base.Result, kind: type[Answer]) -> Answer:
    """The result of a command that was done.

    Raises:
        ChatError: it was refused.
    """
    if isinstance(result, Refused):
        raise ChatError(result.code, result.reason)
    assert isinstance(result, kind), "every command has its own kind of result"
    return result
