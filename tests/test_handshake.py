"""The opening handshake, whole and in parts."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wscore import ConnectionType, WSConnection
from wscore._http_head import BadHead, HeadReader
from wscore.connection import CLIENT, SERVER, ConnectionState
from wscore.errors import LocalProtocolError, RemoteProtocolError
from wscore.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wscore.extensions import Extension, PerMessageDeflate
from wscore.handshake import server_extensions_handshake
from wscore.utilities import (
    generate_accept_token,
    generate_nonce,
    normed_header_dict,
    split_comma_header,
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
FIELDS = [
    (b"Host", b"example.com"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Key", KEY),
    (b"Sec-WebSocket-Version", b"13"),
]


def request(*changes: tuple[bytes, bytes | None], start: bytes = b"GET /chat HTTP/1.1") -> bytes:
    """A request head with fields replaced (or, for None, left out) and, for new names, added."""
    changed = dict(changes)
    fields = [(n, changed.pop(n, v)) for n, v in FIELDS] + list(changed.items())
    lines = [start, *(n + b": " + v for n, v in fields if v is not None)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def opened(
    ask: Request | None = None, accept: AcceptConnection | None = None
) -> tuple[WSConnection, WSConnection]:
    client, server = WSConnection(CLIENT), WSConnection(SERVER)
    server.receive_data(client.send(ask or Request(host="example.com", target="/")))
    list(server.events())
    client.receive_data(server.send(accept or AcceptConnection()))
    list(client.events())
    return client, server


class TestSuccess:
    def test_both_ends(self) -> None:
        client, server = WSConnection(CLIENT), WSConnection(SERVER)
        assert client.client
        assert not server.client
        server.receive_data(
            client.send(
                Request(
                    host="example.com:8080",
                    target="/chat?x=1",
                    subprotocols=["one", "two"],
                    extensions=[PerMessageDeflate()],
                    extra_headers=[(b"X-Mine", b"yes")],
                )
            )
        )
        [event] = server.events()
        assert isinstance(event, Request)
        assert (event.host, event.target) == ("example.com:8080", "/chat?x=1")
        assert event.subprotocols == ["one", "two"]
        assert (b"x-mine", b"yes") in event.extra_headers
        extension = PerMessageDeflate()
        answer = server.send(
            AcceptConnection("two", extensions=[extension], extra_headers=[(b"X-Too", b"1")])
        )
        assert server.state is ConnectionState.OPEN
        assert client.state is ConnectionState.CONNECTING
        client.receive_data(answer)
        [accepted] = client.events()
        assert isinstance(accepted, AcceptConnection)
        assert accepted.subprotocol == "two"
        assert accepted.extra_headers == [(b"x-too", b"1")]
        assert [type(item) for item in accepted.extensions] == [PerMessageDeflate]
        assert client.state is ConnectionState.OPEN
        frame = client.send(TextMessage("hello"))
        assert frame[0] == 0xC1
        server.receive_data(frame)
        assert list(server.events()) == [TextMessage("hello")]

    def test_the_sample_of_the_rfc(self) -> None:
        server = WSConnection(SERVER)
        server.receive_data(request())
        assert isinstance(next(server.events()), Request)
        assert server.send(AcceptConnection()) == (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        )

    @pytest.mark.parametrize("size", [1, 3, 7])
    def test_in_pieces(self, size: int) -> None:
        server = WSConnection(SERVER)
        head = request()
        for start in range(0, len(head), size):
            assert list(server.events()) == []
            server.receive_data(head[start : start + size])
        assert isinstance(next(server.events()), Request)

    @pytest.mark.parametrize(
        "change",
        [
            (b"Upgrade", b"h2c, WebSocket"),
            (b"Connection", b"keep-alive, UPGRADE"),
            (b"Origin", b"http://example.com"),
            (b"X-Latin", "é".encode("latin-1")),
        ],
    )
    def test_tolerated(self, change: tuple[bytes, bytes]) -> None:
        server = WSConnection(SERVER)
        server.receive_data(request(change))
        assert isinstance(next(server.events()), Request)

    def test_given_in_parts(self) -> None:
        server = WSConnection(SERVER)
        server.initiate_upgrade_connection(FIELDS, "/chat?x")
        [event] = server.events()
        assert isinstance(event, Request)
        assert event.target == "/chat?x"
        assert generate_accept_token(KEY) in server.send(AcceptConnection())
        assert server.state is ConnectionState.OPEN

    def test_sending_in_parts(self) -> None:
        client, server = WSConnection(CLIENT), WSConnection(SERVER)
        asked, nothing = client.send_parts(Request(host="x", target="/"))
        assert nothing == b""
        server.receive_data(asked)
        server.send(AcceptConnection())
        data = bytes(1000)
        header, payload = server.send_parts(BytesMessage(data))
        assert payload is data
        assert server.send(BytesMessage(data)) == header + data

    def test_international_host(self) -> None:
        client, server = WSConnection(CLIENT), WSConnection(SERVER)
        data = client.send(Request(host="芝士汉堡", target="/"))
        assert b"xn--7ks3rz39bh7u" in data
        server.receive_data(data)
        event = next(server.events())
        assert isinstance(event, Request)
        assert event.host == "芝士汉堡"


def ping_from_client() -> bytes:
    return b"\x89\x80" + bytes(4)


class TestEarlyData:
    def test_behind_the_request(self) -> None:
        server = WSConnection(SERVER)
        server.receive_data(request() + ping_from_client())
        assert len(list(server.events())) == 1
        server.receive_data(ping_from_client())
        server.send(AcceptConnection())
        assert list(server.events()) == [Ping(), Ping()]

    def test_too_much_of_it(self) -> None:
        server = WSConnection(SERVER)
        server.receive_data(request())
        with pytest.raises(RemoteProtocolError, match="without waiting") as caught:
            server.receive_data(bytes(2**20 + 1))
        assert caught.value.event_hint is not None
        server.receive_data(ping_from_client())
        with pytest.raises(LocalProtocolError):
            server.send(AcceptConnection())
        assert server.send(caught.value.event_hint).startswith(b"HTTP/1.1 400")

    def test_a_host_that_is_no_name(self) -> None:
        server = WSConnection(SERVER)
        server.receive_data(request((b"Host", b"a..\xe9")))
        [event] = server.events()
        assert isinstance(event, Request)
        assert event.host == "a..\xe9"

    def test_behind_a_request_given_in_parts(self) -> None:
        server = WSConnection(SERVER)
        server.initiate_upgrade_connection(FIELDS, "/")
        server.receive_data(ping_from_client())
        assert len(list(server.events())) == 1
        server.send(AcceptConnection())
        server.receive_data(ping_from_client())
        assert list(server.events()) == [Ping(), Ping()]

    def test_behind_the_response(self) -> None:
        client, server = WSConnection(CLIENT), WSConnection(SERVER)
        server.receive_data(client.send(Request(host="x", target="/")))
        list(server.events())
        data = server.send(AcceptConnection()) + server.send(TextMessage("welcome"))
        client.receive_data(data)
        assert list(client.events()) == [AcceptConnection(), TextMessage("welcome")]


class TestMalformedRequest:
    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"broken nonsense\r\n\r\n", 400),
            (b"\x00\x01\x02\r\n\r\n", 400),
            (request(start=b"POST /chat HTTP/1.1"), 400),
            (request(start=b"GET /chat HTTP/1.0"), 400),
            (request((b"Host", None)), 400),
            (request((b"Host", None), start=b"GET /chat HTTP/1.2"), 400),
            (request((b"Upgrade", None)), 400),
            (request((b"Upgrade", b"h2c")), 400),
            (request((b"Connection", None)), 400),
            (request((b"Connection", b"keep-alive")), 400),
            (request((b"Sec-WebSocket-Key", None)), 400),
            (request((b"Sec-WebSocket-Key", b"")), 400),
            (request((b"Sec-WebSocket-Key", b"short")), 400),
            (request((b"Sec-WebSocket-Key", KEY + b"AAAA")), 400),
            (request((b"Sec-WebSocket-Key", b"!" * 24)), 400),
            (request((b"Sec-WebSocket-Version", None)), 400),
            (request((b"Sec-WebSocket-Version", b"8")), 426),
            (request((b"sec-websocket-version", b"13")), 400),
            (request((b"sec-websocket-key", KEY)), 400),
            (request((b"Origin", b"a"), (b"origin", b"b")), 400),
            (request((b"Content-Length", b"3")) + b"abc", 400),
            (request((b"X-Nul", b"a\0b")), 400),
        ],
    )
    def test_refused(self, data: bytes, status: int) -> None:
        server = WSConnection(SERVER)
        with pytest.raises(RemoteProtocolError) as caught:
            server.receive_data(data)
        hint = caught.value.event_hint
        assert isinstance(hint, RejectConnection)
        assert hint.status_code == status
        if status == 426:
            assert (b"Sec-WebSocket-Version", b"13") in hint.headers
        answer = server.send(hint)
        assert answer.startswith(b"HTTP/1.1 %d" % status)
        assert server.state is ConnectionState.CLOSED

    def test_given_in_parts(self) -> None:
        server = WSConnection(SERVER)
        with pytest.raises(RemoteProtocolError) as caught:
            server.initiate_upgrade_connection(FIELDS[1:], "/")
        assert caught.value.event_hint is not None
        assert server.send(caught.value.event_hint).startswith(b"HTTP/1.1 400")

    def test_the_peer_goes_away(self) -> None:
        server = WSConnection(SERVER)
        server.receive_data(None)
        assert list(server.events()) == []
        assert server.state is ConnectionState.CLOSED


class TestRefusing:
    def test_without_a_body(self) -> None:
        client, server = WSConnection(CLIENT), WSConnection(SERVER)
        server.receive_data(client.send(Request(host="x", target="/")))
        list(server.events())
        client.receive_data(server.send(RejectConnection(status_code=403)))
        assert server.state is ConnectionState.CLOSED
        first, *rest = client.events()
        assert isinstance(first, RejectConnection)
        assert (first.status_code, first.has_body) == (403, True)
        assert rest == [RejectData(b"", body_finished=True)]
        assert client.state is ConnectionState.CLOSED

    def test_with_a_body(self) -> None:
        client, server = WSConnection(CLIENT), WSConnection(SERVER)
        server.receive_data(client.send(Request(host="x", target="/")))
        list(server.events())
        refusal = RejectConnection(
            status_code=404, headers=[(b"content-length", b"5")], has_body=True
        )
        client.receive_data(server.send(refusal))
        assert server.state is client.state is ConnectionState.REJECTING
        client.receive_data(server.send(RejectData(b"so", body_finished=False)))
        client.receive_data(server.send(RejectData(b"rry")))
        body = [event.data for event in client.events() if isinstance(event, RejectData)]
        assert b"".join(body) == b"sorry"
        assert server.state is client.state is ConnectionState.CLOSED

    def test_a_second_refusal(self) -> None:
        server = WSConnection(SERVER)
        server.receive_data(request())
        server.send(RejectConnection())
        for event in (RejectConnection(), AcceptConnection(), RejectData(b"")):
            with pytest.raises(LocalProtocolError):
                server.send(event)

    def test_an_unknown_subprotocol(self) -> None:
        server = WSConnection(SERVER)
        server.receive_data(request())
        with pytest.raises(LocalProtocolError, match="subprotocol"):
            server.send(AcceptConnection(subprotocol="mine"))

    def test_header_injection(self) -> None:
        server = WSConnection(SERVER)
        server.receive_data(request())
        for field in ((b"X-A", b"1\r\nX-B: 2"), (b"X A", b"1"), (b"", b"1"), (b"X:A", b"1")):
            with pytest.raises(LocalProtocolError, match="header"):
                server.send(AcceptConnection(extra_headers=[field]))


class TestMalformedResponse:
    @pytest.mark.parametrize(
        "change",
        [
            (b"Upgrade: websocket", b"X: y"),
            (b"Upgrade: websocket", b"Upgrade: h2c"),
            (b"Connection: Upgrade", b"Connection: close"),
            (b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x"),
            (b"Sec-WebSocket-Accept: ", b"X: "),
            (b"Connection: Upgrade", b"Connection: Upgrade\r\nSec-WebSocket-Protocol: unasked"),
            (b"Connection: Upgrade", b"Connection: Upgrade\r\nSec-WebSocket-Extensions: unasked"),
            (b"HTTP/1.1", b"nonsense"),
        ],
    )
    def test_refused(self, change: tuple[bytes, bytes]) -> None:
        client, server = WSConnection(CLIENT), WSConnection(SERVER)
        server.receive_data(client.send(Request(host="x", target="/")))
        list(server.events())
        answer = server.send(AcceptConnection())
        assert change[0] in answer
        with pytest.raises(RemoteProtocolError):
            client.receive_data(answer.replace(*change))


class TestMisuse:
    @pytest.mark.parametrize(
        ("end", "event"),
        [
            (CLIENT, AcceptConnection()),
            (CLIENT, RejectConnection()),
            (CLIENT, Ping()),
            (CLIENT, CloseConnection(1000)),
            (SERVER, Request(host="x", target="/")),
            (SERVER, AcceptConnection()),
            (SERVER, RejectData(b"")),
            (SERVER, Message("x")),
        ],
        ids=lambda value: getattr(value, "name", type(value).__name__),
    )
    def test_events_out_of_place(self, end: ConnectionType, event: Event) -> None:
        with pytest.raises(LocalProtocolError):
            WSConnection(end).send(event)

    def test_a_client_given_a_request(self) -> None:
        with pytest.raises(LocalProtocolError):
            WSConnection(CLIENT).initiate_upgrade_connection(FIELDS, "/")

    def test_a_second_request(self) -> None:
        client, server = WSConnection(CLIENT), WSConnection(SERVER)
        server.receive_data(client.send(Request(host="x", target="/")))
        with pytest.raises(LocalProtocolError):
            client.send(Request(host="x", target="/"))
        with pytest.raises(LocalProtocolError):
            server.initiate_upgrade_connection(FIELDS, "/")
        client.receive_data(server.send(AcceptConnection()))
        assert client.state is ConnectionState.OPEN

    def test_a_second_handshake(self) -> None:
        client, server = opened()
        with pytest.raises(LocalProtocolError):
            client.send(Request(host="x", target="/"))
        with pytest.raises(LocalProtocolError):
            server.send(AcceptConnection())


class TestParts:
    @pytest.mark.parametrize(
        ("value", "members"),
        [
            (b"", [""]),
            (b"a", ["a"]),
            (b" a ,b,  c ", ["a", "b", "c"]),
            (b'a; x="1,2", b', ['a; x="1,2"', "b"]),
            (b'a; x="1\\",2", b', ['a; x="1\\",2"', "b"]),
            (b'a; x="open, b', ['a; x="open, b']),
            ("é, b".encode("latin-1"), ["é", "b"]),
        ],
    )
    def test_split_comma_header(self, value: bytes, members: list[str]) -> None:
        assert split_comma_header(value) == members

    def test_nonces_differ(self) -> None:
        assert len({generate_nonce() for _ in range(100)}) == 100

    def test_normed_header_dict(self) -> None:
        headers = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
        assert normed_header_dict(headers) == {b"a": b"1, 3", b"b": b"2"}

    def test_server_extensions(self) -> None:
        class Plain(Extension):
            """Leaves every hook as it is."""

            name = "x-plain"

            def __init__(self, answer: bool | str | None) -> None:
                self.answer = answer

            def offer(self) -> bool:
                return self.answer is True

            def accept(self, offer: str) -> bool | str | None:
                return self.answer

        for answer, field in ((True, b"x-plain"), ("", b"x-plain"), ("a=1", b"x-plain; a=1")):
            assert server_extensions_handshake(["x-plain"], [Plain(answer)]) == field
        for nothing in (False, None):
            assert server_extensions_handshake(["x-plain"], [Plain(nothing)]) is None
        client = WSConnection(CLIENT)
        wire = client.send(Request("x", "/", extensions=[Plain(True), Plain(None)]))
        assert b"Extensions" not in wire  # the last of a name counts, and makes no offer
        client = WSConnection(CLIENT)
        wire = client.send(Request("x", "/", extensions=[Plain(True)]))
        assert b"Sec-WebSocket-Extensions: x-plain\r\n" in wire

    def test_extensions_that_were_not_agreed_on(self) -> None:
        server = WSConnection(SERVER)
        server.receive_data(request((b"Sec-WebSocket-Extensions", b"x-other")))
        extension = PerMessageDeflate()
        answer = server.send(AcceptConnection(extensions=[extension]))
        assert b"Extensions" not in answer
        assert not extension.enabled()
        assert server.send(TextMessage("plain"))[0] == 0x81

    def test_repr(self) -> None:
        assert "client=True" in repr(WSConnection(CLIENT).handshake)


class TestHead:
    """The head of a message before anything parses it."""

    HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

    @pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
    def test_in_pieces(self, size: int) -> None:
        reader = HeadReader()
        assert not reader.begun
        stream = self.HEAD + b"\0\n rest"
        for start in range(0, len(stream), size):
            found = reader.receive(stream[start : start + size])
            assert reader.begun
            if found is not None:
                break
        assert found == (self.HEAD, stream[len(self.HEAD) : start + size])

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"\x16", 400),
            (b"\r", 400),
            (b"GET\0", 400),
            (b"GET / HTTP/1.1\n", 400),
            (b"GET / HTTP/1.1\rH", 400),
            (b"GET / HTTP/1.1\r\n ", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\t", 400),
            (b"GET /" + b"x" * 8189, 414),
            (b"GET / HTTP/1.1\r\nX: " + b"x" * 8191, 431),
            (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100 + b"Z:", 431),
            (
                b"GET / HTTP/1.1\r\n" + (b"X: " + b"y" * 8000 + b"\r\n") * 4 + b"Z: " + 730 * b"z",
                431,
            ),
        ],
    )
    def test_refused_at_the_byte_that_shows_it(self, data: bytes, status: int) -> None:
        for pieces in ([data[:-1], data[-1:]], [data[i : i + 1] for i in range(len(data))]):
            reader = HeadReader()
            for piece in pieces[:-1]:
                assert reader.receive(piece) is None
            with pytest.raises(BadHead) as caught:
                reader.receive(pieces[-1])
            assert caught.value.status == status
        with pytest.raises(BadHead):
            HeadReader().receive(data)

    @pytest.mark.parametrize(
        "head",
        [
            b"GET /" + b"x" * 8178 + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100 + b"\r\n",
            b"GET / HTTP/1.1\r\n"
            + (b"X: " + b"y" * 8000 + b"\r\n") * 4
            + b"Z: "
            + 725 * b"z"
            + b"\r\n\r\n",
        ],
    )
    def test_at_the_limits(self, head: bytes) -> None:
        assert HeadReader().receive(head + b"rest") == (head, b"rest")


#: Pieces from which any request or response may be made up, and much that is neither.
PIECE = st.one_of(
    st.sampled_from(
        [
            b"GET / HTTP/1.1\r\n",
            b"GET / HTTP/1.2\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n",
            b"HTTP/1.1 403 \r\n",
            b"HTTP/1.1 100 \r\n",
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b" ",
            b"Content-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"5\r\nhello\r\n0\r\n\r\n",
            b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=x\r\n",
            b"Sec-WebSocket-Protocol: \xe9, a\r\n",
            b"Sec-WebSocket-Accept: " + generate_accept_token(KEY) + b"\r\n",
            b"Host: \xe9..\xff\r\n",
            *(name + b": " + value + b"\r\n" for name, value in FIELDS),
        ]
    ),
    st.binary(max_size=12),
)


class TestAnyBytes:
    @pytest.mark.parametrize("asked", [False, True])
    @pytest.mark.parametrize("end", [CLIENT, SERVER])
    @given(pieces=st.lists(PIECE, max_size=12), size=st.integers(1, 40), ends=st.booleans())
    def test_one_exception(
        self, end: ConnectionType, asked: bool, pieces: list[bytes], size: int, ends: bool
    ) -> None:
        if asked and end is SERVER:
            pieces = [b"GET / HTTP/1.1\r\n", *(n + b": " + v + b"\r\n" for n, v in FIELDS), *pieces]
        stream = b"".join(pieces)
        cut = [stream[i : i + size] for i in range(0, len(stream), size)]
        outcomes = []
        for some in ([stream] if stream else [], cut):
            connection = WSConnection(end)
            if asked and end is CLIENT:
                ask = Request(host="x", target="/", extensions=[PerMessageDeflate()])
                connection.send(ask)
                connection.handshake._nonce = KEY
            status = None
            try:
                for piece in [*some, *([None] * ends)]:
                    connection.receive_data(piece)
            except RemoteProtocolError as exc:
                hint = exc.event_hint
                status = hint.status_code if isinstance(hint, RejectConnection) else 0
                if end is SERVER and hint is not None:
                    assert connection.send(hint).startswith(b"HTTP/1.1 %d " % status)
            events = [event for event in connection.events() if not isinstance(event, RejectData)]
            outcomes.append((events, status, connection.state))
        if end is SERVER:
            assert outcomes[0] == outcomes[1]
        assert all(status != 0 for _, status, _ in outcomes)

    @given(
        name=st.one_of(st.binary(max_size=8), st.text(max_size=8)),
        value=st.one_of(st.binary(max_size=8), st.text(max_size=8), st.integers()),
        text=st.text(max_size=12),
        status=st.integers(0, 1000),
    )
    def test_anything_sent(self, name: Any, value: Any, text: str, status: int) -> None:
        headers = [(name, value)]
        for event in (
            Request(host=text, target="/"),
            Request(host="x", target=text),
            Request(host="x", target="/", subprotocols=[text]),
            Request(host="x", target="/", extra_headers=headers),
        ):
            client = WSConnection(CLIENT)
            with suppress(LocalProtocolError, TypeError):
                client.send(event)
        for answer in (
            AcceptConnection(subprotocol=text),
            AcceptConnection(extra_headers=headers),
            RejectConnection(status_code=status, headers=headers),
            RejectConnection(status_code=status, has_body=True),
        ):
            server = WSConnection(SERVER)
            server.receive_data(request())
            with suppress(LocalProtocolError, TypeError):
                server.send(answer)
        server = WSConnection(SERVER)
        with suppress(RemoteProtocolError, TypeError):
            server.initiate_upgrade_connection([*FIELDS, *headers], text)


class TestTheEnd:
    def test_while_the_answer_is_due(self) -> None:
        server = WSConnection(SERVER)
        server.receive_data(request() + ping_from_client())
        server.receive_data(None)
        assert len(list(server.events())) == 1
        server.send(AcceptConnection())
        assert list(server.events()) == [Ping(), CloseConnection(1006)]
        assert server.state is ConnectionState.CLOSED

    @pytest.mark.parametrize("end", [None, b""])
    def test_inside_the_head(self, end: bytes | None) -> None:
        server = WSConnection(SERVER)
        server.receive_data(b"GET / HT")
        with pytest.raises(RemoteProtocolError, match="ended"):
            server.receive_data(end)

    def test_before_the_response(self) -> None:
        client = WSConnection(CLIENT)
        client.send(Request(host="x", target="/"))
        with pytest.raises(RemoteProtocolError, match="ended"):
            client.receive_data(None)
        assert client.state is ConnectionState.CLOSED

    def test_bytes_behind_it(self) -> None:
        client = WSConnection(CLIENT)
        client.send(Request(host="x", target="/"))
        client.receive_data(b"HTTP/1.1 403 No\r\n\r\nbody")
        client.receive_data(None)
        assert client.state is ConnectionState.CLOSED
        client.receive_data(b"more")
        assert [type(event) for event in client.events()] == [
            RejectConnection,
            RejectData,
            RejectData,
        ]

    def test_bytes_behind_a_refusal(self) -> None:
        server = WSConnection(SERVER)
        server.receive_data(request())
        server.send(RejectConnection())
        server.receive_data(request())
        assert len(list(server.events())) == 1
