"""The body of an HTTP response in pieces: bytes, a file or an iterable; imports `_http` only."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio

from ._http import Body

#: A client has to take this much, in bytes, within the time that it has for progress.
PIECE = 65536


@dataclass(frozen=True)
class OpenBody:
    """A body, ready to be sent.

    Attributes:
        length: bytes in all; None where nobody knows.
        pieces: the bytes.
    """

    length: int | None
    pieces: AsyncIterable[bytes]


@asynccontextmanager
async def open_body(body: Body) -> AsyncIterator[OpenBody]:
    """Open a body; at the end of the block the file, or the iterable, is closed.

    Raises:
        OSError: the file cannot be read, or is no regular file.
    """
    if isinstance(body, bytes):
        async with aclosing(_slices(body)) as pieces:
            yield OpenBody(len(body), pieces)
    elif isinstance(body, os.PathLike):
        # Opening a named pipe would wait for its writer.
        if await trio.Path(body).is_fifo():
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(body))
        async with await trio.open_file(body, "rb") as file:
            length = os.fstat(file.fileno()).st_size
            async with aclosing(_read(file, length)) as pieces:
                yield OpenBody(length, pieces)
    else:
        try:
            yield OpenBody(None, body)
        finally:
            aclose = getattr(body, "aclose", None)  # as generators have one
            if aclose is not None:
                await aclose()


async def _slices(body: bytes) -> AsyncGenerator[bytes, None]:
    for begin in range(0, len(body), PIECE):
        yield body[begin : begin + PIECE]


async def _read(file: Any, length: int) -> AsyncGenerator[bytes, None]:
    """Exactly as many bytes as were announced, though the file may grow meanwhile."""
    while length:
        piece = await file.read(min(length, PIECE))
        if not piece:
            raise EOFError("the file became shorter while it was sent")
        length -= len(piece)
        yield piece
