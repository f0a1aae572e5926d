"""A connection's bytes on a plain non-blocking socket, driven by the epoll of ``_driver``; imports
``_driver`` and below.
"""

from __future__ import annotations

import inspect
import socket
import struct
from contextlib import suppress

import trio

from ._driver import Driver
from ._flow import SocketQueue, own_methods
from ._send_queue import Notes
from ._wire import Owner

# Read of a peer to which nothing can be sent any more, in bytes.
_MAX_REST = 2**20
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


class SocketWire(Notes, SocketQueue):
    """See `Wire`; made of a trio socket stream, which is empty afterwards.

    Args:
        stream: its socket is taken over; who closes the stream all the same ends the connection.
        owner: who is told.
        receive_size: bytes to read at once.
        driver: that of the trio run.

    Raises:
        OSError: the driver cannot watch the socket; the stream is still whole then.
    """

    __slots__ = ()

    def __init__(
        self, stream: trio.SocketStream, owner: Owner, receive_size: int, driver: Driver
    ) -> None:
        trio_socket = stream.socket
        driver.register(trio_socket.fileno(), self)
        own = socket.socket(
            trio_socket.family, trio_socket.type, trio_socket.proto, trio_socket.detach()
        )
        own.setblocking(False)
        super().__init__(own, owner, driver, receive_size)
        # What `trio.SocketStream.aclose` calls. The number of the socket is ours alone, so nobody
        # else can give it free for another socket while we use it.
        trio_socket.close = self.abort  # type: ignore[method-assign]

    def start(self) -> None:
        """Begin to read; the epoll reports a new socket once in any case."""
        self.reading = True

    # Called by the driver, beside those of `SocketQueue`

    def on_error(self, error: Exception) -> None:
        """Let the connection end itself."""
        self._owner.crashed(error)

    def on_end(self) -> None:
        """Close, as nothing will happen any more."""
        self.close()

    @trio.lowlevel.enable_ki_protection
    def _now(self) -> float:
        return trio.current_time()

    # Sending

    def send_parts(self, header: bytes, payload: bytes | bytearray | memoryview) -> None:
        """Send two pieces as one; whatever of them is left over is copied."""
        if self.unsent:
            self.send(header + payload)
        elif not self.broken:
            try:
                sent = self._socket.sendmsg((header, payload))
            except BlockingIOError:
                sent = 0
            except OSError:
                self._break()
                return
            with memoryview(payload) as view, view.cast("B") as octets:
                if sent < len(header) + len(octets):
                    self._blocked = True
                    self._enqueue(header[sent:] + octets[max(0, sent - len(header)) :])
                    self._begun = sent > 0

    @trio.lowlevel.enable_ki_protection
    def _break(self) -> None:
        """Sending failed: read what the peer said before; nothing comes after that.

        Its Close may wait in the system's buffer, and says better than the failure why it went.
        """
        if self.broken:
            return
        self.broken = True
        self._forget()
        self._owner.broken()
        rest = _MAX_REST
        while rest > 0 and self._fd >= 0:
            rest -= self._receive_size
            self._readable = self._ending = True
            self._read(trio.current_time())
            if not self._readable:
                break
        self._owner.ended()

    # The end

    def half_close(self) -> None:
        """End our direction; everything is sent."""
        with suppress(OSError):  # the peer was faster: the epoll reports that
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close; what the system has taken it goes on sending."""
        self.abort()

    def abort(self, *, reset: bool = False) -> None:
        """Close; what the system has taken it goes on sending, unless ``reset``."""
        fileno, self._fd = self._fd, -1
        if fileno < 0:
            return
        self.broken = True
        self.reading = False
        self._forget()
        # Not left to the closing: a forked process may hold the same socket.
        if not self._driver.unregister(fileno, self):
            self._socket.detach()  # its number is another's by now
        elif reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._socket.close()
        self._owner.wire_closed()


own_methods(SocketWire, "on_event", "on_turn")

# In C nothing strikes. What that calls is protected where it is defined.
for _method in (SocketQueue.set_reading, SocketQueue.send, SocketQueue.append):
    if inspect.isfunction(_method):
        trio.lowlevel.enable_ki_protection(_method)
