"""The sans-IO connection: bytes to events and events to bytes, beside wsproto.

Receiving: a stream of frames is made once, and each contender's open connection takes it again and
again, one frame a call or in chunks of 64 KiB. Sending: one message at a time.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

from benchmarks._harness import US, Contender, Goal, Row
from wscore._framing import encode_frame

PEERS = ["wsproto"]
ROLES = ("server", "client")
CHUNK = 64 * 1024
#: About how many payload bytes, and how many messages at most, one pass over a stream carries.
PASS_BYTES, PASS_MESSAGES = 256 * 1024, 256
KEY = b"\x37\xfa\x21\x3d"
FIN_TEXT, FIN_BINARY, FIN_TEXT_DEFLATED = 0x81, 0x82, 0xC1


@dataclass(frozen=True)
class Payload:
    """A kind of message: its name in the table and the data of one message."""

    name: str
    data: str | bytes

    @property
    def raw(self) -> bytes:
        """The payload bytes of its frame."""
        return self.data.encode() if isinstance(self.data, str) else self.data

    @property
    def count(self) -> int:
        """How many messages of it make one pass."""
        return max(1, min(PASS_MESSAGES, PASS_BYTES // len(self.raw)))


def ascii_text(size: int) -> str:
    """Readable text of that many bytes."""
    return ("The quick brown fox jumps over the lazy dog. " * (size // 45 + 1))[:size]


def chinese_text(size: int) -> str:
    """Chinese chat text of at most that many bytes in UTF-8, and at least two fewer."""
    return ("今天晚上一起去吃火锅吗？好的，七点在老地方见。" * (size // 69 + 1))[: size // 3]


TEXT_32 = Payload("text 32 B", ascii_text(32))
TEXT_1K = Payload("text 1 KiB ASCII", ascii_text(1024))
CHINESE_1K = Payload("text 1 KiB non-ASCII", chinese_text(1024))
TEXT_1M = Payload("text 1 MiB ASCII", ascii_text(1 << 20))
BINARY_32 = Payload("binary 32 B", bytes(range(32)))
BINARY_1K = Payload("binary 1 KiB", bytes(range(256)) * 4)
BINARY_1M = Payload("binary 1 MiB", bytes(range(256)) * 4096)
PAYLOADS = [TEXT_32, TEXT_1K, CHINESE_1K, TEXT_1M, BINARY_32, BINARY_1K, BINARY_1M]
JSON_1K = Payload(
    "deflate, JSON 1 KiB",
    "[" + ",".join(f'{{"from":"user{n}","text":"message {n * 7919}"}}' for n in range(24)) + "]",
)

# The rows of the goals table that this file measures, as a server for receiving.
RECEIVE_GOALS = {
    ("server", TEXT_32, "frame a call"): 50,
    ("server", TEXT_32, "64 KiB chunks"): 90,
    ("server", TEXT_1K, "frame a call"): 60,
    ("server", CHINESE_1K, "frame a call"): 10,
    ("server", BINARY_1M, "frame a call"): 45,
}
SEND_GOALS = {
    ("server", TEXT_32): 45,
    ("client", TEXT_32): 65,
    ("client", BINARY_1M): 100,
}


def libraries() -> dict[str, Any]:
    """Find the contenders by name, each as a namespace of its modules."""
    found: dict[str, Any] = {US: namespace("wscore")}
    with contextlib.suppress(ImportError):
        found["wsproto"] = namespace("wsproto")
    return found


def namespace(package: str) -> SimpleNamespace:
    """Import the modules of wsproto's API under one of its two package names."""
    names = ("connection", "events", "extensions")
    modules: dict[str, ModuleType] = {n: import_module(f"{package}.{n}") for n in names}
    return SimpleNamespace(**modules)


def open_connection(library: Any, role: str, deflate: bool) -> Any:
    """Open a connection as after a handshake."""
    extensions = []
    if deflate:
        extension = library.extensions.PerMessageDeflate()
        if role == "server":
            extension.accept("permessage-deflate")
        else:
            extension.finalize("permessage-deflate")
        extensions.append(extension)
    kind = library.connection.ConnectionType[role.upper()]
    return library.connection.Connection(kind, extensions)


def frame(payload: Payload, role: str, deflate: bool) -> bytes:
    """Encode one message as the peer of `role` would send it."""
    raw, first = payload.raw, FIN_TEXT if isinstance(payload.data, str) else FIN_BINARY
    if deflate:
        # Each message is compressed alone, so that the stream can be taken again and again.
        compressor = zlib.compressobj(wbits=-15)
        raw = compressor.compress(raw) + compressor.flush(zlib.Z_SYNC_FLUSH)
        raw, first = raw[:-4], FIN_TEXT_DEFLATED
    return encode_frame(first, raw, KEY if role == "server" else None)


def take(receive_data: Callable[[bytes], None], events: Any, chunks: Sequence[bytes]) -> None:
    """Take every event of a stream as a user would: the loop that is timed."""
    for chunk in chunks:
        receive_data(chunk)
        for event in events():
            event.data  # noqa: B018


def received(connection: Any, chunks: Sequence[bytes]) -> list[str | bytes]:
    """Take a stream and return its messages, put together from the pieces."""
    messages: list[str | bytes] = []
    pieces: list[Any] = []
    for chunk in chunks:
        connection.receive_data(chunk)
        for event in connection.events():
            data = event.data
            pieces.append(data if isinstance(data, str) else bytes(data))
            if event.message_finished:
                messages.append(("" if isinstance(data, str) else b"").join(pieces))
                pieces.clear()
    return messages


def receive_row(role: str, payload: Payload, delivery: str, deflate: bool = False) -> Row:
    """Make the row for receiving one kind of message."""
    frames = [frame(payload, role, deflate)] * payload.count
    stream = b"".join(frames)
    chunks = (
        frames
        if delivery == "frame a call"
        else [stream[at : at + CHUNK] for at in range(0, len(stream), CHUNK)]
    )
    contenders = []
    for name, library in libraries().items():
        connection = open_connection(library, role, deflate)
        names = {"take": take, "connection": connection, "chunks": chunks}
        contenders.append(
            Contender(
                name,
                "take(connection.receive_data, connection.events, chunks)",
                names,
                work=payload.count,
                result=partial(received, connection, chunks),
            )
        )
    goal = RECEIVE_GOALS.get((role, payload, delivery))
    goals = [Goal("wsproto", "faster", goal)] if goal and not deflate else []
    expected = [payload.data] * payload.count
    return Row(f"{role} receives {payload.name}, {delivery}", contenders, expected, goals)


def send_row(role: str, payload: Payload, deflate: bool = False) -> Row:
    """Make the row for sending one kind of message, its event made each time as a user must."""
    other = "client" if role == "server" else "server"
    contenders = []
    for name, library in libraries().items():
        kind = "TextMessage" if isinstance(payload.data, str) else "BytesMessage"
        connection = open_connection(library, role, deflate)
        names = {
            "send": connection.send,
            "Message": getattr(library.events, kind),
            "data": payload.data,
        }

        def result(names: dict[str, Any] = names) -> list[str | bytes]:
            judge = open_connection(libraries()[US], other, deflate)
            sent = [names["send"](names["Message"](data=names["data"])) for _ in range(3)]
            return received(judge, sent)

        contenders.append(Contender(name, "send(Message(data=data))", names, result=result))
    goal = SEND_GOALS.get((role, payload))
    goals = [Goal("wsproto", "faster", goal)] if goal and not deflate else []
    return Row(f"{role} sends {payload.name}", contenders, [payload.data] * 3, goals)


def rows_receiving() -> Iterator[Row]:
    """Rows for bytes that become events."""
    for role in ROLES:
        for payload in PAYLOADS:
            for delivery in ("frame a call", "64 KiB chunks"):
                yield receive_row(role, payload, delivery)
        yield receive_row(role, JSON_1K, "frame a call", deflate=True)


def rows_sending() -> Iterator[Row]:
    """Rows for events that become bytes."""
    for role in ROLES:
        for payload in PAYLOADS:
            yield send_row(role, payload)
        yield send_row(role, JSON_1K, deflate=True)


TABLES = {"receiving": rows_receiving, "sending": rows_sending}
