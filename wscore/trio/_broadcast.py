"""Messages to many connections, encoded once, and none of them waits for another; imports the
core and the modules beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

import trio

from wscore.events import PreparedMessage
from wscore.frame_protocol import CloseReason, FrameProtocol

from ._connection import WebSocketConnection
from ._deadlines import current_deadlines
from ._flow import first_stranger, send_to_idle
from ._offer import Batch, Bounds, note_unsent, offer

#: Bytes that a member may have unsent.
MAX_UNSENT_BROADCAST = 2**20

Message = str | bytes | bytearray | memoryview | PreparedMessage


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
    message: Message | Sequence[Message],
    *,
    max_unsent: int = MAX_UNSENT_BROADCAST,
    max_unsent_messages: int | None = None,
    code: int = CloseReason.TRY_AGAIN_LATER,
    reason: str | None = "too slow",
) -> BroadcastResult:
    """Send one message, or several, to many connections, without waiting for any of them.

    A message is encoded once, and compressed once for all members with the same settings; several
    go to each member in one write. Each member's socket is tried at once; what it does not take is
    sent in the background, in order with everything else sent to that member. This is no async
    function: all members got the message when it returns, in the order in which `broadcast` was
    called.

    Resource handling:
        What is unsent is kept in memory. A member for which that would become more than
        ``max_unsent`` bytes, or ``max_unsent_messages`` messages, is too slow: what it has not
        begun to take is dropped, and its connection closed with ``code`` (its
        `cut_reason` is ``"unsent limit"``). A member that has nothing unsent gets the message
        however large it is.

    Error handling:
        One member's failure is nobody else's, and is not raised.

    Args:
        connections: the members; servers' or clients' connections. Those that are open are of this
            trio run: with another one, in a thread of its own, speak through a
            `trio.lowlevel.TrioToken`.
        message: a str is sent as text, bytes as binary. A `wscore.events.PreparedMessage` can be
            broadcast more than once without being encoded again.
        max_unsent: bytes that a member may have unsent with this message.
        max_unsent_messages: how many messages of broadcasts may be unsent; None for any number.
            Broadcasts with None are not counted by others.
        code: close code for members that are too slow: 1013, as those who try again later, and
            read, are welcome.
        reason: text for people, at most 123 bytes of UTF-8.

    Raises:
        ValueError: ``message`` is none, or cannot be encoded, or is an empty sequence. Nothing was
            sent.
        LocalProtocolError: the code or the reason may not be sent. Nothing was sent.
        TypeError: a member is no `WebSocketConnection`. Nothing was sent.
        RuntimeError: an open member belongs to another trio run, or this is none. Nothing was sent.
    """
    batch = Batch(_prepared(message))
    bounds = Bounds(max_unsent, max_unsent_messages)
    _check_close(code, reason)
    members = list(connections)
    stranger = first_stranger(members, WebSocketConnection, current_deadlines())
    if stranger >= 0:
        _refuse(members[stranger])
    delivered, begun, others = send_to_idle(members, batch.messages, batch.encode)
    queued = skipped = 0
    for connection in begun:
        if note_unsent(connection._session, batch, bounds):
            queued += 1
        else:
            skipped += 1
    cut = []
    for connection in others:
        session = connection._session
        try:
            taken = offer(session, batch, bounds)
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


def _refuse(member: object) -> NoReturn:
    if isinstance(member, WebSocketConnection):
        raise RuntimeError(f"{member} belongs to another trio run")
    raise TypeError(f"a member is a WebSocketConnection, not {type(member).__name__}")


@lru_cache(maxsize=16)
def _check_close(code: int, reason: str | None) -> None:
    """Raise LocalProtocolError if a Close may not say this; programs say the same ever again."""
    FrameProtocol(client=False, extensions=[]).close(code, reason)


def _prepared(message: object) -> list[PreparedMessage]:
    """The messages, checked.

    Raises:
        ValueError: one of them cannot be sent, or there is none.
    """
    if isinstance(message, (list, tuple)):
        if not message:
            raise ValueError("there is no message to send")
        return [_prepare(one) for one in message]
    return [_prepare(message)]


def _prepare(message: object) -> PreparedMessage:
    if isinstance(message, PreparedMessage):
        _prepare(message.data)
        return message
    if isinstance(message, str):
        message.encode()
    elif isinstance(message, memoryview) and not message.c_contiguous:
        message = bytes(message)
    elif not isinstance(message, (bytes, bytearray, memoryview)):
        raise ValueError(f"a message is str or bytes, not {type(message).__name__}")
    return PreparedMessage(message)  # type: ignore[arg-type]


__all__ = ["BroadcastResult", "broadcast"]
