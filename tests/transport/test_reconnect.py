"""The reconnecting iterator: what it tries again, when, and what it leaves behind."""

from __future__ import annotations

import logging

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from transport.peer import CLOSE, TEXT, Peer, close_payload
from trio.testing import memory_stream_pair

from wscore.trio import (
    ConnectionClosed,
    ConnectionRejected,
    ConnectionTimeout,
    HandshakeError,
    reconnect_websocket_url,
)
from wscore.trio._reconnect import BackOff

URL = "ws://h/"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"


class Network:
    """What happens at each attempt to connect: an exception, an answer, or a server's script."""

    def __init__(self, nursery) -> None:
        self.script = []
        self.times = []
        self.peers = []
        self._nursery = nursery

    async def open_tcp_stream(self, host, port):
        await trio.lowlevel.checkpoint()
        self.times.append(round(trio.current_time(), 6))
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        ours, theirs = memory_stream_pair()
        peer = Peer(theirs, masks=False)
        self.peers.append(peer)
        self._nursery.start_soon(self._serve, peer, step)
        return ours

    async def _serve(self, peer, step):
        if isinstance(step, bytes):
            await peer.stream.send_all(step)
            await peer.stream.aclose()
        else:
            await peer.accept()
            await step(peer)


@pytest.fixture
def network(nursery, monkeypatch):
    """The attempts of a client for which every wait takes as long as it can."""
    network = Network(nursery)
    monkeypatch.setattr(trio, "open_tcp_stream", network.open_tcp_stream)
    monkeypatch.setattr("random.uniform", lambda begin, end: end)
    return network


async def serve(peer):
    """Answer the client's Close."""
    frame = await peer.receive()
    while frame.opcode != CLOSE:
        frame = await peer.receive()
    await peer.send((CLOSE, frame.payload))
    await peer.stream.aclose()


def closing(code, *, after=0.0):
    async def close(peer):
        await trio.sleep(after)
        await peer.send((CLOSE, close_payload(code)))
        assert (await peer.receive()).close == (code, "")
        await peer.stream.aclose()

    return close


async def lose(peer):
    await peer.stream.aclose()


async def wait_closed(connection):
    with pytest.raises(ConnectionClosed):
        await connection.get_message()


async def listen(connections):
    """Wait for the end of one connection after the other."""
    async with connections:
        async for connection in connections:
            await wait_closed(connection)


async def test_connects_at_once_and_closes_after_break(autojump_clock, network):
    network.script = [serve]
    async with reconnect_websocket_url(URL) as connections:
        async for connection in connections:
            await connection.send_message("x")
            break
    assert network.times == [0]
    assert connection.closed.code == 1000
    with pytest.raises(ConnectionClosed):
        await connection.send_message("x")


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionRefusedError("no"),
        OSError("several"),
        BUSY,
        b"HTTP/1.1 429 Slower\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
)
async def test_tries_again(autojump_clock, network, failure):
    network.script = [failure, failure, serve]
    async with reconnect_websocket_url(URL, first_delay=1) as connections:
        async for connection in connections:
            assert connection.closed is None
            break
    assert network.times == [0, 1, 3]


async def test_timeout_is_tried_again(autojump_clock, network):
    async def silent(host, port):
        network.times.append(trio.current_time())
        if len(network.times) < 3:
            await trio.sleep_forever()
        raise ValueError("stop")

    network.open_tcp_stream = silent
    trio.open_tcp_stream = silent  # undone by the fixture
    with pytest.raises(ValueError, match="stop"):
        async with reconnect_websocket_url(URL, first_delay=1, connect_timeout=4) as connections:
            await anext(connections)
    assert network.times == [0, 5, 11]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_gives_up(autojump_clock, network, answer):
    network.script = [BUSY, answer]
    with pytest.raises(HandshakeError) as info:
        async with reconnect_websocket_url(URL) as connections:
            await anext(connections)
    assert not info.value.transient
    assert network.script == []


async def test_waits_grow_to_the_maximum(autojump_clock, network):
    network.script = [BUSY] * 7 + [serve]
    async with reconnect_websocket_url(URL, first_delay=1, max_delay=10) as connections:
        await anext(connections)
    assert network.times == [0, 1, 3, 7, 15, 25, 35, 45]


@pytest.mark.parametrize("lived", [2, 5])
async def test_waits_start_anew_after_a_connection_that_lived(autojump_clock, network, lived):
    network.script = [BUSY, BUSY, closing(1001, after=lived), serve]
    async with reconnect_websocket_url(URL, first_delay=1, max_delay=100) as connections:
        await wait_closed(await anext(connections))
        assert trio.current_time() == 3 + lived
        await anext(connections)
    # The next wait could have taken 4 seconds.
    assert network.times == [0, 1, 3, 3 + lived + (1 if lived > 4 else 4)]


async def test_retry_after_is_waited_for_besides(autojump_clock, network):
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 100\r\nContent-Length: 0\r\n\r\n"
    network.script = [busy, serve]
    async with reconnect_websocket_url(URL, first_delay=1, max_delay=2) as connections:
        await anext(connections)
    assert network.times == [0, 101]


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013, 1014, 3008])
async def test_closes_that_are_followed_by_another_connection(autojump_clock, network, code):
    network.script = [closing(code), serve]
    seen = []
    async with reconnect_websocket_url(URL, first_delay=1) as connections:
        async for connection in connections:
            seen.append(connection)
            if len(seen) == 2:
                break
            await wait_closed(connection)
    assert seen[0].closed.code == code
    assert network.times == [0, 1]


async def test_lost_connection_is_followed_by_another(autojump_clock, network):
    network.script = [lose, serve]
    async with reconnect_websocket_url(URL, first_delay=1) as connections:
        await wait_closed(await anext(connections))
        await anext(connections)
    assert network.times == [0, 1]


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010, 3000, 3003, 4000, 4999])
async def test_closes_that_end_the_loop(autojump_clock, network, code):
    network.script = [closing(code)]
    with pytest.raises(ConnectionClosed) as info:
        await listen(reconnect_websocket_url(URL))
    assert info.value.reason.code == code
    assert network.times == [0]


async def test_own_judgement(autojump_clock, network):
    network.script = [closing(4000), BUSY]
    seen = []

    def should_retry(error):
        seen.append(error)
        return isinstance(error, ConnectionClosed)

    with pytest.raises(ConnectionRejected) as info:
        await listen(reconnect_websocket_url(URL, should_retry=should_retry))
    assert seen[0].reason.code == 4000
    assert seen[1] is info.value


async def test_open_connection_is_closed_before_the_next(autojump_clock, network):
    network.script = [serve, serve]
    async with reconnect_websocket_url(URL, first_delay=1) as connections:
        first = await anext(connections)
        second = await anext(connections)
        assert first.closed.code == 1000
        assert second.closed is None
    assert second.closed.code == 1000
    assert network.times == [0, 1]


async def test_exception_of_the_body_passes_and_closes(autojump_clock, network):
    network.script = [serve]
    seen = []

    async def fail():
        async with reconnect_websocket_url(URL) as connections:
            async for connection in connections:
                seen.append(connection)
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail()
    assert seen[0].closed.code == 1000


async def test_cancelled_body_cuts_the_connection(autojump_clock, network):
    async def silent(peer):
        await peer.receive_rest()  # it ends, perhaps after a Close

    network.script = [silent]
    with trio.move_on_after(1) as scope:
        async with reconnect_websocket_url(URL) as connections:
            async for connection in connections:
                await connection.get_message()
    assert scope.cancelled_caught
    assert trio.current_time() == 1
    assert connection.closed is not None


async def test_cancellation_hides_no_exception_of_the_block(autojump_clock, network):
    async def silent(peer):
        await peer.receive_rest()  # it ends, perhaps after a Close

    async def fail_when_cancelled():
        async with reconnect_websocket_url(URL) as connections:
            async for _ in connections:
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("mine")

    network.script = [silent]
    with pytest.raises(ValueError, match="mine"), trio.move_on_after(1):
        await fail_when_cancelled()


@pytest.mark.parametrize("at", [0.5, 1.5])
async def test_cancelled_wait(autojump_clock, network, at):
    network.script = [BUSY, BUSY]
    with trio.move_on_after(at) as scope:
        async with reconnect_websocket_url(URL, first_delay=1, max_delay=1) as connections:
            await anext(connections)
    assert scope.cancelled_caught
    assert len(network.times) == int(at + 1)


async def test_needs_its_block(autojump_clock, network):
    connections = reconnect_websocket_url(URL)
    with pytest.raises(RuntimeError, match="async with"):
        await anext(connections)
    network.script = [serve]
    async with connections:
        await anext(connections)
    with pytest.raises(RuntimeError, match="async with"):
        await anext(connections)
    assert network.times == [0]


async def test_one_line_for_each_failure(autojump_clock, network, caplog):
    caplog.set_level(logging.INFO)
    network.script = [OSError("no way"), BUSY, closing(1012), serve]
    async with reconnect_websocket_url("ws://me:secret@h/?token=secret") as connections:
        await wait_closed(await anext(connections))
        await anext(connections)
    lines = [record.getMessage() for record in caplog.records]
    assert [record.levelname for record in caplog.records] == ["INFO"] * 3
    for line, part in zip(
        lines, ["no way", "503", "closed with 1012 (SERVICE_RESTART)"], strict=True
    ):
        assert part in line
        assert "\n" not in line
        assert "secret" not in line
        assert "connecting again in " in line


async def test_messages_reach_the_body(autojump_clock, network):
    async def greet(peer):
        await peer.send((TEXT, b"hello"))
        await serve(peer)

    network.script = [greet, greet]
    messages = []
    async with reconnect_websocket_url(URL) as connections:
        async for connection in connections:
            messages.append(await connection.get_message())
            if len(messages) == 2:
                break
    assert messages == ["hello", "hello"]


async def test_subprotocols_are_offered_every_time(autojump_clock, network):
    heads = []

    async def open_tcp_stream(host, port):
        ours, theirs = memory_stream_pair()
        peer = Peer(theirs, masks=False)

        async def refuse():
            heads.append(await peer.receive_head())
            await theirs.send_all(BUSY if len(heads) == 1 else BUSY.replace(b"503", b"403"))

        network._nursery.start_soon(refuse)
        return ours

    trio.open_tcp_stream = open_tcp_stream  # undone by the fixture
    with pytest.raises(ConnectionRejected):
        async with reconnect_websocket_url(URL, subprotocols=iter(["a", "b"])) as connections:
            await anext(connections)
    assert [b"Sec-WebSocket-Protocol: a, b" in head for head in heads] == [True, True]


# The waits alone


@given(st.floats(0, 1e3), st.floats(1, 1e3))
def test_waits_lie_in_ranges_that_double(first, factor):
    maximum = first * factor
    back_off = BackOff(first, maximum)
    limit = first
    for _ in range(20):
        assert back_off.limit == limit
        assert 0 <= back_off.next_delay() <= limit
        limit = min(2 * limit, maximum)
    back_off.reset()
    assert back_off.limit == first


def test_waits_fill_their_range():
    delays = sorted(BackOff(8, 8).next_delay() for _ in range(1000))
    assert delays[0] < 1
    assert delays[-1] > 7
    assert 3 < delays[500] < 5


@pytest.mark.parametrize(("first", "maximum"), [(-1, 5), (6, 5), (float("nan"), 5)])
def test_wrong_delays(first, maximum):
    with pytest.raises(ValueError):
        reconnect_websocket_url(URL, first_delay=first, max_delay=maximum)


def test_timeout_error_is_transient():
    assert ConnectionTimeout().transient
