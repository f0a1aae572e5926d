"""The accept loop: what ends it, what pauses it, and that one listener does not feel another."""

from __future__ import annotations

import errno
import logging

import pytest
import trio
from transport.peer import CLOSE, PING, MemoryListener, close_payload

from wscore.trio import WebSocketServer

SHORTAGES = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM]


class Failing(MemoryListener):
    """A listener that fails for as long as `error` is set."""

    def __init__(self, error):
        super().__init__()
        self.error = error
        self.attempts = 0

    async def accept(self):
        self.attempts += 1
        if self.error is not None:
            await trio.lowlevel.checkpoint()
            raise self.error
        return await super().accept()


def shortage(number=errno.EMFILE):
    return OSError(number, "as the system calls it")


async def hold(request):
    connection = await request.accept()
    while True:
        await connection.get_message()


async def check_alive(listener):
    peer = await listener.open()
    await peer.send((PING, b"alive?"))
    assert (await peer.receive()).payload == b"alive?"
    await peer.send((CLOSE, close_payload(1000)))
    return peer


@pytest.mark.parametrize("number", SHORTAGES)
async def test_shortage_pauses_and_passes(nursery, autojump_clock, caplog, number):
    listener = Failing(shortage(number))
    server = WebSocketServer(hold, [listener])
    await nursery.start(server.run)
    await trio.sleep(1)
    # It neither gives up nor keeps a processor busy.
    assert 5 <= listener.attempts <= 20
    assert server.counters.accept_pauses == listener.attempts
    listener.error = None
    await check_alive(listener)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert "\n" not in record.getMessage()


async def test_shortage_is_one_line_a_minute(nursery, autojump_clock, caplog):
    listeners = [Failing(shortage()), Failing(shortage())]
    await nursery.start(WebSocketServer(hold, listeners).run)
    await trio.sleep(59)
    assert len(caplog.records) == 1
    await trio.sleep(60)
    assert len(caplog.records) == 2
    await trio.sleep(600)
    assert len(caplog.records) == 12
    # Also when it comes and goes.
    caplog.clear()
    for _ in range(100):
        for listener in listeners:
            listener.error = shortage() if listener.error is None else None
            listener.connect()
        await trio.sleep(0.5)
    assert len(caplog.records) <= 2


async def test_shortage_of_one_listener_is_not_the_others(nursery, autojump_clock):
    starving, sibling, other = Failing(shortage()), MemoryListener(), MemoryListener()
    await nursery.start(WebSocketServer(hold, [starving, sibling]).run)
    await nursery.start(WebSocketServer(hold, [other]).run)
    await trio.sleep(1)
    for listener in (sibling, other):
        await check_alive(listener)


async def test_connections_go_on_during_a_shortage(nursery, autojump_clock):
    listener = Failing(None)
    await nursery.start(WebSocketServer(hold, [listener]).run)
    peer = await listener.open()
    listener.error = shortage()
    listener.connect()
    await trio.sleep(1)
    await peer.send((PING, b"still"))
    assert (await peer.receive()).payload == b"still"


async def test_broken_listener_ends_its_server_with_the_error(autojump_clock):
    broken, other = Failing(OSError(errno.EBADF, "gone")), MemoryListener()
    survivor = MemoryListener()
    async with trio.open_nursery() as nursery:
        await nursery.start(WebSocketServer(hold, [survivor]).run)
        with pytest.raises(ExceptionGroup) as info:
            await WebSocketServer(hold, [other, broken]).run()
        assert info.group_contains(OSError, match="gone")
        with pytest.raises(trio.BrokenResourceError):  # it is closed
            other.connect()
        await check_alive(survivor)
        nursery.cancel_scope.cancel()


async def test_several_servers_in_one_nursery(autojump_clock):
    async with trio.open_nursery() as nursery:
        listeners = [MemoryListener() for _ in range(3)]
        servers = [WebSocketServer(hold, [listener]) for listener in listeners]
        for server in servers:
            assert await nursery.start(server.run) is server
        for listener in listeners:
            await check_alive(listener)
        await servers[0].aclose()
        with pytest.raises(trio.BrokenResourceError):
            listeners[0].connect()
        for listener in listeners[1:]:
            await check_alive(listener)
        assert [server.counters.accepted for server in servers] == [1, 2, 2]
        nursery.cancel_scope.cancel()
