"""permessage-deflate (RFC 7692) on a sans-IO connection: chat JSON, messages sharing a window.

zlib itself is the larger part of each figure, and the same for all where the settings are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks import receiving, sending
from benchmarks._harness import Row
from benchmarks.payloads import JSON_1K, ROLES, deflated_frames
from benchmarks.peers import Deflate, Peer


def rows(peers: Sequence[Peer]) -> Iterator[Row]:
    """Receiving what was compressed at level 6, sending at the same level and by default."""
    for role in ROLES:
        chunks = deflated_frames(JSON_1K, role)
        label = f"{role} receives {JSON_1K.name}, {Deflate.SAME.value}"
        yield receiving.row(label, peers, role, JSON_1K, chunks, Deflate.SAME)
    for setting in Deflate:
        for role in ROLES:
            label = f"{role} sends {JSON_1K.name}, {setting.value}"
            yield sending.row(label, peers, role, JSON_1K, setting)


TABLES = {"deflate, a message": rows}
