"""Sending on a sans-IO connection: messages become bytes, the event made anew as a user has to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks._harness import US, Contender, Row
from benchmarks.payloads import BINARY, BINARY_1M, FIN, PAYLOADS, ROLES, TEXT_32, Payload, raw
from benchmarks.peers import Deflate, Peer, Sender, by_name
from benchmarks.peers.wsproto_api import WsprotoApi
from benchmarks.receiving import limits
from wscore._framing import encode_frame_header


def row(
    label: str,
    peers: Sequence[Peer],
    role: str,
    payload: Payload,
    deflate: Deflate | None = None,
) -> Row:
    """Make the row for sending a pass of messages.

    What they become is read by wsproto where it is there, lest our two errors be each other's
    excuse.
    """
    judge = by_name(peers, "wsproto") or WsprotoApi(US)
    contenders = []
    for library in (WsprotoApi(US), *peers):
        sender = library.sender(role, payload.text, deflate)
        # Two connections: a shared window would hold messages that the judge has not seen.
        checked = library.sender(role, payload.text, deflate)
        if sender is not None and checked is not None:
            result = partial(_read_back, checked, judge, role, payload, deflate)
            names = {"take": sender.take, "messages": payload.messages}
            work = len(payload.messages)
            contenders.append(
                Contender(library.name, "take(messages)", names, work=work, result=result)
            )
    contenders += limits(payload)
    return Row(label, contenders, list(payload.messages))


def _read_back(
    sender: Sender, judge: Peer, role: str, payload: Payload, deflate: Deflate | None
) -> list[str | bytes]:
    other = "client" if role == "server" else "server"
    receiver = judge.receiver(other, payload.text, deflate)
    assert receiver is not None
    return receiver.messages([sender.wire(payload.messages)])


def rows(peers: Sequence[Peer]) -> Iterator[Row]:
    """All rows, servers' first."""
    for role in ROLES:
        for payload in PAYLOADS:
            yield row(f"{role} sends {payload.name}", peers, role, payload)


def rows_apart(peers: Sequence[Peer]) -> Iterator[Row]:
    """The row for a large message of which nothing is copied: its header is sent apart."""
    large = raw(BINARY_1M.messages[0])
    short = raw(TEXT_32.messages[0])

    def contender(name: str, data: bytes) -> Contender:
        names = {"header": encode_frame_header, "first": FIN | BINARY, "data": data}
        return Contender(name, "header(first, len(data)), data", names, peer=False)

    judge = by_name(peers, "wsproto") or WsprotoApi(US)
    receiver = judge.receiver("client", False)
    assert receiver is not None

    def result() -> list[bytes]:
        assert receiver is not None
        return receiver.messages([encode_frame_header(FIN | BINARY, len(large)), large])

    ours = contender(US, large)
    contenders = [
        Contender(US, ours.statement, ours.names, result=result),
        contender(f"{US}, 32 B", short),
    ]
    for library in peers:
        sender = library.sender("server", False)
        if sender is not None and library.name in ("aiohttp", "picows"):
            checked = partial(_read_back, sender, judge, "server", BINARY_1M, None)
            names = {"take": sender.take, "messages": BINARY_1M.messages}
            contenders.append(Contender(library.name, "take(messages)", names, result=checked))
    yield Row("server sends binary 1 MiB as header and payload", contenders, [large])


TABLES = {"sending, a message": rows, "sending without a copy": rows_apart}
