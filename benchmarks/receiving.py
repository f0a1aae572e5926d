"""Receiving on a sans-IO connection: bytes become messages.

A stream of frames is made once, and each contender's open connection takes it again and again, one
frame a call or in chunks of 64 KiB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks._harness import US, Contender, Row
from benchmarks.payloads import PAYLOADS, ROLES, Payload, frames, in_chunks
from benchmarks.peers import Deflate, Peer, Receiver
from benchmarks.peers.wsproto_api import WsprotoApi

DELIVERIES = ("frame a call", "64 KiB chunks")


def contender(
    name: str, receiver: Receiver, chunks: Sequence[bytes], expected: Sequence[str | bytes]
) -> Contender:
    """Make the contender that takes these chunks with a library's receiver."""

    def result() -> object:
        last = receiver.take(chunks)
        whole = expected[-1]
        if not (last and isinstance(last, str) == isinstance(whole, str)):
            return f"{last!r:.40} from the timed way"
        if isinstance(whole, str):
            ends = whole.endswith(last)
        else:
            ends = whole.endswith(bytes(last))
        return receiver.messages(chunks) if ends else "another message from the timed way"

    names = {"take": receiver.take, "chunks": chunks}
    return Contender(name, "take(chunks)", names, work=len(expected), result=result)


def row(
    label: str,
    peers: Sequence[Peer],
    role: str,
    payload: Payload,
    chunks: Sequence[bytes],
    deflate: Deflate | None = None,
) -> Row:
    """Make the row for receiving these chunks."""
    contenders = []
    for library in (WsprotoApi(US), *peers):
        receiver = library.receiver(role, payload.text, deflate)
        if receiver is not None:
            contenders.append(contender(library.name, receiver, chunks, payload.messages))
    return Row(label, contenders, list(payload.messages))


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
