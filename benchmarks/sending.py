"""Sending on a sans-IO connection: messages become bytes, the event made anew as a user has to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from benchmarks._harness import US, Contender, Row
from benchmarks.payloads import BINARY_1M, PAYLOADS, ROLES, TEXT_32, Payload, raw
from benchmarks.peers import Deflate, Peer, Sender, by_name
from benchmarks.peers.wsproto_api import WsprotoApi
from benchmarks.receiving import limits
from wscore.events import BytesMessage

APART = ("aiohttp", "picows")


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
    us = WsprotoApi(US)
    large, short = (raw(payload.messages[0]) for payload in (BINARY_1M, TEXT_32))
    send_parts = us.open("server").send_parts
    names = {"send_parts": send_parts, "Message": BytesMessage}

    def contender(name: str, data: bytes) -> Contender:
        statement = "send_parts(Message(data=data))"
        result = partial(_parts_read_back, send_parts, peers, data) if data is large else None
        return Contender(name, statement, {**names, "data": data}, result=result, peer=False)

    contenders = [contender(US, large), contender(f"{US}, 32 B", short)]
    # Of the others these write the payload of a server's large message apart.
    for library in peers:
        sender = library.sender("server", False) if library.name in APART else None
        if sender is not None:
            judge = by_name(peers, "wsproto") or us
            result = partial(_read_back, sender, judge, "server", BINARY_1M, None)
            statement_names = {"take": sender.take, "messages": BINARY_1M.messages}
            contenders.append(
                Contender(library.name, "take(messages)", statement_names, result=result)
            )
    yield Row("server sends binary 1 MiB as header and payload", contenders, [large])


def _parts_read_back(
    send_parts: Callable[..., tuple[bytes, Any]], peers: Sequence[Peer], data: bytes
) -> list[Any]:
    header, payload = send_parts(BytesMessage(data=data))
    receiver = (by_name(peers, "wsproto") or WsprotoApi(US)).receiver("client", False)
    if payload is not data or receiver is None:
        return ["a copy"]
    return receiver.messages([header + payload])


TABLES = {"sending, a message": rows, "sending without a copy": rows_apart}
