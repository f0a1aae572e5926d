"""The client: URLs, the opening handshake and its failures, and what leaves the context manager."""

from __future__ import annotations

import ssl

import pytest
import trio
from transport.peer import CLOSE, TEXT, Peer, client_and_peer, close_payload, take_frames
from trio.testing import memory_stream_pair

import wscore.trio
from wscore.trio import (
    ConnectionClosed,
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
    connect_websocket,
    connect_websocket_url,
    open_websocket,
    open_websocket_url,
    wrap_client_stream,
)
from wscore.trio._url import parse_url


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
    "url", ["http://h/", "//h/", "h", "ws://", "ws:///x", "ws://h:99999/", "ws://h/#x", "ws://[::1"]
)
def test_wrong_url(url):
    with pytest.raises(ValueError):
        open_websocket_url(url)


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
    "answer",
    [
        b"",
        b"HTTP/1.1 101 Swi",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"HTTP/1.1 101 X\r\n" + b"X: " + b"x" * 100000,
        SWITCH + b"\r\n",
        UPGRADED + b"\r\n",
        UPGRADED + b"Sec-WebSocket-Accept: wrong\r\n\r\n",
        UPGRADED + b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
    ],
)
async def test_wrong_answer(dial, nursery, answer):
    await serve(nursery, dial, answer)
    with pytest.raises(HandshakeError) as info:
        async with open_websocket_url("ws://h/"):
            raise AssertionError
    assert type(info.value) is HandshakeError
    assert str(info.value)
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


@pytest.mark.parametrize("error", [ConnectionRefusedError("no"), OSError("several")])
async def test_cannot_connect(monkeypatch, error):
    async def refuse(host, port):
        raise error

    monkeypatch.setattr(trio, "open_tcp_stream", refuse)
    with pytest.raises(HandshakeError) as info:
        async with open_websocket_url("ws://h/"):
            raise AssertionError
    assert info.value.__cause__ is error
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


@pytest.fixture
async def ready(monkeypatch):
    """Let open_websocket yield a connection whose handshake is done; return the server's end."""
    connection, peer = await client_and_peer(disconnect_timeout=5)

    async def connect(*args):
        await trio.lowlevel.checkpoint()
        return connection

    monkeypatch.setattr(wscore.trio._client, "_connect", connect)
    return peer


async def close_politely(peer):
    frame = await peer.receive()
    while frame.opcode != CLOSE:
        frame = await peer.receive()
    await peer.send((CLOSE, frame.payload))
    await peer.stream.aclose()


async def test_leaving_the_block_closes(ready, nursery, autojump_clock):
    nursery.start_soon(close_politely, ready)
    async with open_websocket_url("ws://h/") as connection:
        await connection.send_message("x")
    assert connection.closed.code == 1000


@pytest.mark.parametrize("error", [ValueError("mine"), ExceptionGroup("mine", [KeyError("x")])])
async def test_exception_of_the_block_passes_unchanged(ready, nursery, error, autojump_clock):
    nursery.start_soon(close_politely, ready)
    with pytest.raises(type(error)) as info:
        async with open_websocket_url("ws://h/"):
            raise error
    assert info.value is error
    assert error.__cause__ is None


async def test_connection_closed_passes_unchanged(ready, nursery, autojump_clock):
    await ready.send((CLOSE, close_payload(1001)))
    nursery.start_soon(ready.receive_rest)
    with pytest.raises(ConnectionClosed):
        async with open_websocket_url("ws://h/") as connection:
            await connection.get_message()


async def test_server_that_does_not_close_in_time(ready, autojump_clock):
    begin = trio.current_time()
    with pytest.raises(DisconnectionTimeout):
        async with open_websocket_url("ws://h/", disconnect_timeout=5):
            pass
    assert trio.current_time() - begin == pytest.approx(5)


async def test_timeout_of_the_close_hides_no_exception(ready, autojump_clock):
    with pytest.raises(ValueError, match="mine"):
        async with open_websocket_url("ws://h/", disconnect_timeout=5):
            raise ValueError("mine")


async def test_cancelled_block_cuts_the_connection(ready, autojump_clock):
    with trio.move_on_after(1) as scope:
        async with open_websocket_url("ws://h/") as connection:
            await connection.get_message()
    assert scope.cancelled_caught
    # There may be a Close, but nobody waits for the answer.
    frames = take_frames(bytearray(await ready.receive_rest()))
    assert [frame.close for frame in frames] in ([], [(1000, "")])


async def test_closing_within_the_block(ready, nursery, autojump_clock):
    nursery.start_soon(close_politely, ready)
    async with open_websocket_url("ws://h/") as connection:
        await ready.send((TEXT, b"x"))
        assert await connection.get_message() == "x"
        await connection.aclose(4000, "mine")
    assert connection.closed.code == 4000
