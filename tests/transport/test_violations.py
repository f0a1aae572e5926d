"""A violation in the same read as valid messages: these are answered first, but not for ever."""

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
from trio.testing import wait_all_tasks_blocked

from wscore.trio import CloseReason, ConnectionClosed

pytestmark = pytest.mark.usefixtures("any_wire")
BOTH_ENDS = pytest.mark.parametrize("open_pair", [server_and_peer, client_and_peer])

RESERVED_OPCODE = 0x3
VIOLATIONS = {
    "reserved opcode": ((RESERVED_OPCODE, b""), 1002),
    "reserved control opcode": ((0xB, b"x"), 1002),
    "stray continuation": ((CONTINUATION, b"x"), 1002),
    "reserved bit": ((0x40 | TEXT, b"x"), 1002),
    "text not UTF-8": ((TEXT, b"\xc3\x28"), 1007),
    "too large": ((BINARY, bytes(1001)), 1009),
}


async def echo(connection):
    while True:
        await connection.send_message(await connection.get_message())


async def echo_to_the_end(connection):
    try:
        await echo(connection)
    except ConnectionClosed as error:
        return error.reason.code


@BOTH_ENDS
@pytest.mark.parametrize("name", VIOLATIONS)
@pytest.mark.parametrize("waits", [False, True], ids=["comes later", "waits"])
async def test_messages_before_it_are_answered_and_then_it(open_pair, name, waits):
    connection, peer = await open_pair(max_message_size=1000)
    violation, code = VIOLATIONS[name]

    async with trio.open_nursery() as nursery:
        if waits:
            nursery.start_soon(echo_to_the_end, connection)
            await wait_all_tasks_blocked()
        await peer.send((TEXT, b"one"), (TEXT, b"two"), violation, (PING, b"ignored"))
        await wait_all_tasks_blocked()
        if not waits:
            assert connection.closed is None
            nursery.start_soon(echo_to_the_end, connection)
        assert [(await peer.receive()).payload for _ in range(2)] == [b"one", b"two"]
        assert (await peer.receive()).close[0] == code
    assert connection.closed.code == code
    await peer.stream.send_eof()
    await connection.aclose()
    assert await peer.receive_rest() == b""


async def test_more_messages_than_are_read_ahead(autojump_clock):
    connection, peer = await server_and_peer(message_queue_size=1)
    messages = [(TEXT, b"%d" % number) for number in range(300)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo_to_the_end, connection)
        nursery.start_soon(peer.send, *messages, (RESERVED_OPCODE, b""))
        assert [(await peer.receive()).payload for _ in messages] == [data for _, data in messages]
        assert (await peer.receive()).close[0] == 1002


async def test_ping_between_is_answered_at_once():
    connection, peer = await server_and_peer()
    await peer.send((TEXT, b"one"), (PING, b"between"), (RESERVED_OPCODE, b""))
    pong = await peer.receive()
    assert (pong.opcode, pong.payload) == (PONG, b"between")
    assert await echo_to_the_end(connection) == 1002
    assert (await peer.receive()).payload == b"one"
    assert (await peer.receive()).close[0] == 1002


async def test_reply_that_takes_its_time_is_sent(autojump_clock):
    connection, peer = await server_and_peer()
    await peer.send((TEXT, b"one"), (RESERVED_OPCODE, b""))
    message = await connection.get_message()
    await trio.sleep(0.5)
    await connection.send_message(message)
    assert (await peer.receive()).payload == b"one"
    assert connection.closed is None
    with pytest.raises(ConnectionClosed):
        await connection.get_message()
    assert (await peer.receive()).close[0] == 1002


@pytest.mark.parametrize("interval", [20, None], ids=["keepalive", "no keepalive"])
async def test_handler_that_never_reads_hears_of_it(autojump_clock, interval):
    connection, peer = await server_and_peer(ping_interval=interval)
    await peer.send((TEXT, b"not taken"), (RESERVED_OPCODE, b""))
    begin = trio.current_time()
    while connection.closed is None:
        await connection.send_message("x")
        await trio.sleep(0.1)
    with pytest.raises(ConnectionClosed) as info:
        await connection.send_message("x")
    assert info.value.reason.code == 1002
    assert trio.current_time() - begin < 2
    while (received := await peer.receive()).opcode == TEXT:
        assert received.payload == b"x"
    assert received.close[0] == 1002
    await peer.stream.send_eof()
    assert await peer.receive_rest() == b""
    # And can still look at what came before.
    assert await connection.get_message() == "not taken"


async def test_task_that_waits_for_the_end_alone(autojump_clock):
    """Two tasks take messages; the one that gets this one never comes back."""
    connection, peer = await server_and_peer()
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.get_message)
        await wait_all_tasks_blocked()

        @nursery.start_soon
        async def reads_as_well():
            with pytest.raises(ConnectionClosed) as info:
                await connection.get_message()
            assert info.value.reason.code == 1002

        await wait_all_tasks_blocked()
        await peer.send((TEXT, b"one"), (RESERVED_OPCODE, b""))
    assert trio.current_time() - begin < 2


async def test_no_message_before_it_no_delay():
    connection, peer = await server_and_peer()
    await peer.send((TEXT, b"one"))
    assert await connection.get_message() == "one"
    await peer.send((RESERVED_OPCODE, b""))
    assert (await peer.receive()).close[0] == 1002
    assert connection.closed.code == 1002


async def test_handler_that_closes_first_closes_with_its_code(autojump_clock):
    connection, peer = await server_and_peer()
    await peer.send((TEXT, b"one"), (RESERVED_OPCODE, b""))
    assert await connection.get_message() == "one"
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose, 4000)
        assert (await peer.receive()).close[0] == 4000
        await peer.send((CLOSE, close_payload(4000)))  # of no use any more
        await peer.stream.send_eof()
        assert await peer.receive_rest() == b""
    assert connection.closed == CloseReason(4000, None)
    assert trio.current_time() == begin


async def test_peer_that_is_gone_meanwhile(autojump_clock):
    connection, peer = await server_and_peer()
    await peer.send((TEXT, b"one"), (RESERVED_OPCODE, b""))
    await wait_all_tasks_blocked()
    await peer.stream.aclose()
    with pytest.raises(ConnectionClosed) as info:
        await send_for_ever(connection)
    assert info.value.reason.code == 1002
    assert await connection.get_message() == "one"
    with pytest.raises(ConnectionClosed):
        await connection.get_message()


async def test_nothing_is_read_meanwhile(autojump_clock):
    connection, peer = await server_and_peer()
    await peer.send((TEXT, b"one"), (RESERVED_OPCODE, b""))
    await wait_all_tasks_blocked()
    await peer.stream.send_all(frame(TEXT, bytes(1000)))
    assert await echo_to_the_end(connection) == 1002
    assert (await peer.receive()).payload == b"one"
    assert (await peer.receive()).close[0] == 1002
