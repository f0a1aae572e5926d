"""How the bytes of a connection travel: the two sides of that seam; imports nothing of the package.

A `Wire` carries bytes, and knows nothing of WebSockets; its `Owner` gives them meaning, and does no
I/O. They speak in plain calls, so that neither ever waits for the other:

- The wire reads by itself while it may (`Wire.set_reading`), and hands over what came
  (`Owner.received`). Not letting it read is the back-pressure to the peer.
- Bytes given to the wire are sent in the order given, whatever happens to the task that gave them.
  What the system does not take at once is counted in ``unsent``, and leaves when it can
  (`Owner.progressed`).

There are two wires: `SocketWire` for plain sockets on Linux, by far the faster, and `StreamWire`
for every other trio stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Owner(Protocol):
    """What a wire tells the connection whose bytes it carries; none of these calls may raise."""

    def received(self, data: bytes, now: float) -> None:
        """The peer sent these bytes, read at this time on trio's clock."""

    def progressed(self) -> None:
        """The system took some of what was unsent before."""

    def broken(self) -> None:
        """Nothing can be sent any more; what the peer sent before is still read, if allowed."""

    def ended(self) -> None:
        """The peer will send no more: it ended its direction, or the connection broke."""

    def wire_closed(self) -> None:
        """The wire is closed, and says nothing after this."""

    def crashed(self, error: Exception) -> None:
        """One of the calls above did raise."""


class Wire(Protocol):
    """What a connection asks of the wire that carries its bytes."""

    #: The bytes themselves. While there are some, the wire is about to send them, so that it is
    #: `append` without a call to add to them, and to `unsent`.
    pieces: list[bytes | memoryview]
    #: Bytes that the system has not taken yet.
    unsent: int
    #: Nothing can be sent any more.
    broken: bool
    #: The peer's bytes are read as they come.
    reading: bool

    def start(self) -> None:
        """Begin to read."""

    def set_reading(self, reading: bool) -> None:
        """Go on reading, or stop."""

    def send(self, data: bytes) -> None:
        """Send bytes, now or as soon as possible."""

    def send_parts(self, header: bytes, payload: bytes | bytearray | memoryview) -> None:
        """Send two pieces as one, without joining them if it can be avoided.

        No reference to the payload is kept, unless it is bytes.
        """

    def append(self, data: bytes) -> None:
        """Send bytes together with what follows, at the scheduler's next turn at the latest."""

    def flush(self) -> None:
        """Send what was appended."""

    def note(self, sizes: Sequence[int], *, counted: bool) -> None:
        """Note of which sizes the messages are that were sent last, some of which is unsent."""

    def messages_unsent(self) -> int:
        """How many of the messages that were noted, and count, have a part that is unsent."""

    def drop_unsent(self) -> None:
        """Forget what is unsent, but for a piece that was begun."""

    def half_close(self) -> None:
        """End our direction once everything is sent."""

    def close(self) -> None:
        """Close, when all was said; `Owner.wire_closed` says when that is done."""

    def abort(self, *, reset: bool = False) -> None:
        """Close at once; `Owner.wire_closed` says when that is done.

        Args:
            reset: have both systems forget the connection, with all that is on its way.
        """
