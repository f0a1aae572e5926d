"""A connection's bytes on a plain non-blocking socket, driven by the epoll of ``_driver``; imports
``_driver`` and below.
"""

from __future__ import annotations

import select
import socket
import struct
from contextlib import suppress

import trio

from ._driver import Driver
from ._send_queue import NotingQueue
from ._wire import Owner

# Offered to the system in one turn, in bytes, before others have theirs.
_SENT_PER_TURN = 2**20
# Read of a peer to which nothing can be sent any more, in bytes.
_MAX_REST = 2**20
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time

_ENDING = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class SocketWire(NotingQueue):
    """See `Wire`; made of a trio socket stream, which is empty afterwards.

    Args:
        stream: its socket is taken over; who closes the stream all the same ends the connection.
        owner: who is told.
        receive_size: bytes to read at once.
        driver: that of the trio run.

    Raises:
        OSError: the driver cannot watch the socket; the stream is still whole then.
    """

    __slots__ = (
        "_awaits_turn",
        "_blocked",
        "_driver",
        "_ending",
        "_owner",
        "_readable",
        "_receive_size",
        "_socket",
    )

    def __init__(
        self, stream: trio.SocketStream, owner: Owner, receive_size: int, driver: Driver
    ) -> None:
        super().__init__()
        self._owner = owner
        self._receive_size = receive_size
        self._driver = driver
        self._readable = False  # the epoll said so, and it was not read to the end
        self._ending = False  # the peer's end, or an error, waits behind the bytes
        self._blocked = False  # the system took not all; the epoll will say when to go on
        self._awaits_turn = False
        trio_socket = stream.socket
        driver.register(trio_socket.fileno(), self)
        self._socket = socket.socket(
            trio_socket.family, trio_socket.type, trio_socket.proto, trio_socket.detach()
        )
        self._socket.setblocking(False)
        # What `trio.SocketStream.aclose` calls. The number of the socket is ours alone, so nobody
        # else can give it free for another socket while we use it.
        trio_socket.close = self.abort  # type: ignore[method-assign]

    def start(self) -> None:
        """Begin to read; the epoll reports a new socket once in any case."""
        self.reading = True

    # Called by the driver

    def on_event(self, flags: int, now: float) -> None:
        """Read and write what the epoll says is possible."""
        if self._blocked and flags & ~select.EPOLLIN:
            self._blocked = False
            self._progress()
        if flags & ~select.EPOLLOUT:
            self._readable = True
            if flags & _ENDING:
                self._ending = True
            if self.reading:
                self._read(now)

    def on_turn(self) -> None:
        """Go on with what had to wait for others."""
        self._awaits_turn = False
        if self.pieces and not self._blocked:
            self._progress()
        if self._readable and self.reading:
            self._read(trio.current_time())

    def on_error(self, error: Exception) -> None:
        """Let the connection end itself."""
        self._owner.crashed(error)

    def on_end(self) -> None:
        """Close, as nothing will happen any more."""
        self.close()

    # Receiving

    @trio.lowlevel.enable_ki_protection
    def set_reading(self, reading: bool) -> None:
        """Go on reading, or stop."""
        self.reading = reading
        if reading and self._readable:
            self._ask_for_turn()

    def _read(self, now: float) -> None:
        """Read once, so that others have their turn."""
        try:
            data = self._socket.recv(self._receive_size)
        except BlockingIOError:
            self._readable = False
            return
        except OSError:
            data = b""
        if not data:
            self._readable = self.reading = False
            self._owner.ended()
            return
        # On a stream, less than asked for is all there is (epoll(7)).
        if len(data) < self._receive_size and not self._ending:
            self._readable = False
        self._owner.received(data, now)
        if self._readable and self.reading:
            self._ask_for_turn()

    def _ask_for_turn(self) -> None:
        if not self._awaits_turn:
            self._awaits_turn = True
            self._driver.soon(self)

    # Sending

    @trio.lowlevel.enable_ki_protection
    def send(self, data: bytes) -> None:
        """Send bytes, now or as soon as possible."""
        if self.pieces:
            self._enqueue(data)
            self.flush()
        elif not self.broken:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._break()
                return
            if sent < len(data):
                self._blocked = True
                self._enqueue(data)
                self._advance(sent)

    def send_parts(self, header: bytes, payload: bytes | bytearray | memoryview) -> None:
        """Send two pieces as one; whatever of them is left over is copied."""
        if self.pieces:
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
    def append(self, data: bytes) -> None:
        """Send bytes together with what follows, at the scheduler's next turn at the latest."""
        if not self.broken:
            self.pieces.append(data)
            self.unsent += len(data)
            if not self._awaits_turn and not self._blocked:
                self._ask_for_turn()

    def flush(self) -> None:
        """Send as much as the system takes, and a peer may have at once."""
        allowance = _SENT_PER_TURN
        while self.pieces and not self._blocked:
            if allowance <= 0:
                self._ask_for_turn()
                return
            data = self._front()
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._break()
                return
            self._blocked = sent < len(data)
            self._advance(sent)
            allowance -= sent

    def _progress(self) -> None:
        before = self.unsent
        self.flush()
        if self.unsent < before and not self.broken:
            self._owner.progressed()

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
        while rest > 0 and self._socket.fileno() >= 0:
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
        if self._socket.fileno() < 0:
            return
        self.broken = True
        self.reading = False
        self._forget()
        # Not left to the closing: a forked process may hold the same socket.
        if not self._driver.unregister(self._socket.fileno(), self):
            self._socket.detach()  # its number is another's by now
        elif reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._socket.close()
        self._owner.wire_closed()
