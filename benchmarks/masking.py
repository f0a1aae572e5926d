"""Masking (RFC 6455, section 5.3): every way to do it, 16 bytes to 1 MiB, in place and copying."""

from __future__ import annotations

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

SIZES = [16, 125, 1024, 16 * 1024, 64 * 1024, 1024 * 1024]


def bytewise(data: bytes) -> bytes:
    """Mask as the RFC says it, one byte at a time."""
    return bytes(byte ^ KEY[index % 4] for index, byte in enumerate(data))


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


def in_place(name: str, mask: Mask, data: bytes) -> Contender:
    """Make a contender that masks its own buffer where it lies."""

    def result() -> bytes:
        once = bytearray(data)
        eval(mask.statement, {"mask": mask.function, "key": KEY, "data": once})
        return bytes(once)

    names = {"mask": mask.function, "key": KEY, "data": bytearray(data)}
    return Contender(name, mask.statement, names, result=result)


def copying(name: str, mask: Mask, data: bytes) -> Contender:
    """Make a contender that returns the masked bytes."""
    source = bytearray(data) if name == "wsproto" else data  # its masker wants a bytearray
    names = {"mask": mask.function, "key": KEY, "data": source}
    return Contender(
        name, mask.statement, names, result=lambda: bytes(eval(mask.statement, dict(names)))
    )


def twin(mask: Callable[..., object]) -> Mask | None:
    """Name the Python twin's function, unless it is ours already."""
    return Mask("mask(data, key)", mask) if _framing.IMPLEMENTATION != "python" else None


def rows_in_place(peers: Sequence[Peer]) -> Iterator[Row]:
    """Rows for masking a buffer where it lies."""
    call = empty_call()
    for size in SIZES:
        data = os.urandom(size)
        target = {"target": bytearray(data), "data": data}
        masks = [(library.name, library.mask_in_place()) for library in (WsprotoApi(US), *peers)]
        contenders = [in_place(name, mask, data) for name, mask in masks if mask is not None]
        if (pure := twin(_framing_py.apply_mask_inplace)) is not None:
            contenders.append(_apart(in_place("pure twin", pure, data)))
        contenders += [
            _limit(EMPTY_CALL, "call(a, b)", {"call": call, "a": target["target"], "b": KEY}),
            _limit(
                "operator.is_",
                "call(a, b)",
                {"call": operator.is_, "a": target["target"], "b": KEY},
            ),
            _limit("bytearray copy", "target[:] = data", target),
        ]
        yield Row(f"in place, {size_name(size)}", contenders, bytewise(data))


def rows_copying(peers: Sequence[Peer]) -> Iterator[Row]:
    """Rows for masking into new bytes."""
    for size in SIZES:
        data = os.urandom(size)
        masks = [(library.name, library.mask_copying()) for library in (WsprotoApi(US), *peers)]
        contenders = [copying(name, mask, data) for name, mask in masks if mask is not None]
        if (pure := twin(_framing_py.apply_mask)) is not None:
            contenders.append(_apart(copying("pure twin", pure, data)))
        contenders.append(_limit(COPY, "bytes(data)", {"data": bytearray(data)}))
        yield Row(f"copying, {size_name(size)}", contenders, bytewise(data))


def _limit(name: str, statement: str, names: dict[str, Any]) -> Contender:
    return Contender(name, statement, names, peer=False)


def _apart(contender: Contender) -> Contender:
    return Contender(
        contender.name, contender.statement, contender.names, result=contender.result, peer=False
    )


TABLES = {"masking in place, a call": rows_in_place, "masking into new bytes, a call": rows_copying}
