"""Which pages may open a WebSocket: the Origin header against the allow-list."""

from __future__ import annotations

import logging

import pytest
from transport.peer import UPGRADE, MemoryListener, read_response

from wscore.trio import HTTPResponse, WebSocketServer

SITE = "https://example.com"

# allowed, the request's Origin, its Host (None: example.com), whether it may.
TABLE = [
    ([SITE], "https://example.com", None, True),
    ([SITE], "HTTPS://Example.COM", None, True),
    ([SITE], "https://example.com:443", None, True),
    (["https://example.com:443"], "https://example.com", None, True),
    (["HTTPS://EXAMPLE.com"], "https://example.com", None, True),
    (["http://example.com:80"], "http://example.com", None, True),
    ([SITE], "http://example.com", None, False),
    ([SITE], "https://example.com:8443", None, False),
    ([SITE], "https://example.com:80", None, False),
    ([SITE], "https://www.example.com", None, False),
    ([SITE], "https://example.com.evil.test", None, False),
    ([SITE], "https://evil.test/https://example.com", None, False),
    ([SITE], "https://example.com@evil.test", None, False),
    ([SITE], "https://evil.test@example.com", None, False),
    ([SITE], "https://example.com/", None, False),
    ([SITE], "https://example.com?", None, False),
    ([SITE], "https://example.com.", None, False),
    ([SITE], "https://example.com:", None, False),
    ([SITE], "https://example.com https://example.com", None, False),
    ([SITE], "https://example.com, https://example.com", None, False),
    ([SITE], "example.com", None, False),
    ([SITE], "", None, False),
    ([SITE], "\xe4", None, False),
    ([SITE], "null", None, False),
    ([SITE], None, None, False),
    (["null"], "null", None, True),
    (["null"], "NULL", None, False),
    (["null"], "https://example.com", None, False),
    ([None], None, None, True),
    ([None], "null", None, False),
    ([], SITE, None, False),
    ([], None, None, False),
    (["http://[::1]:8000"], "http://[::1]:8000", None, True),
    (["http://[::1]:8000"], "http://[::1]", None, False),
    (["chrome-extension://abc"], "chrome-extension://abc", None, True),
    (["chrome-extension://abc"], "chrome-extension://abd", None, False),
    (["https://a.test", "https://b.test"], "https://b.test", None, True),
    ("same-host", "https://example.com", None, True),
    ("same-host", "http://example.com", None, True),
    ("same-host", "https://EXAMPLE.com", "example.COM", True),
    ("same-host", "https://example.com", "example.com:443", True),
    ("same-host", "http://example.com:80", "example.com", True),
    ("same-host", "http://example.com", "example.com:443", False),
    ("same-host", "http://example.com:8000", "example.com:8000", True),
    ("same-host", "http://example.com:8001", "example.com:8000", False),
    ("same-host", "http://[::1]:8000", "[::1]:8000", True),
    ("same-host", "https://evil.test", None, False),
    ("same-host", "ftp://example.com", "example.com", False),
    ("same-host", "https://example.com.evil.test", None, False),
    ("same-host", "null", None, False),
    ("same-host", "null", "null", False),
    ("same-host", None, None, False),
    (["same-host", None], None, None, True),
    (["same-host", "https://a.test"], "https://a.test", None, True),
    (["same-host", "https://a.test"], "https://example.com", None, True),
    (None, "https://evil.test", None, True),
    (None, None, None, True),
]


def upgrade(origin, host=None):
    data = UPGRADE if host is None else UPGRADE.replace(b"example.com", host.encode())
    if origin is not None:
        data += b"Origin: " + origin.encode("latin-1") + b"\r\n"
    return data + b"\r\n"


async def accept(request):
    await request.accept()


@pytest.mark.parametrize(("allowed", "origin", "host", "permitted"), TABLE)
async def test_origin(nursery, caplog, autojump_clock, allowed, origin, host, permitted):
    caplog.set_level(logging.INFO)
    listener = MemoryListener()
    await nursery.start(WebSocketServer(accept, [listener], origins=allowed).run)
    peer = listener.connect()
    await peer.stream.send_all(upgrade(origin, host))
    if permitted:
        assert (await peer.receive_head()).startswith(b"HTTP/1.1 101 ")
        return
    response = await read_response(peer)
    assert response.status == 403
    assert response.headers["connection"] == "close"
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert record.getMessage().endswith(": refused with 403: not an allowed origin")


@pytest.mark.parametrize("allowed", [None, [SITE], "same-host"])
async def test_two_origins_are_refused(nursery, allowed):
    listener = MemoryListener()
    await nursery.start(WebSocketServer(accept, [listener], origins=allowed).run)
    peer = listener.connect()
    await peer.stream.send_all(UPGRADE + b"Origin: https://example.com\r\n" * 2 + b"\r\n")
    assert (await read_response(peer)).status == 400


async def test_plain_requests_have_no_origin_to_check(nursery):
    async def page(request):
        return HTTPResponse(200)

    listener = MemoryListener()
    server = WebSocketServer(accept, [listener], origins=[SITE], process_request=page)
    await nursery.start(server.run)
    peer = listener.connect()
    await peer.stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.test\r\n\r\n")
    assert (await read_response(peer)).status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        "example.com",
        "https://example.com/",
        "https://exämple.com",
        "https://a https://b",
        "*",
        "https://user@example.com",
        "",
        "same-origin",
    ],
)
def test_what_is_no_origin_is_not_taken_for_one(wrong):
    with pytest.raises(ValueError, match="is not an origin"):
        WebSocketServer(accept, [MemoryListener()], origins=[wrong])
    with pytest.raises(ValueError, match="is not an origin"):
        WebSocketServer(accept, [MemoryListener()], origins=wrong)
