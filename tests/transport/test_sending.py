"""Sends that are blocked, cancelled or concurrent: what counts is the bytes on the wire."""

from __future__ import annotations

import itertools
import random

import pytest
import trio
from transport.peer import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    client_and_peer,
    close_payload,
    send_for_ever,
    server_and_peer,
    take_frames,
)
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from wscore.trio import CloseReason, ConnectionClosed


class TrickleStream(trio.abc.HalfCloseableStream):
    """Takes ``step`` bytes a second, once that is set."""

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


async def slow_pair(open_pair=server_and_peer, *, step=1000, **options):
    """A connection whose peer takes ``step`` bytes a second."""
    ours, theirs = memory_stream_pair()
    stream = TrickleStream(ours)
    connection, peer = await open_pair((stream, theirs), disconnect_timeout=600, **options)
    stream.step = step
    return connection, peer


BOTH_ENDS = pytest.mark.parametrize("open_pair", [server_and_peer, client_and_peer])
# More than may be unsent: who sends it has to wait, and so has who sends then.
LARGE = 100_000


# Cancellation


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when the task that entered it has run for the given number of times."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.scope = trio.CancelScope()
        self.task: trio.lowlevel.Task | None = None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.step -= 1
            if self.step == 0:
                self.scope.cancel()

    async def run(self, async_fn, *args) -> bool:
        """Run a function in the scope; return whether it was cancelled."""
        self.task = trio.lowlevel.current_task()
        trio.lowlevel.add_instrument(self)
        try:
            with self.scope:
                await async_fn(*args)
        finally:
            trio.lowlevel.remove_instrument(self)
        return self.scope.cancelled_caught


async def read_late(peer, received):
    """Read everything, but not at once."""
    await trio.sleep(5)
    while True:
        try:
            received.append(await peer.receive())
        except AssertionError:  # the end
            return


KINDS = {
    "text": ("ä" * (LARGE // 2), "ä".encode() * (LARGE // 2)),
    "bytes": (bytes(LARGE), bytes(LARGE)),
    "bytearray": (bytearray(LARGE), bytes(LARGE)),
    "memoryview": (memoryview(bytearray(2 * LARGE))[::2], bytes(LARGE)),
}


@BOTH_ENDS
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", [0, LARGE])
@pytest.mark.parametrize("sockets", [False, True])
async def test_cancelled_at_every_checkpoint(
    open_pair, kind, before, sockets, new_sockets, autojump_clock
):
    """The message is on the wire in one piece or not at all, and all others are whole."""
    message, payload = KINDS[kind]
    outcomes = set()
    for step in itertools.count(1):
        if sockets:
            connection, peer = await open_pair(new_sockets(buffer=4096))
        else:
            connection, peer = await slow_pair(open_pair, step=10_000)
        received: list[Frame] = []
        async with trio.open_nursery() as nursery:
            if before:
                nursery.start_soon(connection.send_message, bytes(before))
                await wait_all_tasks_blocked()
            nursery.start_soon(read_late, peer, received)
            if isinstance(message, bytearray):
                message[:] = bytes(LARGE)
            cancelled = await CancelAtStep(step).run(connection.send_message, message)
            if isinstance(message, bytearray):
                message[:] = b"?" * LARGE  # it is the caller's again
            assert connection.closed is None
            await connection.send_message("behind")
            await connection.aclose()
        payloads = [frame.payload for frame in received if frame.opcode != CLOSE]
        assert payloads.pop() == b"behind"
        if before:
            assert payloads.pop(0) == bytes(before)
        assert payloads in ([], [payload])
        assert peer.buffer == b""
        outcomes.add((cancelled, bool(payloads)))
        if not cancelled:
            break
    # Cancelled while it waits for others, it is not sent; while it waits for itself, it is.
    assert outcomes - {(True, False)} == {(True, True), (False, True)}
    assert ((True, False) in outcomes) == bool(before)


@BOTH_ENDS
async def test_cancelled_before_it_began_sends_nothing(open_pair, any_wire):
    connection, peer = await open_pair()
    with trio.CancelScope() as scope:
        scope.cancel()
        await connection.send_message("never")
    assert scope.cancelled_caught
    assert connection.closed is None
    await connection.send_message("then")
    assert (await peer.receive()).payload == b"then"


async def test_cancelled_send_may_be_lost_with_the_connection(autojump_clock):
    """Then every later call says so."""
    connection, peer = await slow_pair()
    with trio.move_on_after(1) as scope:
        await connection.send_message(bytes(LARGE))
    assert scope.cancelled_caught
    assert connection.closed is None
    with trio.move_on_after(1):
        await connection.aclose()
    assert connection.closed.code == 1000
    for call in (
        connection.send_message("x"),
        connection.ping(),
        connection.pong(),
        connection.get_message(),
    ):
        with pytest.raises(ConnectionClosed):
            await call
    sent = await peer.receive_rest()
    assert 0 < len(sent) < LARGE
    assert take_frames(bytearray(sent)) == []


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
    stream.step = 10_000
    noise = random.Random(1).randbytes(LARGE)
    async with trio.open_nursery() as inner:
        inner.start_soon(server.send_message, noise)
        await trio.sleep(1.5)
        with trio.move_on_after(1) as scope:
            await server.send_message("second message " * 5)
        assert scope.cancelled_caught
        inner.start_soon(server.send_message, "first message again " * 5)
        assert await client.get_message() == noise
        assert await client.get_message() == "first message again " * 5


# Order


async def test_concurrent_senders_do_not_interleave_and_keep_their_order(autojump_clock):
    connection, peer = await slow_pair(step=10_000)
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(connection.send_message, f"message {number} " * 7000)
            await wait_all_tasks_blocked()
        payloads = [(await peer.receive()).payload.decode() for _ in range(10)]
    assert payloads == [f"message {number} " * 7000 for number in range(10)]


async def test_waiting_senders_hear_of_the_failure(new_sockets, autojump_clock):
    for pair in (lockstep_stream_pair(), new_sockets()):
        connection, peer = await server_and_peer(pair)
        failed = []

        async def send(connection=connection, failed=failed):
            with pytest.raises(ConnectionClosed) as info:
                await send_for_ever(connection, bytes(10_000_000))
            failed.append(info.value.reason.code)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(send)
            await wait_all_tasks_blocked()
            await peer.stream.aclose()
        assert failed == [1006] * 3


async def test_pongs_and_close_replies_keep_between_frames(autojump_clock):
    connection, peer = await slow_pair(step=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send_message, "a frame that takes a while")
        await wait_all_tasks_blocked()
        await peer.send((PING, b"p"), (CLOSE, close_payload(1000)))
        with pytest.raises(ConnectionClosed):
            await connection.get_message()
        frames = [await peer.receive() for _ in range(3)]
    assert [frame.opcode for frame in frames] == [TEXT, PONG, CLOSE]
    assert frames[0].payload == b"a frame that takes a while"


async def test_nothing_is_sent_behind_a_close_frame(autojump_clock):
    connection, peer = await slow_pair(step=10_000)

    async def send_late():
        with pytest.raises(ConnectionClosed):
            await connection.send_message("waited behind, and came too late")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send_message, bytes(LARGE))
        await wait_all_tasks_blocked()
        nursery.start_soon(send_late)
        await wait_all_tasks_blocked()
        nursery.start_soon(connection.aclose)
        frames = [await peer.receive() for _ in range(2)]
        assert [frame.opcode for frame in frames] == [BINARY, CLOSE]
        await peer.send((CLOSE, close_payload(1000)))
        assert await peer.receive_rest() == b""


# Failure


async def test_a_failing_send_loses_no_message_that_was_received(any_wire, mock_clock):
    connection, peer = await server_and_peer()
    await peer.send(*[(TEXT, b"%d" % number) for number in range(5)])
    assert await connection.get_message() == "0"
    await peer.stream.aclose()
    with pytest.raises(ConnectionClosed):
        await send_for_ever(connection)
    assert connection.closed.code == 1006
    assert [await connection.get_message() for _ in range(4)] == ["1", "2", "3", "4"]
    with pytest.raises(ConnectionClosed):
        await connection.get_message()


async def test_a_failing_send_does_not_hide_the_peers_close(any_wire, mock_clock):
    """The Close stands behind messages that nobody has taken.

    It has a second to be found in: with the system's clock that is too little on a busy machine.
    """
    connection, peer = await server_and_peer()
    await peer.send(*[(TEXT, b"x" * 1000)] * 100, (CLOSE, close_payload(4321, "enough")))
    await peer.stream.aclose()
    assert connection.closed is None
    with pytest.raises(ConnectionClosed) as info:
        await send_for_ever(connection)
    assert info.value.reason == connection.closed == CloseReason(4321, "enough")
    for _ in range(100):
        assert len(await connection.get_message()) == 1000
    with pytest.raises(ConnectionClosed):
        await connection.get_message()


@pytest.mark.parametrize("failing", ["send_all", "receive_some"])
async def test_a_stream_that_fails_in_its_own_way_fails_the_connection(failing, autojump_clock):
    class Failing(TrickleStream):
        async def send_all(self, data: bytes) -> None:
            if self.step is not None and failing == "send_all":
                await trio.lowlevel.checkpoint()
                raise RuntimeError("not a trio error")
            await super().send_all(data)

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            data = await super().receive_some(max_bytes)
            if self.step is not None and failing == "receive_some":
                raise RuntimeError("not a trio error")
            return data

    ours, theirs = memory_stream_pair()
    stream = Failing(ours)
    connection, peer = await server_and_peer((stream, theirs))
    stream.step = 1000
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
