"""Keepalive, stalled sends and closing on a clock that jumps; and the task that keeps them all."""

from __future__ import annotations

import math

import pytest
import trio
from transport.peer import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    close_payload,
    frame,
    server_and_peer,
    with_options,
)
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from wscore.trio import CloseReason, ConnectionClosed
from wscore.trio._deadlines import NO_BUCKET, RESOLUTION, Deadlines
from wscore.trio._options import Options

pytestmark = pytest.mark.usefixtures("any_wire")
QUIET = Options(ping_interval=None)


def about(seconds: float) -> object:
    """A deadline is kept, and not much later than it has to be."""
    return pytest.approx(seconds + RESOLUTION / 2, abs=RESOLUTION / 2 + 0.01)


# Keepalive


@pytest.mark.parametrize("client", [False, True])
async def test_a_silent_peer_is_pinged_and_cut(client, autojump_clock):
    connection, peer = await with_options(Options(), client=client)
    begin = trio.current_time()
    ping = await peer.receive()
    assert ping.opcode == PING
    assert ping.payload
    assert trio.current_time() - begin == about(20)
    with pytest.raises(ConnectionClosed) as info:
        await connection.get_message()
    assert info.value.reason == CloseReason(1006)
    assert trio.current_time() - begin == about(40)
    assert connection.cut_reason == "ping timeout"


async def test_it_needs_no_waiting_task(autojump_clock):
    connection, peer = await with_options(Options(ping_interval=7, ping_timeout=3))
    begin = trio.current_time()
    assert (await peer.receive()).opcode == PING
    assert trio.current_time() - begin == about(7)
    await trio.sleep(3.5)
    assert connection.closed == CloseReason(1006)


LIVES = {
    "messages": [frame(TEXT, b"x")] * 5,
    "pongs of other pings": [frame(PONG, b"other")] * 5,
    "bytes of one frame": [frame(TEXT, b"hello")[i : i + 1] for i in range(5)],
}


@pytest.mark.parametrize("kind", LIVES)
async def test_any_byte_counts_as_life(kind, autojump_clock):
    connection, peer = await with_options(Options(message_queue_size=100))
    for life in LIVES[kind]:
        begin = trio.current_time()
        assert (await peer.receive()).opcode == PING
        assert trio.current_time() - begin == about(20)
        await trio.sleep(19)
        await peer.stream.send_all(life)
    assert connection.closed is None


async def test_a_busy_peer_is_not_pinged(autojump_clock):
    connection, peer = await with_options(Options(message_queue_size=100))
    for _ in range(10):
        await trio.sleep(15)
        await peer.send((TEXT, b"x"))
    await wait_all_tasks_blocked()
    await connection.send_message("the first thing it gets")
    assert (await peer.receive()).payload == b"the first thing it gets"


async def test_latency(autojump_clock):
    connection, peer = await with_options(Options())
    ping = await peer.receive()
    assert connection.latency is None
    await trio.sleep(1.5)
    await peer.send((PONG, ping.payload))
    await wait_all_tasks_blocked()
    assert connection.latency == pytest.approx(1.5, abs=0.01)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.ping, b"mine")
        assert (await peer.receive()).payload == b"mine"
        await trio.sleep(0.5)
        await peer.send((PONG, b"mine"))
    assert connection.latency == pytest.approx(0.5, abs=0.01)


async def test_a_peer_that_we_do_not_read_is_not_dead(autojump_clock):
    connection, peer = await with_options(Options())
    await peer.send((TEXT, b"1"))
    await wait_all_tasks_blocked()
    await peer.send((TEXT, b"2"))
    await wait_all_tasks_blocked()
    await peer.send((TEXT, b"3"))  # stays unread: nobody takes the first
    await trio.sleep(200)
    assert connection.closed is None
    assert await connection.get_message() == "1"
    assert await connection.get_message() == "2"
    assert await connection.get_message() == "3"
    # From now on it has to show life again.
    begin = trio.current_time()
    with pytest.raises(ConnectionClosed):
        await connection.get_message()
    assert 20 < trio.current_time() - begin <= 61


async def test_keepalive_can_be_off(autojump_clock):
    connection, peer = await with_options(QUIET)
    await trio.sleep(1000)
    await connection.send_message("x")
    assert (await peer.receive()).payload == b"x"


async def test_the_interval_holds_with_a_longer_timeout(autojump_clock):
    connection, peer = await with_options(Options(ping_interval=3, ping_timeout=20))
    for _ in range(5):
        begin = trio.current_time()
        await peer.send((PONG, (await peer.receive()).payload))
        assert trio.current_time() - begin == about(3)
    assert connection.closed is None


async def test_without_a_timeout_it_pings_for_ever(autojump_clock):
    connection, peer = await with_options(Options(ping_timeout=None))
    begin = trio.current_time()
    for _ in range(10):
        assert (await peer.receive()).opcode == PING
    assert trio.current_time() - begin == pytest.approx(200, abs=10 * RESOLUTION)
    assert connection.closed is None


# Sending


async def test_a_peer_that_takes_nothing_is_cut(new_sockets, autojump_clock):
    for pair in (lockstep_stream_pair(), new_sockets(buffer=4096)):
        connection, _peer = await with_options(QUIET, pair=pair)
        begin = trio.current_time()
        with pytest.raises(ConnectionClosed):
            await connection.send_message(bytes(1_000_000))
        assert trio.current_time() - begin == about(30)
        assert connection.cut_reason == "send timeout"
        assert connection.closed == CloseReason(1006)
        assert connection.bytes_unsent == 0


async def test_small_messages_that_nobody_takes_do_not_put_it_off(autojump_clock):
    connection, _peer = await with_options(QUIET, pair=lockstep_stream_pair())
    begin = trio.current_time()
    while connection.closed is None:
        await connection.send_message("x")
        await trio.sleep(1)
    assert 30 <= trio.current_time() - begin <= 31.5
    assert connection.cut_reason == "send timeout"


async def test_a_peer_that_takes_a_little_is_not_cut(new_sockets, autojump_clock):
    connection, peer = await with_options(QUIET, pair=new_sockets(buffer=4096))
    message = bytes(500_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send_message, message)
        taken = 0
        while taken < len(message):
            await trio.sleep(25)
            taken += len(await peer.stream.receive_some(50_000))
    assert connection.closed is None


async def test_a_download_in_progress_needs_no_pong(new_sockets, autojump_clock):
    """The ping would stand behind it."""
    connection, peer = await with_options(Options(), pair=new_sockets(buffer=4096))
    message = bytes(500_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send_message, message)
        for _ in range(10):
            await trio.sleep(25)
            await peer.stream.receive_some(20_000)
        assert connection.closed is None
        nursery.cancel_scope.cancel()


# Closing


async def test_a_peer_that_closes_and_does_not_take_the_answer(autojump_clock):
    """Nobody calls aclose."""
    connection, peer = await with_options(
        Options(ping_interval=None, disconnect_timeout=3), pair=lockstep_stream_pair()
    )
    await peer.send((CLOSE, close_payload(4000)))
    await trio.sleep(2.9)
    assert connection.cut_reason is None
    await trio.sleep(0.5)
    assert connection.cut_reason == "close timeout"
    assert connection.closed == CloseReason(4000)


async def test_a_peer_that_keeps_tcp_open_behind_its_close(autojump_clock):
    connection, peer = await with_options(QUIET)
    begin = trio.current_time()
    await peer.send((CLOSE, close_payload(4000)))
    assert (await peer.receive()).close == (4000, "")
    await connection.aclose()
    assert trio.current_time() - begin == about(1)
    assert connection.cut_reason is None


# The task


class Timed:
    def __init__(self, answers=(), error=None):
        self.bucket = NO_BUCKET
        self.answers = list(answers)
        self.error = error
        self.calls = []
        self.crashes = []

    def check(self, now):
        self.calls.append(now)
        if self.error is not None:
            raise self.error
        return self.answers.pop(0) if self.answers else None

    def crashed(self, error):
        self.crashes.append(error)


def started():
    deadlines = Deadlines()
    deadlines.start()
    return deadlines


async def test_checks_come_at_their_time(autojump_clock):
    deadlines = started()
    now = trio.current_time()
    items = [Timed() for _ in range(50)]
    delays = [(7 * number % 50) / 3 for number in range(50)]
    for item, delay in zip(items, delays, strict=True):
        deadlines.schedule(item, now + delay)
    await trio.sleep(20)
    for item, delay in zip(items, delays, strict=True):
        (at,) = item.calls
        assert at - now == about(delay)


async def test_the_earlier_one_counts(autojump_clock):
    deadlines = started()
    now = trio.current_time()
    item = Timed()
    for delay in (10, 5, 8, 2, 30):
        deadlines.schedule(item, now + delay)
    await trio.sleep(40)
    assert [at - now for at in item.calls] == [about(2)]


async def test_a_check_says_when_the_next_is_due(autojump_clock):
    deadlines = started()
    now = trio.current_time()
    item = Timed([now + 3, now + 3.1, now])  # the past is not now, or it would never end
    deadlines.schedule(item, now + 1)
    await trio.sleep(10)
    assert [math.floor(at - now) for at in item.calls] == [1, 3, 3, 3]
    assert item.calls == sorted(set(item.calls))


async def test_cancelled_checks_do_not_come(autojump_clock):
    deadlines = started()
    now = trio.current_time()
    first, second = Timed(), Timed()
    for item in (first, second):
        deadlines.schedule(item, now + 1)
    deadlines.cancel(first)
    deadlines.cancel(first)
    await trio.sleep(5)
    assert (len(first.calls), len(second.calls)) == (0, 1)


async def test_one_may_cancel_another_of_the_same_bucket(autojump_clock):
    deadlines = started()
    items = [Timed() for _ in range(300)]

    class Killer(Timed):
        def check(self, now):
            for item in items:
                deadlines.cancel(item)

    now = trio.current_time()
    # They come in any order: that all killers come last is as good as impossible.
    for one in [*items, *(Killer() for _ in range(10))]:
        deadlines.schedule(one, now + 1)
    await trio.sleep(5)
    called = sum(len(item.calls) for item in items)
    assert called < 300
    assert all(item.bucket == NO_BUCKET for item in items)


async def test_an_error_ends_nothing_else(autojump_clock):
    deadlines = started()
    now = trio.current_time()
    bad, good = Timed(error=ValueError("x")), Timed()
    deadlines.schedule(bad, now + 1)
    deadlines.schedule(good, now + 1)
    deadlines.schedule(later := Timed(), now + 2)
    await trio.sleep(5)
    assert bad.crashes == [bad.error]
    assert len(good.calls) == len(later.calls) == 1


async def test_others_run_between_many_checks(autojump_clock):
    deadlines = started()
    now = trio.current_time()
    items = [Timed() for _ in range(10_000)]
    for item in items:
        deadlines.schedule(item, now + 1)
    await trio.sleep(1)
    steps = 0
    while not all(item.calls for item in items):
        steps += 1
        await trio.lowlevel.checkpoint()
    assert steps >= 50


async def test_closed_connections_leave_nothing_behind(autojump_clock):
    connection, peer = await server_and_peer()
    session = connection._session
    assert session.bucket != NO_BUCKET
    await peer.stream.aclose()
    await connection.aclose()
    assert session.bucket == NO_BUCKET
    assert all(session not in bucket for bucket in session._deadlines._buckets.values())


async def test_pings_that_are_never_answered_do_not_pile_up(mock_clock):
    """Of a peer who always says something else in time."""
    connection, peer = await with_options(Options(ping_interval=1, ping_timeout=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.ping, b"mine")
        assert (await peer.receive()).payload == b"mine"
        for _ in range(20):
            mock_clock.jump(1.5)
            assert (await peer.receive()).opcode == PING
            await peer.send((PONG, b"another"))
            await wait_all_tasks_blocked()
        assert len(connection._session.pings) <= 2
        await peer.send((PONG, b"mine"))  # those of the user are still known
