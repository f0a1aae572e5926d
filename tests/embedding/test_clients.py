"""Clients written for wsproto, run on wscore unmodified, with servers of other makes.

Each is run on wsproto too, and nothing that it sees may be different.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from end_to_end.other_servers import serve_aiohttp, serve_websockets

import wscore

PROGRAM = Path(__file__).with_name("programs") / "client.py"
LIBRARIES = ["trio-websocket", "httpx-ws", "simple-websocket"]


#: Servers, and what they do after the first message on which path.
SERVERS = {
    "websockets": (serve_websockets, ["/close", "/ping", "/fragments"]),
    "aiohttp": (serve_aiohttp, ["/close", "/ping"]),  # which cannot send fragments
}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[str]]]:
    """A server of another make, in a thread of its own: its URL, and paths."""
    serve_it, paths = SERVERS[request.param]
    ready = threading.Event()
    found: list[Any] = []

    def started(port: int) -> None:
        found.extend([port, asyncio.get_running_loop(), asyncio.current_task()])
        ready.set()

    def serve() -> None:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(serve_it(started))

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(30)
    port, loop, task = found
    yield f"ws://127.0.0.1:{port}", paths
    loop.call_soon_threadsafe(task.cancel)
    thread.join()


def observe(library: str, server: tuple[str, list[str]], package: str) -> Any:
    url, paths = server
    here = Path(wscore.__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(here), os.environ.get("PYTHONPATH")]))
    alias = ["-m", "wscore.as_wsproto"] if package == "wscore" else []
    ran = subprocess.run(
        [sys.executable, *alias, str(PROGRAM), library, url, *paths],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    assert seen.pop("package") == package
    return seen


@pytest.mark.parametrize("library", LIBRARIES)
def test_client(library: str, server: tuple[str, list[str]]) -> None:
    ours = observe(library, server, "wscore")
    assert ours == observe(library, server, "wsproto")
    assert ours["subprotocol"] == "b"
    assert ours["/close"] == [4001, "enough"]
    assert ours["/ping"] == "pong"
    assert "403" in str(ours["/refuse"])
    assert ours.get("/fragments", "grüß") == "grüß"
