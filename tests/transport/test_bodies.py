"""The bodies of HTTP responses: bytes, files and iterables, to clients that read as they please."""

from __future__ import annotations

import logging
import os
import sys

import pytest
import trio
from transport.peer import HANDSHAKE, MemoryListener, read_response
from trio.testing import lockstep_stream_pair, memory_stream_pair

from wscore.trio import HTTPResponse, WebSocketServer

PLAIN = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
BIG = bytes(range(256)) * 2000  # 512,000 bytes: several pieces


async def start(nursery, response, **options):
    async def hook(asked):
        return response() if callable(response) else response

    async def handler(request):
        raise AssertionError("nothing is let through")

    listener = MemoryListener()
    server = WebSocketServer(handler, [listener], process_request=hook, **options)
    await nursery.start(server.run)
    return listener


async def ask(listener, data=PLAIN):
    peer = listener.connect()
    await peer.stream.send_all(data)
    return await read_response(peer)


def chunks(body: bytes) -> tuple[list[bytes], bool]:
    """Take a chunked body apart (RFC 9112 section 7.1); whether it is complete."""
    found = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            assert rest == b"\r\n"
            return found, True
        assert rest[length : length + 2] == b"\r\n"
        found.append(rest[:length])
        body = rest[length + 2 :]
    return found, False


class Source:
    """An asynchronous iterable that remembers how it was treated."""

    def __init__(self, pieces, error=None):
        self.pieces, self.error = list(pieces), error
        self.asked, self.closed = 0, False

    def __aiter__(self):
        return self

    async def __anext__(self):
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if self.pieces:
            return self.pieces.pop(0)
        if self.error is not None:
            raise self.error
        raise StopAsyncIteration

    async def aclose(self):
        self.closed = True


async def test_large_bytes_arrive_whole(nursery):
    response = await ask(await start(nursery, HTTPResponse(200, [], BIG)))
    assert response.body == BIG
    assert response.headers["content-length"] == str(len(BIG))


@pytest.mark.parametrize("size", [0, 1, 65536, 200_001])
async def test_file_arrives_whole(nursery, tmp_path, size):
    file = tmp_path / "file"
    file.write_bytes(BIG[:size])
    response = await ask(await start(nursery, HTTPResponse(200, [(b"X-Y", b"z")], file)))
    assert response.status == 200
    assert response.body == BIG[:size]
    assert response.headers["content-length"] == str(size)
    assert response.headers["x-y"] == "z"


@needs_posix
async def test_file_is_closed(nursery, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(BIG)
    listener = await start(nursery, HTTPResponse(200, [], file))
    before = os.listdir("/dev/fd")
    for _ in range(3):
        await ask(listener)
    assert len(os.listdir("/dev/fd")) == len(before)


async def test_head_of_a_file_tells_its_length(nursery, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    listener = await start(nursery, HTTPResponse(200, [], file))
    response = await ask(listener, PLAIN.replace(b"GET", b"HEAD"))
    assert (response.body, response.headers["content-length"]) == (b"", "5")


async def test_iterable_is_chunked_and_closed(nursery):
    source = Source([b"one", b"", b"two" * 30000])
    response = await ask(await start(nursery, HTTPResponse(200, [], source)))
    assert response.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in response.headers
    assert chunks(response.body) == ([b"one", b"two" * 30000], True)
    assert source.closed


async def test_empty_iterable_is_a_complete_response(nursery):
    response = await ask(await start(nursery, HTTPResponse(200, [], Source([]))))
    assert chunks(response.body) == ([], True)


async def test_iterable_without_aclose(nursery):
    class Bare:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise StopAsyncIteration

    response = await ask(await start(nursery, HTTPResponse(200, [], Bare())))
    assert chunks(response.body) == ([], True)


async def test_iterable_for_http_1_0_ends_with_the_connection(nursery):
    listener = await start(nursery, HTTPResponse(200, [], Source([b"one", b"two"])))
    response = await ask(listener, b"GET / HTTP/1.0\r\n\r\n")
    assert "transfer-encoding" not in response.headers
    assert "content-length" not in response.headers
    assert response.body == b"onetwo"


@pytest.mark.parametrize("status", [200, 204, 304])
async def test_iterable_that_is_not_to_be_sent_is_closed_unasked(nursery, status):
    source = Source([b"one"])
    listener = await start(nursery, HTTPResponse(status, [], source))
    method = b"HEAD" if status == 200 else b"GET"
    response = await ask(listener, PLAIN.replace(b"GET", method))
    assert (response.status, response.body) == (status, b"")
    assert "content-length" not in response.headers
    assert ("transfer-encoding" in response.headers) is (status == 200)
    assert (source.asked, source.closed) == (0, True)


async def test_an_upgrade_may_be_answered_with_a_file(nursery, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"no")
    response = await ask(await start(nursery, HTTPResponse(403, [], file)), HANDSHAKE)
    assert (response.status, response.body) == (403, b"no")


# What goes wrong


def one_traceback(caplog):
    (record,) = [r for r in caplog.records if r.levelno > logging.INFO]
    assert record.exc_info is not None
    return record.exc_info[0]


async def test_file_that_is_not_there_is_500(nursery, caplog, tmp_path):
    response = await ask(await start(nursery, HTTPResponse(200, [], tmp_path / "none")))
    assert response.status == 500
    assert one_traceback(caplog) is FileNotFoundError


@needs_posix
async def test_named_pipe_does_not_hold_the_server_up(nursery, caplog, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    response = await ask(await start(nursery, HTTPResponse(200, [], tmp_path / "pipe")))
    assert response.status == 500
    assert one_traceback(caplog) is OSError


@needs_posix
async def test_file_that_shrinks_is_cut_short(nursery, caplog, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(BIG)
    ours, theirs = memory_stream_pair()
    sent = ours.send_all

    async def send_all(data):
        os.truncate(file, 100_000)
        await sent(data)

    ours.send_all = send_all
    listener = await start(nursery, HTTPResponse(200, [], file))
    peer = listener.connect((ours, theirs))
    await peer.stream.send_all(PLAIN)
    head = await peer.receive_head()
    assert b"Content-Length: 512000" in head
    assert len(await peer.receive_rest()) < 512_000
    assert one_traceback(caplog) is EOFError


async def test_file_that_grows_is_sent_as_announced(nursery, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(BIG[:100_000])  # two pieces, the second of which could be too long

    ours, theirs = memory_stream_pair()
    sent = ours.send_all

    async def send_all(data):
        with file.open("ab") as more:
            more.write(b"more")
        await sent(data)

    ours.send_all = send_all
    listener = await start(nursery, HTTPResponse(200, [], file))
    peer = listener.connect((ours, theirs))
    await peer.stream.send_all(PLAIN)
    assert (await read_response(peer)).body == BIG[:100_000]


async def test_failing_iterable_leaves_the_body_unfinished(nursery, caplog):
    source = Source([b"one"], ValueError("oops"))
    response = await ask(await start(nursery, HTTPResponse(200, [], source)))
    assert chunks(response.body) == ([b"one"], False)
    assert one_traceback(caplog) is ValueError
    assert source.closed


@pytest.mark.parametrize("body", ["text", None, 3, [b"x"]])
def test_what_is_no_body(body):
    with pytest.raises(TypeError, match="a body is"):
        HTTPResponse(200, [], body)


async def test_hook_that_returns_something_else_is_500(nursery, caplog):
    response = await ask(await start(nursery, (200, [], b"x")))
    assert response.status == 500
    assert one_traceback(caplog) is TypeError


class Trickle(trio.abc.Stream):
    """A stream that takes a piece every so many seconds, or nothing any more."""

    def __init__(self, inner, seconds):
        self.inner, self.seconds, self.taken = inner, seconds, 0

    async def send_all(self, data):
        await trio.sleep(self.seconds)
        self.taken += 1
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self):
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes=None):
        return await self.inner.receive_some(max_bytes)

    async def aclose(self):
        await self.inner.aclose()


async def test_slow_client_gets_all_as_long_as_it_makes_progress(nursery, autojump_clock):
    ours, theirs = memory_stream_pair()
    listener = await start(nursery, HTTPResponse(200, [], BIG), send_timeout=30, connect_timeout=5)
    peer = listener.connect((Trickle(ours, 29), theirs))
    await peer.stream.send_all(PLAIN)
    assert (await read_response(peer)).body == BIG


@pytest.mark.parametrize("kind", ["bytes", "file", "iterable"])
async def test_client_without_progress_is_cut(nursery, caplog, autojump_clock, tmp_path, kind):
    caplog.set_level(logging.INFO)
    (tmp_path / "file").write_bytes(BIG)
    source = Source([BIG, BIG])
    body = {"bytes": BIG, "file": tmp_path / "file", "iterable": source}[kind]
    ours, theirs = memory_stream_pair()
    stream = Trickle(ours, 31)
    listener = await start(nursery, HTTPResponse(200, [], body), send_timeout=30)
    peer = listener.connect((stream, theirs))
    begin = trio.current_time()
    await peer.stream.send_all(PLAIN)
    assert await peer.receive_rest() == b""
    assert trio.current_time() - begin == pytest.approx(30)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert "took nothing for 30 s" in record.getMessage()
    assert kind != "iterable" or source.closed


async def test_large_piece_to_a_client_that_is_slow_but_reads(nursery, autojump_clock, caplog):
    """The time without progress counts, not that for the whole piece."""

    async def body():
        yield BIG

    listener = await start(nursery, lambda: HTTPResponse(200, [], body()), send_timeout=30)
    ours, theirs = lockstep_stream_pair()
    peer = listener.connect((ours, theirs))
    await peer.stream.send_all(PLAIN)
    received = b""
    begin = trio.current_time()
    while not received.endswith(b"\r\n0\r\n\r\n"):
        await trio.sleep(8)
        data = await peer.stream.receive_some(50_000)
        assert data, caplog.text
        received += data
    assert trio.current_time() - begin > 60
    _, _, encoded = received.partition(b"\r\n\r\n")
    pieces, complete = chunks(encoded)
    assert (b"".join(pieces), complete) == (BIG, True)
