"""The same to many connections, in plain Python; imports the modules beside it.

``src_cython/wscore/_fanout_c.pyx`` is the compiled twin; the same tests hold both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wscore.connection import Connection
from wscore.events import PreparedMessage

from ._flow_py import MessageChannel
from ._queue_py import SocketQueue


def first_stranger(members: Sequence[MessageChannel], kind: type, run: object) -> int:
    """Return the number of the first who is of another kind, or open and of another run; or -1."""
    for number, member in enumerate(members):
        if not isinstance(member, kind):
            return number
        session = member._session
        if session.run is not run and session.closed is None:
            return number
    return -1


def send_to_idle(
    members: Sequence[Any],
    messages: Sequence[PreparedMessage],
    encode: Callable[[Connection], bytes],
) -> tuple[int, list[Any], list[Any]]:
    """Send to those members who have a socket and nothing unsent: nearly all, nearly always.

    Args:
        members: connections; one may be named twice.
        messages: at least one.
        encode: returns the bytes for a connection, the same for those with the same first frame.

    Returns:
        How many took all; those who took a part, or were found lost; those to whom nothing was
        sent, for whatever reason.
    """
    delivered = 0
    begun: list[Any] = []
    others: list[Any] = []
    for member in members:
        session = member._session
        wire = session.wire
        if (
            session.closed is not None
            or not isinstance(wire, SocketQueue)
            or wire.unsent
            or wire.broken
        ):
            others.append(member)
            continue
        try:
            wire.send(encode(session.core))
        except Exception as error:
            session.crashed(error)
        if session.wire.unsent or session.wire.broken:
            begun.append(member)
        else:
            delivered += 1
    return delivered, begun, others


__all__ = ["first_stranger", "send_to_idle"]
