"""Sending without waiting, within bounds on what is unsent; imports the core and the modules beside
it.
"""

from __future__ import annotations

from typing import NamedTuple

from wscore.connection import Connection
from wscore.events import PreparedMessage

from ._session import Session


class Bounds(NamedTuple):
    """What a connection may have unsent, with what is to be sent.

    Attributes:
        bytes: of all that is unsent.
        messages: of those that were offered with such a bound; None for any number.
    """

    bytes: int
    messages: int | None


class Batch:
    """Messages that go to any number of connections, to each of them in one write.

    Args:
        messages: at least one.
    """

    __slots__ = ("_data", "_first", "_sizes", "messages")

    def __init__(self, messages: list[PreparedMessage]) -> None:
        self.messages = messages
        # What all connections share whose first frame is this very object.
        self._first: bytes | None = None
        self._data = b""
        self._sizes: tuple[int, ...] = ()

    def encode(self, core: Connection) -> bytes:
        """The bytes for a connection; `sizes` are those of its frames then."""
        first = core.send(self.messages[0])
        if first is not self._first:
            frames = [first, *map(core.send, self.messages[1:])]
            self._first = first
            self._data = first if len(frames) == 1 else b"".join(frames)
            self._sizes = tuple(map(len, frames))
        return self._data

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the frames that `encode` returned last."""
        return self._sizes


def offer(session: Session, batch: Batch, bounds: Bounds) -> bool:
    """Send messages now or as soon as possible; return False, and do not, if too much is unsent.

    Who has nothing unsent gets them however much they are. To a connection that is closed or lost
    nothing is sent, which is no failure.
    """
    wire = session.wire
    if session.closed is not None or wire.broken:
        return True
    data = batch.encode(session.core)
    if wire.unsent:
        if wire.unsent + len(data) > bounds.bytes:
            return False
        if (
            bounds.messages is not None
            and wire.messages_unsent() + len(batch.messages) > bounds.messages
        ):
            return False
    wire.send(data)
    if wire.unsent:
        _note(session, batch, bounds)
    return True


def note_unsent(session: Session, batch: Batch, bounds: Bounds) -> bool:
    """Take note that messages were sent of which some is unsent; return False if all is lost."""
    wire = session.wire
    try:
        if session.closed is None and not wire.broken:
            batch.encode(session.core)
            _note(session, batch, bounds)
            return True
    except Exception as error:
        session.crashed(error)
    return False


def _note(session: Session, batch: Batch, bounds: Bounds) -> None:
    session.wire.note(batch.sizes, counted=bounds.messages is not None)
    session.watch_sending()
