"""The one table of intended differences from wsproto, each with its reason and an example."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from packages import DEFLATE, FIELDS, KEY, deflated, fields, frame, http, request
from parity import (
    LOCAL,
    NOISE,
    REMOTE,
    accepted_after_refusal,
    after_violation,
    ask,
    attempt,
    closing_state,
    code_sent,
    deflate_events,
    early_frames,
    ended,
    events_of,
    fed_after_the_end,
    finalized,
    given_in_parts,
    handshake_sends,
    header_hooks,
    negotiated,
    refused_with_body,
    revived,
    second_response,
    sent,
    state_after_an_exception,
    state_after_the_end,
    taken,
    text_piece,
)


class Difference(NamedTuple):
    """One intended difference, with an example that shows it."""

    name: str
    reason: str
    example: Callable[[Any], Any]
    wsproto: Any
    wscore: Any
    #: The Python twin does as wsproto does.
    compiled_only: bool = False


DIFFERENCES = [
    Difference(
        "violations are seen early",
        "at the byte that shows them: a peer cannot make an endpoint wait for the rest",
        text_piece(b"\x83"),
        [],
        ["CloseConnection"],
    ),
    Difference(
        "bad UTF-8 is seen early",
        "half a surrogate can become nothing good; Python's decoder waits for the third byte",
        text_piece(frame(0x01, b"\xed\xa0")),
        ["TextMessage"],
        ["CloseConnection"],
    ),
    Difference(
        "the state after a violation",
        "the peer is told, and nothing else is sent or received",
        after_violation,
        "OPEN",
        "REMOTE_CLOSING",
    ),
    Difference(
        "a closed connection stays closed",
        "wsproto goes back when a close frame is taken that came before the end",
        state_after_the_end,
        "REMOTE_CLOSING",
        "CLOSED",
    ),
    Difference(
        "the end comes last",
        "what came before it is not behind it",
        ended(frame(0x89), None),
        ["CloseConnection", "Ping"],
        ["Ping", "CloseConnection"],
    ),
    Difference(
        "no end behind a close",
        "RFC 6455, section 7.1.5: 1006 is for a connection without a close frame, and is told once",
        ended(frame(0x88, b"\x03\xe8"), None, None),
        ["CloseConnection", "CloseConnection", "CloseConnection"],
        ["CloseConnection"],
    ),
    Difference(
        "the wording of reasons",
        "sentences are not part of the API",
        lambda lib: events_of(lib.Connection(lib.CLIENT), b"\x83\x00")[0][1]["reason"],
        "Invalid opcode 0x3",
        "frame with the reserved opcode 0x3",
    ),
    Difference(
        "the close code 1014",
        "it is in IANA's registry, as are 1012 and 1013",
        lambda lib: events_of(lib.Connection(lib.CLIENT), frame(0x88, b"\x03\xf6"))[0][1]["code"],
        "CloseReason.PROTOCOL_ERROR",
        "CloseReason.BAD_GATEWAY",
    ),
    Difference(
        "close codes that no frame may carry are not sent",
        "the peer would have to fail the connection with 1002",
        code_sent(1016),
        (1016).to_bytes(2, "big"),
        LOCAL,
    ),
    Difference(
        "a close code beyond 65535",
        "the same error as for every other code that cannot be sent",
        code_sent(65536),
        "raises error",
        LOCAL,
    ),
    Difference(
        "a close code that is no number",
        "a TypeError, as for other arguments; wsproto lets struct's error out",
        code_sent("1000"),
        "raises error",
        "raises TypeError",
    ),
    Difference(
        "a control frame's payload that is no bytes",
        "a number is not so many zeros",
        lambda lib: sent(lib.Connection(lib.SERVER), lib.Ping(5)),
        [(b"\x89\x05", bytes(5))],
        "raises TypeError",
    ),
    Difference(
        "close code 1005 as a number",
        "it means an empty close frame, whether it is written 1005 or CloseReason.NO_STATUS_RCVD",
        code_sent(1005),
        b"\x03\xe8",
        b"",
    ),
    Difference(
        "the dictionary of an event",
        "a compiled event is far smaller without one; dataclasses.asdict() has the fields",
        lambda lib: attempt(vars, lib.Ping(b"x")),
        {"payload": b"x"},
        ("raises TypeError", None),
        compiled_only=True,
    ),
    Difference(
        "events() goes on",
        "one iterator serves the whole life of a connection, so that none is made for each read",
        revived,
        0,
        1,
    ),
    Difference(
        "frames behind the request",
        "a client may not send them, but those that come are not lost",
        early_frames,
        [],
        ["Ping"],
    ),
    Difference(
        "a control frame inside a compressed message",
        "wsproto takes the rest of the message for uncompressed",
        deflate_events(
            frame(0x42, deflated(b"Hello")[:2]),
            frame(0x89),
            frame(0x80, deflated(b"Hello")[2:]),
        ),
        [b"H", "Ping", deflated(b"Hello")[2:]],
        [b"H", "Ping", b"ello"],
    ),
    Difference(
        "a compressed message behind a final block",
        "RFC 7692, section 7.2.3.4: a sender may end a message so",
        deflate_events(
            frame(0xC2, deflated(b"Hello", final=True) + b"\0"), frame(0xC2, deflated(b"World"))
        ),
        [b"Hello", "CloseConnection"],
        [b"Hello", b"World"],
    ),
    Difference(
        "extensions are given little at once",
        "8 KiB of a payload: what is inflated from it must not fill the memory",
        lambda lib: len(deflate_events(frame(0xC2, deflated(NOISE)))(lib)),
        1,
        3,
    ),
    Difference(
        "the state after an extension's exception",
        "nothing more is received, as of wsproto; here the state says so",
        state_after_an_exception,
        "OPEN",
        "REMOTE_CLOSING",
    ),
    Difference(
        "a message that is not contiguous",
        "a copy that nobody asked for may be large: the caller makes it",
        lambda lib: sent(lib.Connection(lib.SERVER), lib.Message(memoryview(b"abc")[::2])),
        [(b"\x82\x02", b"ac")],
        "raises BufferError",
    ),
    Difference(
        "an extension sees each header once",
        "when all of it is there; wsproto shows one that comes in pieces again and again",
        header_hooks,
        10,
        2,
    ),
    Difference(
        "the inside of a frame decoder",
        "a header is parsed in one step; how is nobody's business",
        lambda lib: hasattr(lib.frame_protocol.FrameDecoder, "parse_header"),
        True,
        False,
    ),
    Difference(
        "offers with unknown parameters",
        "RFC 7692, section 7.1: they are declined",
        negotiated(f"{DEFLATE}; unknown"),
        DEFLATE.encode(),
        None,
    ),
    Difference(
        "offers that are no numbers",
        "they are declined, and no ValueError comes out",
        negotiated(f"{DEFLATE}; server_max_window_bits=x"),
        ("raises ValueError", None),
        None,
    ),
    Difference(
        "the first acceptable offer wins",
        "RFC 6455, section 9.1: the client's preference is its order",
        negotiated(f"{DEFLATE},{DEFLATE}; server_no_context_takeover"),
        f"{DEFLATE}; server_no_context_takeover".encode(),
        DEFLATE.encode(),
    ),
    Difference(
        "a server's own window",
        "what it was configured with is a limit, not a default",
        negotiated(f"{DEFLATE}; server_max_window_bits=15", server_max_window_bits=10),
        f"{DEFLATE}; server_max_window_bits=15".encode(),
        f"{DEFLATE}; server_max_window_bits=10".encode(),
    ),
    Difference(
        "a client's window of 8",
        "only the client has to keep to it",
        negotiated(f"{DEFLATE}; client_max_window_bits=8"),
        None,
        f"{DEFLATE}; client_max_window_bits=8".encode(),
    ),
    Difference(
        "answers with unknown parameters",
        "RFC 7692, section 7.1: the client fails the connection",
        finalized(f"{DEFLATE}; unknown"),
        ["<PerMessageDeflate client_max_window_bits=15; server_max_window_bits=15>"],
        REMOTE,
    ),
    Difference(
        "answers that are no numbers",
        "the peer's mistake is a RemoteProtocolError",
        finalized(f"{DEFLATE}; server_max_window_bits=x"),
        "raises ValueError",
        REMOTE,
    ),
    Difference(
        "an extension accepted twice",
        "its hooks would run twice on each frame",
        finalized(f"{DEFLATE},{DEFLATE}"),
        ["<PerMessageDeflate client_max_window_bits=15; server_max_window_bits=15>"] * 2,
        REMOTE,
    ),
    Difference(
        "HTTP/1.0",
        "RFC 6455, section 4.1: HTTP/1.1 or higher",
        lambda lib: taken(lib, request(start=b"GET / HTTP/1.0")),
        "taken",
        REMOTE,
    ),
    Difference(
        "a malformed key",
        "RFC 6455, section 4.2.1: 16 bytes in base64",
        lambda lib: taken(lib, request((b"Sec-WebSocket-Key", b"short"))),
        "taken",
        REMOTE,
    ),
    Difference(
        "a repeated field",
        "RFC 6455, sections 11.3.1 and 11.3.5: once only; which one counts is anybody's guess",
        lambda lib: taken(lib, request((b"sec-websocket-key", KEY))),
        "taken",
        REMOTE,
    ),
    Difference(
        "a request with a body",
        "its body would be read as frames",
        lambda lib: taken(lib, request((b"Content-Length", b"5"))),
        "taken",
        REMOTE,
    ),
    Difference(
        "bare line feeds",
        "RFC 9112, section 2.2: where two parsers differ, a request can be smuggled",
        lambda lib: taken(lib, http(b"GET / HTTP/1.1", FIELDS, end=b"\n")),
        "taken",
        REMOTE,
    ),
    Difference(
        "folded lines",
        "RFC 9112, section 5.2: a server must reject them",
        lambda lib: taken(lib, request((b"X", b"a\r\n b"))),
        "taken",
        REMOTE,
    ),
    Difference(
        "a bad head is seen early",
        "at the byte that shows it, as everything else",
        lambda lib: taken(lib, b"GET / HTTP/1.1\r\nX: \0"),
        "taken",
        REMOTE,
    ),
    Difference(
        "large heads",
        "a line has 8 KiB, a head 32 KiB and 100 fields",
        lambda lib: taken(lib, request((b"X", b"x" * 9000))),
        "taken",
        REMOTE,
    ),
    Difference(
        "the status for a large head",
        "it says what is wrong",
        lambda lib: ask(lib, b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000)[0][1][1]["status_code"],
        400,
        431,
    ),
    Difference(
        "the status for a transfer coding",
        "RFC 9112, section 6.1: 501 for one that is not known",
        lambda lib: ask(lib, request((b"Transfer-Encoding", b"gzip")))[0][1][1]["status_code"],
        400,
        501,
    ),
    Difference(
        "an upgrade to one of several",
        "RFC 6455, section 4.2.1: Upgrade contains the token",
        lambda lib: taken(lib, request((b"Upgrade", b"h2c, websocket"))),
        REMOTE,
        "taken",
    ),
    Difference(
        "a field in several lines",
        "RFC 9110, section 5.3: they are one list; wsproto takes the last one",
        lambda lib: taken(lib, request((b"connection", b"keep-alive"))),
        REMOTE,
        "taken",
    ),
    Difference(
        "bytes beyond ASCII",
        "they are read as ISO-8859-1, and no codec's error comes out",
        lambda lib: taken(lib, request((b"Sec-WebSocket-Protocol", b"\xe9"))),
        "raises UnicodeDecodeError",
        "taken",
    ),
    Difference(
        "quoted strings",
        "RFC 6455, section 9.1: a parameter may be one, with commas inside",
        lambda lib: lib.split_comma_header(b'a; b="1,2"'),
        ['a; b="1', '2"'],
        ['a; b="1,2"'],
    ),
    Difference(
        "empty list members",
        "RFC 9110, section 5.6.1.2: they count for nothing",
        lambda lib: ask(lib, request((b"Sec-WebSocket-Protocol", b"a,, b")))[0][0][1][
            "subprotocols"
        ],
        ["a", "", "b"],
        ["a", "b"],
    ),
    Difference(
        "a bad request that was parsed elsewhere",
        "the peer's mistake is a RemoteProtocolError; wsproto lets h11's exception out",
        lambda lib: given_in_parts(lib, fields((b"Host", None))),
        LOCAL,  # h11's, which is not wsproto's
        REMOTE,
    ),
    Difference(
        "a request that was parsed elsewhere, with a path beyond ASCII",
        "no codec's error comes out",
        lambda lib: given_in_parts(lib, path="/\xe9"),
        "raises UnicodeEncodeError",
        REMOTE,
    ),
    Difference(
        "a request after a request",
        "the caller's mistake is told",
        lambda lib: attempt(
            lambda server: [server.initiate_upgrade_connection(FIELDS, "/") for _ in "12"],
            lib.WSConnection(lib.SERVER),
        )[0],
        None,
        LOCAL,
    ),
    Difference(
        "accepting what did not come",
        "a LocalProtocolError; wsproto has an assertion there",
        handshake_sends("SERVER", lambda lib: lib.AcceptConnection()),
        "raises AssertionError",
        LOCAL,
    ),
    Difference(
        "a host that is no name",
        "a LocalProtocolError; wsproto lets the codec's error out",
        handshake_sends("CLIENT", lambda lib: lib.Request(host="\xe9" * 99, target="/")),
        # Python 3.13's codec says more precisely what is wrong.
        f"raises {'UnicodeError' if sys.version_info < (3, 13) else 'UnicodeEncodeError'}",
        LOCAL,
    ),
    Difference(
        "a target beyond ASCII",
        "a LocalProtocolError; wsproto lets the codec's error out",
        handshake_sends("CLIENT", lambda lib: lib.Request(host="x", target="/\xe9")),
        "raises UnicodeEncodeError",
        LOCAL,
    ),
    Difference(
        "a server whose client has gone before its request",
        "there is nothing to wait for any more",
        closing_state("SERVER", None),
        "CONNECTING",
        "CLOSED",
    ),
    Difference(
        "a client whose handshake has failed",
        "there is nothing to wait for any more",
        closing_state("CLIENT", b"nonsense\r\n\r\n"),
        "CONNECTING",
        "CLOSED",
    ),
    Difference(
        "the body of a refusal",
        "RejectData.data is bytes, as its annotation says",
        lambda lib: type(refused_with_body(lib)).__name__,
        "bytearray",
        "bytes",
    ),
    Difference(
        "accepting what was refused",
        "a LocalProtocolError that changes nothing; wsproto is OPEN after h11's exception",
        accepted_after_refusal,
        "OPEN",
        "CLOSED",
    ),
    Difference(
        "a response behind an informational one",
        "the event says that it is over, so it is",
        second_response,
        (["RejectConnection", "AcceptConnection"], "OPEN"),
        (["RejectConnection"], "CLOSED"),
    ),
    Difference(
        "bytes behind the end",
        "they are dropped; wsproto lets h11's RuntimeError out",
        fed_after_the_end,
        ("raises RuntimeError", None),
        None,
    ),
]
NAMES = {difference.name for difference in DIFFERENCES}
