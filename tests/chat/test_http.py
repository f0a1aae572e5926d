"""The plain HTTP side and the handshake, over real sockets, with a client that is not ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from importlib import resources

import pytest
import trio
from chat.plain_http import UPGRADE, ask
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from wscore.chat import ChatServer, MemoryBackend


@pytest.fixture
async def port(nursery: trio.Nursery) -> AsyncIterator[int]:
    chat = ChatServer(MemoryBackend())
    server = await nursery.start(chat.serve, "127.0.0.1", 0)
    yield server.port
    chat.stop()


async def test_every_file_of_the_page(port: int) -> None:
    types = {
        "html": "text/html; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
        "png": "image/png",
        "ico": "image/x-icon",
    }
    served = 0
    for file in resources.files("wscore.chat").joinpath("web").iterdir():
        answer = await ask(port, "GET", f"/{file.name}")
        kind = types.get(file.name.rpartition(".")[2])
        if kind is None or not file.is_file():
            assert answer.status == 404
            continue
        served += 1
        assert answer.status == 200
        assert answer.body == file.read_bytes()
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-cache"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    assert served >= 3


async def test_the_page_is_at_the_root(port: int) -> None:
    page = await ask(port, "GET", "/")
    assert page.status == 200
    assert page.body == (await ask(port, "GET", "/index.html?x=1")).body
    assert b"<script" in page.body
    head = await ask(port, "HEAD", "/")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(page.body))


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/../server.py",
        "/..%2fserver.py",
        "/%2e%2e/server.py",
        "//etc/passwd",
        "/index.html/",
        "/INDEX.HTML",
        "/__init__.py",
        "/ws/",
        "/healthz/x",
        "*",
    ],
)
async def test_nothing_else_is_served(port: int, path: str) -> None:
    assert (await ask(port, "GET", path)).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
@pytest.mark.parametrize("path", ["/", "/index.html", "/healthz", "/ws"])
async def test_other_methods(port: int, method: str, path: str) -> None:
    answer = await ask(port, method, path)
    assert answer.status == 405
    assert "GET" in answer.headers["Allow"]


async def test_health(port: int) -> None:
    answer = await ask(port, "GET", "/healthz")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(answer.body)["status"] == "ok"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_socket_needs_an_upgrade(port: int, method: str) -> None:
    answer = await ask(port, method, "/ws")
    assert answer.status == 426
    assert answer.headers["Upgrade"] == "websocket"


@pytest.mark.parametrize("path", ["/", "/healthz", "/chat", "/ws/"])
async def test_the_socket_is_nowhere_else(port: int, path: str) -> None:
    assert (await ask(port, "GET", path, UPGRADE)).status == 404


async def dial(port: int, **options: object) -> str | int | None:
    """The subprotocol of a handshake with another library's client, or the status it got."""

    def run() -> str | int | None:
        try:
            with connect(f"ws://127.0.0.1:{port}/ws", proxy=None, **options) as socket:  # type: ignore[arg-type]
                socket.send('{"type":"hello","id":"1","user":"Anna"}')
                code = json.loads(socket.recv())
                assert code["type"] == "ok" or code["code"] == "name_taken"
                return socket.subprotocol
        except InvalidStatus as error:
            return error.response.status_code

    return await trio.to_thread.run_sync(run)


async def test_subprotocols(port: int) -> None:
    assert await dial(port) is None
    assert await dial(port, subprotocols=["chat.wscore.v1"]) == "chat.wscore.v1"
    assert await dial(port, subprotocols=["other", "chat.wscore.v1"]) == "chat.wscore.v1"
    assert await dial(port, subprotocols=["chat.wscore.v2", "other"]) == 400


async def test_origins(port: int) -> None:
    own = f"http://127.0.0.1:{port}"
    assert await dial(port, origin=own) is None
    for origin in ("http://127.0.0.1", "http://evil.example", "null", f"{own}.evil.example", "%"):
        assert await dial(port, origin=origin) == 403, origin
    assert await dial(port, additional_headers=[("Origin", own), ("Origin", own)]) == 400


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("chat.example", "http://chat.example", 101),
        ("chat.example", "http://chat.example:80", 101),
        ("chat.example:80", "http://chat.example", 101),
        ("Chat.Example", "https://chat.example", 101),
        ("chat.example:443", "https://chat.example", 101),
        ("[::1]:8765", "http://[::1]:8765", 101),
        ("chat.example", "https://chat.example:8443", 403),
        ("chat.example:8080", "http://chat.example", 403),
        ("chat.example", "ftp://chat.example", 403),
        ("chat.example", "http://user@chat.example", 403),
        ("chat.example", "http://[", 403),
    ],
)
async def test_origins_behind_names(port: int, host: str, origin: str, status: int) -> None:
    answer = await ask(port, "GET", "/ws", {**UPGRADE, "Host": host, "Origin": origin})
    assert answer.status == status
