"""Requests and responses on the WebSocket's port: what is answered, refused, limited."""

from __future__ import annotations

import logging
from contextlib import suppress
from email.utils import parsedate_to_datetime

import pytest
import trio
from transport.peer import ACCEPT, HANDSHAKE, UPGRADE, MemoryListener, frame, read_response

from wscore.trio import HTTPRequest, HTTPResponse, WebSocketServer

PLAIN = b"GET /page?x=1 HTTP/1.1\r\nHost: example.com\r\n\r\n"


async def echo(request):
    connection = await request.accept()
    while True:
        await connection.send_message(await connection.get_message())


async def start(nursery, handler=echo, **options):
    listener = MemoryListener()
    await nursery.start(WebSocketServer(handler, [listener], **options).run)
    return listener


async def ask(listener, data):
    peer = listener.connect()
    await peer.stream.send_all(data)
    return await read_response(peer)


def request(target="/", headers=(), **others):
    return HTTPRequest("GET", target, list(headers), remote="r", local="l", **others)


# A target that is no URL


@pytest.mark.parametrize("target", [b"http://[", b"http://[::1/a", b"http://a]b/", b"://", b"*"])
async def test_target_that_is_no_url_is_no_error_of_the_hook(nursery, caplog, target):
    paths = []

    async def hook(asked):
        paths.append(asked.path)

    listener = await start(nursery, process_request=hook)
    response = await ask(listener, PLAIN.replace(b"/page?x=1", target))
    assert response.status == 426
    assert len(paths) == 1
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize("headers", [b"", b"Upgrade: websocket\r\nConnection: Upgrade\r\n"])
async def test_connect_is_refused_whatever_the_hook_would_say(nursery, caplog, headers):
    async def hook(asked):
        return HTTPResponse(200, body=b"page")

    listener = await start(nursery, process_request=hook)
    response = await ask(
        listener, b"CONNECT example.com:80 HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n"
    )
    assert (response.status, response.headers["connection"]) == (501, "close")
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


# The two classes


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/a/b%20c?d=/e?f", "/a/b%20c"),
        ("//a?b", "//a"),
        ("http://example.com/a?b", "/a"),
        ("http://example.com", "/"),
        ("http://example.com?a=/b", "/"),
        ("http://[/a", "/a"),
        ("http://[", "/"),
        ("http://\u2100.example/a", "/a"),
        ("example.com:80", "example.com:80"),
        ("*", "*"),
    ],
)
def test_path_is_the_target_without_the_query(target, path):
    assert request(target).path == path


def test_header_joins_what_is_repeated():
    asked = request(headers=[(b"accept", b"a"), (b"host", b"h"), (b"accept", b"b")])
    assert asked.header(b"accept") == asked.header(b"Accept") == b"a, b"
    assert asked.header(b"cookie") is None


@pytest.mark.parametrize(
    ("headers", "version", "expected"),
    [
        ([(b"upgrade", b"websocket")], "1.1", True),
        ([(b"upgrade", b"h2c, WebSocket")], "1.1", True),
        ([(b"upgrade", b"h2c"), (b"upgrade", b"websocket")], "1.1", True),
        ([(b"upgrade", b"websocket2")], "1.1", False),
        ([], "1.1", False),
        ([(b"upgrade", b"websocket")], "1.0", False),
    ],
)
def test_is_upgrade(headers, version, expected):
    assert request(headers=headers, http_version=version).is_upgrade is expected


@pytest.mark.parametrize("status", [-1, 0, 101, 199, 600])
def test_status_out_of_range(status):
    with pytest.raises(ValueError, match="200 to 599"):
        HTTPResponse(status)


# Plain requests


async def page(asked):
    assert isinstance(asked, HTTPRequest)
    if asked.path == "/page":
        return HTTPResponse(200, [(b"Content-Type", b"text/html")], b"<p>hi")
    if asked.path == "/empty":
        return HTTPResponse(204)
    if asked.path == "/same":
        return HTTPResponse(304, [(b"ETag", b'"1"')])
    if asked.path == "/own":
        fields = [(b"content-length", b"99"), (b"CONNECTION", b"keep-alive"), (b"date", b"today")]
        return HTTPResponse(299, fields, b"own")
    if asked.path == "/private" and asked.header(b"cookie") is None:
        return HTTPResponse(401, body=b"who are you?")
    return None


async def test_plain_request_is_answered_by_the_hook(nursery):
    listener = await start(nursery, process_request=page)
    response = await ask(listener, PLAIN)
    assert (response.status, response.body) == (200, b"<p>hi")
    assert parsedate_to_datetime(response.headers.pop("date")).tzinfo is not None
    assert response.headers == {
        "content-type": "text/html",
        "content-length": "5",
        "connection": "close",
    }


async def test_head_gets_the_head(nursery):
    listener = await start(nursery, process_request=page)
    response = await ask(listener, PLAIN.replace(b"GET", b"HEAD"))
    assert (response.status, response.body) == (200, b"")
    assert response.headers["content-length"] == "5"


async def test_post_is_the_hooks_business_and_its_body_is_dropped(nursery):
    listener = await start(nursery, process_request=page)
    head = PLAIN.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n")
    assert (await ask(listener, head + b"GET / HTT")).status == 200


@pytest.mark.parametrize(("path", "status"), [(b"/empty", 204), (b"/same", 304)])
async def test_responses_without_a_body(nursery, path, status):
    listener = await start(nursery, process_request=page)
    response = await ask(listener, PLAIN.replace(b"/page", path))
    assert (response.status, response.body) == (status, b"")
    assert "content-length" not in response.headers


async def test_framing_of_the_response_is_not_the_hooks_business(nursery):
    listener = await start(nursery, process_request=page)
    response = await ask(listener, PLAIN.replace(b"/page", b"/own"))
    assert (response.status, response.body) == (299, b"own")
    assert response.headers == {"content-length": "3", "connection": "close", "date": "today"}


async def test_http_1_0_is_answered(nursery):
    listener = await start(nursery, process_request=page)
    assert (await ask(listener, b"GET /page HTTP/1.0\r\n\r\n")).status == 200


async def test_hook_sees_the_request_as_it_came(nursery):
    seen = []

    async def hook(asked):
        seen.append(asked)
        return HTTPResponse(200)

    listener = await start(nursery, process_request=hook)
    await ask(listener, b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-One:  1 \r\nx-two: 2\r\n\r\n")
    (asked,) = seen
    assert (asked.method, asked.target, asked.http_version) == ("GET", "/a?b", "1.1")
    assert asked.headers == [(b"host", b"h"), (b"x-one", b"1"), (b"x-two", b"2")]


async def test_hook_may_refuse_an_upgrade_or_let_it_pass(nursery, autojump_clock):
    listener = await start(nursery, process_request=page)
    private = UPGRADE.replace(b"/chat", b"/private")
    assert (await ask(listener, private + b"\r\n")).status == 401
    peer = listener.connect()
    await peer.stream.send_all(private + b"Cookie: x\r\n\r\n")
    head = await peer.receive_head()
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: " + ACCEPT in head


@pytest.mark.parametrize("hook", [None, page])
async def test_plain_request_without_an_answer_is_426(nursery, hook):
    listener = await start(nursery, process_request=hook)
    response = await ask(listener, PLAIN.replace(b"/page", b"/other"))
    assert response.status == 426
    assert response.headers["upgrade"] == "websocket"
    assert set(response.headers["connection"].split(", ")) == {"close", "upgrade"}


async def test_failing_hook_is_500_and_one_traceback(nursery, caplog):
    async def hook(asked):
        raise ZeroDivisionError

    listener = await start(nursery, process_request=hook)
    for data in (PLAIN, HANDSHAKE):
        caplog.clear()
        assert (await ask(listener, data)).status == 500
        (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
        assert record.exc_info is not None
        assert record.exc_info[0] is ZeroDivisionError


async def test_header_that_cannot_be_sent_is_500_and_logged(nursery, caplog):
    async def hook(asked):
        return HTTPResponse(200, [(b"X-Evil", b"a\r\nSet-Cookie: b")])

    listener = await start(nursery, process_request=hook)
    response = await ask(listener, PLAIN)
    assert response.status == 500
    assert "set-cookie" not in response.headers
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1


async def test_slow_hook_runs_into_the_timeout(nursery, autojump_clock):
    async def hook(asked):
        await trio.sleep_forever()

    listener = await start(nursery, process_request=hook, connect_timeout=3)
    peer = listener.connect()
    await peer.stream.send_all(PLAIN)
    start_time = trio.current_time()
    assert (await peer.receive_head()).startswith(b"HTTP/1.1 503 ")
    assert trio.current_time() - start_time == pytest.approx(3)


# Requests that are refused

LONG = b"x" * 9000
BIG = b"X: " + b"x" * 8000 + b"\r\n"
MALFORMED = {
    "no HTTP": (b"\x00\x01\x02\x03\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), 400),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "no host": (HANDSHAKE.replace(b"Host: example.com\r\n", b""), 400),
    "two hosts": (UPGRADE + b"Host: other\r\n\r\n", 400),
    "space in a name": (UPGRADE + b"X Y: z\r\n\r\n", 400),
    "NUL in a value": (UPGRADE + b"X: \x00\r\n\r\n", 400),
    "not ASCII in the target": (HANDSHAKE.replace(b"/chat", b"/ch\xe4t"), 400),
    "bad length": (UPGRADE + b"Content-Length: -1\r\n\r\n", 400),
    "upgrade with a body": (UPGRADE + b"Content-Length: 4\r\n\r\nbody", 400),
    "upgrade with a chunked body": (UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "unknown transfer encoding": (UPGRADE + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "POST": (HANDSHAKE.replace(b"GET", b"POST"), 405),
    "HEAD": (HANDSHAKE.replace(b"GET", b"HEAD"), 405),
    "HTTP/1.0": (HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"), 426),
    "no Connection": (HANDSHAKE.replace(b"Connection: Upgrade\r\n", b""), 400),
    "Connection: close": (HANDSHAKE.replace(b"Connection: Upgrade", b"Connection: close"), 400),
    "no key": (HANDSHAKE.replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
    "key too short": (HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIA=="), 400),
    "two keys": (UPGRADE + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 400),
    "no version": (HANDSHAKE.replace(b"Sec-WebSocket-Version", b"X-Version"), 400),
    "another version": (HANDSHAKE.replace(b"Version: 13", b"Version: 8"), 426),
    "long target": (HANDSHAKE.replace(b"/chat", b"/" + LONG), 414),
    "long header": (UPGRADE + b"X: " + LONG + b"\r\n\r\n", 431),
    "long name": (UPGRADE + LONG + b": x\r\n\r\n", 431),
    "many headers": (UPGRADE + b"".join(b"X: %d\r\n" % n for n in range(100)) + b"\r\n", 431),
    "much in all": (
        UPGRADE + b"".join(b"X: %s\r\n" % LONG[:8000] for _ in range(5)) + b"\r\n",
        431,
    ),
    "no end": (UPGRADE + b"".join(b"X: %s\r\n" % LONG[:8000] for _ in range(9)), 431),
}


@pytest.mark.parametrize("pieces", [10**6, 700])
@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_request_is_refused(nursery, caplog, name, pieces):
    caplog.set_level(logging.INFO)
    data, status = MALFORMED[name]
    handled = []

    async def handler(asked):
        handled.append(asked)

    listener = await start(nursery, handler)
    peer = listener.connect()
    for begin in range(0, len(data), pieces):
        await peer.stream.send_all(data[begin : begin + pieces])
    # What is pipelined behind a refusal is not served.
    await peer.stream.send_all(HANDSHAKE)
    response = await read_response(peer)
    assert response.status == status
    assert "close" in response.headers["connection"]
    assert handled == []
    (record,) = caplog.records
    assert (record.name, record.levelno, record.exc_info) == ("wscore.trio", logging.INFO, None)
    line = record.getMessage().rpartition(": refused with ")[2]
    assert line.startswith(f"{status}: ")
    assert len(line) < 80  # none of what the client sent is in it
    assert line.isprintable()
    assert "bytearray" not in line
    # And the server lives.
    assert (await ask(listener, PLAIN)).status == 426


async def test_wrong_version_is_told_the_right_one(nursery):
    listener = await start(nursery)
    response = await ask(listener, HANDSHAKE.replace(b"Version: 13", b"Version: 8"))
    assert response.headers["sec-websocket-version"] == "13"


async def test_wrong_method_is_told_the_right_one(nursery):
    listener = await start(nursery)
    response = await ask(listener, HANDSHAKE.replace(b"GET", b"POST"))
    assert response.headers["allow"] == "GET"


async def test_head_at_the_limits_passes(nursery, autojump_clock):
    listener = await start(nursery)
    peer = listener.connect()
    filler = b"".join(b"X-%02d: x\r\n" % number for number in range(95))
    await peer.stream.send_all(UPGRADE + filler + b"\r\n")
    assert (await peer.receive_head()).startswith(b"HTTP/1.1 101 ")


async def test_nothing_pipelined_is_served_after_an_answer(nursery):
    served = []

    async def hook(asked):
        served.append(asked.target)
        return HTTPResponse(200, body=b"one")

    listener = await start(nursery, process_request=hook)
    response = await ask(listener, PLAIN + PLAIN + HANDSHAKE + frame(1, b"x"))
    assert response.body == b"one"
    assert len(served) == 1


# Clients that take their time, or go


@pytest.mark.parametrize("data", [b"", b"GET / HT", UPGRADE])
async def test_slow_request_is_cut(nursery, caplog, autojump_clock, data):
    caplog.set_level(logging.INFO)
    listener = await start(nursery, connect_timeout=10)
    peer = listener.connect()
    start_time = trio.current_time()
    async with trio.open_nursery() as inner:

        @inner.start_soon
        async def drip():
            with suppress(trio.BrokenResourceError):  # it may hear of the cut first
                for byte in data:
                    await peer.stream.send_all(bytes([byte]))
                    await trio.sleep(0.1)

        assert await peer.receive_rest() == b""
        inner.cancel_scope.cancel()
    assert trio.current_time() - start_time == pytest.approx(10)
    assert [r.levelno for r in caplog.records] == [logging.INFO]


@pytest.mark.parametrize("data", [b"", b"GET / HT", UPGRADE])
async def test_client_that_goes_during_the_request(nursery, caplog, data):
    caplog.set_level(logging.INFO)
    listener = await start(nursery)
    peer = listener.connect()
    await peer.stream.send_all(data)
    await peer.stream.aclose()
    assert (await ask(listener, PLAIN)).status == 426  # the server lives
    assert all(r.levelno == logging.INFO and r.exc_info is None for r in caplog.records)


async def test_client_that_goes_before_the_answer(nursery, caplog):
    caplog.set_level(logging.INFO)
    gone = trio.Event()

    async def hook(asked):
        if asked.path == "/page":
            await gone.wait()
            return HTTPResponse(200, body=b"too late")
        return None

    listener = await start(nursery, process_request=hook)
    peer = listener.connect()
    await peer.stream.send_all(PLAIN)
    await peer.stream.aclose()
    gone.set()
    assert (await ask(listener, PLAIN.replace(b"/page", b"/"))).status == 426
    assert all(r.levelno == logging.INFO and r.exc_info is None for r in caplog.records)


async def test_client_that_does_not_read_the_answer_is_cut(nursery, autojump_clock):
    from trio.testing import lockstep_stream_pair

    listener = await start(nursery, process_request=page, send_timeout=3)
    peer = listener.connect(lockstep_stream_pair())
    await peer.stream.send_all(PLAIN)
    await trio.sleep(4)
    with pytest.raises(trio.BrokenResourceError):
        await peer.stream.send_all(b"x")


async def test_client_that_does_not_close_is_left_after_a_moment(nursery, autojump_clock):
    listener = await start(nursery, process_request=page)
    peer = listener.connect()
    await peer.stream.send_all(PLAIN)
    assert b"<p>hi" in await peer.receive_rest()
    await peer.stream.send_all(b"still heard")
    await trio.sleep(2)
    with pytest.raises(trio.BrokenResourceError):
        await peer.stream.send_all(b"x")
