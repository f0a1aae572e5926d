"""Sends that are blocked, cancelled or concurrent: what counts is the bytes on the wire."""

from __future__ import annotations

import pytest
import trio
from transport.peer import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    client_and_peer,
    close_payload,
    server_and_peer,
    take_frames,
)
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from wscore.trio import ConnectionClosed


class TrickleStream(trio.abc.HalfCloseableStream):
    """Takes ``step`` bytes at a time once it is slow, and lets the test cancel between any two."""

    def __init__(self, stream: trio.StapledStream) -> None:
        self._stream = stream
        self.step: int | None = None

    async def send_all(self, data: bytes) -> None:
        if self.step is None:
            await self._stream.send_all(data)
            return
        for start in range(0, len(data), self.step):
            await self._stream.send_all(data[start : start + self.step])
            await trio.sleep(1)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


async def slow_pair(open_pair=server_and_peer):
    ours, theirs = memory_stream_pair()
    stream = TrickleStream(ours)
    connection, peer = await open_pair((stream, theirs), disconnect_timeout=60)
    stream.step = 1
    return connection, peer


BOTH_ENDS = pytest.mark.parametrize("open_pair", [server_and_peer, client_and_peer])


@BOTH_ENDS
@pytest.mark.parametrize("bytes_out", range(8))
async def test_cancelled_in_mid_frame_fails_the_connection(open_pair, bytes_out, autojump_clock):
    """A byte a second; the scope ends when so many are out, and the frame has more."""
    connection, peer = await slow_pair(open_pair)
    with trio.move_on_after(bytes_out + 0.5) as scope:
        await connection.send_message("twelve bytes")
    assert scope.cancelled_caught
    assert connection.closed.code == 1006
    for call in (
        connection.send_message("x"),
        connection.ping(),
        connection.pong(),
        connection.get_message(),
    ):
        with pytest.raises(ConnectionClosed) as info:
            await call
        assert info.value.reason.code == 1006
    await connection.aclose()
    # Closed at once, with a part of one frame and nothing behind it.
    sent = await peer.receive_rest()
    assert len(sent) == bytes_out + 1
    assert take_frames(bytearray(sent)) == []


@BOTH_ENDS
async def test_cancelled_before_it_began_sends_nothing(open_pair):
    connection, peer = await open_pair()
    with trio.CancelScope() as scope:
        scope.cancel()
        await connection.send_message("never")
    assert scope.cancelled_caught
    assert connection.closed is None
    await connection.send_message("then")
    assert (await peer.receive()).payload == b"then"


async def test_cancelled_in_the_queue_sends_nothing(autojump_clock):
    connection, peer = await slow_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send_message, "first")
        await trio.sleep(1.5)
        with trio.move_on_after(1) as scope:
            await connection.send_message("second")
        assert scope.cancelled_caught
        assert connection.closed is None
        nursery.start_soon(connection.send_message, "third")
    assert [(await peer.receive()).payload for _ in range(2)] == [b"first", b"third"]
    assert peer.buffer == b""


async def test_cancelled_in_the_queue_with_compression_keeps_the_context(nursery, autojump_clock):
    """A message that was compressed but not sent would spoil all that follow."""
    from wscore.trio import wrap_client_stream, wrap_server_stream

    ours, theirs = memory_stream_pair()
    stream = TrickleStream(ours)
    client = None

    async def connect():
        nonlocal client
        client = await wrap_client_stream(nursery, theirs, "example.com", "/", compression=True)

    async with trio.open_nursery() as inner:
        inner.start_soon(connect)
        request = await wrap_server_stream(nursery, stream)
        server = await request.accept(compression=True)
    assert client is not None
    stream.step = 1
    async with trio.open_nursery() as inner:
        inner.start_soon(server.send_message, "first message " * 5)
        await trio.sleep(1.5)
        with trio.move_on_after(1):
            await server.send_message("second message " * 5)
        inner.start_soon(server.send_message, "first message again " * 5)
        assert await client.get_message() == "first message " * 5
        assert await client.get_message() == "first message again " * 5


async def test_concurrent_senders_do_not_interleave_and_keep_their_order(autojump_clock):
    connection, peer = await slow_pair()
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(connection.send_message, f"message {number} " * 3)
            await wait_all_tasks_blocked()
    payloads = [(await peer.receive()).payload.decode() for _ in range(10)]
    assert payloads == [f"message {number} " * 3 for number in range(10)]


async def test_waiting_senders_hear_of_the_failure(autojump_clock):
    connection, peer = await slow_pair()
    failed = []

    async def send(number):
        with pytest.raises(ConnectionClosed) as info:
            await connection.send_message(f"{number}")
        failed.append(info.value.reason.code)

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1.5):
            async with trio.open_nursery() as cancelled:
                cancelled.start_soon(connection.send_message, "the first")
                await wait_all_tasks_blocked()
                nursery.start_soon(send, 1)
                nursery.start_soon(send, 2)
    assert failed == [1006, 1006]
    sent = await peer.receive_rest()
    assert len(sent) == 2
    assert take_frames(bytearray(sent)) == []


async def test_a_blocked_reader_hears_of_the_failure(autojump_clock):
    connection, _peer = await slow_pair()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def reader():
            with pytest.raises(ConnectionClosed) as info:
                await connection.get_message()
            assert info.value.reason.code == 1006

        await wait_all_tasks_blocked()
        with trio.move_on_after(1.5):
            await connection.send_message("long enough")


async def test_pongs_and_close_replies_keep_between_frames(autojump_clock):
    connection, peer = await slow_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send_message, "a frame that takes a while")
        await trio.sleep(2.5)
        await peer.send((PING, b"p"), (CLOSE, close_payload(1000)))
        with pytest.raises(ConnectionClosed):
            await connection.get_message()
    frames = [await peer.receive() for _ in range(3)]
    assert [frame.opcode for frame in frames] == [TEXT, PONG, CLOSE]
    assert frames[0].payload == b"a frame that takes a while"


async def test_nothing_is_sent_behind_a_close_frame(autojump_clock):
    connection, peer = await slow_pair()

    async def send_late():
        with pytest.raises(ConnectionClosed):
            await connection.send_message("waited behind, and came too late")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send_message, "first")
        await trio.sleep(1.5)
        nursery.start_soon(send_late)
        await wait_all_tasks_blocked()
        nursery.start_soon(connection.aclose)
        await trio.sleep(0.5)
        await peer.send((CLOSE, close_payload(1000)))
    frames = [await peer.receive() for _ in range(2)]
    assert [frame.opcode for frame in frames] == [TEXT, CLOSE]
    assert await peer.receive_rest() == b""


async def test_a_failing_send_loses_no_message_that_was_received():
    connection, peer = await server_and_peer()
    await peer.send(*[(TEXT, b"%d" % number) for number in range(5)])
    assert await connection.get_message() == "0"
    await peer.stream.aclose()
    with pytest.raises(ConnectionClosed):
        await connection.send_message("x")
    assert connection.closed.code == 1006
    assert [await connection.get_message() for _ in range(4)] == ["1", "2", "3", "4"]
    with pytest.raises(ConnectionClosed):
        await connection.get_message()


async def test_a_stream_that_fails_in_its_own_way_fails_the_connection():
    class Failing(TrickleStream):
        async def send_all(self, data: bytes) -> None:
            if self.step is not None:
                await trio.lowlevel.checkpoint()
                raise RuntimeError("not a trio error")
            await super().send_all(data)

    ours, theirs = memory_stream_pair()
    stream = Failing(ours)
    connection, peer = await server_and_peer((stream, theirs))
    stream.step = 1
    # Where no task of the user's writes: the answer to a ping.
    await peer.send((PING, b""))
    with pytest.raises(ConnectionClosed) as info:
        await connection.get_message()
    assert info.value.reason.code == 1006

    with pytest.raises(ConnectionClosed):
        await connection.send_message("x")


async def test_framing_of_the_tests_own_peer():
    """The tables here stand on the peer's codec: hold it against the example of RFC 6455."""
    from transport.peer import frame

    assert frame(TEXT, b"Hello", mask=False) == bytes.fromhex("810548656c6c6f")
    data = bytearray(bytes.fromhex("818537fa213d7f9f4d5158"))
    (decoded,) = take_frames(data)
    assert (decoded.opcode, decoded.payload, data) == (TEXT, b"Hello", b"")
