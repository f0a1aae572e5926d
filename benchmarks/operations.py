"""What is done under callgrind: the core's operations, each some times and then some times more.

A program of its own that needs nothing but wscore, so that it can run on any version of it. Before
and after each part it calls `getppid`, where callgrind writes down what it has counted.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from wscore import ConnectionType, WSConnection, _framing
from wscore.connection import Connection
from wscore.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Request,
    TextMessage,
)
from wscore.extensions import Extension, PerMessageDeflate

#: How often an operation is done: until its memory and caches are as they stay, and counted.
WARM_UP, FEW, MANY = 20, 10, 110
#: Of larger messages: so that their blocks come from lists of the allocator (glibc's end at 1,032
#: bytes); beyond, its work depends on what lies beside them in memory.
SIZE = 900
KEY = b"\x37\xfa\x21\x3d"
TEXT, BINARY, FIN, PART, LAST = 0x81, 0x82, 0x80, 0x01, 0x80
SENTENCE = "The quick brown fox jumps over the lazy dog. "
Operation = Callable[[], object]


def text(size: int) -> str:
    """Return ASCII text of that many bytes."""
    return (SENTENCE * (size // len(SENTENCE) + 1))[:size]


def masks(size: int, *, in_place: bool) -> Operation:
    """Mask that many bytes."""
    data = bytearray(size)
    mask = _framing.apply_mask_inplace if in_place else _framing.apply_mask
    return partial(mask, data, KEY)  # at less cost than a lambda


def receives(
    stream: bytes, kind: ConnectionType = ConnectionType.SERVER, deflate: bool = False
) -> Operation:
    """Receive a stream of frames, and take the events."""
    connection = opened(kind, deflate)
    receive_data, events = connection.receive_data, connection.events

    def operation() -> None:
        receive_data(stream)
        for event in events():
            event.data  # type: ignore[attr-defined]  # noqa: B018

    return operation


def sends(message: str | bytes, kind: ConnectionType, deflate: bool = False) -> Operation:
    """Send a message, its event made anew."""
    send = opened(kind, deflate).send
    if isinstance(message, str):
        return lambda: send(TextMessage(data=message))
    return lambda: send(BytesMessage(data=message))


def opened(kind: ConnectionType, deflate: bool = False) -> Connection:
    """Open a connection as after a handshake."""
    extensions: list[Extension] = []
    if deflate:
        extension = PerMessageDeflate()
        side = extension.accept if kind is ConnectionType.SERVER else extension.finalize
        side("permessage-deflate")
        extensions.append(extension)
    return Connection(kind, extensions)


def frames(first: int, payloads: Sequence[str], key: bytes | None = KEY) -> bytes:
    """Encode frames, masked as a client's if there is a key."""
    return b"".join(_framing.encode_frame(first, one.encode(), key) for one in payloads)


def shakes_hands() -> Operation:
    """Make both ends of a connection, and let them shake hands."""

    def operation() -> None:
        client = WSConnection(ConnectionType.CLIENT)
        server = WSConnection(ConnectionType.SERVER)
        server.receive_data(client.send(Request(host="example.com", target="/")))
        next(iter(server.events()))
        client.receive_data(server.send(AcceptConnection()))
        next(iter(client.events()))

    return operation


def closes() -> Operation:
    """Open both ends of a connection, and close it with reason and reply."""

    def operation() -> None:
        client, server = opened(ConnectionType.CLIENT), opened(ConnectionType.SERVER)
        server.receive_data(client.send(CloseConnection(code=1000, reason="bye")))
        for event in server.events():
            assert isinstance(event, CloseConnection)
            client.receive_data(server.send(event.response()))
        for _ in client.events():
            pass

    return operation


def pings() -> Operation:
    """Receive a ping, and answer it."""
    connection = opened(ConnectionType.SERVER)
    frame = _framing.encode_frame(0x89, b"ping", KEY)

    def operation() -> None:
        connection.receive_data(frame)
        for event in connection.events():
            assert isinstance(event, Ping)
            connection.send(event.response())

    return operation


def compressed(message: str) -> bytes:
    """Let a client send a compressed message that refers to nothing before it."""
    return opened(ConnectionType.CLIENT, deflate=True).send(TextMessage(data=message))


def operations() -> Iterator[tuple[str, Operation]]:
    """Make all operations."""
    server, client = ConnectionType.SERVER, ConnectionType.CLIENT
    yield "mask 16 B in place", masks(16, in_place=True)
    yield "mask 16 KiB in place", masks(16 << 10, in_place=True)
    yield "mask 900 B into new bytes", masks(SIZE, in_place=False)
    yield "receive text 32 B", receives(frames(TEXT, [text(32)]))
    yield "receive text 900 B", receives(frames(TEXT, [text(SIZE)]))
    yield (
        "receive text 1 KiB, not ASCII",
        receives(frames(TEXT, ["今天晚上一起去吃火锅吗？好的。" * 23])),
    )
    yield "receive binary 900 B, client", receives(frames(BINARY, [text(SIZE)], None), client)
    yield "receive 64 texts of 32 B at once", receives(frames(TEXT, [text(32)] * 64))
    yield (
        "receive a message of two frames",
        receives(frames(PART, ["one "]) + frames(LAST, ["two"])),
    )
    yield "receive deflated text 900 B", receives(compressed(text(SIZE)), deflate=True)
    yield "send text 32 B, server", sends(text(32), server)
    yield "send text 32 B, client", sends(text(32), client)
    yield "send binary 900 B, client", sends(bytes(SIZE), client)
    yield "send deflated text 900 B, server", sends(text(SIZE), server, deflate=True)
    yield "answer a ping", pings()
    yield "handshake, both ends", shakes_hands()
    yield "open and close, both ends", closes()


def main() -> None:
    """Do everything, and print the names in order and what has counted."""
    names = []
    for name, operation in operations():
        done(operation, WARM_UP)
        gc.collect()
        gc.disable()
        os.getppid()
        done(operation, FEW)
        os.getppid()
        done(operation, MANY)
        os.getppid()
        gc.enable()
        names.append(name)
    print(json.dumps({"names": names, "kernel": _framing.KERNEL, "from": _framing.__file__}))


def done(operation: Operation, times: int) -> None:
    """Do an operation that often."""
    for _ in range(times):
        operation()


if __name__ == "__main__":
    main()
