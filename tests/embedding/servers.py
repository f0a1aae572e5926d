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
from contextlib import closing, contextmanager
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
OPCODE_TEXT, OPCODE_CLOSE, OPCODE_PING = 1, 8, 9
UNMASKED = bytes(4)
#: What no client may send after the handshake, or seldom does; and the code of the answer.
FAULTS = {
    "a text that is not UTF-8": (b"\x81\x81" + UNMASKED + b"\xff", 1007),
    "a reserved opcode": (b"\x83\x80" + UNMASKED, 1002),
    "a reserved bit": (b"\xa1\x81" + UNMASKED + b"x", 1002),
    "a frame without a mask": (b"\x81\x01x", 1002),
    "a continuation of nothing": (b"\x80\x80" + UNMASKED, 1002),
    "a ping in two frames": (b"\x09\x80" + UNMASKED, 1002),
    "a code that is never sent": (b"\x88\x82" + UNMASKED + b"\x03\xed", 1002),
    "a Close without a code": (b"\x88\x80" + UNMASKED, None),
}
HANDSHAKE = {
    "Host": "localhost",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
#: Fields of requests that are no handshakes; the answer is the server's to choose.
BAD_HANDSHAKES: list[dict[str, str]] = [
    {"Sec-WebSocket-Key": ""},
    {"Sec-WebSocket-Version": ""},
    {"Sec-WebSocket-Version": "12"},
]


class Server(NamedTuple):
    """How a server is started, and what it can do.

    Attributes:
        command: What follows ``python -m wscore.as_wsproto``.
        asgi: It serves the application; else its own program does, as far as its library can.
            What it cannot: say which package it runs on; outlive an exception of a handler.
        compresses: It has permessage-deflate.
        limit: Bytes of the largest message; None where none is set.
        pings: What a client sees that answers its first ping only: opcodes and payloads, up to
            what is no ping. None where the server pings for its own ends, out of an
            application's reach.
        blunt: It tells the peer of a violation on wsproto, too. The others ask for the
            connection's state first, and there say nothing: the difference "the state after a
            violation" in `wsproto_differences`.
        told: With what the application is told that the client has closed.
        workers: It does its work in processes of its own.
    """

    command: list[str]
    asgi: bool = True
    compresses: bool = True
    workers: bool = False
    limit: int | None = None
    pings: list[tuple[int, bytes]] | None = None
    blunt: bool = False
    told: tuple[int, str] = (4000, "tschüß")


#: What is in the traceback of a worker that did not mind that sending takes time.
HYPERCORNS_OWN = ("hypercorn/trio/tcp_server.py", "trio.BusyResourceError: another task")
HYPERCORN = ["-m", "hypercorn", "--bind", "127.0.0.1:0", "--log-level", "info", "application:app"]
UVICORN = ["-m", "uvicorn", "--ws", "wsproto", "--port", "0", "application:app"]
SERVERS = {
    # Hypercorn tells its application neither code nor reason.
    "hypercorn on asyncio": Server([*HYPERCORN, "--worker-class", "asyncio"], told=(1006, "")),
    "hypercorn on trio": Server([*HYPERCORN, "--worker-class", "trio"], told=(1006, "")),
    "hypercorn, two workers": Server([*HYPERCORN, "--workers", "2"], workers=True),
    "uvicorn": Server(UVICORN),
    "uvicorn, two workers": Server([*UVICORN, "--workers", "2"], workers=True),
    "trio-websocket": Server(
        ["trio_websocket_server.py"],
        asgi=False,
        compresses=False,  # it has no extensions
        limit=2**21,
        pings=[(OPCODE_PING, b"p"), (OPCODE_TEXT, b"pong")],
    ),
    "simple-websocket": Server(
        ["simple_websocket_server.py"],
        asgi=False,
        limit=2**21,
        pings=[
            (OPCODE_PING, b""),
            (OPCODE_PING, b""),
            (OPCODE_CLOSE, b"\x03\xf0Ping/Pong timeout"),
        ],
        blunt=True,
    ),
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
    except BaseException as error:
        # One that is dying of itself still has to say what of.
        error.add_note(f"It said:\n{''.join(said)}{stop(process)}")
        raise
    stop(process)
    assert process.returncode != -signal.SIGKILL, "it did not stop"


def stop(process: subprocess.Popen[str]) -> str:
    """End a server, in peace if it can; returns what it had still to say."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.communicate(timeout=60)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0]


def wait_ready(address: str) -> None:
    """Wait for workers, which come after their parent has said its address."""
    host, port = address.split(":")
    for _ in range(1200):
        try:
            socket.create_connection((host, int(port))).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("no worker listens")


def get(address: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=60) as response:
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


async def ends(kind: type[Client], address: str, *, fails: bool) -> dict[str, Any]:
    """How connections and handshakes end that the application does not want."""
    seen: dict[str, Any] = {}
    for path in ("/close", "/fail") if fails else ("/close",):
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
    """Everything that can be seen of a server; see `running`.

    Without the answers to faults where a server that is not blunt runs on wsproto: it has none.
    Hypercorn's worker on trio dies now and then, on either package: of an answer to a Close while
    another task of it ends the same connection. Then everything is seen anew.
    """
    for _ in range(10):
        try:
            return _observe(server, package, python, environment)
        except Exception as error:
            if not all(mark in "".join(getattr(error, "__notes__", ())) for mark in HYPERCORNS_OWN):
                raise
            ended = error
    raise ended


def _observe(
    server: Server, package: str, python: str, environment: dict[str, str] | None
) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    with running(server, package, python, environment) as address:
        if server.asgi:
            assert get(address, "/who") == package
        for kind in CLIENTS:
            seen[kind.__name__] = run_apart(echoes(kind, address))
            seen[kind.__name__] |= run_apart(ends(kind, address, fails=server.asgi))
        if not server.workers:
            seen["told"] = told(address, len(CLIENTS))
        seen["faults"] = {name: answer(address, sent) for name, (sent, _) in FAULTS.items()}
        if not server.blunt and package == "wsproto":
            assert seen["faults"] == {
                name: None if code is None else "no Close" for name, (_, code) in FAULTS.items()
            }
            del seen["faults"]
        if not server.workers:  # the reasons are the package's own words
            ended = told(address, len(CLIENTS) + len(FAULTS))
            seen["told of faults"] = sorted(code for code, _ in ended[len(CLIENTS) :])
        # Last: simple-websocket's application is not always told of this end.
        if server.limit is not None:
            seen["too large"] = answer(address, too_large(server.limit))
        seen["handshakes"] = [status(address, changed) for changed in BAD_HANDSHAKES]
        if server.pings is not None:
            seen["pings"] = pinged(address)
    return seen


def told(address: str, count: int) -> list[tuple[int, str]]:
    """What the application was told of its connections' ends, once it was told of so many."""
    for _ in range(1200):  # a minute
        with closing(websocket.create_connection(f"ws://{address}/ended")) as ws:
            ended: list[tuple[int, str]] = json.loads(ws.recv())
        if len(ended) == count:
            break
        time.sleep(0.05)
    return ended


def too_large(limit: int) -> bytes:
    """A frame with a message of one byte more than the limit."""
    size = limit + 1
    return b"\x82\xff" + size.to_bytes(8, "big") + UNMASKED + bytes(size)


def answer(address: str, sent: bytes) -> int | str | None:
    """The code of the Close with which the server answers; None where it has none."""
    with closing(websocket.create_connection(f"ws://{address}/echo", timeout=60)) as ws:
        ws.sock.sendall(sent)
        try:
            frame = ws.recv_frame()
        except (ConnectionError, websocket.WebSocketConnectionClosedException):
            return "no Close"
        assert frame.opcode == OPCODE_CLOSE
        return int.from_bytes(frame.data[:2], "big") or None


def status(address: str, changed: dict[str, str]) -> str:
    """The status with which a handshake is answered in which these fields are different."""
    fields = "".join(
        f"{name}: {value}\r\n" for name, value in (HANDSHAKE | changed).items() if value
    )
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as peer:
        peer.sendall(f"GET /echo HTTP/1.1\r\n{fields}\r\n".encode())
        return peer.makefile("rb").readline().decode()


def pinged(address: str) -> list[tuple[int, bytes]]:
    """What comes from a server that pings, of which the first ping is answered."""
    seen: list[tuple[int, bytes]] = []
    with closing(websocket.create_connection(f"ws://{address}/ping", timeout=60)) as ws:
        while not seen or seen[-1][0] == OPCODE_PING:
            frame = ws.recv_frame()
            if not seen:
                ws.pong(frame.data)
            seen.append((frame.opcode, frame.data))
    return seen


def check(server: Server, seen_by: dict[str, Any]) -> None:
    """What clients saw is what the server was told to do."""
    for kind in CLIENTS:
        seen = seen_by[kind.__name__]
        assert seen["subprotocol"] == "b"
        assert seen["compressed"] is (server.compresses if kind.compresses else None)
        assert seen["/close"] == (4001, "enough")
        assert seen["/refuse"][0] == 403
        assert seen["/deny"] == (401, b"no\n" if kind.tells_body else None)
    assert seen_by["faults"] == {name: code for name, (_, code) in FAULTS.items()}
    assert seen_by.get("too large") == (None if server.limit is None else 1009)
    assert seen_by.get("pings") == server.pings
    assert all(re.match(r"HTTP/1.1 [45]\d\d ", line) for line in seen_by["handshakes"])
    if not server.workers:
        assert {tuple(end) for end in seen_by["told"]} == {server.told}
