"""What a connection may have unsent, over real sockets whose client does not read."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from wscore.chat.outbox import Outbox, push
from wscore.trio import (
    ConnectionClosed,
    WebSocketConnection,
    wrap_client_stream,
    wrap_server_stream,
)

BUFFER = 4096


def small_sockets() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two ends of a connection that holds next to nothing on its way."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        near = socket.socket()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    near.setblocking(False)
    far.setblocking(False)
    return (
        trio.SocketStream(trio.socket.from_stdlib_socket(near)),
        trio.SocketStream(trio.socket.from_stdlib_socket(far)),
    )


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Outbox, WebSocketConnection]]:
    """An outbox, and the client that it sends to; what the client does not take stays unsent."""
    near, far = small_sockets()
    async with trio.open_nursery() as nursery:
        outboxes: list[Outbox] = []

        async def accept() -> None:
            request = await wrap_server_stream(nursery, far)
            outboxes.append(Outbox(await request.accept()))

        nursery.start_soon(accept)
        client = await wrap_client_stream(
            nursery, near, "chat.example", "/ws", message_queue_size=1
        )
        await wait_all_tasks_blocked()
        yield outboxes[0], client
        outboxes[0].close(1000, "the test is over")
        await client.aclose()
        nursery.cancel_scope.cancel()


async def stuff(outbox: Outbox) -> None:
    """Fill everything on the way, so that all that follows is unsent."""
    while not outbox.connection.bytes_unsent:
        outbox.put_replayed(["x" * 20_000])
        await wait_all_tasks_blocked(0.01)


async def read(client: WebSocketConnection) -> tuple[list[str], int]:
    """Everything that arrives, without what `stuff` sent, and the code at the end."""
    found = []
    try:
        while True:
            message = await client.get_message()
            assert isinstance(message, str)
            if len(message) != 20_000:
                found.append(message)
    except ConnectionClosed as error:
        return found, error.reason.code


async def test_in_order() -> None:
    async with pair() as (outbox, client):
        outbox.put("1")
        outbox.put_replayed(["2", "3"])
        push([outbox.connection], ["4", "5"])
        assert [await client.get_message() for _ in range(5)] == ["1", "2", "3", "4", "5"]


async def test_bounded_in_bytes() -> None:
    async with pair() as (outbox, client):
        await stuff(outbox)
        sent = 0
        while not outbox.is_closed:
            outbox.put("y" * 10_000)
            sent += 10_000
        assert 900_000 <= sent <= 1024 * 1024 + 10_000
        assert outbox.connection.bytes_unsent < 100_000
        assert (await read(client))[1] == 4000


async def test_bounded_in_messages() -> None:
    async with pair() as (outbox, client):
        await stuff(outbox)
        for _ in range(512):
            outbox.put("reply")
            push([outbox.connection], ["push"])
        assert not outbox.is_closed
        outbox.put("one more")
        assert outbox.is_closed
        assert (await read(client))[1] == 4000


async def test_the_slow_one_is_closed_and_the_other_gets_everything() -> None:
    async with pair() as (slow, _), pair() as (fast, client):
        await stuff(slow)
        for number in range(2000):
            push([slow.connection, fast.connection], [str(number)])
            assert await client.get_message() == str(number)
        assert slow.is_closed
        assert not fast.is_closed


async def test_what_was_taken_makes_room() -> None:
    async with pair() as (outbox, client):
        await stuff(outbox)
        for number in range(3000):
            outbox.put(str(number))
            outbox.put("y" * 2000)
            while number >= 100 and await client.get_message() != str(number - 100):
                pass
        assert not outbox.is_closed


@pytest.mark.parametrize("live", [1024, 1025])
async def test_a_replay_does_not_count_as_messages(live: int) -> None:
    async with pair() as (outbox, client):
        await stuff(outbox)
        outbox.put_replayed(["replayed"] * 256)
        for _ in range(live):
            outbox.put("live")
        assert outbox.is_closed is (live > 1024)
        outbox.close(1000, "")
        found, code = await read(client)
        if live > 1024:
            assert code == 4000
        else:
            assert found == ["replayed"] * 256 + ["live"] * live


async def test_low_waits_for_the_client() -> None:
    async with pair() as (outbox, client):
        await stuff(outbox)
        outbox.put("y" * 100_000)
        assert not outbox.is_low
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.low)
            await wait_all_tasks_blocked(0.01)
            assert len(nursery.child_tasks) == 1
            while len(str(await client.get_message())) != 100_000:
                pass


async def test_low_counts_messages_too() -> None:
    async with pair() as (outbox, client):
        await stuff(outbox)
        for _ in range(1000):
            outbox.put('{"type":"ok","id":"x"}')
        assert not outbox.is_low
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.low)
            await wait_all_tasks_blocked(0.01)
            assert len(nursery.child_tasks) == 1
            for _ in range(1000):
                await client.get_message()


async def test_a_closed_one_says_so_and_takes_nothing() -> None:
    async with pair() as (outbox, client):
        outbox.require_open()
        outbox.put("1")
        outbox.close(1012, "over")
        outbox.close(4000, "the first one counts")
        with pytest.raises(ConnectionClosed):
            outbox.require_open()
        outbox.put("2")
        push([outbox.connection], ["3"])
        outbox.put_replayed(["4"])
        assert await read(client) == (["1"], 1012)
