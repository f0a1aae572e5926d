"""The messages that are sent and received, and streams of their frames; imports wscore's framing.

Streams are made with wscore's own encoder, and every contender has to find the messages in them.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from wscore._framing import encode_frame

ROLES = ("server", "client")
CHUNK = 64 * 1024
#: About how many payload bytes, and how many messages at most, one pass carries.
PASS_BYTES, PASS_MESSAGES = 256 * 1024, 256
KEY = b"\x37\xfa\x21\x3d"
#: What a compressed message ends with, and its frame leaves out (RFC 7692, section 7.2.1).
TAIL = b"\x00\x00\xff\xff"
TEXT, BINARY, FIN, RSV1 = 0x1, 0x2, 0x80, 0x40


@dataclass(frozen=True)
class Payload:
    """A kind of message: its name in the table and the messages of one pass."""

    name: str
    messages: Sequence[str | bytes]

    @property
    def text(self) -> bool:
        """Whether it is text."""
        return isinstance(self.messages[0], str)


def raw(message: str | bytes) -> bytes:
    """Encode a message as the payload of its frame."""
    return message.encode() if isinstance(message, str) else message


def repeated(name: str, message: str | bytes) -> Payload:
    """Make a kind whose messages are all the same."""
    count = max(1, min(PASS_MESSAGES, PASS_BYTES // len(raw(message))))
    return Payload(name, [message] * count)


def size_name(size: int) -> str:
    """Write a size in its unit."""
    for unit, scale in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= scale:
            return f"{size // scale} {unit}"
    return f"{size} B"


def ascii_text(size: int) -> str:
    """Readable text of that many bytes."""
    return ("The quick brown fox jumps over the lazy dog. " * (size // 45 + 1))[:size]


def chinese_text(size: int) -> str:
    """Chinese chat text of at most that many bytes in UTF-8, and at least two fewer."""
    return ("今天晚上一起去吃火锅吗？好的，七点在老地方见。" * (size // 69 + 1))[: size // 3]


def chat_json(size: int, seed: int) -> str:
    """A JSON array of chat messages of that many bytes, different for each seed."""
    rng = random.Random(seed)
    words = ["yes", "no", "tomorrow", "meeting", "please", *ascii_text(43).split()]
    rows: list[str] = []
    while True:
        said = " ".join(rng.choices(words, k=rng.randrange(3, 12)))
        row = f'{{"id":{rng.randrange(10**9)},"from":"user{rng.randrange(99)}","text":"{said}"}}'
        if len(",".join([*rows, row])) + 2 > size:
            return f"[{','.join(rows)}]".ljust(size)
        rows.append(row)


TEXT_32 = repeated("text 32 B", ascii_text(32))
TEXT_1K = repeated("text 1 KiB ASCII", ascii_text(1024))
CHINESE_1K = repeated("text 1 KiB non-ASCII", chinese_text(1024))
TEXT_1M = repeated("text 1 MiB ASCII", ascii_text(1 << 20))
BINARY_1K = repeated("binary 1 KiB", bytes(range(256)) * 4)
BINARY_1M = repeated("binary 1 MiB", bytes(range(256)) * 4096)
PAYLOADS = [TEXT_32, TEXT_1K, CHINESE_1K, TEXT_1M, BINARY_1K, BINARY_1M]
#: All different, as compression with a shared window would make nothing of repetitions.
JSON_1K = Payload("JSON 1 KiB", [chat_json(1024, seed) for seed in range(PASS_MESSAGES)])


def frames(payload: Payload, role: str) -> list[bytes]:
    """Encode a pass of messages as the peer of `role` would send them."""
    first = FIN | (TEXT if payload.text else BINARY)
    key = KEY if role == "server" else None
    return [encode_frame(first, raw(message), key) for message in payload.messages]


def deflated(payload: Payload) -> list[bytes]:
    """Compress a pass of messages with a window that they share, as frames carry them.

    The first refers to nothing before it, so that the pass can be taken again and again.
    """
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return [
        (compressor.compress(raw(message)) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
        for message in payload.messages
    ]


def deflated_frames(payload: Payload, role: str) -> list[bytes]:
    """Encode a pass of compressed messages as the peer of `role` would send them."""
    first = FIN | RSV1 | (TEXT if payload.text else BINARY)
    key = KEY if role == "server" else None
    return [encode_frame(first, data, key) for data in deflated(payload)]


def in_chunks(stream: bytes, size: int = CHUNK) -> list[bytes]:
    """Cut a stream as a busy socket gives it."""
    return [stream[at : at + size] for at in range(0, len(stream), size)]
