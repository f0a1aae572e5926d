"""wscore.trio over real sockets and TLS, with itself and with peers of other makes."""

from __future__ import annotations

import logging
import socket
import struct
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio_websocket
import websockets
import websockets.trio.client
import websockets.trio.server

from wscore.trio import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    HTTPResponse,
    WebSocketConnection,
    connect_websocket_url,
    open_websocket,
    open_websocket_url,
    serve_websocket,
    wrap_client_stream,
)

MESSAGES = ["", "grüß", "x" * 70000, b"", b"\x00\xff", bytes(range(256)) * 2000]
TIMEOUT = 60


async def echo(request):
    if request.path == "/secret":
        await request.reject(403, body=b"no")
        return
    subprotocol = "b" if "b" in request.proposed_subprotocols else None
    connection = await request.accept(subprotocol=subprotocol, compression=True)
    while True:
        await connection.send_message(await connection.get_message())


async def page(request):
    return HTTPResponse(200, body=b"the page") if request.path == "/page" else None


@asynccontextmanager
async def running(handler=echo, ssl_context=None, **options):
    """Our server on a free port of localhost; yields the URL without the path."""
    serve = partial(serve_websocket, handler, "127.0.0.1", 0, ssl_context, **options)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve)
        yield f"{'wss' if ssl_context else 'ws'}://localhost:{server.port}"
        nursery.cancel_scope.cancel()


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


# With itself


@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize("tls", [False, True])
async def test_echo(server_context, client_context, tls, compression):
    with trio.fail_after(TIMEOUT):
        async with (
            running(ssl_context=server_context if tls else None) as url,
            open_websocket_url(
                f"{url}/x",
                client_context if tls else None,
                subprotocols=["a", "b"],
                compression=compression,
            ) as connection,
        ):
            assert connection.subprotocol == "b"
            assert connection.remote.is_ssl is tls
            assert connection.remote.port == port_of(url)
            for message in MESSAGES:
                await connection.send_message(message)
                assert await connection.get_message() == message
            await connection.ping()
        assert connection.closed.code == 1000


@pytest.mark.parametrize("tls", [False, True])
async def test_both_ways_at_once(server_context, client_context, tls):
    """More in flight than the system buffers: neither end waits for the other to read first."""
    total = 300
    with trio.fail_after(TIMEOUT):
        async with (
            running(ssl_context=server_context if tls else None) as url,
            open_websocket_url(url, client_context if tls else None) as connection,
            trio.open_nursery() as nursery,
        ):

            @nursery.start_soon
            async def send():
                for number in range(total):
                    await connection.send_message(struct.pack("!I", number) * 10000)

            for number in range(total):
                assert await connection.get_message() == struct.pack("!I", number) * 10000


async def test_rejection_reaches_the_client():
    async with running() as url:
        with pytest.raises(ConnectionRejected) as info:
            async with open_websocket_url(f"{url}/secret"):
                pass
        assert (info.value.status_code, info.value.body) == (403, b"no")


async def test_failing_handler_closes_with_1011(caplog):
    async def handler(request):
        await request.accept()
        raise ValueError("oops")

    async with running(handler) as url:
        for _ in range(2):
            async with open_websocket_url(url) as connection:
                with pytest.raises(ConnectionClosed) as info:
                    await connection.get_message()
            assert info.value.reason.code == 1011
    assert len(caplog.records) == 2


async def test_stopping_server_says_1001(nursery):
    codes = []

    async def wait_for_the_end(connection):
        with pytest.raises(ConnectionClosed) as info:
            await connection.get_message()
        codes.append(info.value.reason.code)
        await connection.aclose()

    async with trio.open_nursery() as clients, running() as url:
        for _ in range(3):
            connection = await connect_websocket_url(nursery, url)
            clients.start_soon(wait_for_the_end, connection)
    assert codes == [1001, 1001, 1001]


# TLS and other ways to fail


async def test_certificate_for_another_host(server_context, client_context):
    async with running(ssl_context=server_context) as url:
        with pytest.raises(HandshakeError, match="certificate"):
            async with open_websocket("127.0.0.1", port_of(url), "/", use_ssl=client_context):
                pass
        async with open_websocket_url(url, client_context) as connection:  # the server lives
            await connection.ping()


async def test_certificate_that_nobody_trusts(server_context):
    async with running(ssl_context=server_context) as url:
        with pytest.raises(HandshakeError, match="certificate"):
            async with open_websocket_url(url):
                pass


async def test_nobody_listens():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(HandshakeError) as info:
            async with open_websocket("127.0.0.1", port, "/", use_ssl=False):
                pass
    assert isinstance(info.value.__cause__, OSError)


async def test_confused_clients_do_not_end_the_server(server_context, client_context, caplog):
    """Plain text to a TLS port, TLS to a plain port, a hang-up in mid-handshake."""
    caplog.set_level(logging.INFO)
    async with running() as plain, running(ssl_context=server_context) as tls:
        with pytest.raises(HandshakeError):
            async with open_websocket("localhost", port_of(tls), "/", use_ssl=False):
                pass
        with pytest.raises(HandshakeError):
            async with open_websocket("localhost", port_of(plain), "/", use_ssl=client_context):
                pass
        for url in (plain, tls):
            stream = await trio.open_tcp_stream("127.0.0.1", port_of(url))
            await stream.send_all(b"\x16\x03\x01")
            await stream.aclose()
        for url, context in ((plain, None), (tls, client_context)):
            async with open_websocket_url(url, context) as connection:
                await connection.ping()
    assert caplog.records
    assert all(r.levelno == logging.INFO and r.exc_info is None for r in caplog.records)


def reset(end: trio.SocketStream | WebSocketConnection) -> None:
    """Close a socket so that the peer gets RST instead of FIN."""
    if isinstance(end, WebSocketConnection):
        end._session.cut("by the test")
    else:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.socket.close()


@pytest.mark.parametrize("moment", ["at once", "in the request", "open"])
async def test_reset_connections_do_not_end_the_server(caplog, nursery, moment):
    caplog.set_level(logging.INFO)
    with trio.fail_after(TIMEOUT):
        async with running() as url:
            for _ in range(20):
                if moment == "open":
                    connection = await connect_websocket_url(nursery, url)
                    reset(connection)
                    await connection.aclose()
                else:
                    stream = await trio.open_tcp_stream("127.0.0.1", port_of(url))
                    if moment == "in the request":
                        await stream.send_all(b"GET / HTTP/1.1\r\nHost:")
                    reset(stream)
            async with open_websocket_url(url) as connection:
                await connection.ping()
    assert all(r.levelno == logging.INFO and r.exc_info is None for r in caplog.records)


class LateStream(trio.abc.Stream):
    """Reads nothing before an event, once ``waits`` is true."""

    def __init__(self, stream: trio.abc.Stream, event: trio.Event) -> None:
        self._stream = stream
        self._event = event
        self.waits = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self.waits:
            await self._event.wait()
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_server_that_resets_is_1006():
    async def handler(request):
        connection = await request.accept()
        await connection.get_message()
        reset(connection)

    async with running(handler) as url, open_websocket_url(url) as connection:
        await connection.send_message("x")
        with pytest.raises(ConnectionClosed) as info:
            await connection.get_message()
    assert info.value.reason.code == 1006


async def test_cancelled_send_to_a_peer_that_reads_late():
    """Over a real socket: the message arrives whole, and so does what is sent behind it."""
    cancelled = trio.Event()

    async def handler(request):
        connection = await request.accept()
        with trio.move_on_after(0.2) as scope:
            await connection.send_message(bytes(50_000_000))
        assert scope.cancelled_caught
        assert connection.bytes_unsent > 1_000_000
        cancelled.set()
        await connection.send_message("x")

    with trio.fail_after(TIMEOUT):
        async with running(handler) as url:
            stream = await trio.open_tcp_stream("127.0.0.1", port_of(url))
            late = LateStream(stream, cancelled)
            async with trio.open_nursery() as nursery:
                connection = await wrap_client_stream(
                    nursery, late, "localhost", "/", max_message_size=2**26
                )
                late.waits = True
                assert await connection.get_message() == bytes(50_000_000)
                assert await connection.get_message() == "x"
                await connection.aclose()


async def test_plain_http_on_the_same_port(server_context, client_context):
    import urllib.request

    async with running(ssl_context=server_context, process_request=page) as url:

        def get():
            with urllib.request.urlopen(
                f"https://localhost:{port_of(url)}/page", context=client_context
            ) as response:
                return response.status, response.read()

        assert await trio.to_thread.run_sync(get) == (200, b"the page")
        async with open_websocket_url(url, client_context) as connection:
            await connection.ping()


async def test_unix_socket(tmp_path):
    from wscore.trio import WebSocketServer, wrap_client_stream

    path = str(tmp_path / "socket")
    sock = trio.socket.socket(socket.AF_UNIX)
    await sock.bind(path)
    sock.listen()
    server = WebSocketServer(echo, [trio.SocketListener(sock)])
    assert server.listeners == [f"unix:{path}"]
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        stream = await trio.open_unix_socket(path)
        connection = await wrap_client_stream(nursery, stream, "localhost", "/")
        await connection.send_message("x")
        assert await connection.get_message() == "x"
        assert connection.remote == f"unix:{path}"
        await connection.aclose()
        nursery.cancel_scope.cancel()


# Clients of other makes


@pytest.mark.parametrize("tls", [False, True])
async def test_websockets_as_client(server_context, client_context, tls):
    with trio.fail_after(TIMEOUT):
        async with running(ssl_context=server_context if tls else None) as url:
            async with websockets.trio.client.connect(
                f"{url}/x",
                ssl=client_context if tls else None,
                subprotocols=["b"],
                max_size=None,
                proxy=None,
            ) as client:
                assert client.subprotocol == "b"
                for message in MESSAGES:
                    await client.send(message)
                    assert await client.recv() == message
                await client.send(["one ", "two ", "three"])
                assert await client.recv() == "one two three"
                await (await client.ping()).wait()
            assert client.protocol.close_code == 1000
            assert "permessage-deflate" in str(client.response.headers)


async def test_websockets_client_hears_close_codes():
    async def handler(request):
        connection = await request.accept()
        await connection.get_message()
        await connection.aclose(4000, "enough")

    async with running(handler, max_message_size=1000) as url:
        for message, code in (("x", 4000), ("x" * 2000, 1009)):
            async with websockets.trio.client.connect(url, proxy=None) as client:
                await client.send(message)
                with pytest.raises(websockets.ConnectionClosed):
                    await client.recv()
                assert client.protocol.close_code == code


@pytest.mark.parametrize("tls", [False, True])
async def test_trio_websocket_as_client(server_context, client_context, tls):
    with trio.fail_after(TIMEOUT):
        async with (
            running(ssl_context=server_context if tls else None) as url,
            trio_websocket.open_websocket_url(
                f"{url}/x", client_context if tls else None
            ) as client,
        ):
            for message in MESSAGES:
                await client.send_message(message)
                assert await client.get_message() == message
            await client.ping()
        assert client.closed.code == 1000


# Servers of other makes


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("compression", [False, True])
async def test_websockets_as_server(server_context, client_context, tls, compression):
    async def handler(connection):
        async for message in connection:
            await connection.send(message)

    serve = partial(
        websockets.trio.server.serve,
        handler,
        0,
        host="127.0.0.1",
        ssl=server_context if tls else None,
        subprotocols=["b"],
        max_size=None,
    )
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve)
            port = server.listeners[0].socket.getsockname()[1]
            async with open_websocket(
                "localhost",
                port,
                "/",
                use_ssl=client_context if tls else False,
                subprotocols=["b"],
                compression=compression,
            ) as connection:
                assert connection.subprotocol == "b"
                for message in MESSAGES:
                    await connection.send_message(message)
                    assert await connection.get_message() == message
                await connection.ping()
            assert connection.closed.code == 1000
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("tls", [False, True])
async def test_trio_websocket_as_server(server_context, client_context, tls):
    async def handler(request):
        connection = await request.accept()
        if request.path == "/close":
            await connection.aclose(4000, "enough")
        while True:
            try:
                await connection.send_message(await connection.get_message())
            except trio_websocket.ConnectionClosed:
                return

    serve = partial(
        trio_websocket.serve_websocket,
        handler,
        "127.0.0.1",
        0,
        server_context if tls else None,
    )
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve)
            url = f"{'wss' if tls else 'ws'}://localhost:{server.port}"
            context = client_context if tls else None
            async with open_websocket_url(url, context) as connection:
                for message in MESSAGES:
                    await connection.send_message(message)
                    assert await connection.get_message() == message
                await connection.ping()
            async with open_websocket_url(f"{url}/close", context) as connection:
                with pytest.raises(ConnectionClosed) as info:
                    await connection.get_message()
            assert (info.value.reason.code, info.value.reason.reason) == (4000, "enough")
            nursery.cancel_scope.cancel()
