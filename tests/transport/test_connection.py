"""Receiving, pings and closing of one connection, against a peer made by hand."""

from __future__ import annotations

import pytest
import trio
from transport.peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    client_and_peer,
    close_payload,
    frame,
    send_for_ever,
    server_and_peer,
)
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from wscore.trio import CloseReason, ConnectionClosed
from wscore.utilities import LocalProtocolError

pytestmark = pytest.mark.usefixtures("any_wire")
BOTH_ENDS = pytest.mark.parametrize("open_pair", [server_and_peer, client_and_peer])


# Messages


@BOTH_ENDS
async def test_messages_arrive_whole_and_typed(open_pair):
    connection, peer = await open_pair()
    await peer.send((TEXT, "grüß".encode()), (BINARY, b"\x00\xff"), (TEXT, b""))
    masks = connection.is_server
    await peer.stream.send_all(
        frame(TEXT, b"one ", fin=False, mask=masks)
        + frame(PING, b"between", mask=masks)
        + frame(CONTINUATION, b"two", mask=masks)
    )
    assert await connection.get_message() == "grüß"
    binary = await connection.get_message()
    assert (type(binary), binary) == (bytes, b"\x00\xff")
    assert await connection.get_message() == ""
    assert await connection.get_message() == "one two"
    assert (await peer.receive()).payload == b"between"


@BOTH_ENDS
async def test_messages_leave_as_given(open_pair):
    connection, peer = await open_pair()
    await connection.send_message("grüß")
    await connection.send_message(b"\x00\xff")
    await connection.send_message(bytearray(70000))
    first, second, third = [await peer.receive() for _ in range(3)]
    assert (first.fin, first.opcode, first.payload) == (True, TEXT, "grüß".encode())
    assert (second.opcode, second.payload) == (BINARY, b"\x00\xff")
    assert (third.opcode, third.payload) == (BINARY, bytes(70000))


async def test_only_str_and_bytes_are_messages():
    connection, peer = await server_and_peer()
    for wrong in (None, 7, ["x"]):
        with pytest.raises(ValueError, match="str or bytes"):
            await connection.send_message(wrong)
    with pytest.raises(ValueError):  # a lone surrogate has no UTF-8
        await connection.send_message("\ud800")
    await connection.send_message("fine")
    assert (await peer.receive()).payload == b"fine"


async def test_frames_sent_with_the_handshake_are_not_lost(nursery):
    from transport.peer import HANDSHAKE, Peer
    from trio.testing import memory_stream_pair

    from wscore.trio import wrap_server_stream

    ours, theirs = memory_stream_pair()
    await theirs.send_all(HANDSHAKE + frame(TEXT, b"early") + frame(TEXT, b"bird")[:4])
    request = await wrap_server_stream(nursery, ours)
    connection = await request.accept()
    assert await connection.get_message() == "early"
    await theirs.send_all(frame(TEXT, b"bird")[4:])
    assert await connection.get_message() == "bird"
    assert (await Peer(theirs, masks=True).receive_head()).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("cut", range(1, 9))
async def test_cancelled_get_message_loses_nothing(cut, autojump_clock):
    connection, peer = await server_and_peer()
    data = frame(TEXT, b"ab")
    assert len(data) == 8
    await peer.stream.send_all(data[:cut])
    received = []
    with trio.move_on_after(1):
        received.append(await connection.get_message())
    assert received == (["ab"] if cut == 8 else [])
    await peer.stream.send_all(data[cut:] + frame(TEXT, b"next"))
    if not received:
        assert await connection.get_message() == "ab"
    assert await connection.get_message() == "next"


async def test_cancelled_before_the_call_loses_nothing(autojump_clock):
    connection, peer = await server_and_peer()
    await peer.send(*[(TEXT, b"%d" % number) for number in range(200)])
    received = []
    while len(received) < 200:
        with trio.CancelScope() as scope:
            scope.cancel()
            while True:
                received.append(await connection.get_message())
        with trio.move_on_after(1) as scope:
            received.append(await connection.get_message())
    assert received == [str(number) for number in range(200)]


async def test_waiting_tasks_take_turns(autojump_clock):
    connection, peer = await server_and_peer()
    received = []

    async def get_one(scope=None):
        with scope or trio.CancelScope():
            received.append(await connection.get_message())

    first = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(get_one, first)
        await wait_all_tasks_blocked()  # this one reads
        for _ in range(3):
            nursery.start_soon(get_one)
        await wait_all_tasks_blocked()  # these wait for it
        first.cancel()
        await wait_all_tasks_blocked()
        await peer.send((TEXT, b"1"))
        await wait_all_tasks_blocked()
        assert received == ["1"]
        await peer.send((TEXT, b"2"), (TEXT, b"3"))
    assert sorted(received) == ["1", "2", "3"]


async def test_all_waiting_tasks_hear_of_the_end():
    connection, peer = await server_and_peer()
    ended = []

    async def get_one():
        with pytest.raises(ConnectionClosed):
            await connection.get_message()
        ended.append(True)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(get_one)
        await wait_all_tasks_blocked()
        await peer.send((CLOSE, close_payload(1000)))
    assert len(ended) == 3


@pytest.mark.parametrize("size", [1, 3])
async def test_messages_that_nobody_takes_hold_the_peer_back(size):
    """So many are read ahead; the rest waits in the peer."""
    connection, peer = await server_and_peer(lockstep_stream_pair(), message_queue_size=size)
    sent = 0

    async def flood():
        nonlocal sent
        while True:
            await peer.send((TEXT, b"%d" % sent))
            sent += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        for taken in range(5):
            await wait_all_tasks_blocked()
            assert sent == taken + size + 1  # the one for which there is no room
            assert await connection.get_message() == str(taken)
        nursery.cancel_scope.cancel()


async def test_other_tasks_run_while_messages_are_sent_and_others_wait():
    """What waits to be taken makes a message a reply, which is only queued: that costs no time."""
    connection, peer = await server_and_peer()
    await peer.send(*[(TEXT, b"x")] * 50)
    await wait_all_tasks_blocked()
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await trio.lowlevel.checkpoint()
        before = turns
        for _ in range(1000):
            await connection.send_message("")
        nursery.cancel_scope.cancel()
    assert turns - before >= 1000 // 65 - 1  # who of the two comes first in a turn is chance


async def test_other_tasks_run_while_buffered_messages_are_read():
    connection, peer = await server_and_peer()
    await peer.send(*[(TEXT, b"x")] * 1000)
    await connection.get_message()
    steps = 0

    async def count():
        nonlocal steps
        while True:
            steps += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await trio.lowlevel.checkpoint()
        before = steps
        for _ in range(999):
            await connection.get_message()
        nursery.cancel_scope.cancel()
    assert steps - before >= 10


# Pings


@BOTH_ENDS
async def test_pings_are_answered_in_order_while_a_task_reads(open_pair, nursery):
    connection, peer = await open_pair()
    await peer.send(*[(PING, b"%d" % number) for number in range(50)], (TEXT, b"after"))
    assert await connection.get_message() == "after"
    pongs = [await peer.receive() for _ in range(50)]
    assert [(pong.opcode, pong.payload) for pong in pongs] == [
        (PONG, b"%d" % number) for number in range(50)
    ]


async def test_cancelled_get_message_cuts_no_pong_in_half():
    ours, theirs = lockstep_stream_pair()
    connection, peer = await server_and_peer((ours, theirs))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.get_message)
        await peer.send((PING, b"hello"))
        await wait_all_tasks_blocked()  # the pong is being written, and nobody takes it
        nursery.cancel_scope.cancel()
    assert connection.closed is None
    pong = await peer.receive()
    assert (pong.opcode, pong.payload) == (PONG, b"hello")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send_message, "still here")
        assert (await peer.receive()).payload == b"still here"


async def test_pings_of_a_peer_that_does_not_read_pile_up_only_so_far():
    """A server stops to read them; the peer gets all pongs for what was read, or the last."""
    connection, peer = await server_and_peer(lockstep_stream_pair())
    sent = 0

    async def flood():
        nonlocal sent
        while True:
            await peer.send((PING, b"%0125d" % sent))
            sent += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        await wait_all_tasks_blocked()
        held = sent
        assert connection.bytes_unsent <= 65536 + 127
        assert 500 <= held <= 1000
        received = -1
        while received < held - 1:  # the peer reads, and all goes on
            pong = await peer.receive()
            assert pong.opcode == PONG
            assert int(pong.payload) > received
            received = int(pong.payload)
        await wait_all_tasks_blocked()
        assert sent > held
        nursery.cancel_scope.cancel()


async def test_of_many_pings_at_once_the_last_is_answered():
    _connection, peer = await server_and_peer()
    await peer.send(*[(PING, b"%d" % number) for number in range(1000)])
    pongs = [int((await peer.receive()).payload)]
    while pongs[-1] < 999:
        pongs.append(int((await peer.receive()).payload))
    assert pongs == sorted(pongs)
    assert pongs[:64] == list(range(64))
    assert len(pongs) < 500


async def test_ping_waits_for_its_pong_and_keeps_messages(nursery):
    connection, peer = await server_and_peer()
    done = trio.Event()

    async def ping():
        await connection.ping(b"p")
        done.set()

    nursery.start_soon(ping)
    sent = await peer.receive()
    assert (sent.opcode, sent.payload) == (PING, b"p")
    await peer.send((PONG, b"unrelated"), (TEXT, b"message"), (PING, b"theirs"))
    await wait_all_tasks_blocked()
    assert not done.is_set()
    assert await connection.get_message() == "message"
    await peer.send((PONG, b"p"))
    await done.wait()


async def test_a_pong_behind_more_messages_than_are_read_ahead_waits(nursery):
    connection, peer = await server_and_peer(message_queue_size=2)
    done = trio.Event()

    async def ping():
        await connection.ping()
        done.set()

    nursery.start_soon(ping)
    payload = (await peer.receive()).payload
    for number in range(100):
        await peer.send((TEXT, b"%d" % number))
        await wait_all_tasks_blocked()
    await peer.send((PONG, payload))
    for number in range(100):
        await wait_all_tasks_blocked()
        # One read may bring much; a second one is due when the messages are nearly taken.
        if number < 2:
            assert not done.is_set()
        assert await connection.get_message() == str(number)
    await done.wait()


async def test_a_pong_completes_earlier_pings_but_not_later_ones(nursery):
    connection, peer = await server_and_peer()
    done = []

    async def ping(payload):
        await connection.ping(payload)
        done.append(payload)

    for payload in (b"1", b"2", b"3"):
        nursery.start_soon(ping, payload)
        assert (await peer.receive()).payload == payload
    with pytest.raises(ValueError, match="under way"):
        await connection.ping(b"3")
    await peer.send((PONG, b"2"))
    await wait_all_tasks_blocked()
    assert sorted(done) == [b"1", b"2"]
    await peer.send((PONG, b"3"))
    await wait_all_tasks_blocked()
    assert b"3" in done


async def test_ping_while_another_task_reads(autojump_clock):
    connection, peer = await server_and_peer()

    async def answer():
        await peer.send((PONG, (await peer.receive()).payload))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.get_message)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as inner:
            inner.start_soon(answer)
            with trio.fail_after(1):
                await connection.ping()
        await peer.send((TEXT, b"x"))


async def test_cancelled_ping_may_be_repeated():
    connection, peer = await server_and_peer()
    with trio.move_on_after(0):
        await connection.ping(b"p")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.ping, b"p")
        await wait_all_tasks_blocked()
        await peer.send((PONG, b"p"))


async def test_ping_and_close_in_one_read_are_answered_in_order():
    connection, peer = await server_and_peer()
    await peer.send((PING, b"p"), (CLOSE, close_payload(1000)))
    with pytest.raises(ConnectionClosed):
        await connection.get_message()
    assert (await peer.receive()).opcode == PONG
    assert (await peer.receive()).close == (1000, "")


async def test_pong_is_sent_unasked():
    connection, peer = await server_and_peer()
    await connection.pong(b"alive")
    await connection.pong()
    assert (await peer.receive()).payload == b"alive"
    assert (await peer.receive()).opcode == PONG


async def test_long_ping_payload_is_refused_and_harmless():
    connection, peer = await server_and_peer()
    with pytest.raises(ValueError):
        await connection.ping(bytes(126))
    await connection.send_message("fine")
    assert (await peer.receive()).payload == b"fine"


# The end, begun by the peer


@BOTH_ENDS
async def test_peers_close_is_answered_and_reported(open_pair):
    connection, peer = await open_pair()
    await peer.send((TEXT, b"last words"), (CLOSE, close_payload(4321, "bye")))
    assert await connection.get_message() == "last words"
    with pytest.raises(ConnectionClosed) as info:
        await connection.get_message()
    assert info.value.reason == connection.closed == CloseReason(4321, "bye")
    assert (await peer.receive()).close == (4321, "bye")
    with pytest.raises(ConnectionClosed) as info:
        await connection.send_message("too late")
    assert info.value.reason.code == 4321
    with pytest.raises(ConnectionClosed):
        await connection.ping()


async def test_messages_kept_by_a_ping_outlive_the_peers_close(nursery):
    connection, peer = await server_and_peer(message_queue_size=5)
    nursery.start_soon(peer.send, (TEXT, b"1"), (TEXT, b"2"), (CLOSE, close_payload(1000)))
    with pytest.raises(ConnectionClosed):
        await connection.ping()
    assert [await connection.get_message(), await connection.get_message()] == ["1", "2"]
    with pytest.raises(ConnectionClosed):
        await connection.get_message()


async def test_close_without_a_code_is_1005():
    connection, peer = await server_and_peer()
    await peer.send((CLOSE, b""))
    with pytest.raises(ConnectionClosed) as info:
        await connection.get_message()
    assert info.value.reason.code == 1005
    assert (await peer.receive()).payload == b""


async def test_server_ends_tcp_first(autojump_clock):
    connection, peer = await server_and_peer()
    await peer.send((CLOSE, close_payload(1000)))
    with pytest.raises(ConnectionClosed):
        await connection.get_message()
    # Nobody calls aclose: the stream is ended all the same.
    await peer.receive()
    with trio.fail_after(0.5):
        assert await peer.receive_rest() == b""


async def test_client_lets_the_server_end_tcp(autojump_clock):
    connection, peer = await client_and_peer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose)
        await peer.receive()
        await peer.send((CLOSE, close_payload(1000)))
        await trio.sleep(0.5)
        assert nursery.child_tasks  # it waits for us to close
        await peer.stream.aclose()


@BOTH_ENDS
@pytest.mark.parametrize("cut", [0, 1, 6])
async def test_end_of_stream_without_close_is_1006(open_pair, cut):
    connection, peer = await open_pair()
    await peer.send((TEXT, b"last words"))
    await peer.stream.send_all(frame(TEXT, b"hello", mask=connection.is_server)[:cut])
    await peer.stream.aclose()
    assert await connection.get_message() == "last words"
    for _ in range(2):
        with pytest.raises(ConnectionClosed) as info:
            await connection.get_message()
        assert info.value.reason == connection.closed == CloseReason(1006)
    with pytest.raises(ConnectionClosed):
        await connection.send_message("x")
    await connection.aclose()


async def test_half_close_is_1006_and_aclose_ends_the_rest():
    connection, peer = await server_and_peer()
    await peer.stream.send_eof()
    with pytest.raises(ConnectionClosed) as info:
        await connection.get_message()
    assert info.value.reason.code == 1006
    await connection.aclose()
    assert await peer.receive_rest() == b""


async def test_broken_stream_is_1006():
    connection, peer = await server_and_peer()
    await peer.stream.aclose()
    with pytest.raises(ConnectionClosed) as info:
        await send_for_ever(connection)
    assert info.value.reason.code == 1006
    assert info.value.__cause__ is None


# Violations: what the peer sent, and the code that says so.
VIOLATIONS = {
    "unmasked": (frame(TEXT, b"x", mask=False), 1002),
    "reserved bit": (b"\xf1\x80\0\0\0\0", 1002),
    "reserved data opcode": (frame(0x3), 1002),
    "reserved control opcode": (frame(0xB), 1002),
    "fragmented ping": (frame(PING, fin=False), 1002),
    "long ping": (b"\x89\xfe\x00\x7e", 1002),
    "stray continuation": (frame(CONTINUATION, b"x"), 1002),
    "new message within a message": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    "length not minimal": (b"\x81\xfe\x00\x05\0\0\0\0hello", 1002),
    "length with the top bit": (b"\x82\xff\x80" + bytes(7), 1002),
    "close with one byte": (frame(CLOSE, b"\x03"), 1002),
    "close with a reserved code": (frame(CLOSE, close_payload(1006)), 1002),
    "close with code 0": (frame(CLOSE, close_payload(0)), 1002),
    "close reason not UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "text not UTF-8": (frame(TEXT, b"\xc3\x28"), 1007),
    "text cut in a character": (frame(TEXT, b"\xc3"), 1007),
    "surrogate in text": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "too large at once": (frame(BINARY, bytes(1001)), 1009),
    "too large announced": (b"\x82\xff\x7f" + b"\xff" * 7, 1009),
    "too large in pieces": (
        frame(BINARY, bytes(600), fin=False) + frame(CONTINUATION, bytes(600), fin=False),
        1009,
    ),
}


@pytest.mark.parametrize("name", VIOLATIONS)
@pytest.mark.parametrize("bytewise", [False, True])
async def test_violation_ends_with_its_code(name, bytewise, autojump_clock):
    data, code = VIOLATIONS[name]
    connection, peer = await server_and_peer(max_message_size=1000)
    await peer.send((TEXT, b"before"))

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def violate():
            for piece in [data[i : i + 1] for i in range(len(data))] if bytewise else [data]:
                await peer.stream.send_all(piece)

        assert await connection.get_message() == "before"
        with pytest.raises(ConnectionClosed) as info:
            await connection.get_message()
    assert info.value.reason.code == connection.closed.code == code
    assert (await peer.receive()).close[0] == code
    await peer.send((TEXT, b"ignored"))
    await connection.aclose()
    assert await peer.receive_rest() == b""


async def test_largest_message_allowed_passes():
    connection, peer = await server_and_peer(max_message_size=1000)
    await peer.send((BINARY, bytes(1000)))
    assert len(await connection.get_message()) == 1000


async def test_client_refuses_masked_frames():
    connection, peer = await client_and_peer()
    await peer.stream.send_all(frame(TEXT, b"x", mask=True))
    with pytest.raises(ConnectionClosed) as info:
        await connection.get_message()
    assert info.value.reason.code == 1002


async def test_close_frame_outruns_the_rest_of_a_message_too_big(autojump_clock):
    """The peer can read why, though it is still sending."""
    connection, peer = await server_and_peer(max_message_size=1000)
    await peer.stream.send_all(frame(BINARY, bytes(5000))[:2000])
    with pytest.raises(ConnectionClosed):
        await connection.get_message()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose)
        assert (await peer.receive()).close[0] == 1009
        await peer.stream.send_all(bytes(3000))  # taken, not broken
        await peer.stream.send_eof()


# The end, begun by this end


@BOTH_ENDS
async def test_aclose_shakes_hands(open_pair):
    connection, peer = await open_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose, 4000, "enough")
        assert (await peer.receive()).close == (4000, "enough")
        await wait_all_tasks_blocked()
        assert connection.closed == CloseReason(4000, "enough")
        with pytest.raises(ConnectionClosed):
            await connection.send_message("x")
        with pytest.raises(ConnectionClosed):
            await connection.get_message()
        await peer.send((TEXT, b"on its way"), (PING, b"x"), (CLOSE, close_payload(4000)))
        await peer.stream.send_eof()
    assert await peer.receive_rest() == b""  # no pong behind the Close, and the stream is closed
    await connection.aclose()
    assert connection.closed == CloseReason(4000, "enough")


@BOTH_ENDS
async def test_close_nowait_leaves_the_handshake_to_the_connection(open_pair):
    connection, peer = await open_pair()
    await peer.send((TEXT, b"kept"))
    await wait_all_tasks_blocked()
    connection.close_nowait(4000, "enough")
    assert connection.closed == CloseReason(4000, "enough")
    connection.close_nowait(4001)
    for call in (connection.get_message(), connection.send_message("x")):
        with pytest.raises(ConnectionClosed) as caught:
            await call
        assert caught.value.reason == CloseReason(4000, "enough")
    assert (await peer.receive()).close == (4000, "enough")
    await peer.send((CLOSE, close_payload(4000)))
    if connection.is_server:
        assert await peer.receive_rest() == b""
    else:
        await peer.stream.aclose()
    await connection.aclose(4002)
    assert connection.closed == CloseReason(4000, "enough")


async def test_close_nowait_wakes_a_reader_and_cuts_a_peer_that_does_not_answer(autojump_clock):
    connection, _ = await server_and_peer()
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def read():
            with pytest.raises(ConnectionClosed):
                await connection.get_message()

        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        connection.close_nowait()
    assert trio.current_time() == begin
    await trio.sleep(6)
    assert connection.cut_reason == "close timeout"


async def test_close_nowait_refuses_a_code_that_may_not_be_sent():
    connection, peer = await server_and_peer()
    with pytest.raises(LocalProtocolError):
        connection.close_nowait(999)
    await connection.send_message("fine")
    assert (await peer.receive()).payload == b"fine"


async def test_aclose_drops_kept_messages(autojump_clock):
    connection, peer = await server_and_peer()
    await peer.send((TEXT, b"kept"))
    with trio.move_on_after(1):
        await connection.ping()  # reads the message
    with trio.move_on_after(0):
        await connection.aclose()
    with pytest.raises(ConnectionClosed):
        await connection.get_message()


async def test_aclose_wakes_a_reader(autojump_clock):
    connection, peer = await server_and_peer()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def reader():
            with pytest.raises(ConnectionClosed) as info:
                await connection.get_message()
            assert info.value.reason.code == 1000

        await wait_all_tasks_blocked()
        nursery.start_soon(connection.aclose)
        await peer.receive()
        await peer.send((CLOSE, close_payload(1000)))


async def test_concurrent_aclose_all_wait_and_send_one_close(autojump_clock):
    connection, peer = await server_and_peer()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(connection.aclose)
        await peer.receive()
        await trio.sleep(1)
        assert len(nursery.child_tasks) == 3
        await peer.send((CLOSE, close_payload(1000)))
    assert await peer.receive_rest() == b""


async def test_crossing_closes(autojump_clock):
    connection, peer = await server_and_peer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose, 4000)
        await wait_all_tasks_blocked()
        await peer.send((CLOSE, close_payload(4001)))
        assert (await peer.receive()).close == (4000, "")
        assert await peer.receive_rest() == b""
    assert connection.closed.code == 4000


@BOTH_ENDS
async def test_aclose_waits_only_so_long(open_pair, autojump_clock):
    connection, peer = await open_pair(disconnect_timeout=7)
    start = trio.current_time()
    await connection.aclose()
    assert trio.current_time() - start == pytest.approx(7)
    assert (await peer.receive()).close == (1000, "")
    assert await peer.receive_rest() == b""


async def test_aclose_behind_a_blocked_sender_waits_only_so_long(autojump_clock):
    connection, _peer = await server_and_peer(lockstep_stream_pair(), disconnect_timeout=7)

    async def sender():
        with pytest.raises(ConnectionClosed):
            await connection.send_message(bytes(100_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender)
        await wait_all_tasks_blocked()
        start = trio.current_time()
        await connection.aclose()
        assert trio.current_time() - start == pytest.approx(7)
    assert connection.cut_reason == "close timeout"


async def test_cancelled_aclose_cuts_at_once(autojump_clock):
    connection, peer = await server_and_peer()
    start = trio.current_time()
    with trio.move_on_after(0.5):
        await connection.aclose()
    assert trio.current_time() - start == pytest.approx(0.5)
    await peer.receive()
    assert await peer.receive_rest() == b""


async def test_aclose_with_a_code_that_may_not_be_sent_still_closes():
    from wscore.utilities import LocalProtocolError

    connection, peer = await server_and_peer()
    with pytest.raises(LocalProtocolError):
        await connection.aclose(999)
    assert await peer.receive_rest() == b""


async def test_properties():
    server, _ = await server_and_peer()
    client, _ = await client_and_peer()
    assert (server.is_server, server.is_client) == (True, False)
    assert (client.is_server, client.is_client) == (False, True)
    assert server.path == "/chat?room=1"
    assert server.subprotocol is None
    assert (b"host", b"example.com") in server.handshake_headers
    assert server.closed is None
    assert isinstance(server.remote, str)
    assert server.latency is None
    assert server.bytes_unsent == 0
    assert server.cut_reason is None
