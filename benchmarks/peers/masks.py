"""Libraries of which only the masking is compared: wsaccel, tornado and numpy."""

from __future__ import annotations

from importlib import import_module
from types import BuiltinFunctionType
from typing import Any

from benchmarks.peers import Deflate, Mask, Receiver, Sender


class OnlyMasks:
    """A library with no connection that could be driven without a socket, or none at all."""

    def __init__(
        self, name: str, *, compiled: bool, in_place: Mask | None, copying: Mask | None
    ) -> None:
        self.name = name
        self.compiled = compiled
        self._in_place = in_place
        self._copying = copying

    def mask_in_place(self) -> Mask | None:
        return self._in_place

    def mask_copying(self) -> Mask | None:
        return self._copying

    def receiver(self, role: str, text: bool, deflate: Deflate | None = None) -> Receiver | None:
        return None

    def sender(self, role: str, text: bool, deflate: Deflate | None = None) -> Sender | None:
        return None


def numpy_masks() -> tuple[Mask, Mask]:
    """Make two functions of numpy's: the data as an array of 32-bit words, and what is left over.

    numpy has none; this is what one writes with it.
    """
    numpy: Any = import_module("numpy")
    frombuffer, xor, word, byte = numpy.frombuffer, numpy.bitwise_xor, numpy.uint32, numpy.uint8

    def in_place(data: bytearray, key: bytes) -> None:
        whole = len(data) // 4
        words = frombuffer(data, word, whole)
        xor(words, frombuffer(key, word)[0], out=words)
        if rest := len(data) % 4:
            tail = frombuffer(data, byte, rest, whole * 4)
            xor(tail, frombuffer(key, byte, rest), out=tail)

    def copying(data: bytes | bytearray, key: bytes) -> bytes:
        whole = len(data) // 4
        masked: bytes = (frombuffer(data, word, whole) ^ frombuffer(key, word)[0]).tobytes()
        if rest := len(data) % 4:
            tail = frombuffer(data, byte, rest, whole * 4) ^ frombuffer(key, byte, rest)
            masked += tail.tobytes()
        return masked

    return (
        Mask("mask(data, key)", in_place),
        Mask("mask(data, key)", copying, takes_bytearray=True),
    )


def load(name: str) -> OnlyMasks:
    """Load one of them by its name.

    Raises:
        ImportError: It is not installed.
    """
    match name:
        case "wsaccel":
            masker = import_module("wsaccel.xormask").XorMaskerSimple
            mask = Mask("mask(key).process(data)", masker, takes_bytearray=True)
            return OnlyMasks(name, compiled=True, in_place=None, copying=mask)
        case "tornado":
            function = import_module("tornado.util")._websocket_mask
            compiled = isinstance(function, BuiltinFunctionType)
            mask = Mask("mask(key, data)", function)
            return OnlyMasks(name, compiled=compiled, in_place=None, copying=mask)
        case _:
            in_place, copying = numpy_masks()
            return OnlyMasks(name, compiled=True, in_place=in_place, copying=copying)
