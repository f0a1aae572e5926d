"""The server over real sockets and TLS, with clients that are slow, confused, or gone."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import sys
import urllib.request
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
from transport.peer import CLOSE, HANDSHAKE, TEXT, close_payload, frame

from wscore.trio import (
    HTTPResponse,
    WebSocketServer,
    open_unix_listener,
    open_websocket,
    serve_websocket,
    wrap_client_stream,
)

TIMEOUT = 60


@pytest.fixture(params=["TCP", "TLS"])
def contexts(request, server_context, client_context):
    return (server_context, client_context) if request.param == "TLS" else (None, None)


async def echo(request):
    connection = await request.accept()
    while True:
        await connection.send_message(await connection.get_message())


@asynccontextmanager
async def running(ssl_context=None, **options):
    serve = partial(serve_websocket, echo, "127.0.0.1", 0, ssl_context, **options)
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve)
            yield server
            nursery.cancel_scope.cancel()


async def connect(server, context=None):
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    if context is None:
        return stream
    return trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)


async def receive_until(stream, end):
    received = b""
    while end not in received:
        data = await stream.receive_some()
        assert data, f"it ended after {received!r}"
        received += data
    return received


async def drain(stream):
    """Wait until the server has closed, in whatever way."""
    try:
        while await stream.receive_some():
            pass
    except trio.BrokenResourceError:
        pass


async def check_alive(server, context=None):
    use_ssl = context or False
    async with open_websocket("localhost", server.port, "/", use_ssl=use_ssl) as connection:
        await connection.send_message("alive?")
        assert await connection.get_message() == "alive?"


def reset(stream):
    """Close a socket so that the peer gets RST instead of FIN."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


def end(stream, ending):
    if ending == "reset":
        reset(stream)
    else:
        stream.socket.close()


# Clients that say nothing, or the wrong thing

CLIENT_HELLO_BEGINS = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
CONFUSED = {
    "plain HTTP": b"GET / HTTP/1.1\r\nHost: secret\r\n\r\n",
    "noise": b"\xff\xfesecret\r\n" * 10,
    "half a hello": CLIENT_HELLO_BEGINS,
}


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("name", CONFUSED)
async def test_failing_tls_is_one_line_without_its_bytes(
    server_context, client_context, caplog, name, ending
):
    caplog.set_level(logging.INFO)
    async with running(server_context) as server:
        stream = await connect(server)
        await stream.send_all(CONFUSED[name])
        if name != "half a hello":
            await drain(stream)
        end(stream, ending)
        while not server.counters.handshakes_lost:  # noqa: ASYNC110
            await trio.sleep(0.01)
        await check_alive(server, client_context)
        assert server.counters.handshakes_lost == 1
    (record,) = caplog.records
    assert (record.name, record.levelno, record.exc_info) == ("wscore.trio", logging.INFO, None)
    assert "TLS" in record.getMessage()
    assert "secret" not in record.getMessage()
    assert record.getMessage().isprintable()


async def test_client_that_does_not_trust_the_certificate(server_context, client_context, caplog):
    caplog.set_level(logging.INFO)
    async with running(server_context) as server:
        stream = await connect(server, ssl.create_default_context())
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(stream)
        await check_alive(server, client_context)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_checking_the_port_is_not_worth_a_line(contexts, caplog, ending):
    """As load balancers do, every few seconds."""
    caplog.set_level(logging.INFO)
    async with running(contexts[0]) as server:
        for _ in range(10):
            stream = await connect(server)
            end(stream, ending)
        while server.counters.handshakes_lost < 10:  # noqa: ASYNC110
            await trio.sleep(0.01)
        await check_alive(server, contexts[1])
    assert caplog.records == []


# Clients that are slow


@pytest.mark.parametrize("data", [b"", HANDSHAKE], ids=["silent", "byte by byte"])
async def test_slow_client_is_cut_after_the_time_for_the_handshake(contexts, caplog, data):
    caplog.set_level(logging.INFO)
    async with running(contexts[0], connect_timeout=0.3) as server:
        stream = await connect(server)  # without TLS, so that it fails there
        sent = 0
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def drip():
                nonlocal sent
                if contexts[0] is None:
                    with suppress(trio.BrokenResourceError):  # it may hear of the cut first
                        for byte in data:
                            await stream.send_all(bytes([byte]))
                            sent += 1
                            await trio.sleep(0.1)

            await drain(stream)
            nursery.cancel_scope.cancel()
        assert sent < len(HANDSHAKE) - 50
        assert server.counters.handshake_timeouts == 1
        await stream.aclose()
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert record.getMessage().endswith(": no complete request in 0.3 s")


async def test_client_that_sends_byte_by_byte_is_served(contexts):
    async with running(contexts[0]) as server:
        stream = await connect(server, contexts[1])
        for byte in HANDSHAKE + frame(TEXT, b"slowly"):
            await stream.send_all(bytes([byte]))
        await receive_until(stream, frame(TEXT, b"slowly", mask=False))
        await trio.aclose_forcefully(stream)


async def test_slow_clients_do_not_delay_others(contexts):
    async with running(contexts[0]) as server:
        slow = [await connect(server) for _ in range(50)]
        await check_alive(server, contexts[1])
        for stream in slow:
            await stream.aclose()


# Clients that end in their own way


async def test_half_closed_client_still_gets_its_answers(caplog):
    async with running() as server:
        stream = await connect(server)
        await stream.send_all(HANDSHAKE + frame(TEXT, b"last words"))
        await stream.send_eof()
        received = await receive_until(stream, b"\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 101 ")
        await drain(stream)
        await stream.aclose()
        while server.counters.open or not server.counters.accepted:  # noqa: ASYNC110
            await trio.sleep(0.01)
        assert server.counters.closed == {1006: 1}
        await check_alive(server)


@pytest.mark.parametrize("moment", ["request", "after 101", "message", "close"])
async def test_reset_at_any_moment_hurts_nobody_else(contexts, caplog, moment):
    caplog.set_level(logging.INFO)
    async with running(contexts[0]) as server:
        async with open_websocket(
            "localhost", server.port, "/", use_ssl=contexts[1] or False
        ) as bystander:
            for _ in range(10):
                stream = await connect(server, contexts[1])
                await stream.send_all(HANDSHAKE[: 40 if moment == "request" else None])
                if moment != "request":
                    await receive_until(stream, b"\r\n\r\n")
                if moment == "message":
                    await stream.send_all(frame(TEXT, b"x" * 100_000)[:50_000])
                if moment == "close":
                    await stream.send_all(frame(CLOSE, close_payload(1000)))
                reset(stream.transport_stream if contexts[0] else stream)
                await bystander.send_message("still here")
                assert await bystander.get_message() == "still here"
        while server.counters.open:  # noqa: ASYNC110
            await trio.sleep(0.01)
    assert all(r.levelno == logging.INFO and r.exc_info is None for r in caplog.records)


# Files


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "big"
    path.write_bytes(bytes(range(256)) * 100_000)
    return path


async def test_file_is_downloaded(server_context, client_context, big):
    async def hook(request):
        return HTTPResponse(200, [(b"Content-Type", b"application/octet-stream")], big)

    async with running(server_context, process_request=hook) as server:

        def get():
            url = f"https://localhost:{server.port}/"
            with urllib.request.urlopen(url, context=client_context) as response:
                return response.headers["Content-Type"], response.read() == big.read_bytes()

        kind, is_equal = await trio.to_thread.run_sync(get)
        assert (kind, is_equal) == ("application/octet-stream", True)


async def test_iterable_is_downloaded():
    async def body():
        for number in range(100):
            await trio.lowlevel.checkpoint()
            yield b"%d\n" % number

    async def hook(request):
        return HTTPResponse(200, [], body())

    async with running(process_request=hook) as server:

        def get():
            with urllib.request.urlopen(f"http://localhost:{server.port}/") as response:
                return response.read().split()

        assert await trio.to_thread.run_sync(get) == [b"%d" % n for n in range(100)]


async def test_client_that_stops_reading_a_file_is_cut(contexts, caplog, big):
    caplog.set_level(logging.INFO)

    async def hook(request):
        return HTTPResponse(200, [], big) if request.path == "/big" else None

    async with running(contexts[0], process_request=hook, send_timeout=0.3) as server:
        stream = await connect(server, contexts[1])
        await stream.send_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        await receive_until(stream, b"\r\n\r\n")
        while not caplog.records:  # noqa: ASYNC110
            await trio.sleep(0.01)
        assert server.counters.refused == {200: 1}
        await check_alive(server, contexts[1])
        await trio.aclose_forcefully(stream)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert "took nothing for 0.3 s" in record.getMessage()


# Several servers, several kinds of listeners


@pytest.mark.skipif(sys.platform == "win32", reason="trio has no Unix sockets on Windows")
async def test_one_server_on_tcp_tls_and_unix_sockets(server_context, client_context, tmp_path):
    path = tmp_path / "socket"
    listeners = [
        *await trio.open_tcp_listeners(0, host="127.0.0.1"),
        *await trio.open_ssl_over_tcp_listeners(0, server_context, host="127.0.0.1"),
        await open_unix_listener(path),
        trio.SSLListener(await open_unix_listener(f"{path}.tls"), server_context),
    ]
    server = WebSocketServer(echo, listeners)
    plain, tls, *unix = server.listeners
    assert (plain.is_ssl, tls.is_ssl) == (False, True)
    assert unix == [f"unix:{path}", f"unix:{path}.tls"]
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            streams = [
                await trio.open_tcp_stream("127.0.0.1", plain.port),
                await trio.open_tcp_stream("127.0.0.1", tls.port),
                await trio.open_unix_socket(path),
                await trio.open_unix_socket(f"{path}.tls"),
            ]
            for number in (1, 3):
                streams[number] = trio.SSLStream(
                    streams[number],
                    client_context,
                    server_hostname="localhost",
                    https_compatible=True,
                )
            for stream in streams:
                connection = await wrap_client_stream(nursery, stream, "localhost", "/")
                await connection.send_message("x")
                assert await connection.get_message() == "x"
                await connection.aclose()
            assert server.counters.accepted == 4
            await server.aclose()


async def test_servers_in_one_nursery_have_ports_of_their_own(server_context, client_context):
    async with running() as one, running(server_context) as two, running() as three:
        await check_alive(one)
        await check_alive(two, client_context)
        await three.aclose()
        with pytest.raises(OSError):
            await connect(three)
        await check_alive(one)
