"""Framing alone (RFC 6455, section 5.2): frames encoded and decoded, without connection and events.

Ours are what its connections use: `encode_frame`, and the frame decoder, which gives events. Beside
it is `FrameProtocol`, which wscore has for those who use wsproto's, and websockets has `Frame`. A
frame without a payload is a header and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from benchmarks._harness import US, Contender, Row
from benchmarks.payloads import BINARY, FIN, KEY, ROLES, size_name
from benchmarks.peers import Peer, by_name
from wscore._framing import BytesMessage, FrameDecoder, encode_frame, new_mask_key

SIZES = [0, 32, 1024, 64 * 1024]
#: Frames of one pass, and bytes at most.
COUNT, PASS_BYTES = 64, 256 * 1024
#: Ours with wsproto's interface, in Python in both twins.
COMPATIBLE = "wscore FrameProtocol"


@dataclass(frozen=True)
class Framing:
    """How a library encodes and decodes frames.

    Attributes:
        encode: Encodes a pass of binary payloads, each to its bytes, which are dropped.
        encoded: The same, and returns all bytes.
        decode: Takes a stream of frames, and returns how many there were.
        decoded: The same, and returns the payloads.
    """

    encode: Callable[[Sequence[bytes]], object]
    encoded: Callable[[Sequence[bytes]], bytes]
    decode: Callable[[bytes], int]
    decoded: Callable[[bytes], list[bytes]]


def ours(role: str) -> Framing:
    """Make what our connections use a contender."""
    decoder = FrameDecoder(role == "client")
    receive_data, masks = decoder.receive_data, role == "client"

    def encode(payloads: Sequence[bytes]) -> None:
        if masks:
            for payload in payloads:
                encode_frame(FIN | BINARY, payload, new_mask_key())
        else:
            for payload in payloads:
                encode_frame(FIN | BINARY, payload)

    def encoded(payloads: Sequence[bytes]) -> bytes:
        keys = [new_mask_key() if masks else None for _ in payloads]
        pairs = zip(payloads, keys, strict=True)
        return b"".join(encode_frame(FIN | BINARY, payload, key) for payload, key in pairs)

    def decode(stream: bytes) -> int:
        receive_data(stream)
        count = 0
        for _ in decoder:
            count += 1
        return count

    def decoded(stream: bytes) -> list[bytes]:
        receive_data(stream)
        return [bytes(event.data) for event in decoder if isinstance(event, BytesMessage)]

    return Framing(encode, encoded, decode, decoded)


def frame_protocol(package: str, role: str) -> Framing:
    """Make `FrameProtocol` of wscore or wsproto a contender."""
    protocol = import_module(f"{package}.frame_protocol").FrameProtocol(role == "client", [])
    send_data, receive_bytes = protocol.send_data, protocol.receive_bytes
    received_frames = protocol.received_frames

    def encode(payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            send_data(payload, True)

    def decode(stream: bytes) -> int:
        receive_bytes(stream)
        count = 0
        for _ in received_frames():
            count += 1
        return count

    def decoded(stream: bytes) -> list[bytes]:
        receive_bytes(stream)
        return [bytes(frame.payload) for frame in received_frames()]

    return Framing(
        encode,
        lambda payloads: b"".join(bytes(send_data(payload, True)) for payload in payloads),
        decode,
        decoded,
    )


def websockets_frame(role: str) -> Framing:
    """Make `Frame` of websockets a contender, fed by its own stream reader."""
    frames = import_module("websockets.frames")
    reader_class = import_module("websockets.streams").StreamReader
    frame_class, binary = frames.Frame, frames.Opcode.BINARY
    masks, unmasks = role == "client", role == "server"

    def encode(payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            frame_class(binary, payload).serialize(mask=masks)

    def parsed(stream: bytes) -> Iterator[Any]:
        reader = reader_class()
        reader.feed_data(stream)
        reader.feed_eof()
        while True:
            step = reader.at_eof()
            try:
                next(step)
            except StopIteration as stop:
                if stop.value:
                    return
            parser = frame_class.parse(reader.read_exact, mask=unmasks)
            try:
                next(parser)
            except StopIteration as stop:
                yield stop.value

    return Framing(
        encode,
        lambda payloads: b"".join(
            frame_class(binary, payload).serialize(mask=masks) for payload in payloads
        ),
        lambda stream: sum(1 for _ in parsed(stream)),
        lambda stream: [bytes(frame.data) for frame in parsed(stream)],
    )


def contestants(peers: Sequence[Peer], role: str) -> dict[str, Framing]:
    """Make everybody's framing, ours first."""
    found = {US: ours(role), COMPATIBLE: frame_protocol(US, role)}
    if by_name(peers, "wsproto") is not None:
        found["wsproto"] = frame_protocol("wsproto", role)
    if by_name(peers, "websockets") is not None:
        found["websockets"] = websockets_frame(role)
    return found


def rows(peers: Sequence[Peer]) -> Iterator[Row]:
    """All rows, encoding first."""
    for size in SIZES:
        count = min(COUNT, PASS_BYTES // max(size, 1))
        payloads = [bytes(number % 256 for number in range(at, at + size)) for at in range(count)]
        for role in ROLES:
            yield encoding(peers, role, size, payloads)
        for role in ROLES:
            yield decoding(peers, role, size, payloads)


def encoding(peers: Sequence[Peer], role: str, size: int, payloads: list[bytes]) -> Row:
    """Make the row for encoding; wsproto's decoder reads what was encoded."""
    other = "server" if role == "client" else "client"
    judges = contestants(peers, other)
    judge = judges.get("wsproto", judges[US])

    def checked(framing: Framing) -> Callable[[], list[bytes]]:
        return lambda: judge.decoded(framing.encoded(payloads))

    contenders = [
        Contender(
            name,
            "encode(payloads)",
            {"encode": framing.encode, "payloads": payloads},
            work=len(payloads),
            result=checked(framing),
            peer=name != COMPATIBLE,
        )
        for name, framing in contestants(peers, role).items()
    ]
    return Row(f"{role} encodes {described(size)}", contenders, payloads)


def decoding(peers: Sequence[Peer], role: str, size: int, payloads: list[bytes]) -> Row:
    """Make the row for decoding a stream of frames."""
    key = KEY if role == "server" else None
    stream = b"".join(encode_frame(FIN | BINARY, payload, key) for payload in payloads)

    def checked(framing: Framing) -> Callable[[], list[bytes]]:
        def result() -> list[bytes]:
            if framing.decode(stream) != len(payloads):
                return []
            return framing.decoded(stream)

        return result

    contenders = [
        Contender(
            name,
            "decode(stream)",
            {"decode": framing.decode, "stream": stream},
            work=len(payloads),
            result=checked(framing),
            peer=name != COMPATIBLE,
        )
        for name, framing in contestants(peers, role).items()
    ]
    return Row(f"{role} decodes {described(size)}", contenders, payloads)


def described(size: int) -> str:
    """Name what a frame carries."""
    return f"a frame of {size_name(size)}" if size else "a header alone"


TABLES = {"framing, a frame": rows}
