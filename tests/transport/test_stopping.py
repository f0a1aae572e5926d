"""Stopping a server: by cancelling it, and by aclose() with a grace."""

from __future__ import annotations

import logging
from math import inf

import pytest
import trio
from transport.peer import (
    CLOSE,
    HANDSHAKE,
    PING,
    TEXT,
    MemoryListener,
    Peer,
    close_payload,
    read_response,
)
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from wscore.trio import ConnectionClosed, HTTPResponse, WebSocketServer


@pytest.fixture(autouse=True)
def _log_everything(caplog):
    caplog.set_level(logging.INFO)


async def start(nursery, handler, **options):
    listener = MemoryListener()
    server = await nursery.start(WebSocketServer(handler, [listener], **options).run)
    return server, listener


async def finish(peer):
    """Answer the server's Close, and return its code."""
    code, _ = (await peer.receive()).close
    await peer.send((CLOSE, close_payload(code)))
    await peer.stream.send_eof()
    assert await peer.receive_rest() == b""
    return code


def errors(caplog):
    return [record for record in caplog.records if record.levelno > logging.INFO]


def refuses(listener):
    with pytest.raises(trio.BrokenResourceError):
        listener.connect()
    return True


async def hold(request):
    connection = await request.accept()
    while True:
        await connection.get_message()


async def hesitate(request):
    await trio.sleep_forever()


# Cancelled


async def test_cancelled_server_says_1001_to_all_at_once(autojump_clock, caplog):
    async with trio.open_nursery() as nursery:
        _, listener = await start(nursery, hold, disconnect_timeout=60, grace=7)
        peers = [await listener.open() for _ in range(20)]
        await wait_all_tasks_blocked()
        begin = trio.current_time()
        nursery.cancel_scope.cancel()
        # None of them answers.
    assert trio.current_time() - begin == pytest.approx(7)
    for peer in peers:
        assert (await peer.receive()).close == (1001, "")
        assert await peer.receive_rest() == b""
    assert refuses(listener)
    assert errors(caplog) == []


async def test_cancelled_server_waits_for_no_longer_than_needed(autojump_clock):
    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            _, listener = await start(nursery, hold)
            peers = [await listener.open() for _ in range(5)]
            for peer in peers:
                outer.start_soon(finish, peer)
            await wait_all_tasks_blocked()
            begin = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() == begin


async def test_cancelled_server_refuses_new_clients_at_once(autojump_clock):
    async with trio.open_nursery() as nursery:
        _, listener = await start(nursery, hold)
        await listener.open()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.sleep(0.1)  # the client has not answered yet
            assert refuses(listener)


async def test_cancelled_server_closes_every_listener(nursery, autojump_clock):
    listeners = [MemoryListener() for _ in range(3)]
    async with trio.open_nursery() as serving:
        await serving.start(WebSocketServer(hold, listeners).run)
        serving.cancel_scope.cancel()
    assert all(refuses(listener) for listener in listeners)


async def test_cancelled_server_drops_handshakes_under_way(autojump_clock):
    async with trio.open_nursery() as nursery:
        _, listener = await start(nursery, hesitate)
        half, whole = listener.connect(), listener.connect()
        await half.stream.send_all(HANDSHAKE[:30])
        await whole.stream.send_all(HANDSHAKE)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await half.receive_rest() == b""
    assert (await whole.receive_rest()).startswith(b"HTTP/1.1 503 ")


async def test_cancelled_handler_that_also_fails_is_logged_and_the_server_ends(
    autojump_clock, caplog
):
    async def handler(request):
        connection = await request.accept()
        async with trio.open_nursery() as inner:
            inner.start_soon(connection.get_message)

            @inner.start_soon
            async def fail():
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("oops")

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            _, listener = await start(nursery, handler)
            peer = await listener.open()
            await wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert (await peer.receive()).close[0] == 1011
    (record,) = errors(caplog)
    assert isinstance(record.exc_info[1].exceptions[0], ValueError)


async def test_handlers_run_in_the_given_nursery(nursery, autojump_clock):
    async with trio.open_nursery() as handlers:
        async with trio.open_nursery() as server:
            _, listener = await start(server, hold, handler_nursery=handlers)
            peer = await listener.open()
            server.cancel_scope.cancel()
        await peer.send((PING, b"still served"))
        assert (await peer.receive()).payload == b"still served"
        handlers.cancel_scope.cancel()


# Closed with aclose()


async def test_aclose_says_1001_to_all_at_once_and_waits_for_them(nursery, autojump_clock, caplog):
    ended = []

    async def handler(request):
        connection = await request.accept()
        with pytest.raises(ConnectionClosed) as info:
            await connection.get_message()
        assert info.value.reason.code == 1001
        await trio.sleep(3)  # it may finish what it does
        ended.append(request)

    server, listener = await start(nursery, handler)
    peers = [await listener.open() for _ in range(20)]
    await wait_all_tasks_blocked()
    begin = trio.current_time()
    async with trio.open_nursery() as clients:
        for peer in peers:
            clients.start_soon(finish, peer)
        await server.aclose(grace=10)
        assert trio.current_time() - begin == pytest.approx(3)
    assert len(ended) == 20
    assert refuses(listener)
    assert caplog.records == []
    assert (server.counters.open, server.counters.closed) == (0, {1001: 20})


async def test_run_returns_after_aclose(nursery, autojump_clock):
    server = WebSocketServer(hold, [MemoryListener()])
    async with trio.open_nursery() as running:
        await running.start(server.run)
        await server.aclose()
    with pytest.raises(RuntimeError, match="runs once"):
        await server.run()


async def test_aclose_refuses_before_anything_else(nursery, autojump_clock):
    server, listener = await start(nursery, hold)
    await listener.open()
    nursery.start_soon(server.aclose)
    await wait_all_tasks_blocked()  # the client has not answered yet
    assert server.counters.open == 1
    assert refuses(listener)


async def test_end_of_the_grace_cuts_clients_and_cancels_handlers(nursery, autojump_clock, caplog):
    cancelled = []

    async def handler(request):
        await request.accept()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append(trio.current_time())
            raise

    server, listener = await start(nursery, handler, disconnect_timeout=60)
    peers = [await listener.open() for _ in range(5)]
    await wait_all_tasks_blocked()
    begin = trio.current_time()
    await server.aclose(grace=4)
    assert trio.current_time() - begin == pytest.approx(4)
    assert cancelled == [pytest.approx(begin + 4)] * 5
    for peer in peers:
        assert (await peer.receive()).close == (1001, "")
        assert await peer.receive_rest() == b""
    assert errors(caplog) == []


async def test_client_that_never_reads_does_not_hold_the_stop_up(nursery, autojump_clock):
    blocked = trio.Event()

    async def handler(request):
        connection = await request.accept()
        blocked.set()
        while True:
            await connection.send_message("x" * 100_000)

    server, listener = await start(nursery, handler, disconnect_timeout=60, send_timeout=600)
    ours, theirs = lockstep_stream_pair()
    peer = listener.connect((ours, theirs))
    await peer.stream.send_all(HANDSHAKE)
    await peer.receive_head()
    await blocked.wait()
    begin = trio.current_time()
    await server.aclose(grace=4)
    assert trio.current_time() - begin <= 4.001


async def test_grace_of_the_server_is_the_default(nursery, autojump_clock):
    server, listener = await start(nursery, hold, disconnect_timeout=60, grace=3)
    await listener.open()
    begin = trio.current_time()
    await server.aclose()
    assert trio.current_time() - begin == pytest.approx(3)


@pytest.mark.parametrize(
    ("graces", "seconds"), [([10, 100], 10), ([10, 3], 4), ([4, 100, 0.5], 2.5)]
)
async def test_second_aclose_shortens_the_grace_and_never_prolongs_it(
    nursery, autojump_clock, graces, seconds
):
    server, listener = await start(nursery, hold, disconnect_timeout=60)
    await listener.open()
    begin = trio.current_time()
    async with trio.open_nursery() as stoppers:
        for number, grace in enumerate(graces):
            await trio.sleep(min(number, 1))
            stoppers.start_soon(server.aclose, grace)
    assert trio.current_time() - begin == pytest.approx(seconds)


async def test_no_grace_at_all(nursery, autojump_clock):
    server, listener = await start(nursery, hold, disconnect_timeout=60)
    peers = [await listener.open() for _ in range(3)]
    begin = trio.current_time()
    await server.aclose(0)
    assert trio.current_time() == begin
    for peer in peers:
        await peer.receive_rest()
    assert server.counters.open == 0
    assert refuses(listener)


async def test_cancelled_aclose_cuts_at_once(nursery, autojump_clock):
    server, listener = await start(nursery, hold, disconnect_timeout=60)
    peer = await listener.open()
    begin = trio.current_time()
    with trio.move_on_after(2):
        await server.aclose(inf)
    await wait_all_tasks_blocked()
    assert (await peer.receive()).close[0] == 1001
    assert await peer.receive_rest() == b""
    assert trio.current_time() - begin == pytest.approx(2)
    assert server.counters.open == 0


async def test_aclose_answers_requests_that_wait_for_it(nursery, autojump_clock, caplog):
    hesitating, asked = trio.Event(), []

    async def handler(request):
        await hesitating.wait()
        for answer in (request.accept, lambda: request.reject(403)):
            with pytest.raises(ConnectionClosed) as info:
                await answer()
            assert info.value.reason.code == 1001
        asked.append(request)
        await request.accept()  # passes through: the normal end of a connection

    server, listener = await start(nursery, handler)
    peer = listener.connect()
    await peer.stream.send_all(HANDSHAKE)
    await wait_all_tasks_blocked()
    async with trio.open_nursery() as stoppers:
        stoppers.start_soon(server.aclose)
        # At once, though the handler is still busy.
        assert (await read_response(peer)).status == 503
        hesitating.set()
    assert len(asked) == 1
    assert errors(caplog) == []
    assert server.counters.refused == {503: 1}
    assert server.counters.accepted == 0


async def test_aclose_while_a_response_is_on_its_way(nursery, autojump_clock):
    """The client reads its 101 only after the server was closed."""
    server, listener = await start(nursery, hold)
    ours, theirs = lockstep_stream_pair()
    peer = listener.connect((ours, theirs))
    await peer.stream.send_all(HANDSHAKE)
    await wait_all_tasks_blocked()
    nursery.start_soon(server.aclose)
    await wait_all_tasks_blocked()
    begin = trio.current_time()
    assert (await peer.receive_head()).startswith(b"HTTP/1.1 101 ")
    assert (await peer.receive()).close[0] == 1001
    assert trio.current_time() == begin


async def test_aclose_during_handshakes(nursery, autojump_clock, caplog):
    """Half a request is cut, a whole one that the hook has to decide on gets 503."""

    async def hook(request):
        await trio.sleep_forever()

    server, listener = await start(nursery, hold, process_request=hook)
    silent, half, whole = (listener.connect() for _ in range(3))
    await half.stream.send_all(HANDSHAKE[:30])
    await whole.stream.send_all(HANDSHAKE)
    await wait_all_tasks_blocked()
    begin = trio.current_time()
    async with trio.open_nursery() as stoppers:
        stoppers.start_soon(server.aclose)
        assert await silent.receive_rest() == b""
        assert await half.receive_rest() == b""
        assert (await read_response(whole)).status == 503
    assert trio.current_time() == begin
    assert caplog.records == []
    assert server.counters.handshake_timeouts == 0


async def test_client_accepted_at_the_last_moment_is_cut(nursery, autojump_clock):
    server, listener = await start(nursery, hold)
    ours, theirs = memory_stream_pair()
    await theirs.send_all(HANDSHAKE)
    peer = listener.connect((ours, theirs))
    await server.aclose()
    assert await peer.receive_rest() == b""
    assert server.counters.accepted == 0


async def test_response_under_way_may_end_within_the_grace(nursery, autojump_clock):
    async def page(request):
        async def body():
            for _ in range(5):
                await trio.sleep(1)
                yield b"piece "

        return HTTPResponse(200, [], body())

    server, listener = await start(nursery, hold, process_request=page)
    peer = listener.connect()
    await peer.stream.send_all(HANDSHAKE)
    await trio.sleep(2.5)
    async with trio.open_nursery() as stoppers:
        stoppers.start_soon(server.aclose)
        response = await read_response(peer)
    assert response.body.count(b"piece ") == 5


async def test_aclose_with_a_handler_nursery_leaves_handlers_alone(nursery, autojump_clock):
    seen = []

    async def handler(request):
        connection = await request.accept()
        with pytest.raises(ConnectionClosed) as info:
            await connection.get_message()
        seen.append(info.value.reason.code)
        await trio.sleep(100)
        seen.append("finished")

    async with trio.open_nursery() as handlers:
        server, listener = await start(nursery, handler, handler_nursery=handlers)
        peer = await listener.open()
        await wait_all_tasks_blocked()
        begin = trio.current_time()
        await server.aclose(grace=4)
        assert trio.current_time() - begin == pytest.approx(4)
        assert seen == [1001]
        assert (await peer.receive()).close[0] == 1001
        assert await peer.receive_rest() == b""
    assert seen == [1001, "finished"]


async def test_aclose_waits_for_handlers_in_their_own_nursery_too(nursery, autojump_clock):
    async def handler(request):
        connection = await request.accept()
        with pytest.raises(ConnectionClosed):
            await connection.get_message()
        await trio.sleep(2)

    async with trio.open_nursery() as handlers:
        server, listener = await start(nursery, handler, handler_nursery=handlers)
        peer = await listener.open()
        nursery.start_soon(finish, peer)
        begin = trio.current_time()
        await server.aclose()
        assert trio.current_time() - begin == pytest.approx(2)


async def test_a_closed_handler_nursery_ends_the_server(caplog):
    """Nobody could serve: it returns, and refuses whoever comes."""
    async with trio.open_nursery() as handlers:
        pass
    listener = MemoryListener()
    server = WebSocketServer(hold, [listener], handler_nursery=handlers)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        peers = [listener.connect() for _ in range(2)]
    for peer in peers:
        with pytest.raises(trio.BrokenResourceError):
            await peer.stream.send_all(HANDSHAKE)
    assert refuses(listener)
    assert [record.getMessage() for record in errors(caplog)] == [
        "the nursery of the handlers is closed: the server stops"
    ]


async def test_handler_may_close_its_own_server(nursery, autojump_clock, caplog):
    async def handler(request):
        connection = await request.accept()
        await connection.get_message()
        await server.aclose(grace=2)

    server, listener = await start(nursery, handler)
    peer = await listener.open()
    await peer.send((TEXT, b"stop"))
    assert await finish(peer) == 1001
    await server.aclose()
    assert errors(caplog) == []


async def test_aclose_before_run_closes_the_listeners():
    listener = MemoryListener()
    server = WebSocketServer(hold, [listener])
    await server.aclose()
    assert refuses(listener)
    with pytest.raises(RuntimeError, match="runs once"):
        await server.run()


async def test_aclose_of_a_server_that_has_ended(nursery, autojump_clock):
    async with trio.open_nursery() as running:
        server, _ = await start(running, hold)
        running.cancel_scope.cancel()
    begin = trio.current_time()
    await server.aclose()
    assert trio.current_time() == begin


async def test_stream_that_fails_in_its_own_way_does_not_disturb_the_stop(
    nursery, autojump_clock, caplog
):
    ours, theirs = memory_stream_pair()
    failing = False
    sent = ours.send_all

    async def send_all(data):
        if failing:
            raise RuntimeError("its own way")
        await sent(data)

    ours.send_all = send_all
    server, listener = await start(nursery, hold)
    victim = listener.connect((ours, theirs))
    await victim.stream.send_all(HANDSHAKE)
    await victim.receive_head()
    other: Peer = await listener.open()
    failing = True
    async with trio.open_nursery() as clients:
        clients.start_soon(finish, other)
        await server.aclose()
    assert server.counters.open == 0


async def test_request_that_is_let_through_while_everybody_is_told(nursery, autojump_clock):
    """Its handshake cannot be cancelled any more, and it is not among the requests yet."""
    let_through, handled = trio.Event(), []

    class LateListener(MemoryListener):
        async def aclose(self):
            let_through.set()
            await super().aclose()

    async def hook(asked):
        await let_through.wait()

    async def handler(request):
        handled.append(request)
        connection = await request.accept()
        await connection.get_message()

    listener = LateListener()
    server = await nursery.start(
        WebSocketServer(handler, [listener], process_request=hook, grace=100).run
    )
    peer = listener.connect()
    await peer.stream.send_all(HANDSHAKE)
    await wait_all_tasks_blocked()
    begin = trio.current_time()
    async with trio.open_nursery() as closing:
        closing.start_soon(server.aclose)
        assert (await read_response(peer)).status == 503
    assert trio.current_time() - begin < 2
    assert handled == []
