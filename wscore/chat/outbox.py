"""What goes out on a connection: at once, in order, bounded; imports wscore.trio.

Nobody waits here for somebody else's socket. A reply or a push is handed to the transport, which
sends what the system takes; the rest it keeps, and that is bounded: whoever has more unsent is
closed with 4000, and resumes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wscore.events import PreparedMessage
from wscore.trio import ConnectionClosed, WebSocketConnection, broadcast

from .protocol import CloseCode

_MAX_BYTES = 1024 * 1024
_MAX_MESSAGES = 1024
_LOW_MESSAGES = 512
# The shortest reply has 24 bytes with its header: fewer bytes than these are fewer messages than
# may be.
_NEARLY_NOTHING = 16 * 1024


class Outbox:
    """The sending side of one connection.

    Live pushes and replies count against the bounds. A replay does not count as messages: its
    producer waits for `low` before each portion, so it adds a portion at most.

    Args:
        connection: an open connection.
    """

    __slots__ = ("connection",)

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection

    @property
    def is_closed(self) -> bool:
        """Whether nothing is sent any more."""
        return self.connection.closed is not None

    def require_open(self) -> None:
        """Raise `ConnectionClosed` if nothing is sent any more."""
        reason = self.connection.closed
        if reason is not None:
            raise ConnectionClosed(reason)

    def put(self, message: str) -> None:
        """Send a reply."""
        push((self.connection,), (message,))

    def put_replayed(self, messages: Sequence[str]) -> None:
        """Send a portion of pushes that `low` was waited for."""
        broadcast((self.connection,), messages, max_unsent=_MAX_BYTES)

    @property
    def is_low(self) -> bool:
        """Whether so little is unsent that `low` does not wait; may be False all the same."""
        return self.connection.bytes_unsent <= _NEARLY_NOTHING

    async def low(self) -> None:
        """Wait until there is room for more of what can wait; a checkpoint.

        Raises:
            ConnectionClosed: the connection was lost.
        """
        await self.connection.drain(max_messages=_LOW_MESSAGES)

    def close(self, code: int, reason: str) -> None:
        """Send nothing more but this Close; the first one counts."""
        self.connection.close_nowait(code, reason)


def push(
    connections: Iterable[WebSocketConnection], messages: Sequence[str | PreparedMessage]
) -> None:
    """Send messages to all of these connections, and close those that are too slow."""
    broadcast(
        connections,
        messages,
        max_unsent=_MAX_BYTES,
        max_unsent_messages=_MAX_MESSAGES,
        code=CloseCode.SLOW,
        reason="too slow: reconnect and resume",
    )
