"""wscore.trio with peers of other makes, which share no code with it, over real sockets."""

from __future__ import annotations

import asyncio
import types
import zlib
from contextlib import asynccontextmanager

import pytest
import trio
from end_to_end.other_clients import CLIENTS, Chromium
from end_to_end.other_servers import SERVERS

from wscore.trio import (
    Compression,
    ConnectionClosed,
    ConnectionRejected,
    open_websocket_url,
    serve_websocket,
)

TIMEOUT = 60
MEBIBYTE = 2**20
MESSAGES = {
    "empty text": "",
    "text": "grüß dich 🎉",
    "empty bytes": b"",
    "bytes": bytes(range(256)),
    "large text": "x" * MEBIBYTE,
    "large bytes": bytes(range(256)) * (MEBIBYTE // 256),
}


# Our server


@asynccontextmanager
async def our_server(ended):
    """The server that every client is tried with; sends why each connection ended."""

    async def handle(request):
        if request.path == "/refuse":
            await request.reject(403, body=b"no\n")
            return
        compression = Compression() if request.path == "/compressed" else False
        connection = await request.accept(
            subprotocol="b" if "b" in request.proposed_subprotocols else None,
            compression=compression,
        )
        try:
            if request.path == "/close":
                await connection.get_message()
                await connection.aclose(4001, "enough")
            while True:
                await connection.send_message(await connection.get_message())
        except ConnectionClosed as error:
            ended.send_nowait((error.reason.code, error.reason.reason))

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, handle, "127.0.0.1", 0, None)
        yield f"ws://127.0.0.1:{server.port}"
        nursery.cancel_scope.cancel()


async def talk(kind, url):
    """What a client does with the server, as itself sees it."""
    for path in ("/plain", "/compressed"):
        async with kind(url + path) as client:
            assert client.subprotocol == "b"
            if kind.compresses:
                assert client.compressed is (path == "/compressed")
            for message in MESSAGES.values():
                await client.send(message)
                assert await client.receive() == message
            if kind.fragments:
                await client.send_fragments(["one ", "", "zwö", "lf"])
                assert await client.receive() == "one zwölf"
            if kind.pings:
                await client.ping()
            await client.close(4000, "tschüß")
    async with kind(url + "/close") as client:
        await client.send("x")
        assert await client.wait_closed() == (4001, "enough")
    if kind is Chromium:
        assert await kind.refusal(url + "/refuse") == (1006, None)
    else:
        assert await kind.refusal(url + "/refuse") == (403, b"no\n" if kind.tells_body else None)


BROWSER = (pytest.mark.browser,)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=BROWSER if kind is Chromium else (), id=kind.__name__)
        for kind in CLIENTS
    ],
)
async def test_client_of_another_make(kind):
    send, receive = trio.open_memory_channel(3)
    with trio.fail_after(TIMEOUT):
        async with our_server(send) as url:
            await trio.to_thread.run_sync(kind.run, lambda: talk(kind, url))
            ended = [await receive.receive() for _ in range(3)]
    assert ended == [(4000, "tschüß"), (4000, "tschüß"), (4001, "enough")]


# Our client


@asynccontextmanager
async def their_server(name):
    """A server of another make, in a thread of its own if it needs another loop."""
    serve, abilities = SERVERS[name]
    send, receive = trio.open_memory_channel(1)
    if "asyncio" not in abilities:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, send.send_nowait)
            yield f"ws://127.0.0.1:{await receive.receive()}"
            nursery.cancel_scope.cancel()
        return
    stop = None

    def started(port):
        nonlocal stop
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        stop = lambda: loop.call_soon_threadsafe(task.cancel)  # noqa: E731
        trio.from_thread.run_sync(send.send_nowait, port)

    async def serve_until_stopped():
        with pytest.raises(asyncio.CancelledError):
            await serve(started)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, lambda: asyncio.run(serve_until_stopped()))
        try:
            yield f"ws://127.0.0.1:{await receive.receive()}"
        finally:
            stop()


class CountingZlib(types.ModuleType):
    """zlib, with a count of the decompressors: one for a connection that received compressed."""

    decompressors = 0

    def __getattr__(self, name):
        return getattr(zlib, name)

    def decompressobj(self, *args, **kwargs):
        self.decompressors += 1
        return zlib.decompressobj(*args, **kwargs)


@pytest.mark.parametrize("name", SERVERS)
async def test_server_of_another_make(name):
    abilities = SERVERS[name][1]
    counting = CountingZlib("counting")
    options = {"subprotocols": ["a", "b"], "max_message_size": MEBIBYTE}
    with trio.fail_after(TIMEOUT):
        async with their_server(name) as url:
            for compression in (False, Compression(zlib=counting)):
                async with open_websocket_url(
                    f"{url}/echo", compression=compression, **options
                ) as connection:
                    assert connection.subprotocol == "b"
                    for message in MESSAGES.values():
                        await connection.send_message(message)
                        assert await connection.get_message() == message
                    await connection.ping(b"from us")
                    await connection.aclose(4000, "tschüß")
                assert connection.closed.code == 4000
            await check_ways_to_end(url, options)
            if "ping" in abilities:
                async with open_websocket_url(f"{url}/ping", **options) as connection:
                    await connection.send_message("x")
                    assert await connection.get_message() == "pong"
            if "fragments" in abilities:
                async with open_websocket_url(f"{url}/fragments", **options) as connection:
                    await connection.send_message("zwölf")
                    assert await connection.get_message() == "zwölf"
    assert counting.decompressors == ("compress" in abilities)


async def check_ways_to_end(url, options):
    async with open_websocket_url(f"{url}/close", **options) as connection:
        await connection.send_message("x")
        with pytest.raises(ConnectionClosed) as closed:
            await connection.get_message()
    assert (closed.value.reason.code, closed.value.reason.reason) == (4001, "enough")
    with pytest.raises(ConnectionRejected) as refused:
        async with open_websocket_url(f"{url}/refuse", **options):
            raise AssertionError
    assert (refused.value.status_code, refused.value.body) == (403, b"no\n")
    small = options | {"max_message_size": 1000}
    async with open_websocket_url(f"{url}/echo", **small) as connection:
        await connection.send_message("x" * 1001)
        with pytest.raises(ConnectionClosed) as cut:
            await connection.get_message()
    assert cut.value.reason.code == 1009
