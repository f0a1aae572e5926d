"""A listener on a Unix socket, which trio has none for; imports trio only."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress

import trio

# As much as the system allows; it takes a smaller number where it must.
_BACKLOG = 65535


class UnixListener(trio.abc.Listener[trio.SocketStream]):
    """A listener on a Unix socket, which removes the socket's file when closed.

    Attributes:
        socket: the listening `trio.socket.SocketType`.
    """

    def __init__(self, sock: trio.socket.SocketType, path: str) -> None:
        self.socket = sock
        self._listener = trio.SocketListener(sock)
        self._path = path
        self._identity = _identity(path)

    async def accept(self) -> trio.SocketStream:
        """Accept a connection; raises what `trio.SocketListener.accept` does."""
        return await self._listener.accept()

    async def aclose(self) -> None:
        """Close the socket, and remove its file unless it is another's by now."""
        # First the file: with it gone nobody else can have bound to the path.
        with suppress(OSError):
            if _identity(self._path) == self._identity:
                os.unlink(self._path)
        self._identity = None
        await self._listener.aclose()


def _identity(path: str) -> tuple[int, int] | None:
    status = os.stat(path)
    return status.st_dev, status.st_ino


async def open_unix_listener(
    path: str | os.PathLike[str], *, mode: int | None = None, backlog: int | None = None
) -> UnixListener:
    """Listen on a Unix socket, for `WebSocketServer`.

    ::

        listener = await open_unix_listener("/run/chat.sock", mode=0o660)
        await WebSocketServer(handler, [listener]).run()

    For TLS, wrap it in a `trio.SSLListener`.

    Args:
        path: where the socket's file is made. One that a dead server left there is replaced.
        mode: permissions of the file, like ``0o660``: whoever may write to it may connect. By
            default what the process's umask leaves.
        backlog: connections that may wait to be accepted; by default as many as possible.

    Resource handling:
        The caller closes the listener, as `WebSocketServer` does; that removes the file.

    Error handling:
        `OSError`: with ``EADDRINUSE`` where somebody listens there, or where the path is
        taken by something that is not a socket.
    """
    path = os.fspath(path)
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            await sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not await _is_abandoned(path):
                raise
            os.unlink(path)
            await sock.bind(path)
        # Nobody can connect before listen().
        if mode is not None:
            os.chmod(path, mode)
        sock.listen(_BACKLOG if backlog is None else backlog)
        return UnixListener(sock, path)
    except BaseException:
        sock.close()
        raise


async def _is_abandoned(path: str) -> bool:
    """Whether a path is a socket on which nobody listens."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    try:
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            await probe.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:  # nobody we may ask
        return False
    return False
