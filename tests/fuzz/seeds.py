"""The inputs that fuzzing begins with, made from the tables of the tests."""

from __future__ import annotations

from itertools import product

from packages import ANSWER, DEFLATE, FIELDS, deflated, frame, http, request
from targets import CLIENT, COMPRESSED, DIRECTLY, LIMITED, MEASURED, SLOWLY, WHOLE
from vectors import BAD_CLOSE_CODES, BAD_UTF8, GOOD_CLOSE_CODES, GOOD_UTF8, VIOLATIONS

#: Combinations of options that each stream is read with.
EXTRAS = (0, WHOLE, SLOWLY, WHOLE | SLOWLY, WHOLE | MEASURED, LIMITED, LIMITED | WHOLE)

KEY = b"\x37\xfa\x21\x3d"


def seeds(target: str) -> list[bytes]:
    """The inputs for this target, each a byte of options, one that says how to cut, a stream."""
    return {"frames": of_frames, "handshake": of_handshakes, "negotiation": of_negotiation}[
        target
    ]()


def of_frames() -> list[bytes]:
    made = []
    for how, extra in product((0, 1), EXTRAS):
        for key in (None, KEY):
            side = CLIENT if key is None else 0
            streams = [frame(0x81, text, key) for text in GOOD_UTF8]
            streams += [frame(0x81, text, key) for text, _ in BAD_UTF8]
            streams += [
                frame(0x01, b"a", key) + frame(0x89, b"p", key) + frame(0x80, b"b", key) * 2,
                b"".join(frame(0x82, bytes(length), key) for length in (0, 125, 126, 400)),
                frame(0x02, key=key) + frame(0x00, key=key) * 6 + frame(0x80, b"x", key),
                *(frame(0x88, code.to_bytes(2, "big") + b"why", key) for code in GOOD_CLOSE_CODES),
            ]
            made += [bytes((side | extra, how)) + stream for stream in streams]
        for violation in VIOLATIONS:
            side = 0 if violation.from_client else CLIENT
            made.append(bytes((side | extra, how)) + violation.data)
        made += [
            bytes((CLIENT | extra, how)) + frame(0x88, code.to_bytes(2, "big"))
            for code in BAD_CLOSE_CODES
        ]
        packed = deflated(b"hello hello hello")
        final = deflated(b"x", final=True) + b"\0"
        for stream in (
            frame(0xC1, packed) * 2,
            frame(0x41, packed[:3]) + frame(0x89) + frame(0x80, packed[3:]),
            frame(0xC2, final) + frame(0xC1, packed),
            frame(0xC2, deflated(bytes(5000))),
            frame(0xC2, b"\xff\xff"),
            frame(0x81, b"plain") + frame(0xA1, b"x"),
        ):
            for by in (COMPRESSED, DIRECTLY):
                made.append(bytes((CLIENT | by | extra, how)) + stream)
    return made


def of_handshakes() -> list[bytes]:
    offer = (b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits")
    requests = [
        request(),
        request() + frame(0x81, b"early", KEY) + frame(0x89, b"p", KEY),
        request(offer, (b"Sec-WebSocket-Protocol", b"a, b")) + frame(0xC1, deflated(b"x"), KEY),
        *(request((name, None)) for name, _ in FIELDS),
        *(request((name.lower(), value)) for name, value in FIELDS),
        request((b"Content-Length", b"5")) + b"hello",
        request((b"Transfer-Encoding", b"chunked")),
        request((b"Sec-WebSocket-Version", b"8")),
        request((b"X", b"a\r\n b")),
        request((b"Host", b"\xe9..\xff")),
        request(start=b"POST / HTTP/1.0"),
        http(b"GET / HTTP/1.1", FIELDS, end=b"\n"),
    ]
    accepted = http(b"HTTP/1.1 101 ", ANSWER)
    responses = [
        accepted + frame(0x81, b"hello") + frame(0x88),
        http(b"HTTP/1.1 101 ", [*ANSWER, (b"Sec-WebSocket-Extensions", b"permessage-deflate")]),
        http(b"HTTP/1.1 101 ", [*ANSWER, (b"Sec-WebSocket-Protocol", b"\xe9")]),
        http(b"HTTP/1.1 403 No", [(b"Content-Length", b"2")]) + b"no",
        http(b"HTTP/1.1 403 No", [(b"Transfer-Encoding", b"chunked")]) + b"2\r\nhi\r\n0\r\n\r\n",
        http(b"HTTP/1.1 100 ", []) + accepted,
    ]
    made = []
    for how in (0, 1, 7):
        for extra in (0, COMPRESSED | WHOLE, LIMITED):
            made += [bytes((extra, how)) + stream for stream in requests]
        made += [bytes((CLIENT, how)) + stream for stream in responses]
    return made


def of_negotiation() -> list[bytes]:
    parameters = [
        "",
        "; client_max_window_bits",
        *(
            f"; {side}_max_window_bits={bits}"
            for side in ("client", "server")
            for bits in range(17)
        ),
        "; client_no_context_takeover; server_no_context_takeover",
        "; server_no_context_takeover; server_no_context_takeover",
        '; server_max_window_bits="10"',
        '; unknown="a, b\\""; x',
        "; server_max_window_bits=010",
        f"; server_max_window_bits=99, {DEFLATE}, other; y",
    ]
    return [
        bytes((options, bits)) + (DEFLATE + text).encode()
        for text in parameters
        for options, bits in ((0, 0), (3, 0x21))
    ]
