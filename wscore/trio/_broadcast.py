"""One message to many connections, encoded once, and none of them waits for another; imports the
core, ``_connection`` and ``_deadlines``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import trio

from wscore.events import PreparedMessage
from wscore.frame_protocol import CloseReason, FrameProtocol

from ._connection import WebSocketConnection
from ._deadlines import current_deadlines

#: Bytes that a member may have unsent.
MAX_UNSENT_BROADCAST = 2**20


@dataclass(frozen=True, slots=True)
class BroadcastResult:
    """What became of a broadcast.

    Attributes:
        delivered: members for whom the system took all at once.
        queued: members for whom it is sent as soon as they take it. Over anything but a plain
            socket, TLS for one, that is all of them: it is written at the scheduler's next turn.
        skipped: members whose connection was closed, or found lost.
        cut: the members that were too slow, and are being closed.
    """

    delivered: int
    queued: int
    skipped: int
    cut: tuple[WebSocketConnection, ...]


@trio.lowlevel.enable_ki_protection
def broadcast(
    connections: Iterable[WebSocketConnection],
    message: str | bytes | bytearray | memoryview,
    *,
    max_unsent: int = MAX_UNSENT_BROADCAST,
    code: int = CloseReason.TRY_AGAIN_LATER,
    reason: str | None = "too slow",
) -> BroadcastResult:
    """Send one message to many connections, without waiting for any of them.

    The message is encoded once, and compressed once for all members with the same settings. Each
    member's socket is tried at once; what it does not take is sent in the background, in order
    with everything else sent to that member. This is no async function: all members got the message
    when it returns, in the order in which `broadcast` was called.

    Resource handling:
        What is unsent is kept in memory. A member for which that would become more than
        ``max_unsent`` bytes is too slow: what it has not begun to take is dropped, and its
        connection closed with ``code`` (its `cut_reason` is ``"unsent limit"``). A member that
        has nothing unsent gets the message however large it is.

    Error handling:
        One member's failure is nobody else's, and is not raised.

    Args:
        connections: the members; servers' or clients' connections. Those that are open are of this
            trio run: with another one, in a thread of its own, speak through a
            `trio.lowlevel.TrioToken`.
        message: a str is sent as text, bytes as binary.
        max_unsent: bytes that a member may have unsent with this message.
        code: close code for members that are too slow: 1013, as those who try again later, and
            read, are welcome.
        reason: text for people, at most 123 bytes of UTF-8.

    Raises:
        ValueError: ``message`` is neither str nor bytes, or cannot be encoded. Nothing was sent.
        LocalProtocolError: the code or the reason may not be sent. Nothing was sent.
        TypeError: a member is no `WebSocketConnection`. Nothing was sent.
        RuntimeError: an open member belongs to another trio run, or this is none. Nothing was sent.
    """
    if not isinstance(message, (str, bytes, bytearray, memoryview)):
        raise ValueError(f"a message is str or bytes, not {type(message).__name__}")
    if isinstance(message, str):
        message.encode()
    elif isinstance(message, memoryview) and not message.c_contiguous:
        message = bytes(message)
    FrameProtocol(client=False, extensions=[]).close(code, reason)
    members = list(connections)
    deadlines = current_deadlines()  # of this trio run
    for connection in members:
        if not isinstance(connection, WebSocketConnection):
            raise TypeError(f"a member is a WebSocketConnection, not {type(connection).__name__}")
        session = connection._session
        if session._deadlines is not deadlines and session.closed is None:
            raise RuntimeError(f"{connection} belongs to another trio run")
    prepared = PreparedMessage(message)  # type: ignore[arg-type]
    delivered = queued = skipped = 0
    cut = []
    for connection in members:
        session = connection._session
        try:
            taken = session.offer(prepared, max_unsent)
            if session.closed is not None or session.wire.broken:
                skipped += 1
            elif not taken:
                session.close_slow(code, reason)
                cut.append(connection)
            elif session.wire.unsent:
                queued += 1
            else:
                delivered += 1
        except Exception as error:
            session.crashed(error)
            skipped += 1
    return BroadcastResult(delivered, queued, skipped, tuple(cut))


__all__ = ["BroadcastResult", "broadcast"]
