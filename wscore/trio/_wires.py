"""The choice of the wire for a stream; imports the wires."""

from __future__ import annotations

from contextlib import suppress

import trio

from . import _driver
from ._options import RECEIVE_BUFFER_SIZE
from ._stream_wire import StreamWire
from ._wire import Owner, Wire

if _driver.AVAILABLE:
    from ._socket_wire import SocketWire


def open_wire(stream: trio.abc.Stream, owner: Owner, receive_size: int | None) -> Wire:
    """A wire over a stream, which belongs to the wire from now on.

    Args:
        stream: any trio stream; a socket stream is emptied.
        owner: who is told what happens.
        receive_size: bytes to read at once; None for what suits the stream.
    """
    if _driver.AVAILABLE and type(stream) is trio.SocketStream and stream.socket.fileno() >= 0:
        size = RECEIVE_BUFFER_SIZE if receive_size is None else receive_size
        # Of descriptors, or of sockets that an epoll may watch, there can be too few: then in the
        # way of all other streams, which needs neither.
        with suppress(OSError):
            return SocketWire(stream, owner, size, _driver.current_driver())
    return StreamWire(stream, owner, receive_size)
