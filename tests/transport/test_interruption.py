"""KeyboardInterrupt at every line that a task of the user runs in a connection."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from contextlib import contextmanager

import pytest
import trio
from transport.peer import TEXT, socket_pair, with_options
from trio.testing import memory_stream_pair

import wscore.trio
from wscore.trio import ConnectionClosed, broadcast
from wscore.trio._options import Options

PACKAGE = os.path.dirname(wscore.trio.__file__)


class Interruption:
    """Sends this process SIGINT at the n-th line that is run in ``wscore.trio``."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.where: str | None = None
        self._lines = 0

    def _enter(self, frame, event, arg):
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, frame, event, arg):
        if event == "line":
            self._lines += 1
            if self._lines == self.number:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                signal.raise_signal(signal.SIGINT)
        return self._line

    @contextmanager
    def armed(self):
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(before)


def leaves(error):
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves(part)]
    return [error]


async def converse(pair, seen):
    """Everything that a connection's methods do, with a task that waits and one that does not."""
    connection, peer = await with_options(Options(), pair=pair)
    seen.append(connection)

    async def echo():
        async for message in connection:
            await connection.send_message(message)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            await peer.send((TEXT, b"one"), (TEXT, b"two"))
            assert [(await peer.receive()).payload for _ in range(2)] == [b"one", b"two"]
            broadcast([connection], "to all")
            assert (await peer.receive()).payload == b"to all"
            await connection.pong()
            with trio.move_on_after(0):
                await connection.ping()
            with trio.move_on_after(0):
                await connection.aclose()
    finally:
        await peer.stream.aclose()  # not in a cancelled scope: there trio may lose the interrupt


@pytest.mark.parametrize("new_pair", [memory_stream_pair, socket_pair])
def test_interrupt_at_every_line(new_pair, caplog):
    """It ends the run, as it should, and leaves nothing half done over which trio would stumble."""
    for number in itertools.count(1):
        interruption = Interruption(number)
        pair, seen = new_pair(), []
        error = None
        try:
            with interruption.armed():
                trio.run(converse, pair, seen)
        except BaseException as caught:
            error = caught
        if interruption.where is None:
            assert error is None
            break
        wrong = [
            e for e in leaves(error) if not isinstance(e, KeyboardInterrupt | ConnectionClosed)
        ]
        assert wrong == [], interruption.where
        assert all(connection.closed is not None for connection in seen), interruption.where
        for stream in pair:
            if isinstance(stream, trio.SocketStream):
                stream.socket.close()
        assert caplog.records == []
    assert number > 100
