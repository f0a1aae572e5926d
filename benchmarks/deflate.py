"""permessage-deflate (RFC 7692) on a sans-IO connection: chat JSON, messages sharing a window.

zlib itself is the larger part of each figure, and the same for all where the settings are.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks import receiving, sending
from benchmarks._harness import Contender, Row
from benchmarks.goals import ZLIB
from benchmarks.payloads import JSON_1K, ROLES, TAIL, deflated, deflated_frames, raw
from benchmarks.peers import Deflate, Peer


def rows(peers: Sequence[Peer]) -> Iterator[Row]:
    """Receiving what was compressed at level 6, sending at the same level and by default."""
    for role in ROLES:
        chunks = deflated_frames(JSON_1K, role)
        label = f"{role} receives {JSON_1K.name}, {Deflate.SAME.value}"
        row = receiving.row(label, peers, role, JSON_1K, chunks, Deflate.SAME)
        yield replace(row, contenders=[*row.contenders, inflating()])
    for setting in Deflate:
        for role in ROLES:
            label = f"{role} sends {JSON_1K.name}, {setting.value}"
            row = sending.row(label, peers, role, JSON_1K, setting)
            yield replace(row, contenders=[*row.contenders, deflating()])


def inflating() -> Contender:
    """Make the limit for receiving: zlib's work and nothing else."""
    pieces = [piece + TAIL for piece in deflated(JSON_1K)]
    names = {"inflate": zlib.decompressobj(-15).decompress, "pieces": pieces}
    return Contender(ZLIB, "for p in pieces: inflate(p)", names, work=len(pieces), peer=False)


def deflating() -> Contender:
    """Make the limit for sending at level 6: zlib's work and nothing else."""
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    pieces = [raw(message) for message in JSON_1K.messages]
    names = {"deflate": compressor.compress, "flush": compressor.flush, "how": zlib.Z_SYNC_FLUSH}
    return Contender(
        ZLIB,
        "for p in pieces: deflate(p); flush(how)",
        {**names, "pieces": pieces},
        work=len(pieces),
        peer=False,
    )


TABLES = {"deflate, a message": rows}
