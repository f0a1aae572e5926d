"""What must never reach another connection, or end the run: trouble below, beside and above us."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import socket
import ssl
import threading
import zlib
from functools import partial

import pytest
import transport.peer
import trio
import trustme
from transport.peer import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    Peer,
    client_and_peer,
    close_payload,
    frame,
    send_for_ever,
    server_and_peer,
    with_options,
)
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from wscore.connection import Connection, ConnectionType
from wscore.trio import CloseReason, Compression, ConnectionClosed, WebSocketConnection
from wscore.trio._options import Options
from wscore.trio._session import Session

# The stream is closed beneath the connection


@pytest.mark.parametrize("open_pair", [server_and_peer, client_and_peer])
@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize("kind", ["streams", "sockets"])
async def test_who_closes_the_stream_ends_the_connection(open_pair, waiting, kind, new_sockets):
    ours, theirs = memory_stream_pair() if kind == "streams" else new_sockets()
    connection, peer = await open_pair((ours, theirs))

    async def wait():
        with pytest.raises(ConnectionClosed):
            await connection.get_message()

    async with trio.open_nursery() as nursery:
        if waiting:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
        await ours.aclose()
        # Other streams are written to, and tell that they are closed, a turn later.
        send = connection.send_message if kind == "sockets" else partial(send_for_ever, connection)
        with pytest.raises(ConnectionClosed) as info:
            await send("x")
        assert info.value.reason == connection.closed == CloseReason(1006)
    assert await peer.receive_rest() == b""
    await connection.aclose()


async def test_the_stream_of_an_ended_connection_may_be_closed_as_well(new_sockets):
    ours, theirs = new_sockets()
    connection, _ = await server_and_peer((ours, theirs))
    await theirs.aclose()
    with pytest.raises(ConnectionClosed):
        await connection.get_message()
    # The same number again, of somebody else.
    others = new_sockets()
    await ours.aclose()
    await others[0].send_all(b"x")
    assert await others[1].receive_some() == b"x"


@pytest.mark.parametrize("reused", [False, True])
async def test_a_number_closed_beneath_us_is_not_closed_again(reused, new_sockets):
    """Neither trio nor we do such a thing; if somebody does, the number's next owner is safe."""
    ours, theirs = new_sockets()
    number = ours.socket.fileno()
    connection, _ = await server_and_peer((ours, theirs))
    os.close(number)
    if not reused:
        await connection.aclose()
        assert connection.closed is not None
        return
    ends = new_sockets()
    if ends[0].socket.fileno() != number:
        ends = ends[::-1]
    assert ends[0].socket.fileno() == number
    other, peer = await server_and_peer(ends)
    assert connection.closed == CloseReason(1006)
    await connection.aclose()
    await peer.send((TEXT, b"hello"))
    assert await other.get_message() == "hello"
    await other.send_message("and back")
    assert (await peer.receive()).payload == b"and back"
    os.fstat(number)  # still open


# Shortages


def test_without_an_epoll_of_our_own_connections_work_all_the_same(monkeypatch, mock_clock):
    """There are no descriptors left when the first connection of a run wants one."""

    def fail():
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def main():
        monkeypatch.setattr(select, "epoll", fail)
        pair = [trio.socket.from_stdlib_socket(end) for end in socket.socketpair()]
        connection, peer = await with_options(
            Options(ping_interval=1, ping_timeout=1), pair=tuple(map(trio.SocketStream, pair))
        )
        await peer.send((TEXT, b"x"))
        assert await connection.get_message() == "x"
        mock_clock.jump(1.5)
        assert (await peer.receive()).opcode == PING
        mock_clock.jump(1.5)
        with pytest.raises(ConnectionClosed):
            await connection.get_message()
        assert connection.cut_reason == "ping timeout"
        await peer.stream.aclose()

    trio.run(main, clock=mock_clock)


# Mistakes of ours, and of the program's logging


class FailingFilter(logging.Filter):
    def filter(self, record):
        raise ZeroDivisionError("by the test")


async def test_a_logger_that_fails_ends_nobody_else(any_wire, monkeypatch):
    first, first_peer = await server_and_peer()
    second, second_peer = await server_and_peer()
    received = Session.received

    def fail(self, data, now):
        if self is first._session:
            raise LookupError("by the test")
        received(self, data, now)

    monkeypatch.setattr(Session, "received", fail)
    failing = FailingFilter()
    logging.getLogger("wscore.trio").addFilter(failing)
    try:
        await first_peer.send((TEXT, b"x"))
        with pytest.raises(ConnectionClosed):
            await first.get_message()
        assert first.cut_reason == "internal error"
        await second_peer.send((TEXT, b"y"))
        assert await second.get_message() == "y"
    finally:
        logging.getLogger("wscore.trio").removeFilter(failing)


async def test_a_deadline_that_fails_ends_one_connection(any_wire, monkeypatch, mock_clock, caplog):
    options = Options(ping_interval=1)
    first, _first_peer = await with_options(options)
    second, second_peer = await with_options(options)
    check = Session.check

    def fail(self, now):
        if self is first._session:
            raise LookupError("by the test")
        return check(self, now)

    monkeypatch.setattr(Session, "check", fail)
    mock_clock.jump(1.5)
    with pytest.raises(ConnectionClosed):
        await first.get_message()
    assert first.cut_reason == "internal error"
    assert (await second_peer.receive()).opcode == PING
    assert second.closed is None
    assert len(caplog.records) == 1


# Runs beside each other


def test_runs_in_threads_do_not_meet():
    """Each has a driver, and deadlines, of its own."""
    barrier = threading.Barrier(3)
    results = []

    async def main():
        ends = [
            trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socket.socketpair()
        ]
        connection, peer = await server_and_peer(tuple(ends))
        for number in range(50):
            await peer.send((TEXT, b"%d" % number))
            assert await connection.get_message() == str(number)
            barrier.wait(60)
        await peer.stream.aclose()
        results.append(connection)

    threads = [threading.Thread(target=trio.run, args=(main,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [connection.closed for connection in results] == [CloseReason(1006)] * 3


def test_guest_mode():
    """In another program's loop, as in asyncio's or that of a user interface."""
    todo = []
    wake = threading.Semaphore(0)
    outcomes = []

    def run_soon(fn):
        todo.append(fn)
        wake.release()

    async def main():
        ends = [
            trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socket.socketpair()
        ]
        connection, peer = await server_and_peer(tuple(ends))
        await peer.send((TEXT, b"x"), (PING, b"p"))
        await connection.send_message(await connection.get_message())
        frames = [await peer.receive() for _ in range(2)]
        await peer.stream.aclose()
        return sorted(frame.payload for frame in frames)

    trio.lowlevel.start_guest_run(
        main, run_sync_soon_threadsafe=run_soon, done_callback=outcomes.append
    )
    while not outcomes:
        assert wake.acquire(timeout=60)
        todo.pop(0)()
    assert outcomes[0].unwrap() == [b"p", b"x"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_a_forked_process_keeps_nothing_alive(new_sockets):
    """It holds the same socket; still the peer hears of the end, and our epoll nothing more."""
    connection, peer = await server_and_peer(new_sockets())
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write_end)
        os.read(read_end, 1)  # until the parent lets go
        os._exit(0)
    os.close(read_end)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.aclose)
            assert (await peer.receive()).close[0] == 1000
            await peer.send((0x8, b"\x03\xe8"))
        assert connection.closed == CloseReason(1000)
        # A socket with the same number, and news of the old one, which the child keeps open.
        other, other_peer = await server_and_peer(new_sockets())
        with pytest.raises((trio.BrokenResourceError, AssertionError)):
            await peer.receive()
        await other_peer.send((TEXT, b"x"))
        assert await other.get_message() == "x"
    finally:
        os.close(write_end)
        os.waitpid(child, 0)  # noqa: ASYNC222 - it is about to exit
    await other_peer.stream.aclose()


# TLS


async def test_who_closes_a_tls_stream_ends_the_connection():
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("example.com").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    raw_ours, raw_theirs = memory_stream_pair()
    ours = trio.SSLStream(raw_ours, server_context, server_side=True, https_compatible=True)
    theirs = trio.SSLStream(
        raw_theirs, client_context, server_hostname="example.com", https_compatible=True
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.do_handshake)
        nursery.start_soon(theirs.do_handshake)
    connection, peer = await server_and_peer((ours, theirs))
    await ours.aclose()
    with pytest.raises(ConnectionClosed) as info:
        await send_for_ever(connection)
    assert info.value.reason == CloseReason(1006)
    assert await peer.receive_rest() == b""


# Memory


async def test_what_a_lost_peer_said_is_kept_within_bounds(any_wire, mock_clock):
    """Compressed, a little in the system's buffer is a lot of messages."""
    connection, peer = await bomb_and_peer()
    deflated = compress(bytes(2**20))
    await peer.stream.send_all(deflated * 100 + frame(CLOSE, close_payload(4000)))
    await peer.stream.aclose()
    with pytest.raises(ConnectionClosed) as info:
        await send_for_ever(connection)
    assert info.value.reason.code == 4000  # it was looked for behind all that
    kept = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            kept.append(await connection.get_message())
    assert 2 <= len(kept) <= 7
    assert set(kept) == {bytes(2**20)}


async def test_a_bomb_is_inflated_as_it_is_taken(any_wire):
    connection, peer = await bomb_and_peer()
    deflated = compress(bytes(2**20))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.stream.send_all, deflated * 50)
        await wait_all_tasks_blocked()
        assert len(connection._session.messages) <= 2
        for _ in range(50):
            assert await connection.get_message() == bytes(2**20)
            assert len(connection._session.messages) <= 2


async def test_a_ping_flood_of_a_peer_who_does_not_read_is_bounded(any_wire, autojump_clock):
    connection, peer = await server_and_peer()
    flood = frame(PING, bytes(125)) * 100
    with trio.move_on_after(0.5):
        for _ in range(200):
            await peer.stream.send_all(flood)
    await wait_all_tasks_blocked()
    assert connection.bytes_unsent <= 2**17
    assert connection.closed is None


async def bomb_and_peer():
    core = Connection(
        ConnectionType.SERVER,
        extensions=[accepted_deflate()],
        whole_messages=True,
        max_message_size=2**20,
    )
    ours, theirs = transport.peer.new_pair()
    connection = WebSocketConnection(
        ours, core, Options(), path="/", subprotocol=None, handshake_headers=()
    )
    return connection, Peer(theirs, masks=True)


def accepted_deflate():
    extension = Compression().new_extension()
    assert extension.accept("permessage-deflate; client_no_context_takeover") is not None
    return extension


def compress(payload):
    """A compressed binary message of a client."""
    compressor = zlib.compressobj(9, wbits=-15)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    whole = bytearray(frame(BINARY, data[:-4]))
    whole[0] |= 0x40  # RSV1
    return bytes(whole)
