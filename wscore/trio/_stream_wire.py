"""A connection's bytes on any trio stream, TLS for one: one task reads, one writes; imports the
transport's leaves.

The tasks are system tasks, as the connection belongs to no nursery. So nothing may escape them: an
exception of a system task ends the whole trio run. `KeyboardInterrupt` does not strike in a system
task, but would in the tasks of its nursery.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import trio

from ._flow import SendQueue
from ._send_queue import Notes
from ._stream import LINGER_TIMEOUT, abort
from ._wire import Owner

# Written at once, in bytes: what is not written counts as unsent, and progress is seen in such
# steps. TLS puts no more into one record.
_WRITE_SIZE = 16384


class StreamWire(Notes, SendQueue):
    """See `Wire`.

    Args:
        stream: any trio stream; closed at the end.
        owner: who is told.
        receive_size: bytes to ask the stream for at once; None lets it choose.
    """

    __slots__ = (
        "_changed",
        "_close_gently",
        "_closing",
        "_eof_due",
        "_owner",
        "_receive_size",
        "_stream",
    )

    def __init__(self, stream: trio.abc.Stream, owner: Owner, receive_size: int | None) -> None:
        super().__init__()
        self._stream = stream
        self._owner = owner
        self._receive_size = receive_size
        self._changed = trio.lowlevel.ParkingLot()  # something to read or to write
        self._closing = trio.Event()
        self._close_gently = False
        self._eof_due = False
        self.reading = True

    def start(self) -> None:
        """Spawn the tasks."""
        trio.lowlevel.spawn_system_task(self._run, name="wscore.trio: stream")

    async def _run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                nursery.start_soon(self._write)
                await self._closing.wait()
                nursery.cancel_scope.cancel()
            if self._close_gently:
                with trio.move_on_after(LINGER_TIMEOUT):
                    await self._stream.aclose()
        except Exception:  # whatever the stream's own kind of error is, we are closing it
            pass
        finally:
            with suppress(Exception):
                await abort(self._stream)
            self._forget()
            self._tell(self._owner.wire_closed)

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            self._owner.crashed(error)

    # Receiving

    @trio.lowlevel.enable_ki_protection
    def set_reading(self, reading: bool) -> None:
        """Go on reading, or stop."""
        self.reading = reading
        if reading:
            self._changed.unpark_all()

    @trio.lowlevel.enable_ki_protection
    async def _read(self) -> None:
        while True:
            while not self.reading:
                await self._changed.park()
            try:
                data = bytes(await self._stream.receive_some(self._receive_size))
            except Exception:  # broken, closed, or something of the stream's own
                data = b""
            if not data:
                break
            try:
                self._owner.received(data, trio.current_time())
            except Exception as error:
                self._owner.crashed(error)
        self._tell(self._owner.ended)

    # Sending

    @trio.lowlevel.enable_ki_protection
    def send(self, data: bytes) -> None:
        """Let the writing task send bytes."""
        if not self.broken:
            self._enqueue(data)
            self._changed.unpark_all()

    def send_parts(self, header: bytes, payload: bytes | bytearray | memoryview) -> None:
        """Let the writing task send two pieces as one."""
        self.send(header + payload)

    @trio.lowlevel.enable_ki_protection
    def append(self, data: bytes) -> None:
        """The same as `send`: the writing task runs at the next turn, and joins what it finds."""
        self.send(data)

    def flush(self) -> None:
        """Nothing to do: the writing task knows already."""

    @trio.lowlevel.enable_ki_protection
    async def _write(self) -> None:
        try:
            while not self._eof_due or self.pieces:
                while self.pieces:
                    data = self._front()[:_WRITE_SIZE]
                    self._begun = True
                    await self._stream.send_all(data)
                    self._advance(len(data))
                    self._tell(self._owner.progressed)
                if not self._eof_due:
                    await self._changed.park()
            # Under TLS the end of TCP is all the peer gets: HTTPS servers do the same.
            stream = self._stream
            transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
            if isinstance(transport, trio.abc.HalfCloseableStream):
                await transport.send_eof()
        except Exception:  # broken, closed, or something of the stream's own
            self.broken = True
            self._forget()
            self._tell(self._owner.broken)

    # The end

    def half_close(self) -> None:
        """End our direction once everything is sent."""
        self._eof_due = True
        self._changed.unpark_all()

    def close(self) -> None:
        """Have the tasks end, and the stream closed in its own way, if it is quick."""
        self._close_gently = not self.pieces
        self.abort()

    def abort(self, *, reset: bool = False) -> None:
        """Have the tasks end, and the stream closed at once; there is no way to reset it."""
        self.broken = True
        self.reading = False
        self._closing.set()
