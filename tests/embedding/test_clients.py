"""Clients written for wsproto, run on wscore unmodified, with servers of other makes.

Each is run on wsproto too, and nothing that it sees may be different.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from end_to_end.other_servers import in_thread, serve_aiohttp, serve_websockets

import wscore

PROGRAM = Path(__file__).with_name("programs") / "client.py"
#: None of them offers compression.
LIBRARIES = ["trio-websocket", "httpx-ws", "httpx-ws, asynchronous", "simple-websocket"]


#: Servers, and what they do after the first message on which path.
SERVERS = {
    "websockets": (serve_websockets, ["/close", "/ping", "/fragments"]),
    "aiohttp": (serve_aiohttp, ["/close", "/ping"]),  # which cannot send fragments
}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[str]]]:
    """A server of another make, in a thread of its own: its URL, and paths."""
    serve_it, paths = SERVERS[request.param]
    with in_thread(serve_it) as address:
        yield f"ws://{address}", paths


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
    assert ours["pong"] is (None if library == "simple-websocket" else True)
    assert ours["told"] == [[4000, "tschüß"]]
    assert ours["/close"] == [4001, "enough"]
    assert ours["/ping"] == "pong"
    assert "403" in str(ours["/refuse"])
    assert ours.get("/fragments", "grüß") == "grüß"
