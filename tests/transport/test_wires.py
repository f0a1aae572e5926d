"""Both wires from outside: joined replies, turns, mistakes of ours, the end of the run."""

from __future__ import annotations

import itertools
import operator
import os
import socket
import sys

import pytest
import trio
from transport.peer import (
    BINARY,
    PING,
    PONG,
    TEXT,
    client_and_peer,
    close_payload,
    frame,
    server_and_peer,
    socket_pair,
    with_options,
)
from trio.testing import wait_all_tasks_blocked

from wscore.trio import CloseReason, ConnectionClosed, broadcast
from wscore.trio._options import Options
from wscore.trio._session import Session
from wscore.trio._socket_wire import SocketWire

CLOSE = 0x8


#: Where `struct tcp_info` has how many segments with data were sent (linux/tcp.h).
DATA_SEGMENTS_OUT = 156


def tcp_pair():
    """Two streams over TCP, which counts what it sends, unlike a socket pair."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ends = [trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in (ours, theirs)]
    return ends[0], ends[1]


def segments_sent(sock):
    """How many segments with data TCP sent: without Nagle's algorithm, one for each short write."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, DATA_SEGMENTS_OUT + 4)
    return int.from_bytes(info[DATA_SEGMENTS_OUT:], sys.byteorder)


# Joining replies


@pytest.mark.parametrize("message", [b"%d", "grün %d".encode()])
async def test_replies_to_one_read_leave_in_one_write(message):
    ours, theirs = tcp_pair()
    with socket.socket(fileno=os.dup(ours.socket.fileno())) as watched:
        connection, peer = await server_and_peer((ours, theirs))
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def echo():
                async for received in connection:
                    await connection.send_message(received)

            await wait_all_tasks_blocked()
            before = segments_sent(watched)
            await peer.send(*[(TEXT, message % number) for number in range(50)])
            replies = [(await peer.receive()).payload for _ in range(50)]
            assert replies == [message % number for number in range(50)]
            assert segments_sent(watched) - before == 1
            nursery.cancel_scope.cancel()
    await theirs.aclose()
    await connection.aclose()


async def test_a_joined_reply_does_not_wait_for_its_handler(new_sockets, autojump_clock):
    """The handler sends, and does something else, while more messages wait."""
    connection, peer = await server_and_peer(new_sockets())
    await peer.send(*[(TEXT, b"x")] * 3)
    await connection.get_message()
    await connection.send_message("reply")
    begin = trio.current_time()
    assert (await peer.receive()).payload == b"reply"
    assert trio.current_time() == begin
    assert connection.bytes_unsent == 0


async def test_joined_replies_that_the_system_takes_in_part_arrive_whole(new_sockets):
    """Of every kind, with pongs and a broadcast between; the peer begins to read late."""
    ours, theirs = new_sockets()  # ours takes little at once, and theirs all
    ours.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    connection, peer = await server_and_peer((ours, theirs))
    sent = [(TEXT, b"%d" % n * 99) if n % 3 else (BINARY, bytes([n]) * 300) for n in range(200)]
    sent += [(TEXT, "grün".encode() * 70), (TEXT, b""), (BINARY, b"")]
    count = 0

    async def echo():
        nonlocal count
        async for message in connection:
            await connection.send_message(message)
            count += 1
            if count == 100:
                broadcast([connection], "to all")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        for begin in range(0, len(sent), 50):
            nursery.start_soon(peer.send, *sent[begin : begin + 50], (PING, b"%d" % begin))
            await wait_all_tasks_blocked()
        received = [await peer.receive() for _ in range(len(sent) + 5 + 1)]
        nursery.cancel_scope.cancel()
    found = [(frame.opcode, frame.payload) for frame in received]
    assert [data for data in found if data in sent] == sent
    pongs = [payload for opcode, payload in found if opcode == PONG]
    assert pongs == [b"0", b"50", b"100", b"150", b"200"]
    messages = [data for data in found if data[0] != PONG]
    assert messages.index((TEXT, b"to all")) == 100


class NotingSocket:
    """Notes the parts that a connection gives to its socket at once."""

    def __init__(self, connection):
        self._socket = connection._session.wire._socket
        connection._session.wire._socket = self
        self.parts = []

    def sendmsg(self, parts):
        self.parts.append(parts)
        return self._socket.sendmsg(parts)

    def __getattr__(self, name):
        return getattr(self._socket, name)


async def test_large_messages_are_sent_without_a_copy(new_sockets):
    connection, peer = await server_and_peer(new_sockets())
    sock = NotingSocket(connection)
    messages = [bytes(50_000), bytearray(50_000), memoryview(bytes(50_000))]
    for message in messages:
        await connection.send_message(message)
        assert (await peer.receive()).payload == bytes(50_000)
    payloads = [payload for _header, payload in sock.parts]
    assert len(payloads) == len(messages)
    assert all(map(operator.is_, payloads, messages))


# Turns


async def test_a_flood_leaves_others_their_turn(new_sockets):
    """Two peers have megabytes to say; each is read a piece at a time, in turns."""
    ends = [await server_and_peer(new_sockets(buffer=2**22)) for _ in range(2)]
    order = []

    async def take(number, connection):
        for _ in range(40):
            await connection.get_message()
            order.append(number)

    async with trio.open_nursery() as nursery:
        for _, peer in ends:
            nursery.start_soon(peer.stream.send_all, frame(BINARY, bytes(50_000)) * 40)
        for number, (connection, _) in enumerate(ends):
            nursery.start_soon(take, number, connection)
    switches = sum(a != b for a, b in itertools.pairwise(order))
    assert switches >= 20


async def test_other_tasks_run_during_a_flood(new_sockets):
    connection, peer = await server_and_peer(new_sockets(buffer=2**22))
    steps = 0

    async def count():
        nonlocal steps
        while True:
            steps += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        nursery.start_soon(peer.stream.send_all, frame(PING) * 200_000)
        while (await peer.receive()).opcode != PONG:
            pass
        before = steps
        received = 0
        while received < 1000:
            await peer.receive()
            received += 1
        assert steps > before
        nursery.cancel_scope.cancel()
    await connection.aclose()


async def test_what_is_there_when_reading_goes_on_is_read(new_sockets):
    """An edge-triggered epoll says it once: while nobody wanted to hear it."""
    connection, peer = await server_and_peer(new_sockets())
    for number in range(100):
        await peer.send((TEXT, b"%d" % number))
        await wait_all_tasks_blocked()
    for number in range(100):
        assert await connection.get_message() == str(number)
    await peer.send((TEXT, b"last"), (CLOSE, close_payload(1000)))
    await peer.stream.aclose()
    assert await connection.get_message() == "last"
    with pytest.raises(ConnectionClosed) as info:
        await connection.get_message()
    assert info.value.reason.code == 1000


async def test_a_send_that_the_system_takes_in_part_goes_on(new_sockets):
    connection, peer = await server_and_peer(new_sockets(buffer=4096))
    messages = [bytes([number]) * (number * 1000) for number in range(60)]
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send():
            for message in messages:
                await connection.send_message(message)

        for message in messages:
            assert (await peer.receive()).payload == message
    assert connection.bytes_unsent == 0


@pytest.mark.parametrize("size", [1, 1000, 65_536, 65_537, 10**6])
async def test_whatever_is_read_at_once_all_is_read(new_sockets, size):
    connection, peer = await server_and_peer(new_sockets(), receive_buffer_size=size)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.send, (TEXT, b"short"), (BINARY, bytes(range(250)) * 300))
        assert await connection.get_message() == "short"
        assert await connection.get_message() == bytes(range(250)) * 300
    await peer.send((TEXT, b"last"), (CLOSE, close_payload(1000)))
    assert [message async for message in connection] == ["last"]


# Iteration


@pytest.mark.parametrize("code", [1000, 1001])
async def test_iteration_ends_with_a_normal_close(any_wire, code):
    connection, peer = await client_and_peer()
    await peer.send((TEXT, b"1"), (TEXT, b"2"), (CLOSE, close_payload(code)))
    assert [message async for message in connection] == ["1", "2"]
    assert [message async for message in connection] == []


@pytest.mark.parametrize("code", [1002, 1005, 1006, 1011, 1013, 4000])
async def test_iteration_raises_at_any_other_end(any_wire, code):
    connection, peer = await server_and_peer()
    await peer.send((TEXT, b"1"))
    if code == 1006:
        await peer.stream.aclose()
    else:
        await peer.send((CLOSE, b"" if code == 1005 else close_payload(code)))
    messages = aiter(connection)
    assert await anext(messages) == "1"
    with pytest.raises(ConnectionClosed) as info:
        await anext(messages)
    assert info.value.reason.code == code


# A handler that only sends


async def test_a_handler_that_only_sends_hears_of_the_close(any_wire, autojump_clock):
    connection, peer = await server_and_peer()
    await peer.send((PING, b"p"), (CLOSE, close_payload(4000, "enough")))

    async def push():
        while True:
            await connection.send_message("x")
            await trio.sleep(1)

    with pytest.raises(ConnectionClosed) as info:
        await push()
    assert info.value.reason == connection.closed == CloseReason(4000, "enough")
    opcodes = [(await peer.receive()).opcode]
    while opcodes[-1] != CLOSE:
        opcodes.append((await peer.receive()).opcode)
    assert [opcode for opcode in opcodes if opcode != TEXT] == [PONG, CLOSE]


# Mistakes of ours


async def test_our_own_mistake_ends_one_connection(any_wire, caplog, monkeypatch):
    first, first_peer = await server_and_peer()
    second, second_peer = await server_and_peer()
    received = Session.received

    def fail(self, data, now):
        if self is first._session:
            raise ZeroDivisionError("by the test")
        received(self, data, now)

    monkeypatch.setattr(Session, "received", fail)
    await first_peer.send((TEXT, b"x"))
    with pytest.raises(ConnectionClosed) as info:
        await first.get_message()
    assert info.value.reason.code == 1006
    assert first.cut_reason == "internal error"
    await second_peer.send((TEXT, b"y"))
    assert await second.get_message() == "y"
    (record,) = caplog.records
    assert record.exc_info[0] is ZeroDivisionError


# The end of the run


def test_connections_end_with_the_run(any_wire):
    """Nobody closes them: no task, no descriptor and no warning is left."""
    kept = []

    async def main():
        for _ in range(3):
            kept.append(await server_and_peer())
        await kept[0][1].send((TEXT, b"unread"))

    trio.run(main)
    for connection, _ in kept:
        assert connection.closed == CloseReason(1006)


def test_two_runs_do_not_meet(any_wire):
    async def main():
        connection, peer = await server_and_peer()
        await peer.send((TEXT, b"x"))
        assert await connection.get_message() == "x"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.aclose)
            await peer.receive()
            await peer.send((CLOSE, close_payload(1000)))

    for _ in range(2):
        trio.run(main)


async def test_sockets_are_given_back():
    """Hundreds come and go."""
    fileno = socket.socket()
    first = fileno.fileno()
    fileno.close()
    for _ in range(300):
        connection, peer = await with_options(Options(), pair=socket_pair())
        assert isinstance(connection._session.wire, SocketWire)
        await peer.stream.aclose()
        await connection.aclose()
    fileno = socket.socket()
    last = fileno.fileno()
    fileno.close()
    assert last - first < 10
