"""Servers written for wsproto: how they are started, and what clients of other makes see."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import websocket
from end_to_end.other_clients import (
    Aiohttp,
    Client,
    WebsocketClient,
    Websockets,
    run_apart,
)

import wscore

PROGRAMS = Path(__file__).with_name("programs")
MEBIBYTE = 2**20
MESSAGES = [
    "",
    "grüß dich 🎉",
    b"",
    bytes(range(256)),
    "compressible " * 1000,
    "x" * MEBIBYTE,
    bytes(range(256)) * (MEBIBYTE // 256),
]
CLIENTS = [Websockets, Aiohttp, WebsocketClient]


class Server(NamedTuple):
    """How a server is started, and what it can do.

    Attributes:
        command: What follows ``python -m wscore.as_wsproto``.
        asgi: It serves the application; else its own program does no more than echo.
        compresses: It has permessage-deflate.
        workers: It does its work in processes of its own.
    """

    command: list[str]
    asgi: bool = True
    compresses: bool = True
    workers: bool = False


HYPERCORN = ["-m", "hypercorn", "--bind", "127.0.0.1:0", "--log-level", "info", "application:app"]
UVICORN = ["-m", "uvicorn", "--ws", "wsproto", "--port", "0", "application:app"]
SERVERS = {
    "hypercorn on asyncio": Server([*HYPERCORN, "--worker-class", "asyncio"]),
    "hypercorn on trio": Server([*HYPERCORN, "--worker-class", "trio"]),
    "hypercorn, two workers": Server([*HYPERCORN, "--workers", "2"], workers=True),
    "uvicorn": Server(UVICORN),
    "uvicorn, two workers": Server([*UVICORN, "--workers", "2"], workers=True),
    "trio-websocket": Server(["trio_websocket_server.py"], asgi=False, compresses=False),
    "simple-websocket": Server(["simple_websocket_server.py"], asgi=False, compresses=True),
}


def here() -> dict[str, str]:
    """The environment's variables, with which processes find this wscore."""
    path = str(Path(wscore.__file__).parents[1])
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH")]))
    }


@contextmanager
def running(
    server: Server,
    package: str,
    python: str = sys.executable,
    environment: dict[str, str] | None = None,
) -> Iterator[str]:
    """The server in a process of its own; yields host and port.

    Args:
        server: which one.
        package: what it is to run on, wsproto or wscore.
        python: the interpreter.
        environment: its variables; those of `here` when None.
    """
    process = subprocess.Popen(
        [
            python,
            *(["-m", "wscore.as_wsproto"] if package == "wscore" else []),
            *server.command,
        ],
        cwd=PROGRAMS,
        env=(here() if environment is None else environment) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            found = re.search(r"http://(127\.0\.0\.1:[1-9]\d*)", line)
            if found:
                break
        else:
            raise AssertionError("".join(said))
        if server.asgi:
            wait_ready(found[1])
        else:
            assert said[-1].startswith(f"on {package}: ")
        yield found[1]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def wait_ready(address: str) -> None:
    """Wait for workers, which come after their parent has said its address."""
    host, port = address.split(":")
    for _ in range(600):
        try:
            socket.create_connection((host, int(port))).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("no worker listens")


def get(address: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=30) as response:
        text: str = response.read().decode()
        return text


async def echoes(kind: type[Client], address: str) -> dict[str, Any]:
    """Messages of every kind come back; returns what is the server's to choose."""
    async with kind(f"ws://{address}/echo") as client:
        for message in MESSAGES:
            await client.send(message)
            assert await client.receive() == message
        if kind.fragments:
            await client.send_fragments(["one ", "", "zwö", "lf"])
            assert await client.receive() == "one zwölf"
        await client.ping()
        await client.close(4000, "tschüß")
        return {
            "subprotocol": client.subprotocol,
            "compressed": client.compressed if kind.compresses else None,
        }


async def ends(kind: type[Client], address: str) -> dict[str, Any]:
    """How connections and handshakes end that the application does not want."""
    seen: dict[str, Any] = {}
    for path in ("/close", "/fail"):
        async with kind(f"ws://{address}{path}") as client:
            if path == "/close":
                await client.send("x")
            try:
                seen[path] = await client.wait_closed()
            except (AssertionError, websocket.WebSocketException) as error:
                seen[path] = type(error)  # not with a Close
    for path in ("/refuse", "/deny"):
        seen[path] = await kind.refusal(f"ws://{address}{path}")
    return seen


def observe(
    server: Server,
    package: str,
    python: str = sys.executable,
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Everything that can be seen of a server; see `running`."""
    seen: dict[str, Any] = {}
    with running(server, package, python, environment) as address:
        if server.asgi:
            assert get(address, "/who") == package
        for kind in CLIENTS:
            seen[kind.__name__] = run_apart(echoes(kind, address))
            if server.asgi:
                seen[kind.__name__] |= run_apart(ends(kind, address))
        if server.asgi and not server.workers:
            seen["told"] = told(address)
    return seen


def told(address: str) -> object:
    """What the application was told of its connections' ends, once it was told of all."""
    for _ in range(100):
        ended: list[object] = json.loads(get(address, "/ended"))
        if len(ended) == len(CLIENTS):
            break
        time.sleep(0.05)
    return ended


def check(server: Server, seen_by: dict[str, Any]) -> None:
    """What clients saw is what the server was told to do."""
    for kind in CLIENTS:
        seen = seen_by[kind.__name__]
        assert seen["subprotocol"] == "b"
        assert seen["compressed"] is (server.compresses if kind.compresses else None)
        if server.asgi:
            assert seen["/close"] == (4001, "enough")
            assert seen["/refuse"][0] == 403
            assert seen["/deny"] == (401, b"no\n" if kind.tells_body else None)
