"""Several trio runs, at the same time in threads and one after another: they share nothing."""

from __future__ import annotations

import gc
import os
import sys
import threading
from functools import partial

import pytest
import trio
from transport.peer import TEXT, server_and_peer, socket_pair
from trio.testing import memory_stream_pair

from wscore.trio import ConnectionClosed, broadcast, open_websocket, serve_websocket

PAIRS = pytest.mark.parametrize("new_pair", [memory_stream_pair, socket_pair])


async def echo(request):
    connection = await request.accept()
    async for message in connection:
        await connection.send_message(message)


async def converse(name, meet=lambda: None):
    """A server and its client in this run; ``meet`` is called while they are connected."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, echo, "127.0.0.1", 0, None)
        async with open_websocket("127.0.0.1", server.port, "/", use_ssl=False) as client:
            await client.ping()
            meet()
            for number in range(200):
                await client.send_message(f"{name} {number}")
                assert await client.get_message() == f"{name} {number}"
            meet()
        assert client.closed.code == 1000
        await server.aclose()
        assert server.counters.closed == {1000: 1}


class Thread(threading.Thread):
    """A thread whose exception is raised where it is joined."""

    def __init__(self, function):
        super().__init__(daemon=True)
        self._function = function
        self._error = None

    def run(self):
        try:
            self._function()
        except BaseException as error:
            self._error = error

    def join(self, timeout=60):
        super().join(timeout)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error


def open_descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd")) if sys.platform.startswith("linux") else 0


def test_runs_in_threads_do_not_meet():
    before = open_descriptors()
    barrier = threading.Barrier(4, timeout=60)
    threads = [Thread(partial(trio.run, partial(converse, name, barrier.wait))) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert open_descriptors() == before


def test_one_run_after_another():
    before = open_descriptors()
    for name in "abc":
        trio.run(converse, name)
    assert open_descriptors() == before


@PAIRS
def test_connection_of_a_run_that_ended_is_closed(new_pair):
    async def leave_open():
        return await server_and_peer(new_pair())

    async def use(connection):
        assert connection.closed.code == 1006
        for call in (
            connection.get_message,
            partial(connection.send_message, "x"),
            connection.ping,
        ):
            with pytest.raises(ConnectionClosed):
                await call()
        await connection.aclose()

    connection, peer = trio.run(leave_open)
    assert connection.closed.code == 1006
    trio.run(use, connection)
    trio.run(trio.aclose_forcefully, peer.stream)


@PAIRS
def test_broadcast_skips_the_connection_of_a_run_that_ended(new_pair):
    async def open_one():
        return await server_and_peer(new_pair())

    async def send(former):
        connection, peer = await open_one()
        result = broadcast([former, connection], "x")
        assert (result.delivered + result.queued, result.skipped, result.cut) == (1, 1, ())
        received = await peer.receive()
        assert (received.opcode, received.payload) == (TEXT, b"x")
        await trio.aclose_forcefully(peer.stream)

    former, peer = trio.run(open_one)
    trio.run(send, former)
    trio.run(trio.aclose_forcefully, peer.stream)


@PAIRS
def test_broadcast_refuses_the_open_connection_of_another_run(new_pair):
    opened, may_end = threading.Event(), threading.Event()
    foreign = None

    async def elsewhere():
        nonlocal foreign
        foreign, peer = await server_and_peer(new_pair())
        opened.set()
        await trio.to_thread.run_sync(may_end.wait)
        await foreign.send_message("still well")  # and nothing came before it
        assert (await peer.receive()).payload == b"still well"
        await trio.aclose_forcefully(peer.stream)

    async def here():
        connection, peer = await server_and_peer(new_pair())
        with pytest.raises(RuntimeError, match="another trio run"):
            broadcast([connection, foreign], "x")
        await connection.send_message("nothing before this")
        assert (await peer.receive()).payload == b"nothing before this"
        await trio.aclose_forcefully(peer.stream)

    thread = Thread(partial(trio.run, elsewhere))
    thread.start()
    try:
        assert opened.wait(60)
        trio.run(here)
        with pytest.raises(RuntimeError):  # outside of any run
            broadcast([foreign], "x")
    finally:
        may_end.set()
        thread.join()


def test_broadcast_into_another_run_through_its_token():
    """As the documentation says."""
    opened = threading.Event()
    heard, member, token = [], None, None

    async def elsewhere():
        nonlocal member, token
        member, peer = await server_and_peer(socket_pair())
        token = trio.lowlevel.current_trio_token()
        opened.set()
        heard.append((await peer.receive()).payload)
        await trio.aclose_forcefully(peer.stream)

    thread = Thread(partial(trio.run, elsewhere))
    thread.start()
    assert opened.wait(60)
    token.run_sync_soon(broadcast, [member], "x")
    thread.join()
    assert heard == [b"x"]
