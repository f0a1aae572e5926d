"""The server's counters: what they count, and that they always agree with each other."""

from __future__ import annotations

import pytest
import trio
from transport.peer import (
    CLOSE,
    HANDSHAKE,
    TEXT,
    UPGRADE,
    MemoryListener,
    close_payload,
    frame,
    read_response,
)
from trio.testing import wait_all_tasks_blocked

from wscore.trio import HTTPResponse, ServerCounters, WebSocketServer

NAMES = [
    "accept_pauses",
    "accepted",
    "closed",
    "cut",
    "handler_errors",
    "handshake_timeouts",
    "handshakes_lost",
    "open",
    "refused",
]


def numbers(counters: ServerCounters) -> dict[str, object]:
    return {name: getattr(counters, name) for name in NAMES}


def changed(counters: ServerCounters) -> dict[str, object]:
    """What is not zero, after a look at whether the numbers agree."""
    assert counters.accepted == counters.open + counters.ended
    assert counters.ended == sum(counters.closed.values())
    assert sum(counters.cut.values()) <= counters.ended
    return {name: number for name, number in numbers(counters).items() if number}


async def handler(request):
    if request.path == "/fail":
        raise ValueError("oops")
    if request.path == "/reject":
        await request.reject(418)
        return
    if request.path == "/nothing":
        return
    connection = await request.accept()
    while True:
        if await connection.get_message() == "fail":
            raise ValueError("oops")


async def hook(request):
    if request.path == "/page":
        return HTTPResponse(200)
    if request.path == "/hook":
        raise ValueError("oops")
    if request.path == "/slow":
        await trio.sleep_forever()
    return None


@pytest.fixture
async def listener(nursery):
    return MemoryListener()


@pytest.fixture
async def server(nursery, listener):
    server = WebSocketServer(
        handler,
        [listener],
        process_request=hook,
        origins=["https://example.com", None],
        max_message_size=1000,
    )
    await nursery.start(server.run)
    return server


async def ask(listener, path):
    peer = listener.connect()
    await peer.stream.send_all(HANDSHAKE.replace(b"/chat?room=1", path))
    return (await read_response(peer)).status


async def test_nothing_yet(server):
    assert changed(server.counters) == {}
    assert repr(server.counters) == "<ServerCounters: 0 open, 0 accepted>"


async def test_a_connection_from_its_beginning_to_its_end(server, listener, autojump_clock):
    peers = [await listener.open() for _ in range(3)]
    assert changed(server.counters) == {"open": 3, "accepted": 3}
    for peer, code in zip(peers, (1000, 4000, 4000), strict=True):
        await peer.send((CLOSE, close_payload(code)))
    await trio.sleep(10)
    assert changed(server.counters) == {"accepted": 3, "closed": {1000: 1, 4000: 2}}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"x", mask=False), 1002),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, bytes(2000)), 1009),
        (b"", 1006),
    ],
)
async def test_a_fault_of_the_peer_is_counted_by_code(server, listener, autojump_clock, data, code):
    peer = await listener.open()
    await peer.stream.send_all(data)
    await peer.stream.send_eof()
    await trio.sleep(10)
    assert changed(server.counters) == {"accepted": 1, "closed": {code: 1}}


@pytest.mark.parametrize(
    ("path", "status", "handler_errors"),
    [
        (b"/reject", 418, 0),
        (b"/page", 200, 0),
        (b"/fail", 500, 1),
        (b"/nothing", 500, 1),
        (b"/hook", 500, 1),
    ],
)
async def test_answers_are_counted_by_status(server, listener, path, status, handler_errors):
    for count in (1, 2):
        assert await ask(listener, path) == status
        await wait_all_tasks_blocked()
        expected = {"refused": {status: count}, "handler_errors": count * handler_errors}
        assert numbers(server.counters) | expected == numbers(server.counters)
        assert server.counters.accepted == 0


async def test_refused_handshakes_are_counted_by_status(server, listener):
    for data in (
        UPGRADE + b"Origin: https://evil.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0",
    ):
        peer = listener.connect()
        await peer.stream.send_all(data)
        await read_response(peer)
    assert changed(server.counters) == {"refused": {403: 1, 426: 1, 400: 1}}


async def test_handler_error_of_an_open_connection(server, listener, autojump_clock):
    peer = await listener.open()
    await peer.send((TEXT, b"fail"))
    await trio.sleep(10)
    counters = changed(server.counters)
    assert counters.pop("cut", None) in (None, {"close timeout": 1})  # the client did not answer
    assert counters == {"accepted": 1, "closed": {1011: 1}, "handler_errors": 1}


async def test_timeouts_of_the_handshake(server, listener, autojump_clock):
    listener.connect()
    half = listener.connect()
    await half.stream.send_all(b"GET /")
    await trio.sleep(11)
    assert changed(server.counters) == {"handshake_timeouts": 2}
    assert await ask(listener, b"/slow") == 503
    assert changed(server.counters) == {"handshake_timeouts": 2, "refused": {503: 1}}


async def test_lost_handshakes(server, listener, autojump_clock):
    for data in (b"", b"GET / HTTP/1.1\r\n"):
        peer = listener.connect()
        await peer.stream.send_all(data)
        await peer.stream.aclose()
    await wait_all_tasks_blocked()
    assert changed(server.counters) == {"handshakes_lost": 2}


async def test_stop_counts_too(server, listener, autojump_clock):
    for _ in range(3):
        await listener.open()
    await server.aclose()
    counters = changed(server.counters)
    assert counters.pop("cut", None) in (None, {"close timeout": 3})
    assert counters == {"accepted": 3, "closed": {1001: 3}}


async def test_servers_count_apart(nursery):
    listeners = [MemoryListener(), MemoryListener()]
    servers = [WebSocketServer(handler, [listener]) for listener in listeners]
    for server in servers:
        await nursery.start(server.run)
    await listeners[0].open()
    assert [server.counters.open for server in servers] == [1, 0]
