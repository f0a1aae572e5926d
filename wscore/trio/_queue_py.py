"""What is to be sent, and the socket that it is sent on, in plain Python; imports the standard
library only.

`SendQueue` is the half that all wires share: the bytes that the system has not taken yet.
`SocketQueue` is what is hot of the wire of plain sockets. Both get what belongs to trio from the
classes derived from them.

``src_cython/wscore/_queue_c.pyx`` is the compiled twin; the same tests hold both.
"""

from __future__ import annotations

import socket
from typing import Any

# How much of the queue is offered to the system at once, in bytes.
_JOINED = 65536
_SLICE = 262144
# Offered to the system in one turn, in bytes, before others have theirs.
_SENT_PER_TURN = 2**20

# Of an epoll event (epoll(7)); `select` does not have them everywhere.
_READABLE = 0x001
_WRITABLE = 0x004
_ENDING = 0x2018  # EPOLLRDHUP, EPOLLHUP, EPOLLERR


class SendQueue:
    """The bytes that the system has not taken yet: the half that both wires share.

    Each piece is one or more whole frames; only the first may have been sent in part.

    Attributes:
        pieces: the bytes themselves. While there are some, the wire is about to send them.
        unsent: how many bytes they are.
        broken: nothing can be sent any more.
        reading: the peer's bytes are read as they come.
    """

    __slots__ = ("_begun", "_noted", "broken", "pieces", "reading", "unsent")

    def __init__(self) -> None:
        self.pieces: list[bytes | memoryview] = []
        self.unsent = 0
        self._begun = False
        self._noted: Any = None  # of what is unsent, if anybody wants to; gone with the last byte
        self.broken = False
        self.reading = False

    def send(self, data: bytes) -> None:
        """Send bytes, now or as soon as possible."""
        raise NotImplementedError

    def append(self, data: bytes) -> None:
        """Send bytes together with what follows, at the scheduler's next turn at the latest."""
        raise NotImplementedError

    def _enqueue(self, data: bytes | memoryview) -> None:
        self.pieces.append(data)
        self.unsent += len(data)

    def _front(self) -> bytes | memoryview:
        """The next bytes to offer: small pieces joined, a large one sliced; never empty."""
        pieces = self.pieces
        if len(pieces) > 1 and self.unsent <= _JOINED:
            pieces[:] = [b"".join(pieces)]
        first = pieces[0]
        size = len(first)
        if len(pieces) > 1 and size < _JOINED:
            count = 1
            while count < len(pieces) and size + len(pieces[count]) <= _JOINED:
                size += len(pieces[count])
                count += 1
            first = b"".join(pieces[:count])
            pieces[:count] = [first]
        return first if size <= _SLICE else memoryview(first)[:_SLICE]

    def _advance(self, size: int) -> None:
        """Note that so many bytes of the first piece were taken."""
        if size == 0:
            return
        self.unsent -= size
        first = self.pieces[0]
        if size == len(first):
            del self.pieces[0]
            self._begun = False
        else:
            # A view: what remains of a large message is not copied again and again.
            self.pieces[0] = memoryview(first)[size:]
            self._begun = True
        if not self.unsent:
            self._noted = None

    def _forget(self) -> None:
        self.pieces.clear()
        self._begun = False
        self.unsent = 0
        self._noted = None

    def drop_unsent(self) -> None:
        """Forget what is unsent, but for a piece that was begun."""
        rest = self.pieces[:1] if self._begun else []
        self._forget()
        for piece in rest:
            self._enqueue(piece)
            self._begun = True


class SocketQueue(SendQueue):
    """What is sent and received on a socket that does not block, as an epoll says that it can be.

    Args:
        socket: its number is used until it is set to -1.
        owner: told what happens, as in `Owner`.
        driver: gives the turns that are asked for, by ``driver.soon(self)``.
        receive_size: bytes to read at once.
    """

    __slots__ = (
        "_awaits_turn",
        "_blocked",
        "_driver",
        "_ending",
        "_fd",
        "_owner",
        "_readable",
        "_receive_size",
        "_socket",
    )

    def __init__(self, socket: socket.socket, owner: Any, driver: Any, receive_size: int) -> None:
        super().__init__()
        self._socket = socket
        self._fd = socket.fileno()
        self._owner = owner
        self._driver = driver
        self._receive_size = receive_size
        self._readable = False  # the epoll said so, and it was not read to the end
        self._ending = False  # the peer's end, or an error, waits behind the bytes
        self._blocked = False  # the system took not all; the epoll will say when to go on
        self._awaits_turn = False

    # Called by the driver

    def on_event(self, flags: int, now: float) -> None:
        """Read and write what the epoll says is possible."""
        if self._blocked and flags & ~_READABLE:
            self._blocked = False
            self._progress()
        if flags & ~_WRITABLE:
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
            self._read(self._now())

    # Receiving

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

    def send(self, data: bytes) -> None:
        """Send bytes, now or as soon as possible."""
        if self.pieces:
            self._enqueue(data)
            self.flush()
        elif not self.broken:
            sent = self._give(data)
            if 0 <= sent < len(data):
                self._blocked = True
                self._enqueue(data)
                self._advance(sent)

    def append(self, data: bytes) -> None:
        """Send bytes together with what follows, at the scheduler's next turn at the latest."""
        if not self.broken:
            self._enqueue(data)
            if not self._blocked:
                self._ask_for_turn()

    def flush(self) -> None:
        """Send as much as the system takes, and a peer may have at once."""
        allowance = _SENT_PER_TURN
        while self.pieces and not self._blocked:
            if allowance <= 0:
                self._ask_for_turn()
                return
            data = self._front()
            sent = self._give(data)
            if sent < 0:
                return
            self._blocked = sent < len(data)
            self._advance(sent)
            allowance -= sent

    def _give(self, data: bytes | memoryview) -> int:
        """Return how many bytes the system took; -1: it takes none ever, and all is forgotten."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._break()
            return -1

    def _progress(self) -> None:
        before = self.unsent
        self.flush()
        if self.unsent < before and not self.broken:
            self._owner.progressed()

    # What a wire has besides

    def _break(self) -> None:
        """Forget what is unsent, as sending failed."""
        raise NotImplementedError

    def _now(self) -> float:
        """The time that the owner is told with what was read."""
        raise NotImplementedError


__all__ = ["SendQueue", "SocketQueue"]
