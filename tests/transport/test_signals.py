"""Servers until a signal comes; the signals are real, the clients are in the same task tree."""

from __future__ import annotations

import logging
import os
import signal
import sys
from functools import partial

import pytest
import trio
from transport.peer import CLOSE, MemoryListener, close_payload
from trio.testing import wait_all_tasks_blocked

from wscore.trio import WebSocketServer, serve_until_signal, serve_websocket

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows cannot send itself these signals"
)


async def hold(request):
    connection = await request.accept()
    while True:
        await connection.get_message()


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signal_closes_all_servers_and_returns(nursery, caplog, number):
    caplog.set_level(logging.INFO)
    listeners = [MemoryListener(), MemoryListener()]
    servers = [WebSocketServer(hold, [listener]) for listener in listeners]
    async with trio.open_nursery() as running:
        started = await running.start(serve_until_signal, *(server.run for server in servers))
        assert started == servers
        peers = [await listener.open() for listener in listeners]
        send(number)
        for peer in peers:
            assert (await peer.receive()).close == (1001, "")
            await peer.send((CLOSE, close_payload(1001)))
            await peer.stream.send_eof()
    for listener in listeners:
        with pytest.raises(trio.BrokenResourceError):
            listener.connect()
    assert [record.getMessage() for record in caplog.records] == [f"{number.name}: stopping"]


async def test_grace_is_passed_on(autojump_clock):
    listener = MemoryListener()
    server = WebSocketServer(hold, [listener], disconnect_timeout=60)
    async with trio.open_nursery() as running:
        await running.start(partial(serve_until_signal, server.run, grace=3))
        await listener.open()
        begin = trio.current_time()
        send(signal.SIGTERM)
    assert trio.current_time() - begin == pytest.approx(3, abs=0.01)


async def test_second_signal_cuts(autojump_clock):
    listener = MemoryListener()
    server = WebSocketServer(hold, [listener], disconnect_timeout=60)
    async with trio.open_nursery() as running:
        await running.start(partial(serve_until_signal, server.run, grace=1000))
        await listener.open()
        begin = trio.current_time()
        send(signal.SIGTERM)
        await trio.sleep(5)
        send(signal.SIGINT)
    assert trio.current_time() - begin == pytest.approx(5, abs=0.01)


async def test_signal_before_everything_listens():
    listener = MemoryListener()
    server = WebSocketServer(hold, [listener])

    async def never(task_status):
        send(signal.SIGTERM)
        await trio.sleep_forever()

    await serve_until_signal(server.run, never)
    with pytest.raises(trio.BrokenResourceError):
        listener.connect()


async def test_it_ends_when_all_servers_were_closed():
    listener = MemoryListener()
    server = WebSocketServer(hold, [listener])
    async with trio.open_nursery() as running:
        await running.start(serve_until_signal, server.run)
        await server.aclose()


async def test_address_that_is_taken_is_an_error():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    other = MemoryListener()
    with pytest.raises(OSError):
        await serve_until_signal(
            WebSocketServer(hold, [other]).run,
            partial(serve_websocket, hold, "127.0.0.1", port, None),
        )
    with pytest.raises(trio.BrokenResourceError):
        other.connect()
    await listeners[0].aclose()


async def test_signals_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    server = WebSocketServer(hold, [MemoryListener()])
    async with trio.open_nursery() as running:
        await running.start(serve_until_signal, server.run)
        assert signal.getsignal(signal.SIGTERM) is not before
        running.cancel_scope.cancel()
    await wait_all_tasks_blocked()
    assert signal.getsignal(signal.SIGTERM) is before
