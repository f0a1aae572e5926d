"""permessage-deflate (RFC 7692) on a sans-IO connection: chat JSON, messages sharing a window; and
one message for many connections, compressed or not.

zlib itself is the larger part of each figure for messages, and the same for all where the settings
are.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks import receiving, sending
from benchmarks._harness import US, Contender, Row
from benchmarks.goals import EMPTY_CALL, ZLIB
from benchmarks.masking import empty_call
from benchmarks.payloads import JSON_1K, ROLES, TAIL, ascii_text, deflated, deflated_frames, raw
from benchmarks.peers import Deflate, Peer
from benchmarks.peers.wsproto_api import WsprotoApi
from wscore.events import PreparedMessage, TextMessage

#: Connections that get the same message.
MEMBERS = 1000
#: Where each has a compressor of its own, of 256 KiB.
COMPRESSING_MEMBERS = 100


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


def fan_out(name: str, library: WsprotoApi, deflate: Deflate | None, make: type) -> Contender:
    """Make a contender that sends one message on many connections of a server."""
    members = MEMBERS if deflate is None or make is PreparedMessage else COMPRESSING_MEMBERS
    sends = [library.open("server", deflate).send for _ in range(members)]
    text = ascii_text(128)

    def result() -> str:
        message = make(text)
        client = library.open("client", deflate)
        client.receive_data([send(message) for send in sends][-1])
        return "".join(event.data for event in client.events())

    return Contender(
        name,
        "message = make(text)\nfor send in sends: send(message)",
        {"make": make, "text": text, "sends": sends},
        work=members,
        result=result,
        peer=library.name != US,
    )


def fan_out_rows(peers: Sequence[Peer]) -> Iterator[Row]:
    """Sending a message on many connections, prepared once by us."""
    us, call = WsprotoApi(US), empty_call()
    for deflate in (None, Deflate.SAME):
        contenders = [
            fan_out(US, us, deflate, PreparedMessage),
            fan_out(f"{US}, each anew", us, deflate, TextMessage),
        ]
        for peer in peers:
            if isinstance(peer, WsprotoApi):
                contenders.append(fan_out(peer.name, peer, deflate, peer.text_message))
        names = {"call": call, "calls": range(MEMBERS)}
        contenders.append(
            Contender(EMPTY_CALL, "for a in calls: call(a, a)", names, MEMBERS, peer=False)
        )
        yield Row(
            f"text 128 B, {deflate.value if deflate else 'plain'}", contenders, ascii_text(128)
        )


TABLES = {"deflate, a message": rows, "one message for many, a connection": fan_out_rows}
