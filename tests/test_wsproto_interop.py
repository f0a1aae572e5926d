"""wsproto at the other end, both ways round; wsproto is the reference here, never a dependency."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import wsproto
import wsproto.connection
import wsproto.events
import wsproto.extensions
from hypothesis import given
from hypothesis import strategies as st

import wscore
import wscore.connection
import wscore.events
import wscore.extensions


def names(package: Any) -> SimpleNamespace:
    return SimpleNamespace(
        WSConnection=package.WSConnection,
        CLIENT=package.connection.CLIENT,
        SERVER=package.connection.SERVER,
        PerMessageDeflate=package.extensions.PerMessageDeflate,
        **{
            name: getattr(package.events, name)
            for name in (
                "Request",
                "AcceptConnection",
                "RejectConnection",
                "RejectData",
                "TextMessage",
                "BytesMessage",
                "Message",
                "Ping",
                "Pong",
                "CloseConnection",
            )
        },
    )


OURS, THEIRS = names(wscore), names(wsproto)
ARRANGEMENTS = [
    pytest.param(OURS, THEIRS, id="wscore client, wsproto server"),
    pytest.param(THEIRS, OURS, id="wsproto client, wscore server"),
]


class Pair:
    """A client of one make and a server of the other, after the handshake."""

    def __init__(self, client_make: Any, server_make: Any, *, deflate: bool) -> None:
        self.client = client_make.WSConnection(client_make.CLIENT)
        self.server = server_make.WSConnection(server_make.SERVER)
        ask = client_make.Request(
            host="example.com",
            target="/x?y=z",
            subprotocols=["a", "b"],
            extensions=[client_make.PerMessageDeflate()] if deflate else [],
        )
        self.server.receive_data(self.client.send(ask))
        [request] = self.server.events()
        assert type(request) is server_make.Request
        assert (request.host, request.target, request.subprotocols) == (
            "example.com",
            "/x?y=z",
            ["a", "b"],
        )
        accept = server_make.AcceptConnection(
            subprotocol="b", extensions=[server_make.PerMessageDeflate()] if deflate else []
        )
        self.client.receive_data(self.server.send(accept))
        [accepted] = self.client.events()
        assert type(accepted) is client_make.AcceptConnection
        assert accepted.subprotocol == "b"
        assert len(accepted.extensions) == deflate

    def ends(self, client_make: Any, server_make: Any) -> list[tuple[Any, Any, Any, Any]]:
        return [
            (self.client, client_make, self.server, server_make),
            (self.server, server_make, self.client, client_make),
        ]


def echo(here: Any, make: Any, there: Any, other: Any, fragments: list[Any], step: int) -> Any:
    """Sends a message in fragments, has it echoed piece by piece, returns what came back."""
    wire = b"".join(
        here.send(make.Message(data=data, message_finished=i == len(fragments) - 1))
        for i, data in enumerate(fragments)
    )
    back = b""
    for start in range(0, len(wire), step):
        there.receive_data(wire[start : start + step])
        for event in there.events():
            assert isinstance(event, (other.TextMessage, other.BytesMessage))
            back += there.send(type(event)(event.data, message_finished=event.message_finished))
    result = type(fragments[0])()
    for start in range(0, len(back), step):
        here.receive_data(back[start : start + step])
        for event in here.events():
            result += event.data
    return result


@pytest.mark.parametrize(("client_make", "server_make"), ARRANGEMENTS)
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
class TestEcho:
    @pytest.mark.parametrize("step", [1, 5, 1 << 20])
    def test_messages(self, client_make: Any, server_make: Any, deflate: bool, step: int) -> None:
        pair = Pair(client_make, server_make, deflate=deflate)
        for here, make, there, other in pair.ends(client_make, server_make):
            for fragments in (
                ["hello"],
                ["héllo ", "", "wörld 😀"],
                [""],
                [b"\x00\xff" * 200],
                [b"a", b"b" * 70_000 if step > 5 else b"b", b"c"],
            ):
                whole = type(fragments[0])().join(fragments)
                assert echo(here, make, there, other, fragments, step) == whole

    def test_ping_and_close(self, client_make: Any, server_make: Any, deflate: bool) -> None:
        pair = Pair(client_make, server_make, deflate=deflate)
        for here, make, there, other in pair.ends(client_make, server_make):
            there.receive_data(here.send(make.Ping(payload=b"x")))
            [ping] = there.events()
            assert ping == other.Ping(payload=b"x")
            here.receive_data(there.send(ping.response()))
            assert list(here.events()) == [make.Pong(payload=b"x")]
        pair.server.receive_data(pair.client.send(client_make.CloseConnection(4001, "bye")))
        [close] = pair.server.events()
        assert close == server_make.CloseConnection(4001, "bye")
        pair.client.receive_data(pair.server.send(close.response()))
        assert list(pair.client.events()) == [client_make.CloseConnection(4001, "bye")]
        assert pair.client.state.name == pair.server.state.name == "CLOSED"


MESSAGES = st.one_of(
    st.lists(st.text(max_size=60), min_size=1, max_size=3),
    st.lists(st.binary(max_size=200), min_size=1, max_size=3),
)


@given(st.lists(MESSAGES, max_size=4), st.booleans(), st.integers(1, 300))
def test_any_messages(messages: list[list[Any]], deflate: bool, step: int) -> None:
    for client_make, server_make in ((OURS, THEIRS), (THEIRS, OURS)):
        pair = Pair(client_make, server_make, deflate=deflate)
        for fragments, end in product(messages, pair.ends(client_make, server_make)):
            assert echo(*end, fragments, step) == type(fragments[0])().join(fragments)


@pytest.mark.parametrize(("client_make", "server_make"), ARRANGEMENTS)
def test_refusal(client_make: Any, server_make: Any) -> None:
    client = client_make.WSConnection(client_make.CLIENT)
    server = server_make.WSConnection(server_make.SERVER)
    server.receive_data(client.send(client_make.Request(host="x", target="/")))
    list(server.events())
    headers = [(b"content-length", b"2")]
    client.receive_data(
        server.send(server_make.RejectConnection(status_code=403, headers=headers, has_body=True))
    )
    client.receive_data(server.send(server_make.RejectData(data=b"no")))
    first, *rest = client.events()
    assert type(first) is client_make.RejectConnection
    assert first.status_code == 403
    assert b"".join(event.data for event in rest) == b"no"


@given(st.lists(MESSAGES, max_size=3), st.booleans(), st.lists(st.integers(1, 40), max_size=20))
def test_same_stream_same_events(
    messages: list[list[Any]], from_client: bool, steps: list[int]
) -> None:
    """The same bytes, cut anywhere, give the same events in the same pieces as in wsproto."""
    here, there = ("CLIENT", "SERVER") if from_client else ("SERVER", "CLIENT")
    sender = wsproto.connection.Connection(getattr(THEIRS, here))
    wire = b"".join(
        sender.send(wsproto.events.Message(data=data, message_finished=i == len(message) - 1))
        + sender.send(wsproto.events.Ping(payload=b"p"))
        for message in messages
        for i, data in enumerate(message)
    )
    ours = wscore.connection.Connection(getattr(OURS, there))
    theirs = wsproto.connection.Connection(getattr(THEIRS, there))
    start = 0
    for step in [*steps, len(wire)]:
        piece, start = wire[start : start + step], start + step
        ours.receive_data(piece)
        theirs.receive_data(piece)
        assert [repr(event) for event in ours.events()] == [repr(e) for e in theirs.events()]
