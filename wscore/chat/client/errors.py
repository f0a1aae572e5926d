"""What ends a client for good; imports nothing.

The tree::

    Exception
    └── ProtocolError        the server said what the protocol does not allow
        └── ContiguityError  a log had a hole, a repeat or another order
"""

from __future__ import annotations


class ProtocolError(Exception):
    """The server said something that the protocol does not allow."""


class ContiguityError(ProtocolError):
    """The server broke its promise: the messages of a log did not follow each other.

    Attributes:
        room: the room whose log it was, or None for the inbox.
    """

    def __init__(self, room: str | None, fault: str) -> None:
        super().__init__(f"{'the inbox' if room is None else f'room {room!r}'}: {fault}")
        self.room = room
