"""Tables that several test modules share: frames good and bad, close codes, UTF-8, lengths."""

from __future__ import annotations

from typing import NamedTuple

KEY = bytes.fromhex("37fa213d")

#: Payload lengths around each border of the three length forms (RFC 6455, section 5.2).
LENGTHS = [0, 1, 2, 3, 4, 5, 15, 16, 17, 124, 125, 126, 127, 65534, 65535, 65536, 65537]

#: RFC 6455, section 5.7: the examples, as (bytes, from the client, opcode, payload).
RFC_EXAMPLES = [
    (bytes.fromhex("810548656c6c6f"), False, 0x81, b"Hello"),
    (bytes.fromhex("818537fa213d7f9f4d5158"), True, 0x81, b"Hello"),
    (bytes.fromhex("890548656c6c6f"), False, 0x89, b"Hello"),
    (bytes.fromhex("8a8537fa213d7f9f4d5158"), True, 0x8A, b"Hello"),
]


class Violation(NamedTuple):
    """Bytes from a peer that break the protocol."""

    name: str
    data: bytes
    #: The bytes come from a client (to a server).
    from_client: bool
    code: int
    #: How many of the bytes suffice to know.
    known_after: int


def server_frame(first_byte: int, payload: bytes = b"") -> bytes:
    """An unmasked frame with a short payload."""
    assert len(payload) <= 125
    return bytes((first_byte, len(payload))) + payload


VIOLATIONS = [
    *(
        Violation(f"opcode {op:#x}", bytes((0x80 | op, 0)), False, 1002, 1)
        for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    ),
    *(
        Violation(f"rsv {rsv:#x}", bytes((0x81 | rsv, 0)), False, 1002, 1)
        for rsv in (0x10, 0x20, 0x40, 0x70)
    ),
    *(
        Violation(f"fragmented control {op:#x}", bytes((op, 0)), False, 1002, 1)
        for op in (8, 9, 10)
    ),
    *(
        Violation(f"control of 126 bytes {op:#x}", bytes((0x80 | op, 126, 0, 126)), False, 1002, 2)
        for op in (8, 9, 10)
    ),
    Violation("masked frame to a client", b"\x81\x80" + KEY, False, 1002, 2),
    Violation("unmasked frame to a server", b"\x81\x00", True, 1002, 2),
    Violation("length 125 in two bytes", b"\x82\x7e\x00\x7d", False, 1002, 4),
    Violation(
        "length 65535 in eight bytes", b"\x82\x7f" + (65535).to_bytes(8, "big"), False, 1002, 10
    ),
    Violation("length 2**63", b"\x82\x7f" + (2**63).to_bytes(8, "big"), False, 1002, 3),
    Violation("length 2**64-1", b"\x82\x7f" + b"\xff" * 8, False, 1002, 3),
    Violation("continuation of nothing", b"\x80\x00", False, 1002, 1),
    Violation("text inside text", server_frame(0x01, b"a") + b"\x81\x01", False, 1002, 4),
    Violation("binary inside text", server_frame(0x01, b"a") + b"\x82\x01", False, 1002, 4),
    Violation("close with one byte", server_frame(0x88, b"\x03"), False, 1002, 3),
    Violation("close reason no UTF-8", server_frame(0x88, b"\x03\xe8\xff"), False, 1007, 5),
]

#: Close codes that may be on the wire, and those that may not (RFC 6455, section 7.4, IANA).
GOOD_CLOSE_CODES = [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
BAD_CLOSE_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]

GOOD_UTF8 = [
    b"",
    b"hello",
    "κόσμε".encode(),
    "你好，世界".encode(),
    "😀 and a\u0301".encode(),
    b"\x00\x7f",
    "\u0080\u07ff\u0800\ud7ff\ue000\ufffd\uffff\U00010000\U0010ffff".encode(),
]
#: (bytes, how many of them suffice to know)
BAD_UTF8 = [
    (b"\x80", 1),
    (b"\xff", 1),
    (b"\xc0\x80", 1),
    (b"\xc1\xbf", 1),
    (b"\xe0\x80\x80", 2),
    (b"\xed\xa0\x80", 2),
    (b"\xf0\x80\x80\x80", 2),
    (b"\xf4\x90\x80\x80", 2),
    (b"\xf5\x80\x80\x80", 1),
    (b"ab\xe4\xbdc", 5),
    ("good 你".encode() + b"\xfe then more", 9),
]
