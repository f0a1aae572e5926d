"""A server with clients and handlers that do anything, stopped at any time: what always holds.

Each number is a course of its own, but for the order in which trio runs tasks. For more of them:
``ANY_CLIENTS=1000 pytest`` this file.
"""

from __future__ import annotations

import logging
import os
import random

import pytest
import trio
from transport.peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    MemoryListener,
    close_payload,
    frame,
    socket_pair,
)
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from wscore.trio import HTTPResponse, WebSocketServer

COURSES = int(os.environ.get("ANY_CLIENTS", "10"))
GRACE, SEND_TIMEOUT = 7, 9
FRAMES = [
    (TEXT, b"hi"),
    (BINARY, b"x" * 70_000),
    (PING, b"p"),
    (PONG, b"q"),
    (CLOSE, close_payload(1000)),
    (CONTINUATION, b"stray"),
    (TEXT, b"\xff"),
    (0x3, b"reserved"),
]
NOT_A_HANDSHAKE = [
    b"",
    b"GET",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03",
]


class Course:
    """What the clients and the handlers of one server do, as chance has it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.listener = MemoryListener()
        self.streams: list[trio.abc.Stream] = []

    async def sleep(self, most: float) -> None:
        await trio.sleep(self.chance.random() * most)

    # The server's side

    async def hook(self, asked):
        kind = self.chance.randrange(6)
        if kind == 0:
            return HTTPResponse(200, [], b"p" * self.chance.choice([1, 300_000]))
        if kind == 1:
            return HTTPResponse(200, [], self.body())
        if kind == 2:
            await self.sleep(15)
        return None

    async def body(self):
        for _ in range(5):
            await self.sleep(5)
            yield b"c" * self.chance.choice([0, 10, 200_000])

    async def handler(self, request):
        kind = self.chance.randrange(7)
        if kind == 0:
            await request.reject(403, body=b"x" * self.chance.choice([0, 100_000]))
            return
        if kind == 1:
            await self.sleep(20)
        connection = await request.accept(compression=self.chance.random() < 0.5)
        if kind == 2:
            await self.sleep(100)
        elif kind == 3:
            while True:
                await connection.send_message("y" * self.chance.choice([10, 100_000]))
                await self.sleep(1)
        elif kind == 4:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.get_message)
                nursery.start_soon(connection.ping)
                await self.sleep(30)
                nursery.cancel_scope.cancel()
        elif kind == 5:
            with trio.move_on_after(self.chance.random() * 3):
                await connection.send_message(bytes(2_000_000))
            await connection.aclose(4000)
        else:
            async for message in connection:
                await connection.send_message(message)

    # The clients' side

    async def client(self):
        await self.sleep(40)
        new_pair = self.chance.choice([memory_stream_pair, lockstep_stream_pair, socket_pair])
        pair = new_pair()
        self.streams.extend(pair)
        try:
            peer = self.listener.connect(pair)
        except trio.BrokenResourceError:  # nobody listens any more
            for stream in pair:
                await trio.aclose_forcefully(stream)
            return
        try:
            async with trio.open_nursery() as nursery:
                if self.chance.random() < 0.7:
                    nursery.start_soon(self.read, peer.stream)
                await self.write(peer.stream)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            pass
        await trio.aclose_forcefully(peer.stream)

    async def read(self, stream):
        while await stream.receive_some(self.chance.choice([10, 70_000])):
            if self.chance.random() < 0.1:
                await self.sleep(10)

    async def write(self, stream):
        data = HANDSHAKE
        if self.chance.random() < 0.15:
            data = self.chance.choice(NOT_A_HANDSHAKE)
        for _ in range(self.chance.randrange(12)):
            data += frame(*self.chance.choice(FRAMES))
            if self.chance.random() < 0.4:
                await stream.send_all(data)
                await trio.sleep(self.chance.choice([0, 0, 1, 25]))
                data = b""
        if self.chance.random() < 0.3:
            data = data[: self.chance.randrange(len(data) + 1)]
        await stream.send_all(data)
        if self.chance.random() < 0.5:
            await stream.send_eof()
        await self.sleep(self.chance.choice([0, 50]))

    # Both

    async def run(self):
        server = WebSocketServer(
            self.handler,
            [self.listener],
            process_request=self.hook,
            grace=GRACE,
            send_timeout=SEND_TIMEOUT,
        )
        async with trio.open_nursery() as clients:
            async with trio.open_nursery() as nursery:
                await nursery.start(server.run)
                for _ in range(25):
                    clients.start_soon(self.client)
                await self.sleep(60)
                stopped = trio.current_time()
                if self.chance.random() < 0.5:
                    await server.aclose()
                nursery.cancel_scope.cancel()
            assert trio.current_time() - stopped <= GRACE + 5
            counters = server.counters
            assert counters.open == 0
            assert counters.accepted == counters.ended == sum(counters.closed.values())
        await trio.sleep(5)  # longer than any connection lingers


@pytest.mark.parametrize("seed", range(COURSES))
def test_whatever_happens(seed, caplog):
    caplog.set_level(logging.INFO)
    course = Course(seed)
    trio.run(course.run, clock=MockClock(autojump_threshold=0))
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
    for stream in course.streams:
        if isinstance(stream, trio.SocketStream):
            assert stream.socket.fileno() == -1
