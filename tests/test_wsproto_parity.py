"""wsproto and wscore side by side: the same bytes in, events sent and misuse give the same results,
except for what ``DIFFERENCES`` lists.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import inspect
import pickle
import zlib
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packages import (
    ANSWER,
    DEFLATE,
    FIELDS,
    KEY,
    MODULES,
    WSCORE,
    WSPROTO,
    compressing,
    deflated,
    fields,
    frame,
    http,
    request,
    unmasked,
)

MASK = b"\x37\xfa\x21\x3d"
BOTH = [pytest.param(WSCORE, id="wscore"), pytest.param(WSPROTO, id="wsproto")]


# What is compared


def plain(value: Any) -> Any:
    """A value without the classes of either package."""
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return type(value).__name__, shown
    if isinstance(value, bytearray):
        return bytes(value)
    return value if isinstance(value, (str, bytes, int, dict, type(None))) else repr(value)


def attempt(act: Callable[..., Any], *args: Any) -> Any:
    """What the call returns, or the name of the exception with the answer that it suggests."""
    try:
        return plain(act(*args))
    except Exception as exc:
        return f"raises {type(exc).__name__}", plain(getattr(exc, "event_hint", None))


def sent(connection: Any, event: Any) -> Any:
    """What sending gives: frames without their mask keys, or the exception."""
    try:
        return unmasked(connection.send(event))
    except Exception as exc:
        return f"raises {type(exc).__name__}"


def take(connection: Any, *pieces: bytes | None) -> list[Any]:
    """The events after each piece."""
    return [
        [connection.receive_data(piece), *map(plain, connection.events())][1:] for piece in pieces
    ]


def events_of(connection: Any, *pieces: bytes | None) -> list[Any]:
    return [event for events in take(connection, *pieces) for event in events]


def ask(lib: Any, *pieces: bytes) -> Any:
    """A server that was given these bytes: its events, and what it answers when it accepts."""
    server = lib.WSConnection(lib.SERVER)
    outcome = attempt(lambda: [e for piece in pieces for e in events_of(server, piece)])
    return outcome, attempt(server.send, lib.AcceptConnection())


def taken(lib: Any, *pieces: bytes) -> str:
    """Whether a server takes the bytes: "taken" so far, or the name of the exception."""
    outcome, _ = ask(lib, *pieces)
    return "taken" if isinstance(outcome, list) else outcome[0]


def answered(lib: Any, monkeypatch: pytest.MonkeyPatch, *pieces: bytes | None) -> Any:
    """A client that was given these bytes in answer to a request: its events, and its state."""
    monkeypatch.setattr(lib.handshake, "generate_nonce", lambda: KEY)
    client = lib.WSConnection(lib.CLIENT)
    client.send(lib.Request(host="x", target="/", subprotocols=["a"]))
    outcome = attempt(lambda: [e for piece in pieces for e in events_of(client, piece)])
    return outcome, client.state.name


# The table


class Difference(NamedTuple):
    """One intended difference, with an example that shows it."""

    name: str
    reason: str
    example: Callable[[Any], Any]
    wsproto: Any
    wscore: Any


def code_sent(code: Any) -> Callable[[Any], Any]:
    def send(lib: Any) -> Any:
        answer = sent(lib.Connection(lib.SERVER), lib.CloseConnection(code))
        return answer if isinstance(answer, str) else answer[0][1]

    return send


def after_violation(lib: Any) -> Any:
    connection = lib.Connection(lib.CLIENT)
    connection.receive_data(b"\x83\x00")
    list(connection.events())
    return connection.state.name


def state_after_the_end(lib: Any) -> Any:
    connection = lib.Connection(lib.CLIENT)
    connection.receive_data(frame(0x88))
    connection.receive_data(None)
    list(connection.events())
    return connection.state.name


def early_frames(lib: Any) -> Any:
    server = lib.WSConnection(lib.SERVER)
    server.receive_data(request() + frame(0x89, b"", MASK))
    list(server.events())
    server.send(lib.AcceptConnection())
    return [type(event).__name__ for event in server.events()]


def deflate_events(*frames: bytes) -> Callable[[Any], Any]:
    def play(lib: Any) -> Any:
        events = events_of(compressing(lib, "CLIENT"), b"".join(frames))
        return [shown.get("data", kind) for kind, shown in events]

    return play


def revived(lib: Any) -> Any:
    connection = lib.Connection(lib.CLIENT)
    events = connection.events()
    assert list(events) == []
    connection.receive_data(frame(0x89))
    return len(list(events))


def header_hooks(lib: Any) -> int:
    calls = 0

    class Counting(lib.Extension):  # type: ignore[misc,name-defined]
        name = "counting"

        def enabled(self) -> bool:
            return True

        def offer(self) -> bool:
            return True

        def frame_inbound_header(self, *args: Any) -> Any:
            nonlocal calls
            calls += 1
            return super().frame_inbound_header(*args)

    server = lib.Connection(lib.SERVER, [Counting()])
    for byte in frame(0x82, b"x", MASK) + frame(0x82, bytes(200), MASK):
        list(take(server, bytes((byte,))))
    return calls


def negotiated(offer: str, **options: Any) -> Callable[[Any], Any]:
    def accept(lib: Any) -> Any:
        extension = lib.PerMessageDeflate(**options)
        return attempt(lib.server_extensions_handshake, offer.split(","), [extension])

    return accept


def finalized(answer: str, **options: Any) -> Callable[[Any], Any]:
    def finalize(lib: Any) -> Any:
        extension = lib.PerMessageDeflate(**options)
        result = attempt(lib.client_extensions_handshake, answer.split(","), [extension])
        return result if isinstance(result, list) else result[0]

    return finalize


def second_response(lib: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        hints = http(b"HTTP/1.1 103 Early Hints", [])
        events, state = answered(lib, patch, hints + http(b"HTTP/1.1 101 ", ANSWER))
        return [kind for kind, _ in events], state


def refused_with_body(lib: Any) -> Any:
    client = lib.WSConnection(lib.CLIENT)
    client.send(lib.Request(host="x", target="/"))
    client.receive_data(http(b"HTTP/1.1 403 No", [(b"Content-Length", b"2")]) + b"no")
    _, body, _ = client.events()
    return body.data


def accepted_after_refusal(lib: Any) -> Any:
    server = lib.WSConnection(lib.SERVER)
    server.receive_data(request())
    server.send(lib.RejectConnection())
    attempt(server.send, lib.AcceptConnection())
    return server.state.name


def closing_state(kind: str, *pieces: bytes | None) -> Callable[[Any], Any]:
    def play(lib: Any) -> Any:
        connection = lib.WSConnection(getattr(lib, kind))
        if kind == "CLIENT":
            connection.send(lib.Request(host="x", target="/"))
        attempt(lambda: take(connection, *pieces))
        return connection.state.name

    return play


def given_in_parts(lib: Any, headers: Any = FIELDS, path: Any = "/") -> Any:
    server = lib.WSConnection(lib.SERVER)
    outcome = attempt(server.initiate_upgrade_connection, headers, path)
    return "taken" if outcome is None else outcome[0]


def handshake_sends(kind: str, build: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda lib: attempt(lib.WSConnection(getattr(lib, kind)).send, build(lib))[0]


def fed_after_the_end(lib: Any) -> Any:
    server = lib.WSConnection(lib.SERVER)
    server.receive_data(None)
    return attempt(server.receive_data, b"GET")


def text_piece(*pieces: bytes) -> Callable[[Any], Any]:
    return lambda lib: [kind for kind, _ in events_of(lib.Connection(lib.CLIENT), *pieces)]


#: 28,000 bytes that shrink little.
NOISE = b"".join(WSCORE.generate_accept_token(bytes((i, j))) for i in range(4) for j in range(250))

REMOTE = "raises RemoteProtocolError"
LOCAL = "raises LocalProtocolError"

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
        "raises UnicodeError",
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


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.name)
def test_the_table_is_true(difference: Difference) -> None:
    assert difference.wsproto != difference.wscore
    assert plain(difference.example(WSPROTO)) == difference.wsproto
    assert plain(difference.example(WSCORE)) == difference.wscore
    assert difference.reason


def test_the_table_names_each_once() -> None:
    assert len(NAMES) == len(DIFFERENCES)


# The names


def public(module: Any) -> list[str]:
    """What a module of wsproto defines for its users."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, (ModuleType, TypeVar))
        and name != "TYPE_CHECKING"
        and getattr(value, "__module__", module.__name__) == module.__name__
    ]


def parameters(function: Any) -> list[tuple[Any, ...]]:
    signature = inspect.signature(function)
    return [
        (p.name, p.kind, p.default if isinstance(p.default, (int, bytes, str)) else repr(p.default))
        for p in signature.parameters.values()
    ]


NAMED = [(module, name) for module in MODULES for name in public(getattr(WSPROTO, module))]


@pytest.mark.parametrize(("module", "name"), NAMED)
def test_names_and_signatures(module: str, name: str) -> None:
    """Everything is there and takes the same arguments; ours may take more by keyword."""
    theirs = getattr(getattr(WSPROTO, module), name)
    ours = getattr(getattr(WSCORE, module), name)
    if isinstance(theirs, type) and issubclass(theirs, enum.Enum):
        assert {member.name: member.value for member in theirs}.items() <= {
            member.name: member.value for member in ours
        }.items()
    elif isinstance(theirs, type) and not issubclass(theirs, Exception):
        methods = [n for n, v in vars(theirs).items() if inspect.isfunction(v) and n[0] != "_"]
        if name == "FrameDecoder":  # "the inside of a frame decoder"
            methods = ["receive_bytes", "process_buffer"]
        for method in methods:
            check_parameters(getattr(theirs, method), getattr(ours, method))
        for attribute in [n for n, v in vars(theirs).items() if isinstance(v, property)]:
            assert hasattr(ours, attribute)
        check_parameters(theirs, ours)
    elif callable(theirs) and not isinstance(theirs, type):
        check_parameters(theirs, ours)
    elif isinstance(theirs, (int, bytes)):
        assert ours == theirs


def check_parameters(theirs: Any, ours: Any) -> None:
    expected, found = parameters(theirs), parameters(ours)
    assert found[: len(expected)] == expected
    keywords = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    assert all(kind in keywords for _, kind, _ in found[len(expected) :])


def test_wsconnection() -> None:
    for lib in (WSCORE, WSPROTO):
        assert parameters(lib.WSConnection)[0][0] == "connection_type"
        connection = lib.WSConnection(connection_type=lib.CLIENT)
        assert connection.client is True
        assert connection.connection is None
        assert connection.state is lib.ConnectionState.CONNECTING
        assert isinstance(connection.handshake, lib.H11Handshake)
    for name in ("send", "receive_data", "events", "initiate_upgrade_connection"):
        check_parameters(getattr(WSPROTO.WSConnection, name), getattr(WSCORE.WSConnection, name))


# Events as values

VALUES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Request", ("host", "/"), {"host": "host", "target": "/"}),
    ("Request", ("h", "/", ["x"], [(b"a", b"b")], ["s"]), {"host": "h", "target": "/"}),
    ("AcceptConnection", (), {}),
    ("AcceptConnection", ("s", [], [(b"a", b"b")]), {"subprotocol": "s"}),
    ("RejectConnection", (), {}),
    ("RejectConnection", (403, [(b"a", b"b")], True), {"status_code": 403}),
    ("RejectData", (b"x",), {"data": b"x"}),
    ("RejectData", (b"x", False), {"data": b"x", "body_finished": False}),
    ("Message", ("x",), {"data": "x"}),
    ("Message", (b"x", False, True), {"data": b"x", "frame_finished": False}),
    ("TextMessage", ("x", True, False), {"data": "x", "message_finished": False}),
    ("BytesMessage", (b"x",), {"data": b"x"}),
    ("BytesMessage", (bytearray(b"x"),), {"data": bytearray(b"x")}),
    ("CloseConnection", (1000,), {"code": 1000}),
    ("CloseConnection", (4000, "why"), {"code": 4000, "reason": "why"}),
    ("Ping", (), {}),
    ("Ping", (b"x",), {"payload": b"x"}),
    ("Pong", (b"x",), {"payload": b"x"}),
]


@pytest.mark.parametrize(("name", "args", "keywords"), VALUES)
class TestValues:
    def seen(self, lib: Any, act: Callable[[Any, Any], Any], *args: Any, **keywords: Any) -> Any:
        """What an action on the class and an event of it gives, exceptions included."""
        cls = getattr(lib, args[0])
        return attempt(act, cls, cls(*args[1], **keywords))

    @pytest.mark.parametrize(
        "act",
        [
            lambda cls, event: repr(event),
            lambda cls, event: hash(event),
            lambda cls, event: event == copy.copy(event) == copy.deepcopy(event),
            lambda cls, event: event == pickle.loads(pickle.dumps(event)),
            lambda cls, event: event != 5 and event != None,  # noqa: E711
            lambda cls, event: dataclasses.asdict(event),
            lambda cls, event: dataclasses.astuple(event),
            lambda cls, event: [(f.name, repr(f.default)) for f in dataclasses.fields(cls)],
            lambda cls, event: dataclasses.is_dataclass(cls),
            lambda cls, event: cls.__match_args__,
            lambda cls, event: dataclasses.replace(event, **{cls.__match_args__[0]: 1}),
            lambda cls, event: dataclasses.replace(event, unknown=1),
            lambda cls, event: setattr(event, cls.__match_args__[0], 1),
            lambda cls, event: setattr(event, "unknown", 1),
            lambda cls, event: delattr(event, cls.__match_args__[0]),
            lambda cls, event: event.unknown,
            lambda cls, event: event.response(),
            lambda cls, event: event < event,
            lambda cls, event: cls(unknown=1),
            lambda cls, event: cls(1, 2, 3, 4, 5, 6),
            lambda cls, event: [base.__name__ for base in cls.__mro__ if "Message" in str(base)],
            lambda cls, event: (cls.__name__, cls.__qualname__),
        ],
    )
    def test_the_same(
        self, name: str, args: tuple[Any, ...], keywords: dict[str, Any], act: Any
    ) -> None:
        ours, theirs = (self.seen(lib, act, name, args) for lib in (WSCORE, WSPROTO))
        assert ours == theirs

    def test_by_keyword(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        ours, theirs = (plain(getattr(lib, name)(**keywords)) for lib in (WSCORE, WSPROTO))
        assert ours == theirs

    def test_exception_names(
        self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]
    ) -> None:
        cls = getattr(WSCORE, name)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(cls(*args), next(iter(cls.__match_args__)), 1)


# Functions

ASCII_VALUES = st.text(st.characters(max_codepoint=127, exclude_characters='"'), max_size=20)


@given(ASCII_VALUES)
def test_split_comma_header(value: str) -> None:
    assert WSCORE.split_comma_header(value.encode()) == WSPROTO.split_comma_header(value.encode())


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"A"]), st.binary(max_size=4)), max_size=6))
def test_normed_header_dict(headers: list[tuple[bytes, bytes]]) -> None:
    ours, theirs = WSCORE.normed_header_dict(headers), WSPROTO.normed_header_dict(headers)
    assert list(ours.items()) == list(theirs.items())


@given(st.binary(max_size=40))
def test_generate_accept_token(token: bytes) -> None:
    assert WSCORE.generate_accept_token(token) == WSPROTO.generate_accept_token(token)
    assert len(WSCORE.generate_nonce()) == len(WSPROTO.generate_nonce())


def test_supported_extensions() -> None:
    for lib in (WSCORE, WSPROTO):
        supported = lib.extensions.SUPPORTED_EXTENSIONS
        assert supported == {DEFLATE: lib.PerMessageDeflate}
        extension = supported[DEFLATE]()
        assert isinstance(extension, lib.Extension)
        assert (extension.name, extension.enabled()) == (DEFLATE, False)


FLAG, WINDOW = st.booleans(), st.one_of(st.none(), st.integers(7, 17))


@given(st.tuples(FLAG, WINDOW, FLAG, WINDOW))
def test_permessage_deflate_offers(options: tuple[Any, ...]) -> None:
    def offer(lib: Any) -> Any:
        extension = lib.PerMessageDeflate(*options)
        return extension.offer(), repr(extension)

    assert attempt(offer, WSCORE) == attempt(offer, WSPROTO)


CLEAN_PARAMETERS = st.lists(
    st.sampled_from(
        [
            "client_no_context_takeover",
            "server_no_context_takeover",
            "client_max_window_bits=9",
            "client_max_window_bits",
            "server_max_window_bits=15",
            "server_max_window_bits=11",
        ]
    ),
    unique_by=lambda parameter: parameter.partition("=")[0],
)


@given(CLEAN_PARAMETERS)
def test_permessage_deflate_accepts(offered: list[str]) -> None:
    def accept(lib: Any) -> Any:
        extension = lib.PerMessageDeflate()
        answer = extension.accept("; ".join([DEFLATE, *offered]))
        return answer, repr(extension), extension.enabled()

    assert accept(WSCORE) == accept(WSPROTO)


# Open connections

#: Each of these examples is a conversation.
FEWER = settings(max_examples=settings().max_examples // 2)
STATES = ("OPEN", "REMOTE_CLOSING", "LOCAL_CLOSING", "CLOSED")
PIECES = st.lists(st.integers(0, 40), max_size=12)


def cut(stream: bytes, steps: Iterable[int]) -> list[bytes]:
    """The stream in pieces of these sizes, and the rest."""
    pieces = []
    for step in steps:
        pieces.append(stream[:step])
        stream = stream[step:]
    return [*pieces, stream]


@st.composite
def messages(draw: st.DrawFn, *, compressed: bool) -> list[tuple[int, bytes]]:
    """Valid frames as (first byte, payload), as if one peer had sent them."""
    frames: list[tuple[int, bytes]] = []
    compressor = zlib.compressobj(wbits=-15)
    for _ in range(draw(st.integers(0, 5))):
        opcode, payload = draw(
            st.one_of(
                st.tuples(st.just(1), st.text(max_size=60).map(str.encode)),
                st.tuples(st.just(2), st.binary(max_size=300)),
            )
        )
        deflate = compressed and draw(st.booleans())
        if deflate:
            payload = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
            opcode, payload = opcode | 0x40, payload[:-4]
        parts = cut(payload, draw(st.lists(st.integers(0, 30), max_size=3)))
        for i, part in enumerate(parts):
            frames.append((opcode | (0x80 if i == len(parts) - 1 else 0), part))
            opcode = 0
            # Inside a compressed message: "a control frame inside a compressed message".
            if (not deflate or i == len(parts) - 1) and draw(st.booleans()):
                control = draw(st.sampled_from([0x89, 0x8A]))
                frames.append((control, draw(st.binary(max_size=125))))
    if draw(st.integers(0, 3)) == 0:
        code = draw(st.sampled_from([b"", b"\x03\xe8", b"\x0f\xa0why", b"\x03\xf4"]))
        frames.append((0x88, code))
    return frames


def joined(frames: list[tuple[int, bytes]], kind: str) -> bytes:
    """The frames as the peer of an endpoint of this kind sends them."""
    key = None if kind == "CLIENT" else MASK
    return b"".join(frame(first, payload, key) for first, payload in frames)


def connect(lib: Any, kind: str, *, compressed: bool) -> Any:
    return compressing(lib, kind) if compressed else lib.Connection(getattr(lib, kind))


SENT = st.one_of(
    st.tuples(
        st.sampled_from(["Message", "TextMessage", "BytesMessage"]),
        st.one_of(
            st.text(max_size=200),
            st.binary(max_size=200),
            st.binary(max_size=9).map(bytearray),
            st.sampled_from([None, 5, "\ud800", "x" * 70_000, b"y" * 65_536]),
        ),
        st.booleans(),
        st.booleans(),
    ),
    st.tuples(st.sampled_from(["Ping", "Pong"]), st.binary(max_size=130)),
    st.tuples(
        st.just("CloseConnection"),
        st.sampled_from([None, 1000, 1001, 1011, 1006, 1015, 3000, 4999]),
        st.one_of(st.none(), st.text(max_size=90)),
    ),
    st.sampled_from([("AcceptConnection",), ("Request", "host", "/")]),
)

STEPS = st.one_of(
    st.tuples(st.just("receive"), st.integers(0, 60)),
    st.tuples(st.just("send"), SENT),
    st.tuples(st.just("take"), st.integers(0, 3)),
    st.tuples(st.just("end"), st.none()),
)


def play(
    lib: Any, kind: str, stream: bytes, steps: list[tuple[str, Any]], *, compressed: bool
) -> list[Any]:
    """What a connection does at each step, and its state after it."""
    connection = connect(lib, kind, compressed=compressed)
    seen: list[Any] = []
    for step, value in steps:
        result: Any = None
        if step == "receive":
            result = attempt(connection.receive_data, stream[:value])
            stream = stream[value:]
        elif step == "end":  # with nothing waiting: "a closed connection stays closed"
            result = [plain(event) for event in connection.events()]
            connection.receive_data(None)
        elif step == "send":
            result = sent(connection, getattr(lib, value[0])(*value[1:]))
        else:
            events = connection.events()
            result = [plain(next(events, None)) for _ in range(value)]
        seen.append((step, result, connection.state.name))
    rest = [plain(event) for event in connection.events()]
    return [*seen, rest, connection.state.name]


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "deflate"])
@pytest.mark.parametrize("kind", ["CLIENT", "SERVER"])
class TestConversations:
    @FEWER
    @given(data=st.data())
    def test_scripts(self, kind: str, compressed: bool, data: st.DataObject) -> None:
        stream = joined(data.draw(messages(compressed=compressed)), kind)
        steps = data.draw(st.lists(STEPS, max_size=14))
        ours = play(WSCORE, kind, stream, steps, compressed=compressed)
        theirs = play(WSPROTO, kind, stream, steps, compressed=compressed)
        assert ours == theirs

    @FEWER
    @given(data=st.data())
    def test_streams(self, kind: str, compressed: bool, data: st.DataObject) -> None:
        """Valid streams, in any pieces: the same events, piece by piece."""
        stream = joined(data.draw(messages(compressed=compressed)), kind)
        pieces = cut(stream, data.draw(PIECES))
        ours, theirs = (connect(lib, kind, compressed=compressed) for lib in (WSCORE, WSPROTO))
        assert take(ours, *pieces) == take(theirs, *pieces)
        assert ours.state.name == theirs.state.name

    @FEWER
    @given(data=st.data())
    def test_mutated_streams(self, kind: str, compressed: bool, data: st.DataObject) -> None:
        stream = bytearray(joined(data.draw(messages(compressed=compressed)), kind))
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(stream)))
            stream[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        check_any_stream(kind, bytes(stream), data.draw(PIECES), compressed=compressed)

    @FEWER
    @given(st.binary(max_size=60), PIECES)
    @example(b"\x01\x02\xed\xa0", [])
    @example(b"\x81\x02\xc3\xa9\x83", [1, 1, 1])
    @example(b"\x88\x01\x00", [])
    @example(b"\x82\x7f\x80", [])
    def test_random_streams(
        self, kind: str, compressed: bool, stream: bytes, steps: list[int]
    ) -> None:
        check_any_stream(kind, stream, steps, compressed=compressed)


def check_any_stream(kind: str, stream: bytes, steps: list[int], *, compressed: bool) -> None:
    """The same up to the first violation, and then the same violation, if at another byte."""
    end, who = first_difference(kind, stream, compressed=compressed)
    pieces = cut(stream[:end], steps)
    ours, theirs = (connect(lib, kind, compressed=compressed) for lib in (WSCORE, WSPROTO))
    assert take(ours, *pieces) == take(theirs, *pieces)
    assert ours.state.name == theirs.state.name
    if who == "wsproto":
        # "an extension sees each header once": ours waits for the mask key.
        assert compressed
        assert kind == "SERVER"
        [close] = events_of(theirs, stream[end : end + 1])
        assert close[1]["code"] == "CloseReason.PROTOCOL_ERROR"
        code, end = close[1]["code"], end + 1
        [close] = events_of(ours, (stream[end - 1 :] + bytes(4))[:5])
        assert close[1]["code"] == code
    elif who == "wscore":
        [close] = events_of(ours, stream[end : end + 1])
        codes = violations_of_wsproto(kind, stream[: end + 1], compressed=compressed)
        assert close[1]["code"] in codes
    if who:
        assert ours.state is WSCORE.ConnectionState.REMOTE_CLOSING
        assert take(ours, stream[end + 1 :]) == [[]]


def first_difference(kind: str, stream: bytes, *, compressed: bool) -> tuple[int, str]:
    """How many bytes come before the first violation, or the first thing that wsproto is known to
    do wrong; and for a violation, which package sees it first.
    """
    ours, theirs = (connect(lib, kind, compressed=compressed) for lib in (WSCORE, WSPROTO))
    finished = True
    for end in range(len(stream)):
        byte = stream[end : end + 1]
        events, expected = events_of(ours, byte), events_of(theirs, byte)
        if compressed:
            [extension] = theirs._proto.extensions
            if extension._decompressor is not None and extension._decompressor.eof:
                return end, ""  # "a compressed message behind a final block"
        if events and events[-1][0] == "CloseConnection":
            # A close frame is in both the same, a violation never: "the wording of reasons".
            return (end + 1, "") if events == expected else (end, "wscore")
        if expected and expected[-1][0] == "CloseConnection":
            return end, "wsproto"
        for event, shown in events:
            finished = shown.get("message_finished", finished)
            if compressed:
                [extension] = ours._proto.extensions
                if event in ("Ping", "Pong") and extension._message_compressed and not finished:
                    return end, ""  # "a control frame inside a compressed message"
    return len(stream), ""


def violations_of_wsproto(kind: str, stream: bytes, *, compressed: bool) -> set[str]:
    """The codes with which wsproto refuses the stream, now or once it has more bytes."""
    codes = set()
    key = None if kind == "CLIENT" else MASK
    for more in (b"", bytes(14), b"\x80" * 130, frame(0x00, b"\x80", key)):
        theirs = connect(WSPROTO, kind, compressed=compressed)
        events = events_of(theirs, stream + more)
        if events and events[-1][0] == "CloseConnection" and theirs.state.name == "OPEN":
            codes.add(events[-1][1]["code"])
    return codes


class TestHabits:
    """What users of Connection do beside sending and receiving."""

    @pytest.mark.parametrize("lib", BOTH)
    def test_a_subclass_with_more_attributes(self, lib: Any) -> None:
        class Mine(lib.Connection):  # type: ignore[misc,name-defined]
            def __init__(self, *args: Any, note: str, **others: Any) -> None:
                self.note = note
                super().__init__(*args, **others)
                self.log: list[Any] = []

            def send(self, event: Any) -> Any:
                self.log.append(event)
                return super().send(event)

            def receive_data(self, data: bytes | None) -> None:
                super().receive_data(data)
                self.touched = True

        mine = Mine(lib.CLIENT, trailing_data=frame(0x89), note="x")
        assert (mine.note, mine.client, mine.touched) == ("x", True, True)
        assert [*mine.events()] == [lib.Ping()]
        mine.send(lib.Pong())
        assert mine.log == [lib.Pong()]
        mine.anything = 1
        assert mine.anything == 1

    @pytest.mark.parametrize("lib", BOTH)
    def test_arguments(self, lib: Any) -> None:
        for connection in (
            lib.Connection(lib.CLIENT, None, frame(0x89)),
            lib.Connection(lib.CLIENT, [], frame(0x89)),
            lib.Connection(
                connection_type=lib.CLIENT, extensions=[], trailing_data=bytearray(frame(0x89))
            ),
        ):
            assert list(connection.events()) == [lib.Ping()]
            assert connection.state is lib.ConnectionState.OPEN

    @pytest.mark.parametrize("lib", BOTH)
    def test_events_put_in_by_hand(self, lib: Any) -> None:
        connection = lib.Connection(lib.CLIENT)
        connection.receive_data(frame(0x89, b"2"))
        connection._events.append(lib.Ping(b"0"))
        connection._events.append(lib.Ping(b"1"))
        assert [event.payload for event in connection.events()] == [b"0", b"1", b"2"]
        connection._events.append(lib.Ping(b"3"))
        assert next(connection.events()) == lib.Ping(b"3")
        assert not connection._events

    @pytest.mark.parametrize("lib", BOTH)
    def test_one_event_at_a_time(self, lib: Any) -> None:
        connection = lib.Connection(lib.CLIENT)
        connection.receive_data(frame(0x89, b"1") + frame(0x82, b"2") + frame(0x88))
        assert next(connection.events()) == lib.Ping(b"1")
        assert next(connection.events()) == lib.BytesMessage(b"2")
        assert connection.state is lib.ConnectionState.OPEN
        close = next(connection.events())
        assert (close.code, close.reason) == (lib.CloseReason.NO_STATUS_RCVD, "")
        assert connection.state is lib.ConnectionState.REMOTE_CLOSING
        assert next(connection.events(), None) is None
        with pytest.raises(StopIteration):
            next(connection.events())

    @pytest.mark.parametrize("lib", BOTH)
    def test_parsing_is_lazy(self, lib: Any) -> None:
        """A violation counts when it is taken; until then, what came before can be answered."""
        connection = lib.Connection(lib.CLIENT)
        connection.receive_data(frame(0x89, b"1") + b"\x83\x00")
        ping = next(connection.events())
        assert connection.send(ping.response())
        assert next(connection.events()).code is lib.CloseReason.PROTOCOL_ERROR

    @pytest.mark.parametrize("lib", BOTH)
    @pytest.mark.parametrize("data", ["x", b"x", bytearray(b"x"), memoryview(b"x")])
    @pytest.mark.parametrize("name", ["Message", "TextMessage", "BytesMessage"])
    def test_the_data_decides(self, lib: Any, data: Any, name: str) -> None:
        connection = lib.Connection(lib.SERVER)
        opcode = 0x81 if isinstance(data, str) else 0x82
        wire = connection.send(getattr(lib, name)(data=data))
        assert type(wire) is bytes
        assert wire == frame(opcode, b"x")

    @pytest.mark.parametrize("name", ["Ping", "Pong"])
    @pytest.mark.parametrize(
        "payload", [b"x", bytearray(b"x"), memoryview(b"x"), "x", None, bytes(126)]
    )
    def test_control_payloads(self, name: str, payload: Any) -> None:
        for kind in ("CLIENT", "SERVER"):
            ours, theirs = (
                sent(lib.Connection(getattr(lib, kind)), getattr(lib, name)(payload))
                for lib in (WSCORE, WSPROTO)
            )
            assert ours == theirs

    @pytest.mark.parametrize("code", [None, 1000, 3000])
    @pytest.mark.parametrize("reason", [None, "", "why", "\xe9" * 80, b"why", 5, "\ud800"])
    def test_close_arguments(self, code: Any, reason: Any) -> None:
        ours, theirs = (
            sent(lib.Connection(lib.SERVER), lib.CloseConnection(code, reason))
            for lib in (WSCORE, WSPROTO)
        )
        assert ours == theirs

    @pytest.mark.parametrize("event", ["x", None, b"x", 5])
    def test_what_is_no_event(self, event: Any) -> None:
        for lib in (WSCORE, WSPROTO):
            assert sent(lib.Connection(lib.CLIENT), event) == LOCAL
            assert sent(lib.WSConnection(lib.CLIENT), event) == LOCAL

    @pytest.mark.parametrize("data", ["x", 5, [1], object()])
    def test_what_are_no_bytes(self, data: Any) -> None:
        ours, theirs = (
            attempt(lib.Connection(lib.CLIENT).receive_data, data) for lib in (WSCORE, WSPROTO)
        )
        assert ours == theirs


# Extensions that a user of wsproto wrote; the same code runs on both


def reversing(lib: Any) -> Any:
    class Reversing(lib.Extension):  # type: ignore[misc,name-defined]
        """Turns messages of one frame around, and says so by RSV2; negotiates a level."""

        name = "x-reverse"

        def __init__(self, level: int = 1) -> None:
            self.level = level
            self.log: list[Any] = []
            self._enabled = False
            self._held: bytes | None = None

        def enabled(self) -> bool:
            return self._enabled

        def offer(self) -> bool | str:
            return f"level={self.level}"

        def accept(self, offer: str) -> bool | str | None:
            self.log.append(offer)
            level = int(offer.partition("level=")[2] or 0)
            if level > self.level:
                return None
            self._enabled = True
            return f"level={level}" if level else True

        def finalize(self, offer: str) -> None:
            self.log.append(offer)
            self._enabled = True

        def frame_inbound_header(
            self, proto: Any, opcode: Any, rsv: Any, payload_length: int
        ) -> Any:
            if opcode == 2 and payload_length == 66:
                return lib.CloseReason.POLICY_VIOLATION
            self.log.append((proto.client, plain(opcode), tuple(rsv), payload_length))
            self._held = b"" if rsv.rsv2 else None
            return lib.RsvBits(False, True, False)

        def frame_inbound_payload_data(self, proto: Any, data: bytes) -> Any:
            self.log.append(type(data).__name__)
            if b"refuse me" in data:
                return lib.CloseReason.UNSUPPORTED_DATA
            if self._held is None:
                return bytearray(data)
            self._held += data
            return b""

        def frame_inbound_complete(self, proto: Any, fin: bool) -> Any:
            self.log.append(fin)
            if self._held == b"!em esufer":
                return lib.CloseReason.MESSAGE_TOO_BIG
            return None if self._held is None else bytearray(reversed(self._held))

        def frame_outbound(
            self, proto: Any, opcode: Any, rsv: Any, data: bytes, fin: bool
        ) -> tuple[Any, bytes]:
            self.log.append((proto.client, plain(opcode), tuple(rsv), type(data).__name__, fin))
            if opcode in (lib.Opcode.TEXT, lib.Opcode.BINARY) and fin:
                return rsv._replace(rsv2=True), bytes(reversed(data))
            return rsv, data

    return Reversing


def shouting(lib: Any) -> Any:
    class Shouting(lib.Extension):  # type: ignore[misc,name-defined]
        """Needs no negotiation and no bit; leaves out every hook that it can."""

        name = "x-shout"

        def offer(self) -> bool:
            return True

        def accept(self, offer: str) -> bool:
            return True

        def enabled(self) -> bool:
            return True

        def frame_inbound_payload_data(self, proto: Any, data: bytes) -> bytes:
            return data.upper()

    return Shouting


def counting_deflate(lib: Any) -> Any:
    class Counting(lib.PerMessageDeflate):  # type: ignore[misc,name-defined]
        """What servers do to measure compression, or to compress long messages only."""

        def __init__(self, *args: Any, **others: Any) -> None:
            super().__init__(*args, **others)
            self.saved = 0

        def frame_outbound(
            self, proto: Any, opcode: Any, rsv: Any, data: bytes, fin: bool
        ) -> tuple[Any, bytes]:
            if fin and len(data) < 20:
                return rsv, data
            rsv, packed = super().frame_outbound(proto, opcode, rsv, data, fin)
            self.saved += len(data) - len(packed)
            return rsv, packed

        def frame_inbound_payload_data(self, proto: Any, data: bytes) -> Any:
            result = super().frame_inbound_payload_data(proto, data)
            assert not isinstance(result, lib.CloseReason)
            self.saved -= len(result)
            return result

    return Counting


WRITTEN_FOR_WSPROTO = {
    "one": [reversing],
    "two": [reversing, shouting],
    "two, the other way": [shouting, reversing],
    "deflate": [counting_deflate],
    "deflate and more": [counting_deflate, shouting],
}


def talk(
    lib: Any, makers: list[Any], said: list[tuple[Any, ...]], steps: list[int]
) -> tuple[list[Any], list[Any]]:
    """A client and a server that both use the extensions: what is heard, and what hooks saw."""
    client, server = lib.WSConnection(lib.CLIENT), lib.WSConnection(lib.SERVER)
    mine, theirs = ([make(lib)() for make in makers] for _ in range(2))
    server.receive_data(client.send(lib.Request(host="x", target="/", extensions=mine)))
    heard = [[plain(event)[1]["extensions"] for event in server.events()]]
    answer = server.send(lib.AcceptConnection(extensions=theirs))
    client.receive_data(answer)
    [accepted] = client.events()
    assert accepted.extensions == mine
    heard.append([line for line in answer.split(b"\r\n") if b"Extensions" in line])
    for here, there in ((client, server), (server, client)):
        stream = b""
        for item in said:
            wire = here.send(getattr(lib, item[0])(*item[1:]))
            heard.append(unmasked(wire))
            stream += wire
        heard += take(there, *cut(stream, steps))
        heard.append((here.state.name, there.state.name))
    seen = [
        (getattr(extension, "log", None), getattr(extension, "saved", None))
        for extension in [*mine, *theirs]
    ]
    return heard, seen


SAID = st.one_of(
    st.tuples(st.just("TextMessage"), st.text(max_size=40)),
    st.tuples(st.just("BytesMessage"), st.binary(max_size=90)),
    st.sampled_from(
        [
            ("Ping", b"x"),
            ("Pong",),
            ("BytesMessage", bytes(66)),
            ("BytesMessage", b"em esufer"),
            ("BytesMessage", b"refuse me!"),
        ]
    ),
)


@pytest.mark.parametrize("makers", WRITTEN_FOR_WSPROTO.values(), ids=WRITTEN_FOR_WSPROTO.keys())
class TestExtensionsWrittenForWsproto:
    @FEWER
    @given(said=st.lists(SAID, max_size=4), steps=PIECES)
    def test_messages(self, makers: Any, said: list[Any], steps: list[int]) -> None:
        refused = [("BytesMessage", b"refuse me!"), ("BytesMessage", bytes(66))]
        refused.append(("BytesMessage", b"em esufer"))
        said = [item for item in said if item not in refused]
        # A header in one piece: "an extension sees each header once".
        ours, theirs = (talk(lib, makers, said, []) for lib in (WSCORE, WSPROTO))
        assert ours == theirs
        (heard, _), (expected, _) = (talk(lib, makers, said, steps) for lib in (WSCORE, WSPROTO))
        assert heard == expected

    @pytest.mark.parametrize("data", [b"refuse me!", b"!em esufer", bytes(66), b"em esufer"])
    def test_refusals(self, makers: Any, data: bytes) -> None:
        def codes(lib: Any) -> Any:
            extensions = [make(lib)() for make in makers]
            for extension in extensions:
                extension.finalize(extension.name)
            client = lib.Connection(lib.CLIENT, extensions)
            events = events_of(client, frame(0x82, data))
            return [shown.get("code", shown.get("data")) for _, shown in events]

        assert codes(WSCORE) == codes(WSPROTO)

    def test_fragments(self, makers: Any) -> None:
        said = [
            ("TextMessage", "h\xe9llo " * 9, True, False),
            ("TextMessage", "", True, False),
            ("TextMessage", "world" * 9),
            ("Ping", b"between"),
            ("BytesMessage", b"end"),
        ]
        for steps in ([], [1] * 400):
            (ours, _), (theirs, _) = (talk(lib, makers, said, steps) for lib in (WSCORE, WSPROTO))
            assert ours == theirs


# The handshake

#: Changes to a good request, and which difference they show, if any.
CHANGES: dict[tuple[tuple[bytes, bytes | None], ...], str | None] = {
    (): None,
    ((b"Host", b"\xe4\xb8\x96.com"),): "bytes beyond ASCII",
    ((b"Host", b"xn--7ks3rz39bh7u"),): None,
    ((b"Host", None),): None,
    ((b"host", b"twice"),): None,
    ((b"Upgrade", None),): None,
    ((b"Upgrade", b"WebSocket"),): None,
    ((b"Upgrade", b"h2c"),): None,
    ((b"Upgrade", b"websocket, h2c"),): "an upgrade to one of several",
    ((b"Connection", None),): None,
    ((b"Connection", b"keep-alive"),): None,
    ((b"Connection", b"keep-alive, UPGRADE"),): None,
    ((b"connection", b"close"),): "a field in several lines",
    ((b"Sec-WebSocket-Key", None),): None,
    ((b"Sec-WebSocket-Key", b"AAAAAAAAAAAAAAAAAAAAAA=="),): None,
    ((b"Sec-WebSocket-Key", b"AAAA"),): "a malformed key",
    ((b"sec-websocket-key", KEY),): "a repeated field",
    ((b"Sec-WebSocket-Version", None),): None,
    ((b"Sec-WebSocket-Version", b"8"),): None,
    ((b"sec-websocket-version", b"13"),): "a repeated field",
    ((b"Sec-WebSocket-Protocol", b"a"),): None,
    ((b"Sec-WebSocket-Protocol", b"a, b ,c"),): None,
    ((b"Sec-WebSocket-Protocol", b"a"), (b"sec-websocket-protocol", b"b")): None,
    ((b"Sec-WebSocket-Protocol", b""),): "empty list members",
    ((b"Sec-WebSocket-Extensions", b"permessage-deflate"),): None,
    ((b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits"),): None,
    ((b"Sec-WebSocket-Extensions", b"x; y=1, permessage-deflate, z"),): None,
    ((b"Sec-WebSocket-Extensions", b'x; y="1,2"'),): "quoted strings",
    ((b"Origin", b"http://a"),): None,
    ((b"Origin", b"http://a"), (b"origin", b"http://b")): "a repeated field",
    ((b"Content-Length", b"0"),): None,
    ((b"Content-Length", b"7"),): "a request with a body",
    ((b"Content-Length", b"x"),): None,
    ((b"X-Latin", b"\xe9"),): None,
    ((b"X-Nul", b"\0"),): None,
    ((b"X-Control", b"\x01"),): None,
    ((b"X-Folded", b"a\r\n b"),): "folded lines",
    ((b"X Y", b"z"),): None,
    ((b"X-Empty", b""),): None,
}
STARTS: dict[bytes, str | None] = {
    b"GET /chat?x=1 HTTP/1.1": None,
    b"GET * HTTP/1.1": None,
    b"GET http://example.com/ HTTP/1.1": None,
    b"GET /chat HTTP/1.2": None,
    b"GET /chat HTTP/1.0": "HTTP/1.0",
    b"POST /chat HTTP/1.1": None,
    b"get /chat HTTP/1.1": None,
    b"GET  /chat HTTP/1.1": None,
    b"GET /ch\xe9t HTTP/1.1": None,
    b"GET /chat": None,
    b" GET /chat HTTP/1.1": None,
    b"": None,
}
ANSWERS: list[Callable[[Any], Any]] = [
    lambda lib: lib.AcceptConnection(),
    lambda lib: lib.AcceptConnection(subprotocol="a"),
    lambda lib: lib.AcceptConnection("b", [lib.PerMessageDeflate()], [(b"X-Mine", b"1")]),
    lambda lib: lib.AcceptConnection(extra_headers=[(b"X", b"a\nb")]),
    lambda lib: lib.RejectConnection(),
    lambda lib: lib.RejectConnection(403, [(b"X-Why", b"so")]),
    lambda lib: lib.RejectConnection(404, [(b"Content-Length", b"3")], has_body=True),
    lambda lib: lib.RejectConnection(status_code=500, has_body=True),
    lambda lib: lib.RejectConnection(status_code=204),
    lambda lib: lib.RejectData(b"abc"),
    lambda lib: lib.Ping(),
]


def test_the_table_has_what_the_changes_show() -> None:
    assert {name for name in [*CHANGES.values(), *STARTS.values()] if name} <= NAMES


def without_class(outcome: Any) -> Any:
    """h11's exceptions out of wsproto count as its own, by their name: "accepting what did not
    come" and others have the rest.
    """
    return "raises" if isinstance(outcome, tuple) and outcome[0].startswith("raises") else outcome


def serve(lib: Any, pieces: list[bytes], answers: list[Callable[[Any], Any]]) -> list[Any]:
    """What a server reports of a request and answers to it."""
    server = lib.WSConnection(lib.SERVER)
    seen: list[Any] = []
    failed = False
    for piece in pieces:
        outcome = attempt(events_of, server, piece)
        seen += [outcome] if outcome else []  # whenever it comes: "a bad head is seen early"
        if isinstance(outcome, tuple):
            failed = True
            break
    for build in answers:
        event = build(lib)
        if failed and isinstance(event, lib.AcceptConnection):
            continue  # "accepting what did not come"
        seen.append(without_class(attempt(server.send, event)))
        if isinstance(seen[-1], str):
            break  # what cannot be sent breaks wsproto: "accepting what was refused"
        seen.append(server.state.name)
    return seen


ONE_CHANGE = st.sampled_from(sorted(CHANGES, key=repr))


class TestServerHandshakes:
    @FEWER
    @given(
        start=st.one_of(st.just(b"GET / HTTP/1.1"), st.sampled_from(list(STARTS))),
        changes=st.lists(ONE_CHANGE, max_size=2),
        steps=st.lists(st.integers(1, 80), max_size=5),
        answers=st.lists(st.sampled_from(ANSWERS), max_size=3),
    )
    def test_requests(
        self, start: bytes, changes: list[Any], steps: list[int], answers: list[Any]
    ) -> None:
        changed = [change for group in changes for change in group]
        head = request(*changed, start=start)
        shown = {CHANGES[group] for group in changes} | {STARTS.get(start)}
        names = [name.lower() for name, _ in dict(changed).items()]
        if shown != {None} or len(names) != len(set(names)):
            return
        pieces = [piece for piece in cut(head, steps) if piece]
        assert serve(WSCORE, pieces, answers) == serve(WSPROTO, pieces, answers)

    @pytest.mark.parametrize("change", CHANGES)
    @pytest.mark.parametrize("answer", ANSWERS)
    def test_each_change(self, change: Any, answer: Any) -> None:
        head = request(*change)
        same = serve(WSCORE, [head], [answer]) == serve(WSPROTO, [head], [answer])
        shown = CHANGES[change]
        if shown is None:
            assert same

    @pytest.mark.parametrize("change", [c for c, name in CHANGES.items() if name])
    def test_each_difference(self, change: Any) -> None:
        accept = ANSWERS[0]
        head = request(*change)
        assert serve(WSCORE, [head], [accept]) != serve(WSPROTO, [head], [accept])

    @pytest.mark.parametrize("start", STARTS)
    def test_each_start(self, start: bytes) -> None:
        head = request(start=start)
        same = serve(WSCORE, [head], ANSWERS[:1]) == serve(WSPROTO, [head], ANSWERS[:1])
        assert same == (STARTS[start] is None)

    @pytest.mark.parametrize("answer", ANSWERS)
    @pytest.mark.parametrize("body", [[], [b""], [b"ab", b"c"], [b"too long"]])
    def test_refusals_with_a_body(self, answer: Any, body: list[bytes]) -> None:
        def reject(lib: Any) -> list[Any]:
            parts = [
                lambda lib, i=i, data=data: lib.RejectData(data, body_finished=i == len(body) - 1)
                for i, data in enumerate(body)
            ]
            return serve(lib, [request()], [answer, *parts])

        assert reject(WSCORE) == reject(WSPROTO)

    @pytest.mark.parametrize("answer", ANSWERS)
    @pytest.mark.parametrize("path", ["/", b"/x?y=z"])
    def test_given_in_parts(self, answer: Any, path: str | bytes) -> None:
        def initiate(lib: Any) -> list[Any]:
            server = lib.WSConnection(lib.SERVER)
            headers = fields((b"Sec-WebSocket-Protocol", b"a, b"), (b"X", b"y"))
            server.initiate_upgrade_connection(headers=headers, path=path)
            events = [plain(event) for event in server.events()]
            sent = [without_class(attempt(server.send, answer(lib)))]
            if isinstance(sent[0], bytes) and server.state.name == "REJECTING":
                sent.append(without_class(attempt(server.send, lib.RejectData(b"abc"))))
            return [events, sent, server.state.name]

        assert initiate(WSCORE) == initiate(WSPROTO)

    @pytest.mark.parametrize("headers", [[("Host", "x")], FIELDS[:2], FIELDS[1:]])
    def test_given_in_parts_and_refused(self, headers: Any) -> None:
        for lib in (WSCORE, WSPROTO):
            server = lib.WSConnection(lib.SERVER)
            outcome = attempt(server.initiate_upgrade_connection, headers, "/")
            assert without_class(outcome) == "raises"
            assert list(server.events()) == []

    @pytest.mark.parametrize("lib", BOTH)
    def test_text_headers(self, lib: Any) -> None:
        """h11 takes str for bytes, so wsproto does."""
        server = lib.WSConnection(lib.SERVER)
        headers = [(name.decode(), value.decode()) for name, value in FIELDS]
        server.initiate_upgrade_connection(headers, "/")
        [event] = server.events()
        assert event.host == "example.com"
        answer = server.send(lib.AcceptConnection(extra_headers=[("X-Mine", "1")]))
        assert b"X-Mine: 1\r\n" in answer


#: Changes to a good response, and which difference they show, if any.
RESPONSES: list[tuple[bytes, list[tuple[bytes, bytes]], bytes, str | None]] = [
    (b"HTTP/1.1 101 Switching Protocols", ANSWER, b"", None),
    (b"HTTP/1.1 101", ANSWER, b"", None),
    (b"HTTP/1.1 101 ", ANSWER, frame(0x81, b"hi") + frame(0x89)[:1], None),
    (b"HTTP/1.1 101 ", [*ANSWER, (b"X", b"y"), (b"Sec-WebSocket-Protocol", b"a")], b"", None),
    (b"HTTP/1.1 101 ", [*ANSWER, (b"Sec-WebSocket-Protocol", b"b")], b"", None),
    (b"HTTP/1.1 101 ", [*ANSWER, (b"Sec-WebSocket-Extensions", b"b")], b"", None),
    (b"HTTP/1.1 101 ", ANSWER[1:], b"", None),
    (b"HTTP/1.1 101 ", ANSWER[:2], b"", None),
    (b"HTTP/1.1 101 ", [ANSWER[0], (b"Connection", b"close"), ANSWER[2]], b"", None),
    (b"HTTP/1.1 101 ", [*ANSWER[:2], (b"Sec-WebSocket-Accept", b"x")], b"", None),
    (b"HTTP/1.1 101 ", [*ANSWER, (b"connection", b"x")], b"", "a field in several lines"),
    (b"HTTP/1.1 100 ", [], b"", None),
    (b"HTTP/1.1 200 OK", [(b"Content-Length", b"5")], b"hello", None),
    (b"HTTP/1.1 200 OK", [(b"Content-Length", b"5")], b"hel", None),
    (b"HTTP/1.1 403 No", [(b"Transfer-Encoding", b"chunked")], b"2\r\nhi\r\n0\r\n\r\n", None),
    (b"HTTP/1.1 403 No", [(b"Transfer-Encoding", b"chunked")], b"x\r\n", None),
    (b"HTTP/1.1 503 No", [], b"until the end", None),
    (b"HTTP/1.0 503 No", [], b"until the end", None),
    (b"HTTP/1.1 302 Found", [(b"Location", b"http://a"), (b"Content-Length", b"0")], b"", None),
    (b"HTTP/1.1 404 No", [(b"Content-Length", b"x")], b"", None),
    (b"HTTP/1.1 9 No", [], b"", None),
    (b"nonsense", [], b"", None),
    (b"", [], b"", None),
]


class TestClientHandshakes:
    @pytest.mark.parametrize(("start", "headers", "rest", "shown"), RESPONSES)
    @pytest.mark.parametrize("size", [None, 1, 7])
    @pytest.mark.parametrize("ends", [False, True])
    def test_responses(
        self,
        start: bytes,
        headers: list[tuple[bytes, bytes]],
        rest: bytes,
        shown: str | None,
        size: int | None,
        ends: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        stream = http(start, headers) + rest
        size = size or len(stream)
        pieces: list[bytes | None] = [stream[i : i + size] for i in range(0, len(stream), size)] + [
            None
        ] * ends
        ours = answered(WSCORE, monkeypatch, *pieces)
        theirs = answered(WSPROTO, monkeypatch, *pieces)
        if shown is not None:
            assert shown in NAMES
            assert ours != theirs
            return
        if ends and b" 100 " in start:  # "a response behind an informational one"
            assert ours[1] == "CLOSED"
        elif isinstance(theirs[0], tuple):  # "a client whose handshake has failed"
            assert ours[0] == theirs[0]
            assert ours[1] == "CLOSED"
        else:
            assert ours == theirs

    @pytest.mark.parametrize(
        "build",
        [
            lambda lib: lib.Request("example.com", "/"),
            lambda lib: lib.Request(host="example.com:80", target="/a?b", subprotocols=["x", "y"]),
            lambda lib: lib.Request("\u829d\u58eb.com", "/"),
            lambda lib: lib.Request("x", "/", [lib.PerMessageDeflate(True, 10)], [(b"A", b"b")]),
            lambda lib: lib.Request("x", "/", [shouting(lib)(), reversing(lib)(3)]),
            lambda lib: lib.Request("x", "/", [], [(b"Cookie", b"a=b"), (b"Cookie", b"c=d")]),
            lambda lib: lib.Request("x", "/", [], [("Origin", "http://x")]),
        ],
    )
    def test_requests(self, build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        for lib in (WSCORE, WSPROTO):
            monkeypatch.setattr(lib.handshake, "generate_nonce", lambda: KEY)
        ours, theirs = (lib.WSConnection(lib.CLIENT).send(build(lib)) for lib in (WSCORE, WSPROTO))
        assert ours == theirs

    @FEWER
    @given(st.binary(max_size=60), PIECES)
    @example(b" folded", [])
    @example(b"X: y\n\r\n", [])
    @example(b"Content-Length: 2\r\n\r\na\0", [17, 1])
    def test_any_response(self, data: bytes, steps: list[int]) -> None:
        stream = b"HTTP/1.1 403 No\r\n" + data
        pieces = [piece for piece in cut(stream, steps) if piece]
        with pytest.MonkeyPatch.context() as patch:
            ours, theirs = (answered(lib, patch, *pieces) for lib in (WSCORE, WSPROTO))
        if is_strange(stream):  # "bare line feeds", "folded lines", "a bad head is seen early"
            assert ours[0][0] == REMOTE
        elif isinstance(theirs[0], tuple):  # "a client whose handshake has failed"
            assert ours == (theirs[0], "CLOSED")
        else:
            assert ours == theirs


def is_strange(stream: bytes) -> bool:
    """Whether the head has what only wsproto lets through, or sees no sooner than its end."""
    head = stream.partition(b"\r\n\r\n")[0].removesuffix(b"\r")
    lines = head.split(b"\r\n")
    return any(
        line[:1] in (b" ", b"\t") or any(byte in line for byte in b"\0\r\n") for line in lines
    )
