"""The server: accepting, isolation of handlers and peers, stopping."""

from __future__ import annotations

import errno
import logging
import ssl

import pytest
import trio
import trustme
from transport.peer import (
    CLOSE,
    HANDSHAKE,
    PING,
    TEXT,
    UPGRADE,
    MemoryListener,
    close_payload,
    frame,
    read_response,
)
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from wscore.trio import (
    ConnectionClosed,
    Endpoint,
    HandshakeError,
    WebSocketServer,
    serve_websocket,
    wrap_server_stream,
)
from wscore.utilities import LocalProtocolError


@pytest.fixture(autouse=True)
def _log_everything(caplog):
    caplog.set_level(logging.INFO)


async def start(nursery, handler, **options):
    listener = MemoryListener()
    await nursery.start(WebSocketServer(handler, [listener], **options).run)
    return listener


async def finish(peer):
    """Answer the server's Close, and return its code."""
    code, _ = (await peer.receive()).close
    await peer.send((CLOSE, close_payload(code)))
    await peer.stream.send_eof()
    assert await peer.receive_rest() == b""
    return code


async def check_alive(listener):
    """Whatever happened to the others, a new client is served."""
    peer = await listener.open()
    await peer.send((PING, b"alive?"))
    assert (await peer.receive()).payload == b"alive?"
    await peer.send((CLOSE, close_payload(1000)))


def errors(caplog):
    return [record for record in caplog.records if record.levelno > logging.INFO]


async def hold(request):
    connection = await request.accept()
    while True:
        await connection.get_message()


# The handshake


async def test_request_shows_what_the_client_asks_for(nursery):
    ours, theirs = memory_stream_pair()
    await theirs.send_all(UPGRADE + b"Sec-WebSocket-Protocol: a, b\r\nX-Y: z\r\n\r\n")
    request = await wrap_server_stream(nursery, ours)
    assert request.path == "/chat?room=1"
    assert request.proposed_subprotocols == ("a", "b")
    assert (b"x-y", b"z") in request.headers
    assert (b"host", b"example.com") in request.headers


async def test_accept_answers_with_subprotocol_and_headers(nursery):
    async def handler(request):
        connection = await request.accept(subprotocol="b", extra_headers=[(b"X-Y", b"z")])
        assert connection.subprotocol == "b"
        assert connection.path == "/chat?room=1"

    listener = await start(nursery, handler)
    peer = listener.connect()
    await peer.stream.send_all(UPGRADE + b"Sec-WebSocket-Protocol: a, b\r\n\r\n")
    head = await peer.receive_head()
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Protocol: b" in head
    assert b"\r\nX-Y: z" in head
    assert await finish(peer) == 1000


async def test_reject_answers_and_closes(nursery, caplog):
    async def handler(request):
        await request.reject(403, extra_headers=[(b"X-Y", b"z")], body=b"no")

    listener = await start(nursery, handler)
    peer = listener.connect()
    await peer.stream.send_all(HANDSHAKE)
    response = await read_response(peer)
    assert (response.status, response.body, response.headers["x-y"]) == (403, b"no", "z")
    assert response.headers["content-length"] == "2"
    assert caplog.records == []


async def test_reject_closes_the_stream(nursery):
    ours, theirs = memory_stream_pair()
    await theirs.send_all(HANDSHAKE)
    await theirs.send_eof()
    request = await wrap_server_stream(nursery, ours)
    await request.reject(403)
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some()


@pytest.mark.parametrize("first", ["accept", "reject"])
@pytest.mark.parametrize("second", ["accept", "reject"])
async def test_a_request_is_answered_once(nursery, first, second):
    ours, theirs = memory_stream_pair()
    await theirs.send_all(HANDSHAKE)
    await theirs.send_eof()
    request = await wrap_server_stream(nursery, ours)
    await (request.accept() if first == "accept" else request.reject(400))
    with pytest.raises(RuntimeError, match="answered already"):
        await (request.accept() if second == "accept" else request.reject(400))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda request: request.accept(subprotocol="unheard"), LocalProtocolError),
        (lambda request: request.accept(extra_headers=[(b"X", b"a\r\nb: c")]), LocalProtocolError),
        (lambda request: request.reject(101), ValueError),
    ],
)
async def test_a_wrong_answer_leaves_the_request_open(nursery, call, error):
    async def handler(request):
        with pytest.raises(error):
            await call(request)
        await request.reject(418)

    listener = await start(nursery, handler)
    peer = listener.connect()
    await peer.stream.send_all(HANDSHAKE)
    assert (await read_response(peer)).status == 418


@pytest.mark.parametrize(
    ("data", "status"), [(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"426"), (b"\0\r\n\r\n", b"400")]
)
async def test_wrap_server_stream_refuses_by_itself(nursery, data, status):
    ours, theirs = memory_stream_pair()
    await theirs.send_all(data)
    await theirs.send_eof()
    with pytest.raises(HandshakeError):
        await wrap_server_stream(nursery, ours)
    assert (await theirs.receive_some()).startswith(b"HTTP/1.1 " + status)
    assert await theirs.receive_some() == b""


async def test_wrap_server_stream_hears_of_a_client_that_left(nursery):
    ours, theirs = memory_stream_pair()
    await theirs.aclose()
    with pytest.raises(HandshakeError, match="closed before a request"):
        await wrap_server_stream(nursery, ours)


# Isolation


async def test_returning_closes_with_1000(nursery, caplog):
    async def handler(request):
        connection = await request.accept()
        await connection.send_message("bye")

    listener = await start(nursery, handler)
    peer = await listener.open()
    assert (await peer.receive()).payload == b"bye"
    assert await finish(peer) == 1000
    assert caplog.records == []


@pytest.mark.parametrize(
    "error",
    [
        ValueError("oops"),
        ExceptionGroup("several", [ValueError("oops"), KeyError("x")]),
        OSError(errno.EMFILE, "too many"),
        trio.BrokenResourceError("of another stream"),
    ],
)
async def test_failing_handler_is_1011_and_one_traceback(nursery, caplog, error):
    async def handler(request):
        connection = await request.accept()
        if await connection.get_message() == "fail":
            raise error
        await connection.send_message("fine")

    listener = await start(nursery, handler)
    bystander, victim = await listener.open(), await listener.open()
    await victim.send((TEXT, b"fail"))
    assert await finish(victim) == 1011
    (record,) = errors(caplog)
    assert (record.name, record.levelno) == ("wscore.trio", logging.ERROR)
    assert record.exc_info is not None
    assert record.exc_info[0] is type(error)
    await bystander.send((TEXT, b"go on"))
    assert (await bystander.receive()).payload == b"fine"
    assert await finish(bystander) == 1000


async def test_failing_before_accept_is_500(nursery, caplog):
    async def handler(request):
        raise ValueError("oops")

    listener = await start(nursery, handler)
    peer = listener.connect()
    await peer.stream.send_all(HANDSHAKE)
    assert (await read_response(peer)).status == 500
    assert len(errors(caplog)) == 1


async def test_failing_before_accept_of_a_client_that_left(nursery, caplog):
    async def handler(request):
        await trio.testing.wait_all_tasks_blocked()
        raise ValueError("oops")

    listener = await start(nursery, handler)
    peer = listener.connect()
    await peer.stream.send_all(HANDSHAKE)
    await peer.stream.aclose()
    await wait_all_tasks_blocked(0.01)
    (record,) = caplog.records
    assert record.exc_info[0] is ValueError


async def test_not_answering_is_500_and_logged(nursery, caplog):
    async def handler(request):
        pass

    listener = await start(nursery, handler)
    peer = listener.connect()
    await peer.stream.send_all(HANDSHAKE)
    assert (await read_response(peer)).status == 500
    (record,) = errors(caplog)
    assert "did not answer" in record.getMessage()


@pytest.mark.parametrize("in_nursery", [False, True])
async def test_connection_closed_is_no_error_of_the_handler(
    nursery, caplog, in_nursery, mock_clock
):
    async def handler(request):
        connection = await request.accept()
        if not in_nursery:
            await connection.get_message()
        async with trio.open_nursery() as inner:
            inner.start_soon(connection.get_message)
            inner.start_soon(connection.get_message)

    listener = await start(nursery, handler)
    peer = await listener.open()
    await peer.send((CLOSE, close_payload(1001)))
    assert (await peer.receive()).close[0] == 1001
    await peer.stream.send_eof()
    assert await peer.receive_rest() == b""
    assert caplog.records == []


async def test_error_beside_connection_closed_is_logged_alone(nursery, caplog):
    async def handler(request):
        connection = await request.accept()

        async def fail():
            try:
                await connection.get_message()
            finally:
                raise ValueError("oops")

        async with trio.open_nursery() as inner:
            inner.start_soon(connection.get_message)
            inner.start_soon(fail)

    listener = await start(nursery, handler)
    peer = await listener.open()
    await peer.send((CLOSE, close_payload(1000)))
    await peer.stream.send_eof()
    await peer.receive()
    assert await peer.receive_rest() == b""
    (record,) = errors(caplog)
    logged = record.exc_info[1]
    assert isinstance(logged, ExceptionGroup)
    assert [type(error) for error in logged.exceptions] == [ValueError]


async def test_connection_closed_of_another_connection_is_an_error(nursery, caplog):
    from transport.peer import server_and_peer

    other, _ = await server_and_peer(disconnect_timeout=0)
    await other.aclose()

    async def handler(request):
        await request.accept()
        await other.get_message()

    listener = await start(nursery, handler)
    assert await finish(await listener.open()) == 1011
    (record,) = errors(caplog)
    assert record.exc_info[0] is ConnectionClosed


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"x", mask=False), 1002),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, bytes(2000)), 1009),
        (b"", 1006),
    ],
)
async def test_fault_of_a_peer_is_one_line_at_info(nursery, caplog, data, code, autojump_clock):
    listener = await start(nursery, hold, max_message_size=1000)
    peer = await listener.open()
    await peer.stream.send_all(data)
    await peer.stream.send_eof()
    if data:
        assert (await peer.receive()).close[0] == code
    assert await peer.receive_rest() == b""
    await wait_all_tasks_blocked()
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert f"closed with {code} " in record.getMessage()
    await check_alive(listener)


async def test_client_that_goes_while_the_handler_hesitates(nursery, caplog, autojump_clock):
    proceed = trio.Event()

    async def handler(request):
        if b"/slow" in request.path.encode():
            await proceed.wait()
        await hold(request)

    listener = await start(nursery, handler)
    peer = listener.connect()
    await peer.stream.send_all(HANDSHAKE.replace(b"/chat", b"/slow"))
    await peer.stream.aclose()
    await wait_all_tasks_blocked()
    proceed.set()
    await check_alive(listener)
    assert errors(caplog) == []


async def test_streams_own_kind_of_error_ends_only_its_connection(nursery, caplog, autojump_clock):
    class Failing(trio.abc.Stream):
        async def send_all(self, data):
            raise RuntimeError("send")

        async def wait_send_all_might_not_block(self):
            raise RuntimeError("wait")

        async def receive_some(self, max_bytes=None):
            raise RuntimeError("receive")

        async def aclose(self):
            pass

    listener = await start(nursery, hold)
    listener.connect((Failing(), Failing()))
    await wait_all_tasks_blocked()
    assert len(errors(caplog)) == 1
    await check_alive(listener)


# Listeners


async def test_started_server_tells_where_it_listens(nursery):
    server = await nursery.start(serve_websocket, hold, "127.0.0.1", 0, None)
    (endpoint,) = server.listeners
    assert str(endpoint.address) == "127.0.0.1"
    assert (endpoint.port, endpoint.is_ssl) == (server.port, False)
    assert server.port > 0
    with pytest.raises(OSError):  # occupied
        await nursery.start(serve_websocket, hold, "127.0.0.1", server.port, None)


async def test_port_of_what_has_no_port():
    with pytest.raises(RuntimeError, match="no port"):
        WebSocketServer(hold, [MemoryListener()]).port
    with pytest.raises(RuntimeError, match="several"):
        WebSocketServer(hold, [MemoryListener(), MemoryListener()]).port
    with pytest.raises(ValueError, match="at least one"):
        WebSocketServer(hold, [])


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (Endpoint("127.0.0.1", 80, False), "ws://127.0.0.1"),
        (Endpoint("127.0.0.1", 443, False), "ws://127.0.0.1:443"),
        (Endpoint("::1", 443, True), "wss://[::1]"),
        (Endpoint("::1", 80, True), "wss://[::1]:80"),
    ],
)
def test_endpoint_as_url(endpoint, url):
    assert endpoint.url == url
    assert "is_ssl" in repr(endpoint)


async def test_a_client_silent_in_the_tls_handshake_is_cut(nursery, autojump_clock, caplog):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    listener = MemoryListener()

    async def never(request):
        raise AssertionError("there is no request")

    server = WebSocketServer(never, [trio.SSLListener(listener, context)])
    await nursery.start(server.run)
    began = trio.current_time()
    peer = listener.connect()
    await peer.stream.send_all(b"\x16\x03\x01")  # the first bytes of a record, and no more
    assert await peer.receive_rest() == b""
    assert trio.current_time() - began == pytest.approx(10)
    assert server.counters.handshake_timeouts == 1
    assert "Traceback" not in caplog.text


async def test_arguments_that_cannot_be_leave_nobody_listening(monkeypatch):
    opened = []
    open_listeners = trio.open_tcp_listeners

    async def open_and_note(*args, **options):
        opened.extend(await open_listeners(*args, **options))
        return opened

    monkeypatch.setattr(trio, "open_tcp_listeners", open_and_note)
    for wrong in ({"subprotocols": "chat"}, {"compression": "best"}, {"origins": ["none"]}):
        with pytest.raises((ValueError, TypeError)):
            await serve_websocket(None, "127.0.0.1", 0, None, **wrong)
    assert len(opened) == 3
    assert all(listener.socket.fileno() == -1 for listener in opened)
