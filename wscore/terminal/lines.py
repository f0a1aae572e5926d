"""Lines from standard input without a thread that waits for them; imports trio only."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

import trio

_READ_BYTES = 65536
MAX_LINE = 2**20
"""Bytes of the longest line that is taken."""


class BadLine(NamedTuple):
    """A line that is not taken, and why."""

    reason: str


class LineReader:
    """An async iterator over the lines of a file descriptor, without their line ends.

    The descriptor stays blocking, as other programs may share it: it is read when it is readable.
    A cancelled wait loses nothing.

    Args:
        descriptor: of a terminal, a pipe or a file; a negative one has no lines.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # Windows waits for sockets only; a thread that waits for ever is what remains there.
        self._can_wait = sys.platform != "win32"
        self._buffer = bytearray()
        self._searched = 0
        self._is_skipping = False
        self._is_at_end = descriptor < 0

    def __aiter__(self) -> LineReader:
        return self

    async def __anext__(self) -> str | BadLine:
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._searched = 0
                if self._is_skipping:
                    self._is_skipping = False
                    continue
                return _decode(line)
            self._searched = len(self._buffer)
            if self._is_at_end:
                line = bytes(self._buffer)
                self._buffer.clear()
                self._searched = 0
                if line and not self._is_skipping:
                    return _decode(line)
                raise StopAsyncIteration
            if self._searched > MAX_LINE:
                self._buffer.clear()
                self._searched = 0
                if not self._is_skipping:
                    self._is_skipping = True
                    return BadLine(f"a line has at most {MAX_LINE:,} bytes")
            data = await self._read()
            self._is_at_end = not data
            self._buffer += data

    async def _read(self) -> bytes:
        try:
            if self._can_wait:
                try:
                    await trio.lowlevel.wait_readable(self._descriptor)
                except PermissionError:  # epoll takes no plain files, which are always readable
                    self._can_wait = False
            if self._can_wait:
                return os.read(self._descriptor, _READ_BYTES)
            return await trio.to_thread.run_sync(
                os.read, self._descriptor, _READ_BYTES, abandon_on_cancel=True
            )
        except OSError:  # closed, or a terminal that hung up
            return b""


def _decode(line: bytes) -> str | BadLine:
    try:
        return line.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        return BadLine("a line is not UTF-8")
