"""Receiving on a sans-IO connection: bytes become messages.

A stream of frames is made once, and each contender's open connection takes it again and again, one
frame a call or in chunks of 64 KiB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks._harness import US, Contender, Row
from benchmarks.goals import COPY
from benchmarks.payloads import PAYLOADS, ROLES, Payload, frames, in_chunks, raw
from benchmarks.peers import Deflate, Peer, Receiver
from benchmarks.peers.wsproto_api import WsprotoApi

DELIVERIES = ("frame a call", "64 KiB chunks")


def contender(
    name: str, receiver: Receiver, chunks: Sequence[bytes], expected: Sequence[str | bytes]
) -> Contender:
    """Make the contender that takes these chunks with a library's receiver."""

    def result() -> object:
        last, whole = receiver.take(chunks), expected[-1]
        if not (last and isinstance(last, str) == isinstance(whole, str) and ends(whole, last)):
            return f"{last!r:.40} from the timed way"
        return receiver.messages(chunks)

    names = {"take": receiver.take, "chunks": chunks}
    return Contender(name, "take(chunks)", names, work=len(expected), result=result)


def ends(whole: str | bytes, last: Any) -> bool:
    """Whether a message ends with this, its last piece or all of it."""
    return whole.endswith(last) if isinstance(whole, str) else whole.endswith(bytes(last))


def row(
    label: str,
    peers: Sequence[Peer],
    role: str,
    payload: Payload,
    chunks: Sequence[bytes],
    deflate: Deflate | None = None,
) -> Row:
    """Make the row for receiving these chunks."""
    contenders: list[Contender] = []
    for library in (WsprotoApi(US), *peers):
        receiver = library.receiver(role, payload.text, deflate)
        if receiver is not None:
            contenders.append(contender(library.name, receiver, chunks, payload.messages))
    contenders += limits(payload)
    return Row(label, contenders, list(payload.messages))


def limits(payload: Payload) -> list[Contender]:
    """Make what no one who returns new bytes can beat, where it matters: a copy of them."""
    data = raw(payload.messages[0])
    if len(data) < 1 << 20:
        return []
    return [Contender(COPY, "bytes(data)", {"data": bytearray(data)}, peer=False)]


def rows(peers: Sequence[Peer]) -> Iterator[Row]:
    """All rows, servers' first."""
    for role in ROLES:
        for payload in PAYLOADS:
            encoded = frames(payload, role)
            for delivery in DELIVERIES:
                chunks = encoded if delivery == DELIVERIES[0] else in_chunks(b"".join(encoded))
                yield row(
                    f"{role} receives {payload.name}, {delivery}", peers, role, payload, chunks
                )


TABLES = {"receiving, a message": rows}
