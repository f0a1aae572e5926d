"""A stream that tells what goes over it: the heads of the handshake, then each frame; imports the
core's codes and the text beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from wscore._codes import Opcode
from wscore.frame_protocol import CloseReason

from .text import safe

_MAX_HEAD = 65536
_CLOSE_CODE_BYTES = 2


class FrameTracer:
    """Reads one direction of a connection along, without holding more than a head or a ping.

    Args:
        mark: stands before each line.
        tell: takes the lines, which are safe text.
    """

    def __init__(self, mark: str, tell: Callable[[str], None]) -> None:
        self._mark = mark
        self._tell = tell
        self._buffer = bytearray()
        self._is_head = True
        self._is_over = False
        self._skip = 0  # bytes of a data frame's payload still to come

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take what went over the stream."""
        if self._is_over:
            return
        self._buffer += data
        while self._step():
            pass

    def _step(self) -> bool:
        """Read one thing, if it is all there."""
        if self._is_head:
            return self._read_head()
        if self._skip:
            skipped = min(self._skip, len(self._buffer))
            del self._buffer[:skipped]
            self._skip -= skipped
            return bool(self._buffer)
        return self._read_frame()

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            self._is_over = len(self._buffer) > _MAX_HEAD
            return False
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        for line in lines:
            self._tell(f"{self._mark} {safe(line)}")
        self._is_head = False
        # What follows another answer than 101 is no frame (RFC 6455 section 4.1).
        self._is_over = lines[0].startswith("HTTP/") and lines[0].split(" ")[1:2] != ["101"]
        return not self._is_over

    def _read_frame(self) -> bool:
        """Read a frame's header (RFC 6455 section 5.2), and the payload of a control frame."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        length, start = buffer[1] & 0x7F, 2
        if length > 125:
            start += 2 if length == 126 else 8
            if len(buffer) < start:
                return False
            length = int.from_bytes(buffer[2:start], "big")
        key = b""
        if buffer[1] & 0x80:
            if len(buffer) < start + 4:
                return False
            key = bytes(buffer[start : start + 4])
            start += 4
        first = buffer[0]
        payload = b""
        if first & 0x08 and length <= 125:
            if len(buffer) < start + length:
                return False
            payload = bytes(buffer[start : start + length])
            if key:
                payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
            start += length
        else:
            self._skip = length
        del buffer[:start]
        self._tell(f"{self._mark} {_describe(first, length, payload)}")
        return bool(buffer)


def _describe(first: int, length: int, payload: bytes) -> str:
    opcode = first & 0x0F
    name = Opcode(opcode).name.lower() if opcode in list(Opcode) else f"opcode {opcode:#x}"
    words = [name]
    if not first & 0x80:
        words.append("(more follows)")
    if first & 0x40:
        words.append("(compressed)")
    if opcode == Opcode.CLOSE and len(payload) >= _CLOSE_CODE_BYTES:
        code = int.from_bytes(payload[:_CLOSE_CODE_BYTES], "big")
        words.append(describe_code(code))
        payload = payload[_CLOSE_CODE_BYTES:]
    else:
        words.append(f"{length:,} bytes")
    if payload:
        words.append(safe(repr(payload.decode("utf-8", "backslashreplace"))))
    return " ".join(words)


def describe_code(code: int) -> str:
    """A close code, and its name where it has one."""
    try:
        return f"{code} ({CloseReason(code).name})"
    except ValueError:
        return str(code)


class TracedStream(trio.abc.Stream):
    """A stream whose two directions are read along.

    Args:
        stream: the real one.
        tell: takes the lines.
    """

    def __init__(self, stream: trio.abc.Stream, tell: Callable[[str], None]) -> None:
        self._stream = stream
        self._sent = FrameTracer("→", tell)
        self._received = FrameTracer("←", tell)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, and tell."""
        self._sent.feed(data)
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the real one may send."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive, and tell."""
        data = await self._stream.receive_some(max_bytes)
        self._received.feed(data)
        return data

    async def aclose(self) -> None:
        """Close the real one."""
        await self._stream.aclose()
