"""Ports for what has to be told its port, and may be started anew on it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


def reserve_port() -> socket.socket:
    """A socket on a port of 127.0.0.1 that no other process is given as long as it is not closed.

    A port that was merely found free may be somebody else's before it is used, and between two
    runs of a server. This socket does not listen, so that connections to the port are refused, and
    a server that sets SO_REUSEADDR, as servers do, can listen on the port.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


def port_of(holder: socket.socket) -> int:
    port: int = holder.getsockname()[1]
    return port


@contextmanager
def reserved_port() -> Iterator[int]:
    with reserve_port() as holder:
        yield port_of(holder)
