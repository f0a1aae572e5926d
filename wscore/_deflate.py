"""What compresses for one end of a connection: a zlib implementation and its settings; a leaf."""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zlib import _Compress as Compressor

#: What a sender cuts off a compressed message and a receiver puts back (RFC 7692, section 7.2).
TAIL: Final = b"\x00\x00\xff\xff"
#: Bytes that a decompressor can be limited to, less one: giving more shows that there are more.
MAX_ROOM: Final = sys.maxsize - 1


class Deflater:
    """Compresses with certain settings; get it from :func:`deflater`.

    Args:
        zlib: the implementation.
        level: its compression level; None for its default.
        window_bits: log2 of the window in bytes, 9 to 15.
        mem_level: memory for the compressor's state, 1 to 9.
    """

    __slots__ = ("_level", "_mem_level", "_spare", "_window_bits", "_zlib")

    def __init__(
        self, zlib: ModuleType, level: int | None, window_bits: int, mem_level: int
    ) -> None:
        self._zlib = zlib
        self._level = {} if level is None else {"level": level}
        self._window_bits = window_bits
        self._mem_level = mem_level
        self._spare: list[Compressor] = []

    def new_compressor(self) -> Compressor:
        """Returns a compressor whose messages refer to those before."""
        compressor: Compressor = self._zlib.compressobj(
            method=self._zlib.DEFLATED,
            wbits=-self._window_bits,
            memLevel=self._mem_level,
            **self._level,
        )
        return compressor

    def deflate_alone(self, message: bytes) -> bytes:
        """Returns the payload of a message that refers to nothing before it.

        All who ask share one compressor, as a full flush leaves nothing of a message behind in its
        window.
        """
        # Whoever compresses has it to himself; another thread makes one more.
        try:
            compressor = self._spare.pop()
        except IndexError:
            compressor = self.new_compressor()
        # Also what is empty has to be given: a second flush without does nothing.
        payload = compressor.compress(message) + compressor.flush(self._zlib.Z_FULL_FLUSH)
        self._spare.append(compressor)
        return payload[: -len(TAIL)]


@cache
def deflater(zlib: ModuleType, level: int | None, window_bits: int, mem_level: int) -> Deflater:
    """Returns what compresses with these settings: always the same object for the same ones.

    Raises:
        ValueError: the implementation does not have them.
    """
    made = Deflater(zlib, level, window_bits, mem_level)
    made.new_compressor()
    return made


__all__ = ["MAX_ROOM", "TAIL", "Deflater", "deflater"]
