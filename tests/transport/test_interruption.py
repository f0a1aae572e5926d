"""KeyboardInterrupt at every line that a task of the user runs in a connection."""

from __future__ import annotations

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
    """Sends this process SIGINT at the first line of ``wscore.trio`` not struck so far."""

    def __init__(self, struck: set[tuple[str, int]]) -> None:
        self.where: tuple[str, int] | None = None
        self._struck = struck

    def _enter(self, frame, event, arg):
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, frame, event, arg):
        where = (frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and self.where is None and where not in self._struck:
            self._struck.add(where)
            self.where = where
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
    struck: set[tuple[str, int]] = set()
    while True:
        interruption = Interruption(struck)
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
    assert len(struck) > 100
