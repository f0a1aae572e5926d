"""One message to many: all get it, nobody waits, and the slow ones are closed."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from transport.peer import (
    BINARY,
    CLOSE,
    TEXT,
    client_and_peer,
    close_payload,
    server_and_peer,
)
from trio.testing import wait_all_tasks_blocked

from wscore.events import PreparedMessage
from wscore.trio import (
    CloseReason,
    ConnectionClosed,
    broadcast,
    wrap_client_stream,
    wrap_server_stream,
)
from wscore.utilities import LocalProtocolError


async def members(new_sockets, count, **options):
    pairs = [await server_and_peer(new_sockets(**options)) for _ in range(count)]
    return [connection for connection, _ in pairs], [peer for _, peer in pairs]


@pytest.mark.parametrize(
    ("message", "opcode", "payload"),
    [
        ("grüß", TEXT, "grüß".encode()),
        (b"\0\xff", BINARY, b"\0\xff"),
        (bytearray(3), BINARY, bytes(3)),
        (memoryview(b"axbxcx")[::2], BINARY, b"abc"),
    ],
)
async def test_all_get_it(new_sockets, message, opcode, payload):
    connections, peers = await members(new_sockets, 5)
    result = broadcast(connections, message)
    assert (result.delivered, result.queued, result.skipped, result.cut) == (5, 0, 0, ())
    for peer in peers:
        frame = await peer.receive()
        assert (frame.fin, frame.opcode, frame.payload) == (True, opcode, payload)


async def test_over_other_streams_it_is_queued():
    connections, peers = zip(*[await server_and_peer() for _ in range(3)], strict=True)
    result = broadcast(connections, "x")
    assert (result.delivered, result.queued, result.skipped, result.cut) == (0, 3, 0, ())
    for peer in peers:
        assert (await peer.receive()).payload == b"x"


async def test_clients_broadcast_too(any_wire):
    connections, peers = zip(*[await client_and_peer() for _ in range(3)], strict=True)
    broadcast(connections, "x")
    for peer in peers:
        assert (await peer.receive()).payload == b"x"


async def test_order_with_other_messages(any_wire):
    connection, peer = await server_and_peer()
    await connection.send_message("1")
    broadcast([connection], "2")
    broadcast([connection], "3")
    await connection.send_message("4")
    assert [(await peer.receive()).payload for _ in range(4)] == [b"1", b"2", b"3", b"4"]


async def test_compressed_members_keep_their_context(nursery, new_sockets):
    """Messages of their own before and after are understood."""

    async def pair():
        ours, theirs = new_sockets()
        ends = []

        async def connect():
            ends.append(
                await wrap_client_stream(nursery, theirs, "example.com", "/", compression=True)
            )

        async with trio.open_nursery() as inner:
            inner.start_soon(connect)
            request = await wrap_server_stream(nursery, ours)
            ends.append(await request.accept(compression=True))
        return sorted(ends, key=lambda end: end.is_server)

    pairs = [await pair() for _ in range(3)]
    for number in range(3):
        for _, server in pairs:
            await server.send_message(f"own {number} " * 20)
        broadcast([server for _, server in pairs], f"shared {number} " * 20)
    for client, _ in pairs:
        for number in range(3):
            assert await client.get_message() == f"own {number} " * 20
            assert await client.get_message() == f"shared {number} " * 20


async def test_a_slow_member_is_closed_and_nobody_waits(new_sockets, autojump_clock):
    (slow, fast), (slow_peer, fast_peer) = await members(new_sockets, 2, buffer=4096)
    message = "x" * 10_000
    begin = trio.current_time()
    rounds = 0
    while not (result := broadcast([slow, fast], message, code=4008, reason="slow")).cut:
        assert (result.skipped, result.cut) == (0, ())
        rounds += 1
        assert len((await fast_peer.receive()).payload) == len(message)
        assert slow.bytes_unsent <= 2**20
    assert result.cut == (slow,)
    assert (result.delivered + result.queued, result.skipped) == (1, 0)
    assert 90 <= rounds <= 120  # about a mebibyte
    assert slow.closed == CloseReason(4008, "slow")
    assert slow.cut_reason == "unsent limit"
    assert slow.bytes_unsent < 20_000
    assert trio.current_time() == begin
    assert broadcast([slow, fast], "y").skipped == 1
    # It reads at last: whole messages, then why there are no more.
    frames = [await slow_peer.receive()]
    while frames[-1].opcode != CLOSE:
        frames.append(await slow_peer.receive())
    assert frames.pop().close == (4008, "slow")
    assert {frame.payload for frame in frames} == {message.encode()}
    assert len(frames) < 10
    await slow_peer.send((CLOSE, close_payload(4008)))
    assert await slow_peer.receive_rest() == b""


async def test_a_slow_member_that_never_reads_is_cut(new_sockets, autojump_clock):
    (slow,), _ = await members(new_sockets, 1, buffer=4096)
    while not broadcast([slow], bytes(100_000), max_unsent=300_000).cut:
        pass
    assert slow.closed == CloseReason(1013, "too slow")
    await trio.sleep(6)
    assert slow.bytes_unsent == 0
    assert slow.cut_reason == "unsent limit"
    await slow.aclose()


async def test_several_messages_arrive_in_order_in_one_write(new_sockets, monkeypatch):
    connections, peers = await members(new_sockets, 3)
    again = PreparedMessage("2")
    result = broadcast(connections, ["1", again, b"3"])
    assert (result.delivered, result.queued) == (3, 0)
    broadcast(connections, (again,))
    for peer in peers:
        data = bytes(await peer.stream.receive_some())
        assert data == b"\x81\x011\x81\x012\x82\x013\x81\x012"


async def test_several_messages_for_members_of_all_kinds(nursery, new_sockets):
    """Plain servers share the bytes; others do not, before and after them."""
    plain = [await server_and_peer(new_sockets()) for _ in range(2)]
    client = await client_and_peer(new_sockets())
    order = [client, plain[0], client, plain[1]]
    broadcast([connection for connection, _ in order], ["1", "2" * 200])
    for _, peer in plain:
        assert [(await peer.receive()).payload for _ in range(2)] == [b"1", b"2" * 200]
    received = [(await client[1].receive()).payload for _ in range(4)]
    assert received == [b"1", b"2" * 200] * 2


async def unsent_member(new_sockets):
    """A member whose peer does not read: one message is begun, and unsent for the most part."""
    (member,), (peer,) = await members(new_sockets, 1, buffer=4096)
    broadcast([member], bytes(50_000), max_unsent_messages=1)
    assert member.bytes_unsent
    return member, peer


@pytest.mark.parametrize("at_once", [1, 3, 9])
async def test_the_number_of_unsent_messages_is_bounded(new_sockets, at_once):
    member, peer = await unsent_member(new_sockets)
    for _ in range(9 // at_once):
        assert not broadcast([member], ["x"] * at_once, max_unsent_messages=10).cut
    assert broadcast([member], "y", max_unsent_messages=10).cut == (member,)
    assert member.cut_reason == "unsent limit"
    assert len((await peer.receive()).payload) == 50_000
    assert (await peer.receive()).close == (1013, "too slow")


async def test_messages_that_were_taken_do_not_count(new_sockets):
    member, peer = await unsent_member(new_sockets)
    for number in range(200):
        broadcast([member], [b"%d" % number, bytes(20_000)], max_unsent_messages=7)
        if number >= 2:
            while (await peer.receive()).payload != b"%d" % (number - 2):
                pass
            await member.drain(max_messages=5)
    assert member.closed is None


async def test_broadcasts_without_a_bound_of_messages_do_not_count(new_sockets, nursery):
    """Neither do they make others count that were taken."""
    member, peer = await unsent_member(new_sockets)
    for _ in range(9):
        broadcast([member], "counted", max_unsent_messages=10)
    broadcast([member], ["not counted" * 1000] * 20)
    for _ in range(10):
        await peer.receive()
    for _ in range(10):
        assert not broadcast([member], "counted", max_unsent_messages=10).cut
    assert broadcast([member], "counted", max_unsent_messages=10).cut == (member,)


async def test_drain_waits_for_bytes_and_for_messages(new_sockets, nursery):
    member, peer = await unsent_member(new_sockets)
    broadcast([member], [bytes(50_000)] * 3)
    broadcast([member], [b"x"] * 100, max_unsent_messages=1000)
    done = []

    async def drain(name, **options):
        await member.drain(**options)
        done.append((name, member.bytes_unsent))

    nursery.start_soon(drain, "bytes")
    await wait_all_tasks_blocked()
    assert done == []
    while not done:
        await peer.receive()
        await wait_all_tasks_blocked()
    assert done[0][1] <= 65536
    nursery.start_soon(partial(drain, "messages", max_messages=0))
    await wait_all_tasks_blocked()
    assert len(done) == 1
    while (await peer.receive()).payload != b"x":
        pass
    await wait_all_tasks_blocked()
    assert done[1] == ("messages", 0)


async def test_who_drains_hears_that_the_connection_is_lost(new_sockets, nursery):
    for options in ({}, {"max_messages": 1}):
        member, peer = await unsent_member(new_sockets)
        broadcast([member], [bytes(50_000)] * 3)

        async def lose(peer):
            await wait_all_tasks_blocked()
            await peer.stream.aclose()

        nursery.start_soon(lose, peer)
        with pytest.raises(ConnectionClosed):
            await member.drain(**options)


async def test_a_member_with_nothing_unsent_gets_any_size(new_sockets, nursery):
    (member,), (peer,) = await members(new_sockets, 1, buffer=4096)
    assert broadcast([member], bytes(3_000_000)).queued == 1
    assert broadcast([member], b"").cut == (member,)
    assert (await peer.receive()).payload == bytes(3_000_000)
    assert (await peer.receive()).close == (1013, "too slow")


async def test_who_is_named_twice_gets_it_twice(new_sockets, nursery):
    (one, other), (peer, _) = await members(new_sockets, 2)
    result = broadcast([one, other, one], "x")
    assert (result.delivered, result.queued) == (3, 0)
    assert [(await peer.receive()).payload for _ in range(2)] == [b"x", b"x"]
    (slow,), (late,) = await members(new_sockets, 1, buffer=4096)
    result = broadcast([slow, slow], bytes(50_000))
    assert (result.delivered, result.queued, result.skipped, result.cut) == (0, 2, 0, ())
    assert [(await late.receive()).payload for _ in range(2)] == [bytes(50_000)] * 2


async def test_a_crowd_of_all_kinds(new_sockets, nursery):
    """More than are sent to in one go; of those in the middle each is in another way."""
    crowd, peers = await members(new_sockets, 150)
    (slow,), (late,) = await members(new_sockets, 1, buffer=4096)
    streamed, streamed_peer = await server_and_peer()
    client, client_peer = await client_and_peer(new_sockets())
    await peers[70].stream.aclose()
    await wait_all_tasks_blocked()
    crowd[71].close_nowait(4000)
    everybody = [*crowd[:60], slow, streamed, client, *crowd[60:]]
    for size in (60_000, 100):
        result = broadcast(everybody, bytes(size))
        # The stream and the slow one queue; the closed one and the lost one are skipped.
        assert (result.delivered, result.queued, result.skipped) == (149, 2, 2)
    for peer in [*peers[:70], *peers[72:], late, streamed_peer, client_peer]:
        assert [len((await peer.receive()).payload) for _ in range(2)] == [60_000, 100]


async def test_lost_members_are_skipped(new_sockets):
    connections, peers = await members(new_sockets, 3)
    await peers[1].stream.aclose()  # nobody has noticed yet
    results = [broadcast(connections, "x") for _ in range(3)]
    assert results[-1].skipped == 1
    assert results[-1].delivered == 2
    assert connections[1].closed.code == 1006
    for peer in (peers[0], peers[2]):
        assert [(await peer.receive()).payload for _ in range(3)] == [b"x"] * 3


async def test_one_members_failure_is_nobody_elses(new_sockets, caplog, monkeypatch):
    connections, peers = await members(new_sockets, 3)
    monkeypatch.setattr(connections[1]._session, "core", None)
    result = broadcast(connections, "x")
    assert (result.delivered, result.skipped) == (2, 1)
    assert connections[1].closed.code == 1006
    assert connections[1].cut_reason == "internal error"
    (record,) = caplog.records
    assert record.exc_info is not None
    for peer in (peers[0], peers[2]):
        assert (await peer.receive()).payload == b"x"


async def test_mistakes_are_raised_and_nothing_is_sent(any_wire):
    connection, peer = await server_and_peer()
    for wrong in (None, 7, [], ["x", 7], "\ud800", PreparedMessage("\ud800")):
        with pytest.raises(ValueError):
            broadcast([connection], wrong)
    with pytest.raises(LocalProtocolError):
        broadcast([connection], "x", code=999)
    await wait_all_tasks_blocked()
    await connection.send_message("fine")
    assert (await peer.receive()).payload == b"fine"


async def test_nobody_is_there():
    result = broadcast([], "x")
    assert (result.delivered, result.queued, result.skipped, result.cut) == (0, 0, 0, ())


async def test_a_member_of_another_kind_is_a_mistake_before_anything_is_sent(new_sockets):
    connections, peers = await members(new_sockets, 2)
    with pytest.raises(TypeError):
        broadcast([connections[0], object(), connections[1]], "x")
    broadcast(connections, "y")
    for peer in peers:
        assert (await peer.receive()).payload == b"y"


async def test_a_member_that_can_only_be_read_is_skipped(mock_clock):
    """Sending failed; for a moment the peer's Close is looked for."""
    connection, peer = await server_and_peer()
    await peer.stream.receive_stream.aclose()
    await connection.send_message("x")
    await wait_all_tasks_blocked()
    assert connection.closed is None
    result = broadcast([connection], "y")
    assert (result.delivered, result.queued, result.skipped, result.cut) == (0, 0, 1, ())
    await peer.stream.aclose()
