"""Masking (RFC 6455, section 5.3): every way to do it, 16 bytes to 16 MiB, in place and copying,
wherever in memory the bytes begin.
"""

from __future__ import annotations

import ctypes
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks._harness import US, Contender, Row
from benchmarks.goals import COPY, EMPTY_CALL
from benchmarks.payloads import KEY, size_name
from benchmarks.peers import Mask, Peer
from benchmarks.peers.wsproto_api import WsprotoApi
from wscore import _framing, _framing_py

SIZES = [16, 125, 1024, 16 * 1024, 64 * 1024, 1024 * 1024, 16 * 1024 * 1024]
#: Where data begins, modulo 64, for each class of alignment: multiples of 64, 32, 16, … and odd.
STARTS = [0, 32, 16, 8, 4, 2, 1]
ALIGNED_SIZES = [1024, 16 * 1024]
PURE = "pure twin"
#: A copy from buffer to buffer: the limit in place.
MEMCPY = "bytearray copy"


def bytewise(data: bytes) -> bytes:
    """Mask as the RFC says it, one byte at a time."""
    return bytes(byte ^ KEY[index % 4] for index, byte in enumerate(data))


def masked(data: bytes) -> bytes:
    """Mask as one large number: what is expected, in time that large data does not make long."""
    key = (KEY * (len(data) // 4 + 1))[: len(data)]
    number = int.from_bytes(data, "little") ^ int.from_bytes(key, "little")
    return number.to_bytes(len(data), "little")


def placed(data: bytes, start: int) -> bytearray:
    """Return the data in a bytearray that begins at an address of `start` modulo 64.

    A bytearray whose first bytes are deleted begins further on in the same memory.
    """
    buffer = bytearray(len(data) + 64)
    ahead = (start - address(buffer)) % 64
    del buffer[:ahead]
    buffer[: len(data)] = data
    del buffer[len(data) :]
    return buffer


def address(buffer: bytearray) -> int:
    """Return where in memory a buffer begins."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def empty_call() -> Callable[[Any, Any], object]:
    """Find a function of two arguments that does nothing: what a call alone costs.

    Cython's own modules are compiled by Cython, as our kernels' entry and aiohttp's are, and one of
    them has such a method: it returns its first argument. Without it, an operator does.
    """
    try:
        from Cython.Compiler.StringEncoding import EncodedString
    except ImportError:
        return operator.is_
    method: Callable[[Any, Any], object] = EncodedString.__deepcopy__
    return method if type(method).__name__ == "cython_function_or_method" else operator.is_


def in_place(name: str, mask: Mask, data: bytes, start: int = 0, peer: bool = True) -> Contender:
    """Make a contender that masks its own buffer where it lies."""

    def result() -> bytes:
        once = bytearray(data)
        eval(mask.statement, {"mask": mask.function, "key": KEY, "data": once})
        return bytes(once)

    names = {"mask": mask.function, "key": KEY, "data": placed(data, start)}
    return Contender(name, mask.statement, names, result=result, peer=peer)


def copying(
    name: str, mask: Mask, data: bytes, start: int | None = None, peer: bool = True
) -> Contender:
    """Make a contender that returns the masked bytes: those of bytes, or of a bytearray placed."""
    source: bytes | bytearray = data
    if start is not None or name == "wsproto":  # whose masker wants a bytearray
        source = placed(data, start or 0)
    names = {"mask": mask.function, "key": KEY, "data": source}
    return Contender(
        name,
        mask.statement,
        names,
        result=lambda: bytes(eval(mask.statement, dict(names))),
        peer=peer,
    )


def libraries(peers: Sequence[Peer]) -> list[Peer]:
    """List all that may have a masking function, ours first."""
    return [WsprotoApi(US), *peers]


def twin(function: Callable[..., object]) -> Mask | None:
    """Name the Python twin's function, unless it is ours already."""
    if _framing.IMPLEMENTATION == "python":
        return None
    return Mask("mask(data, key)", function, takes_bytearray=True)


def rows_in_place(peers: Sequence[Peer]) -> Iterator[Row]:
    """Rows for masking a buffer where it lies."""
    call = empty_call()
    for size in SIZES:
        data = os.urandom(size)
        # From bytes, the copy would make a bytearray of them first.
        target = {"target": bytearray(data), "data": bytearray(data)}
        masks = [(library.name, library.mask_in_place()) for library in libraries(peers)]
        contenders = [in_place(name, mask, data) for name, mask in masks if mask is not None]
        if (pure := twin(_framing_py.apply_mask_inplace)) is not None:
            contenders.append(in_place(PURE, pure, data, peer=False))
        contenders += [
            _limit(EMPTY_CALL, "call(a, b)", {"call": call, "a": target["target"], "b": KEY}),
            _limit(
                "operator.is_",
                "call(a, b)",
                {"call": operator.is_, "a": target["target"], "b": KEY},
            ),
            _limit(MEMCPY, "target[:] = data", target),
        ]
        yield Row(f"in place, {size_name(size)}", contenders, masked(data))


def rows_copying(peers: Sequence[Peer]) -> Iterator[Row]:
    """Rows for masking into new bytes."""
    for size in SIZES:
        data = os.urandom(size)
        masks = [(library.name, library.mask_copying()) for library in libraries(peers)]
        contenders = [copying(name, mask, data) for name, mask in masks if mask is not None]
        if (pure := twin(_framing_py.apply_mask)) is not None:
            contenders.append(copying(PURE, pure, data, peer=False))
        contenders.append(_limit(COPY, "bytes(data)", {"data": bytearray(data)}))
        yield Row(f"copying, {size_name(size)}", contenders, masked(data))


def rows_aligned(peers: Sequence[Peer]) -> Iterator[Row]:
    """Rows for each class of alignment, in place and copying."""
    for size in ALIGNED_SIZES:
        data = os.urandom(size)
        for start in STARTS:
            where = f"{size_name(size)} at {start} modulo 64"
            masks = [(library.name, library.mask_in_place()) for library in libraries(peers)]
            contenders = [in_place(name, mask, data, start) for name, mask in masks if mask]
            yield Row(f"in place, {where}", contenders, masked(data))
        for start in STARTS:
            where = f"{size_name(size)} at {start} modulo 64"
            masks = [(library.name, library.mask_copying()) for library in libraries(peers)]
            contenders = [
                copying(name, mask, data, start)
                for name, mask in masks
                if mask is not None and mask.takes_bytearray
            ]
            yield Row(f"copying, {where}", contenders, masked(data))


def _limit(name: str, statement: str, names: dict[str, Any]) -> Contender:
    return Contender(name, statement, names, peer=False)


IN_PLACE, INTO_NEW = "masking in place, a call", "masking into new bytes, a call"
TABLES = {
    IN_PLACE: rows_in_place,
    INTO_NEW: rows_copying,
    "masking by alignment, a call": rows_aligned,
}
