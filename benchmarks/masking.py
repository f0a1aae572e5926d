"""Masking (RFC 6455, section 5.3): every way to do it, 16 bytes to 1 MiB, in place and copying."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks._harness import US, Contender, Goal, Row
from wscore import _framing, _framing_py

SIZES = [16, 125, 1024, 16 * 1024, 64 * 1024, 1024 * 1024]
KEY = b"\x37\xfa\x21\x3d"
PEERS = ["wsproto", "websockets", "aiohttp"]
EMPTY_CALL = "empty call"
COPY = "bytes(buf)"


def label(size: int) -> str:
    """Write a size in its unit."""
    for unit, scale in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= scale:
            return f"{size // scale} {unit}"
    return f"{size} B"


def bytewise(data: bytes) -> bytes:
    """Mask as the RFC says it, one byte at a time."""
    return bytes(byte ^ KEY[index % 4] for index, byte in enumerate(data))


def in_place(
    name: str, mask: Callable[..., object], data: bytes, *, key_first: bool = False
) -> Contender:
    """Make a contender that masks its own buffer where it lies."""
    buffer = bytearray(data)

    def result() -> bytes:
        once = bytearray(data)
        mask(*((KEY, once) if key_first else (once, KEY)))
        return bytes(once)

    statement = "mask(key, buffer)" if key_first else "mask(buffer, key)"
    return Contender(name, statement, {"mask": mask, "key": KEY, "buffer": buffer}, result=result)


def copying(name: str, mask: Callable[..., Any], data: bytes | bytearray) -> Contender:
    """Make a contender that returns the masked bytes and leaves its input alone."""
    names = {"mask": mask, "key": KEY, "data": data}
    return Contender(name, "mask(data, key)", names, result=lambda: bytes(mask(data, KEY)))


def rows_in_place() -> Iterator[Row]:
    """Rows for masking a buffer where it lies."""
    for size in SIZES:
        data = os.urandom(size)
        contenders = [
            in_place(US, _framing.apply_mask_inplace, data),
            Contender(EMPTY_CALL, "call(a, b)", {"call": operator.is_, "a": data, "b": KEY}),
            Contender(
                "bytearray copy", "target[:] = data", {"target": bytearray(data), "data": data}
            ),
        ]
        if _framing.IMPLEMENTATION != "python":
            contenders.append(in_place("pure twin", _framing_py.apply_mask_inplace, data))
        try:
            from aiohttp._websocket.helpers import websocket_mask
        except ImportError:
            pass
        else:
            contenders.append(in_place("aiohttp", websocket_mask, data, key_first=True))
        goals = [Goal(EMPTY_CALL, "over", 5)] if size == 16 else []
        yield Row(f"in place, {label(size)}", contenders, bytewise(data), goals)


def rows_copying() -> Iterator[Row]:
    """Rows for masking into new bytes."""
    for size in SIZES:
        data = os.urandom(size)
        contenders = [
            copying(US, _framing.apply_mask, data),
            Contender(COPY, "bytes(data)", {"data": bytearray(data)}),
        ]
        if _framing.IMPLEMENTATION != "python":
            contenders.append(copying("pure twin", _framing_py.apply_mask, data))
        try:
            from wsproto.frame_protocol import XorMaskerSimple
        except ImportError:
            pass
        else:

            def simple(data: bytearray, key: bytes, masker: Any = XorMaskerSimple) -> bytearray:
                masked: bytearray = masker(key).process(data)
                return masked

            contenders.append(copying("wsproto", simple, bytearray(data)))
        try:
            from websockets.speedups import apply_mask
        except ImportError:
            pass
        else:
            contenders.append(copying("websockets", apply_mask, data))
        goals = []
        if size <= 125:
            goals.append(Goal("wsproto", "faster", 35))
        elif size >= 1 << 20:
            goals.append(Goal(COPY, "of", 1.05))
        elif size >= 1 << 14:
            goals.append(Goal(COPY, "of", 1.3))
        yield Row(f"copying, {label(size)}", contenders, bytewise(data), goals)


# picows masks inside its transport and offers no function to time.
TABLES = {"masking in place": rows_in_place, "masking into new bytes": rows_copying}
