"""The client: URLs, the opening handshake and its failures, and what leaves the context manager."""

from __future__ import annotations

import pickle
import ssl
from functools import partial
from inspect import signature

import pytest
import trio
from transport.peer import CLOSE, TEXT, Peer, close_payload, take_frames
from trio.testing import memory_stream_pair

from wscore.trio import (
    CloseReason,
    ConnectionClosed,
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
    ProxyError,
    connect_websocket,
    connect_websocket_url,
    open_websocket,
    open_websocket_url,
    reconnect_websocket_url,
    wrap_client_stream,
)
from wscore.trio._url import parse_url
from wscore.utilities import LocalProtocolError


@pytest.fixture
def dial(monkeypatch):
    """Replace TCP by memory streams; a list of the calls, and of the servers' ends."""
    calls = []

    async def open_tcp_stream(host, port):
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        calls.append((host, port, Peer(theirs, masks=False)))
        return ours

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    return calls


async def serve(nursery, calls, answer):
    """Take the first connection, answer its request with these bytes, and end the stream."""

    async def serve_first():
        while not calls:
            await trio.lowlevel.checkpoint()
        peer = calls[0][2]
        await peer.receive_head()
        await peer.stream.send_all(answer)
        await peer.stream.send_eof()

    nursery.start_soon(serve_first)


# URLs


@pytest.mark.parametrize(
    ("url", "host", "port", "resource", "tls"),
    [
        ("ws://example.com", "example.com", 80, "/", False),
        ("wss://example.com", "example.com", 443, "/", True),
        ("WS://Example.com:8080/a/b?c=d&e", "example.com", 8080, "/a/b?c=d&e", False),
        ("ws://[::1]:9/x", "::1", 9, "/x", False),
        ("ws://h?q", "h", 80, "/?q", False),
        ("ws://h/ä ö%20?ü", "h", 80, "/%C3%A4%20%C3%B6%20?%C3%BC", False),
        ("ws://h:0/", "h", 0, "/", False),
        ("ws://h:/", "h", 80, "/", False),
        ("ws://h/x?", "h", 80, "/x?", False),
        ("wss://bücher.example/", "xn--bcher-kva.example", 443, "/", True),
        ("ws://ｂücher。example/", "xn--bcher-kva.example", 80, "/", False),
        ("ws://FAß.de/", "xn--fa-hia.de", 80, "/", False),
        ("ws://[fe80::1%25eth0]:9/", "fe80::1%eth0", 9, "/", False),
    ],
)
def test_url(url, host, port, resource, tls):
    address = parse_url(url, None)
    assert (address.host, address.port, address.resource) == (host, port, resource)
    assert address.use_ssl is tls
    assert address.headers == []


def test_url_with_credentials():
    assert parse_url("ws://us%40er:p%C3%A4ss@h/", None).headers == [
        (b"Authorization", b"Basic dXNAZXI6cMOkc3M=")
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://h/",
        "//h/",
        "h",
        "",
        "ws://",
        "ws:///x",
        "ws://h:99999/",
        "ws://h:-1/",
        "ws://h:x/",
        "ws://h/#x",
        "ws://h/#",
        "ws://[::1",
        "ws://[nonsense]/",
        f"ws://{'ä' * 64}.example/",
    ],
)
def test_wrong_url(url):
    with pytest.raises(ValueError):
        open_websocket_url(url)
    with pytest.raises(ValueError):
        reconnect_websocket_url(url)


def test_context_contradicts_the_scheme():
    with pytest.raises(ValueError, match="wss"):
        open_websocket_url("ws://h/", ssl.create_default_context())


async def test_use_ssl_is_checked():
    with pytest.raises(TypeError):
        async with open_websocket("h", 1, "/", use_ssl="yes"):
            pass


# The request


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ws://example.com/", "example.com"),
        ("ws://example.com:443/", "example.com:443"),
        ("ws://[::1]:8080/", "[::1]:8080"),
        ("ws://bücher.example/", "xn--bcher-kva.example"),
        ("ws://[fe80::1%25eth0]/", "[fe80::1]"),
    ],
)
async def test_request(dial, nursery, url, host):
    head = b""

    async def serve_once():
        nonlocal head
        while not dial:
            await trio.lowlevel.checkpoint()
        head = await dial[0][2].receive_head()
        await dial[0][2].stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    nursery.start_soon(serve_once)
    with pytest.raises(ConnectionRejected):
        async with open_websocket_url(
            url, subprotocols=["a", "b"], extra_headers=[(b"X-Y", b"z")], compression=True
        ):
            pass
    start, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert start == "GET / HTTP/1.1"
    assert headers["host"] == host
    assert headers["upgrade"] == "websocket"
    assert headers["connection"].lower() == "upgrade"
    assert headers["sec-websocket-version"] == "13"
    assert headers["sec-websocket-protocol"] == "a, b"
    assert headers["sec-websocket-extensions"].startswith("permessage-deflate")
    assert headers["x-y"] == "z"


async def test_compression_is_not_offered_unasked(nursery):
    ours, theirs = memory_stream_pair()
    nursery.start_soon(wrap_client_stream, nursery, ours, "h", "/")
    head = await Peer(theirs, masks=False).receive_head()
    assert b"extensions" not in head.lower()
    nursery.cancel_scope.cancel()


async def request_head(dial, nursery, url="ws://u:p@h/", **arguments):
    """The lines of the request that these arguments make."""
    nursery.start_soon(partial(connect_websocket_url, None, url, **arguments))
    while not dial:
        await trio.lowlevel.checkpoint()
    head = await dial[0][2].receive_head()
    nursery.cancel_scope.cancel()
    return head.decode().split("\r\n")


async def test_own_credentials_replace_those_of_the_url(dial, nursery):
    lines = await request_head(dial, nursery, extra_headers=[(b"authorization", b"Bearer x")])
    assert [line for line in lines if line.lower().startswith("authorization")] == [
        "authorization: Bearer x"
    ]


async def test_own_host_replaces_that_of_the_url(dial, nursery):
    lines = await request_head(dial, nursery, extra_headers=[(b"host", b"other.example:8")])
    assert [line for line in lines if line.lower().startswith("host")] == ["Host: other.example:8"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"extra_headers": [(b"Sec-WebSocket-Key", b"x")]}, ValueError),
        ({"extra_headers": [(b"upgrade", b"h2c")]}, ValueError),
        ({"extra_headers": [(b"X", b"a\r\nY: b")]}, LocalProtocolError),
        ({"subprotocols": ["ä"]}, LocalProtocolError),
        ({"compression": "deflate"}, TypeError),
    ],
)
async def test_wrong_request_is_not_sent(dial, arguments, error):
    with pytest.raises(error):
        async with open_websocket_url("ws://h/", **arguments):
            raise AssertionError
    assert dial == []
    ours, theirs = memory_stream_pair()
    with pytest.raises(error):
        await wrap_client_stream(None, ours, "h", "/", **arguments)
    assert await theirs.receive_some() == b""  # closed


DOORS = [
    open_websocket,
    open_websocket_url,
    connect_websocket,
    connect_websocket_url,
    reconnect_websocket_url,
    wrap_client_stream,
]
LIMITS = {
    "message_queue_size": 2,
    "max_message_size": 3,
    "receive_buffer_size": 4,
    "disconnect_timeout": 5,
    "ping_interval": 6,
    "ping_timeout": 7,
    "send_timeout": 8,
}


@pytest.mark.parametrize("door", DOORS)
async def test_every_door_passes_every_limit_on(door, monkeypatch, dial, nursery):
    """The connection is given the limits that the user gave, at whichever door."""
    found = []

    class Opened(Exception):
        pass

    def connection(stream, ws, options, **rest):
        found.append(options)
        raise Opened

    monkeypatch.setattr("wscore.trio._opening.WebSocketConnection", connection)
    ours, theirs = memory_stream_pair()
    arguments = {
        open_websocket: ("h", 80, "/"),
        open_websocket_url: ("ws://h/",),
        connect_websocket: (None, "h", 80, "/"),
        connect_websocket_url: (None, "ws://h/"),
        reconnect_websocket_url: ("ws://h/",),
        wrap_client_stream: (None, ours, "h", "/"),
    }[door]
    more = {"use_ssl": False} if door in (open_websocket, connect_websocket) else {}
    if door is wrap_client_stream:
        nursery.start_soon(Peer(theirs, masks=False).accept)
    else:
        nursery.start_soon(accept, dial)

    async def use():
        if door in (open_websocket, open_websocket_url):
            async with door(*arguments, **LIMITS, **more):
                pass
        elif door is reconnect_websocket_url:
            async with door(*arguments, **LIMITS) as connections:
                await anext(connections)
        else:
            await door(*arguments, **LIMITS, **more)

    with pytest.raises(Opened):
        await use()
    assert [{name: getattr(options, name) for name in LIMITS} for options in found] == [LIMITS]


def test_every_door_has_the_same_keywords():
    """The same names with the same defaults; a stream needs no way to the server."""

    def keywords(door):
        parameters = signature(door).parameters.values()
        found = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        found.pop("use_ssl", None)
        return found

    expected = keywords(open_websocket)
    for door in DOORS[1:4]:
        assert keywords(door) == expected
    own = keywords(reconnect_websocket_url)
    assert own.keys() - expected.keys() == {"first_delay", "max_delay", "should_retry"}
    assert own | expected == own
    wrap = keywords(wrap_client_stream)
    assert expected.keys() - wrap.keys() == {"proxy", "unix_socket"}
    assert wrap | expected == expected


# Failures of the handshake


async def test_rejected(dial, nursery):
    await serve(
        nursery,
        dial,
        b"HTTP/1.1 403 Forbidden\r\nX-Why: Because\r\nContent-Length: 4\r\n\r\nnope",
    )
    with pytest.raises(ConnectionRejected) as info:
        async with open_websocket_url("ws://h/"):
            raise AssertionError
    assert (info.value.status_code, info.value.body) == (403, b"nope")
    assert (b"x-why", b"Because") in info.value.headers
    assert "403" in str(info.value)
    assert "403" in repr(info.value)
    assert await dial[0][2].receive_rest() == b""  # closed


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\ncut", b"cut"),
        (
            b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            b"abc",
        ),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 999999, b"x" * 65536),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
    ],
)
async def test_body_of_a_rejection(dial, nursery, answer, body):
    await serve(nursery, dial, answer)
    with pytest.raises(ConnectionRejected) as info:
        async with open_websocket_url("ws://h/"):
            raise AssertionError
    assert info.value.body == body


async def test_endless_body_of_a_rejection_is_not_waited_for(nursery):
    ours, theirs = memory_stream_pair()
    await theirs.send_all(b"HTTP/1.1 500 Oh\r\nContent-Length: 1000000\r\n\r\n" + bytes(70000))
    with pytest.raises(ConnectionRejected) as info:
        await wrap_client_stream(nursery, ours, "h", "/")
    assert info.value.body == bytes(65536)


async def test_stalled_body_of_a_rejection_is_not_waited_for(dial, nursery, autojump_clock):
    async def refuse():
        while not dial:
            await trio.lowlevel.checkpoint()
        head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nbegin"
        await dial[0][2].stream.send_all(head)

    nursery.start_soon(refuse)
    with pytest.raises(ConnectionRejected) as info:
        await connect_websocket_url(None, "ws://h/", connect_timeout=10)
    assert (info.value.status_code, info.value.body) == (403, b"begin")


@pytest.mark.parametrize(
    ("status", "transient"),
    [
        (200, False),
        (302, False),
        (400, False),
        (401, False),
        (404, False),
        (408, True),
        (426, False),
        (429, True),
        (500, True),
        (501, False),
        (503, True),
        (505, False),
        (599, True),
    ],
)
def test_which_statuses_are_transient(status, transient):
    assert ConnectionRejected(status, (), None).transient is transient


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0),
        (b"120", 120),
        (b"-1", None),
        (b"soon", None),
        (b"1" * 400, None),
        (b"", None),
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 0),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799 - 10**9),
        (b"Fri, 99 Dec 9999 23:59:59 GMT", None),
    ],
)
def test_retry_after(monkeypatch, value, seconds):
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert ConnectionRejected(503, ((b"retry-after", value),), None).retry_after == seconds


@pytest.mark.parametrize(
    "value",
    [
        b"Mon, 01 Jan 99999999999999 00:00:00 GMT",
        b"Mon, 99999999999999999999 Jan 2020 00:00:00 GMT",
        b"Mon, 01 Jan 2020 00:00:99999999999999999999 GMT",
    ],
)
def test_retry_after_a_date_that_cannot_be(value):
    assert ConnectionRejected(503, ((b"retry-after", value),), None).retry_after is None


def test_no_retry_after():
    assert ConnectionRejected(503, (), None).retry_after is None


async def test_redirect_is_told_and_not_followed(dial, nursery):
    answer = b"HTTP/1.1 301 Moved\r\nLocation: wss://other.example/\r\nContent-Length: 0\r\n\r\n"
    await serve(nursery, dial, answer)
    with pytest.raises(ConnectionRejected, match=r"301.*wss://other\.example/"):
        async with open_websocket_url("ws://h/"):
            raise AssertionError
    assert len(dial) == 1


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRejected(429, ((b"a", b"b"),), b"x"),
        ConnectionTimeout("late"),
        HandshakeError("x", transient=True),
        ProxyError("x", transient=True, status_code=502),
        ConnectionClosed(CloseReason(1006)),
    ],
)
def test_errors_can_be_pickled(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args) == (type(error), error.args)
    assert again.transient
    assert vars(again) == vars(error)


async def test_server_that_refuses_without_reading(nursery):
    ours, theirs = memory_stream_pair()
    await theirs.send_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    await theirs.aclose()
    with pytest.raises(ConnectionRejected) as info:
        await wrap_client_stream(nursery, ours, "h", "/")
    assert info.value.status_code == 503


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\n"
UPGRADED = SWITCH + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"


@pytest.mark.parametrize(
    ("answer", "transient"),
    [
        (b"", True),
        (b"HTTP/1.1 101 Swi", True),
        (b"\x00\x01\x02\x03\r\n\r\n", False),
        (b"HTTP/1.1 101 X\r\n" + b"X: " + b"x" * 100000, False),
        (SWITCH + b"\r\n", False),
        (UPGRADED + b"\r\n", False),
        (UPGRADED + b"Sec-WebSocket-Accept: wrong\r\n\r\n", False),
        (UPGRADED + b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", False),
    ],
)
async def test_wrong_answer(dial, nursery, answer, transient):
    await serve(nursery, dial, answer)
    with pytest.raises(HandshakeError) as info:
        async with open_websocket_url("ws://h/"):
            raise AssertionError
    assert type(info.value) is HandshakeError
    assert str(info.value)
    assert info.value.transient is transient
    assert await dial[0][2].receive_rest() == b""  # closed


async def test_no_answer_in_time(dial, autojump_clock):
    begin = trio.current_time()
    with pytest.raises(ConnectionTimeout):
        async with open_websocket_url("ws://h/", connect_timeout=4):
            raise AssertionError
    assert trio.current_time() - begin == pytest.approx(4)
    peer = dial[0][2]
    await peer.receive_head()
    assert await peer.receive_rest() == b""


async def test_every_door_has_a_time_limit(dial, autojump_clock):
    with pytest.raises(ConnectionTimeout):
        await connect_websocket(None, "h", 80, "/", use_ssl=False, connect_timeout=4)
    with pytest.raises(ConnectionTimeout):
        await connect_websocket_url(None, "ws://h/", connect_timeout=4)
    ours, _ = memory_stream_pair()
    with pytest.raises(ConnectionTimeout) as info:
        await wrap_client_stream(None, ours, "h", "/", connect_timeout=4)
    assert info.value.transient
    assert trio.current_time() == pytest.approx(12)


@pytest.mark.parametrize("error", [ConnectionRefusedError("no"), OSError("several")])
async def test_cannot_connect(monkeypatch, error):
    async def refuse(host, port):
        raise error

    monkeypatch.setattr(trio, "open_tcp_stream", refuse)
    with pytest.raises(HandshakeError) as info:
        async with open_websocket_url("ws://h/"):
            raise AssertionError
    assert info.value.__cause__ is error
    assert info.value.transient
    # The functions without a context manager leave it as it is, as in trio-websocket.
    async with trio.open_nursery() as nursery:
        with pytest.raises(OSError) as raw:
            await connect_websocket_url(nursery, "ws://h/")
        assert raw.value is error
        with pytest.raises(OSError):
            await connect_websocket(nursery, "h", 80, "/", use_ssl=False)


async def test_cancelled_handshake_closes_the_stream(autojump_clock, nursery):
    ours, theirs = memory_stream_pair()
    with trio.move_on_after(1):
        await wrap_client_stream(nursery, ours, "h", "/")
    peer = Peer(theirs, masks=False)
    await peer.receive_head()
    assert await peer.receive_rest() == b""


# The context manager


async def accept(calls):
    """The server's end of the first connection, after its handshake."""
    while not calls:
        await trio.lowlevel.checkpoint()
    peer = calls[0][2]
    await peer.accept()
    return peer


async def accept_and_close(calls):
    peer = await accept(calls)
    await close_politely(peer)


async def close_politely(peer):
    frame = await peer.receive()
    while frame.opcode != CLOSE:
        frame = await peer.receive()
    await peer.send((CLOSE, frame.payload))
    await peer.stream.aclose()


async def test_leaving_the_block_closes(dial, nursery, autojump_clock):
    nursery.start_soon(accept_and_close, dial)
    async with open_websocket_url("ws://h/") as connection:
        await connection.send_message("x")
    assert connection.closed.code == 1000


@pytest.mark.parametrize("error", [ValueError("mine"), ExceptionGroup("mine", [KeyError("x")])])
async def test_exception_of_the_block_passes_unchanged(dial, nursery, error, autojump_clock):
    nursery.start_soon(accept_and_close, dial)
    with pytest.raises(type(error)) as info:
        async with open_websocket_url("ws://h/"):
            raise error
    assert info.value is error
    assert error.__cause__ is None


async def test_connection_closed_passes_unchanged(dial, nursery, autojump_clock):
    @nursery.start_soon
    async def go_away():
        peer = await accept(dial)
        await peer.send((CLOSE, close_payload(1001)))
        await peer.receive_rest()

    with pytest.raises(ConnectionClosed):
        async with open_websocket_url("ws://h/") as connection:
            await connection.get_message()


async def test_server_that_does_not_close_in_time(dial, nursery, autojump_clock):
    nursery.start_soon(accept, dial)
    begin = trio.current_time()
    with pytest.raises(DisconnectionTimeout):
        async with open_websocket_url("ws://h/", disconnect_timeout=5):
            pass
    assert trio.current_time() - begin == pytest.approx(5)


async def test_timeout_of_the_close_hides_no_exception(dial, nursery, autojump_clock):
    nursery.start_soon(accept, dial)
    with pytest.raises(ValueError, match="mine"):
        async with open_websocket_url("ws://h/", disconnect_timeout=5):
            raise ValueError("mine")


async def test_cancelled_block_cuts_the_connection(dial, nursery, autojump_clock):
    nursery.start_soon(accept, dial)
    with trio.move_on_after(1) as scope:
        async with open_websocket_url("ws://h/") as connection:
            await connection.get_message()
    assert scope.cancelled_caught
    # There may be a Close, but nobody waits for the answer.
    frames = take_frames(bytearray(await dial[0][2].receive_rest()))
    assert [frame.close for frame in frames] in ([], [(1000, "")])


async def test_cancellation_hides_no_exception_of_the_block(dial, nursery, autojump_clock):
    async def fail_when_cancelled():
        async with open_websocket_url("ws://h/"):
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("mine")

    nursery.start_soon(accept, dial)
    with pytest.raises(ValueError, match="mine"), trio.move_on_after(1):
        await fail_when_cancelled()
    await dial[0][2].receive_rest()  # it ends


async def test_closing_within_the_block(dial, nursery, autojump_clock):
    nursery.start_soon(accept_and_close, dial)
    async with open_websocket_url("ws://h/") as connection:
        await dial[0][2].send((TEXT, b"x"))
        assert await connection.get_message() == "x"
        await connection.aclose(4000, "mine")
    assert connection.closed.code == 4000
