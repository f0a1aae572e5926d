"""What grows with the input: time and memory for hostile or large messages, bytes of a connection.

Time: the same work at two or three sizes, a byte. Memory: the peak that tracemalloc sees between
the first byte and the whole message, and what 10,000 open connections hold; the compiled twin takes
all its memory from Python's allocators, and zlib asks them too.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

from benchmarks._harness import US, Contender, Outcome, Row, compared
from benchmarks.payloads import CHUNK, FIN, KEY, TEXT, ascii_text, in_chunks, size_name
from benchmarks.peers import Deflate, Peer
from benchmarks.peers.wsproto_api import WsprotoApi
from wscore import _framing
from wscore._framing import encode_frame

MIB = 1 << 20
#: The Python twin does a sixteenth of it.
SCALE = 1 if _framing.IMPLEMENTATION != "python" else 16
CONNECTIONS = 10_000
#: wsproto's take kilobytes each, and it is only beside.
PEER_CONNECTIONS = 500
#: Rows for what a connection holds, and whether permessage-deflate is negotiated.
IDLE = {"idle connection": None, "idle connection, deflate negotiated, unused": Deflate.SAME}


@dataclass(frozen=True)
class Work:
    """A way of receiving one large message.

    Attributes:
        kind: Its name but for the size.
        size: Bytes of the message.
        chunks: Makes what is received, for a size.
        parts: Our other sizes, as parts of the first.
        peer_size: Bytes for a peer, whose time is long.
    """

    kind: str
    size: int
    chunks: Callable[[int], Sequence[bytes]]
    parts: Sequence[Fraction]
    peer_size: int

    @property
    def name(self) -> str:
        return f"{size_name(self.size)} {self.kind}"


def fragments(size: int) -> list[bytes]:
    """A masked message of one-byte frames, in chunks of 64 KiB."""
    body = ascii_text(size).encode()
    frames = [encode_frame(0, body[at : at + 1], KEY) for at in range(size)]
    frames[0] = encode_frame(TEXT, body[:1], KEY)
    frames[-1] = encode_frame(FIN, body[-1:], KEY)
    return in_chunks(b"".join(frames))


def frame(size: int, chunk: int) -> list[bytes]:
    """One masked frame, in chunks."""
    return in_chunks(encode_frame(FIN | TEXT, ascii_text(size).encode(), KEY), chunk)


QUARTERS = [Fraction(1, 4), Fraction(1, 16)]
HALF = [Fraction(1, 2)]
WORKS = [
    Work("in 1-byte fragments", MIB // SCALE, fragments, QUARTERS, 4 * 1024),
    Work("frame byte by byte", MIB // SCALE, partial(frame, chunk=1), QUARTERS, 4 * 1024),
    Work("message in 64 KiB chunks", 64 * MIB // SCALE, partial(frame, chunk=CHUNK), HALF, 4 * MIB),
]


def whole(library: WsprotoApi, chunks: Sequence[bytes]) -> str:
    """Receive one message on a new server's connection and return it whole.

    wsproto gives pieces, which its users have to join; wscore does that where it is asked to.
    """
    options: dict[str, Any] = {"whole_messages": True} if library.name == US else {}
    connection = library.open("server", **options)
    receive_data, events = connection.receive_data, connection.events
    pieces: list[str] = []
    for chunk in chunks:
        receive_data(chunk)
        for event in events():
            pieces.append(event.data)  # a comprehension would cost a call a chunk
    return pieces[0] if len(pieces) == 1 else "".join(pieces)


def _contender(name: str, library: WsprotoApi, work: Work, size: int) -> Contender:
    chunks, expected = work.chunks(size), ascii_text(size)
    names = {"whole": whole, "library": library, "chunks": chunks}
    return Contender(
        name,
        "whole(library, chunks)",
        names,
        work=size,
        result=lambda: whole(library, chunks) == expected,
        peer=library.name != US,
    )


def rows(peers: Sequence[Peer]) -> Iterator[Row]:
    """Rows for time: ours at all sizes, wsproto at a smaller one."""
    us = WsprotoApi(US)
    for work in WORKS:
        size = work.size
        contenders = [_contender(US, us, work, size)]
        for part in work.parts:
            contenders.append(_contender(f"{US}, {part}", us, work, int(size * part)))
        for peer in peers:
            if isinstance(peer, WsprotoApi):
                contenders.append(_contender(peer.name, peer, work, work.peer_size))
        yield Row(f"{work.name}, a byte", contenders, True)


def held(library: WsprotoApi, work: Work, size: int) -> float:
    """Measure the peak of memory while a message comes in, in bytes a byte of it."""
    chunks = work.chunks(size)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        message = whole(library, chunks)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(message) == size
    return (peak - before) / size


def opened(library: WsprotoApi, deflate: Deflate | None, count: int) -> float:
    """Measure what an open connection holds that has received a short message, in bytes."""
    short = encode_frame(FIN | TEXT, b"hello", KEY)
    connections: list[Any] = [None] * count
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for at in range(count):
            connection = connections[at] = library.open("server", deflate)
            connection.receive_data(short)
            assert [event.data for event in connection.events()] == ["hello"]
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / count


def labels() -> list[str]:
    """Name all rows."""
    times = [f"{work.name}, a byte" for work in WORKS]
    return [*times, *(f"{work.name}, held a byte" for work in WORKS), *IDLE]


def memory(peers: Sequence[Peer], wanted: Callable[[str], bool]) -> Iterator[Outcome]:
    """Measure the rows for memory."""
    libraries = [WsprotoApi(US), *(peer for peer in peers if isinstance(peer, WsprotoApi))]
    names = [library.name for library in libraries]
    for work in WORKS:
        label = f"{work.name}, held a byte"
        if wanted(label):
            sizes = [work.size, work.peer_size]
            values = {
                library.name: held(library, work, size)
                for library, size in zip(libraries, sizes, strict=False)
            }
            yield compared(label, "B", values, names, held(libraries[0], work, work.size))
    for label, deflate in IDLE.items():
        if wanted(label):
            counts = [CONNECTIONS, PEER_CONNECTIONS]
            values = {
                library.name: opened(library, deflate, count)
                for library, count in zip(libraries, counts, strict=False)
            }
            again = opened(libraries[0], deflate, CONNECTIONS)
            yield compared(label, "B", values, names, again)


TABLES = {"growth, time": rows}
