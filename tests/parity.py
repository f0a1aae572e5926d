"""Drives wsproto and wscore in the same way and compares what they do as plain values."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from packages import (
    ANSWER,
    FIELDS,
    KEY,
    WSCORE,
    WSPROTO,
    compressing,
    frame,
    http,
    request,
    unmasked,
)

MASK = b"\x37\xfa\x21\x3d"
BOTH = [pytest.param(WSCORE, id="wscore"), pytest.param(WSPROTO, id="wsproto")]
REMOTE = "raises RemoteProtocolError"
LOCAL = "raises LocalProtocolError"
#: Each of these examples is a conversation.
FEWER = settings(max_examples=settings().max_examples // 2)
PIECES = st.lists(st.integers(0, 40), max_size=12)


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


def cut(stream: bytes, steps: Iterable[int]) -> list[bytes]:
    """The stream in pieces of these sizes, and the rest."""
    pieces = []
    for step in steps:
        pieces.append(stream[:step])
        stream = stream[step:]
    return [*pieces, stream]


# What the table's examples do


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


def ended(*pieces: bytes | None) -> Callable[[Any], Any]:
    """The events of a client that takes none before it has been given all."""

    def play(lib: Any) -> Any:
        connection = lib.Connection(lib.CLIENT)
        for piece in pieces:
            connection.receive_data(piece)
        return [type(event).__name__ for event in connection.events()]

    return play


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
