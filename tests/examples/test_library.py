"""The examples of using the library, each as its users start it, with peers of other makes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import websockets
from end_to_end.other_clients import Aiohttp, Websockets, run_apart
from end_to_end.other_servers import in_thread, serve_websockets
from examples.program import SECONDS, environment, running, started
from ports import reserved_port
from websockets.sync.client import connect as connect_to

connect = partial(connect_to, proxy=None, open_timeout=SECONDS, ping_interval=None)

MESSAGES = ["", "grüß dich", "x" * 100_000, b"", bytes(range(256)) * 100]


def run(name: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"wscore.examples.{name}", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        **options,
    )


@pytest.mark.parametrize("name", ["asyncio_protocol", "blocking_socket", "asgi_endpoint"])
def test_echo_servers(name: str) -> None:
    async def talk(kind: Any, address: str) -> None:
        async with kind(f"ws://{address}/path?query") as client:
            for message in MESSAGES:
                await client.send(message)
                assert await client.receive() == message
            if kind.fragments:
                await client.send_fragments(["one ", "", "zwö", "lf"])
                assert await client.receive() == "one zwölf"
            await client.ping()
            await client.close(4000, "bye")

    with running(name) as address:
        for kind in (Websockets, Aiohttp):
            run_apart(talk(kind, address))
        host, port = address.split(":")
        for data in (b"", b"garbage\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
            with socket.create_connection((host, int(port)), timeout=SECONDS) as raw:
                raw.sendall(data)
                raw.shutdown(socket.SHUT_WR)
                try:
                    while raw.recv(65536):
                        pass
                except ConnectionResetError:
                    pass
        # A violation, and a message that is too large, end their connection with the right code.
        for frame, code in ((b"\xf1\x80abcd", 1002), (b"\x82\xff" + bytes(4) + b"\xff" * 8, 1009)):
            with connect(f"ws://{address}/", compression=None) as client:
                client.socket.sendall(frame)
                with pytest.raises(websockets.ConnectionClosed):
                    client.recv(timeout=SECONDS)
                assert client.protocol.close_code == code
        run_apart(talk(Websockets, address))


def test_asyncio_protocol_says_goodbye_when_it_stops() -> None:
    with running("asyncio_protocol") as address:
        client = connect(f"ws://{address}/", legacy=True)
    with pytest.raises(websockets.ConnectionClosed):
        client.recv(timeout=SECONDS)
    assert client.close_code == 1001


def test_asgi_endpoint_runs_an_application(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
async def application(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    if scope["path"] == "/grüß":
        await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][-1],
                    "headers": [(b"x-mine", b"yes")]})
        await send({"type": "websocket.send", "text": scope["query_string"].decode()})
        await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
    else:
        await send({"type": "websocket.close"})
"""
    )
    saved = os.getcwd()
    os.chdir(tmp_path)
    try:
        with running("asgi_endpoint", "mine:application") as address:
            url = f"ws://{address}/gr%C3%BC%C3%9F?a=1"
            with connect(url, subprotocols=["a", "b"]) as client:
                assert client.subprotocol == "b"
                assert client.response.headers["x-mine"] == "yes"
                assert client.recv(timeout=SECONDS) == "a=1"
                with pytest.raises(websockets.ConnectionClosed):
                    client.recv(timeout=SECONDS)
                assert (client.close_code, client.close_reason) == (4001, "enough")
            with pytest.raises(websockets.InvalidStatus, match="403"):
                connect(f"ws://{address}/", legacy=True)
    finally:
        os.chdir(saved)


@pytest.fixture(scope="module")
def other_server() -> Iterator[str]:
    """websockets' own server, in a thread of its own."""
    with in_thread(serve_websockets) as address:
        yield address


def test_blocking_socket_is_a_client_too() -> None:
    with running("blocking_socket") as address:
        port = address.split(":")[1]
        ran = run("blocking_socket", "--port", port, "--say", "grüß")
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "grüß\n", "")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals one thread by its number")
@pytest.mark.parametrize("name", ["blocking_socket", "raw_handshake"])
def test_a_signal_that_another_thread_takes_ends_it_all_the_same(name: str) -> None:
    """As one may that has been stopped: the main thread then waits on, in its system call."""
    with started(name) as (process, address), connect(f"ws://{address}/") as client:
        client.send("x")
        client.recv(timeout=SECONDS)
        (other,) = {int(task) for task in os.listdir(f"/proc/{process.pid}/task")} - {process.pid}
        os.kill(other, signal.SIGTERM)


def test_http2_bootstrap() -> None:
    ran = run("http2_bootstrap", "one", "zwölf " * 100)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == ["one", "zwölf " * 100]


def test_custom_extension() -> None:
    ran = run("custom_extension", "Hello, Welt")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert b"Uryyb, Jryg".decode() in ran.stdout
    assert "Hello, Welt" in ran.stdout


def test_broadcast_ticker_tells_all() -> None:
    with (
        running("broadcast_ticker", "--every", "0.05") as address,
        connect(f"ws://{address}/") as one,
        connect(f"ws://{address}/") as two,
    ):
        one.send("nobody asked")
        price = two.recv(timeout=SECONDS)
        assert float(price) >= 1
        assert price in (one.recv(timeout=SECONDS) for _ in range(10_000))


def test_reconnecting_client_comes_back() -> None:
    with reserved_port() as port:
        address = f"127.0.0.1:{port}"
        with running("group_chat", "--port", str(port)):
            url = f"ws://{address}/ws"
            process = subprocess.Popen(
                [sys.executable, "-m", "wscore.examples.reconnecting_client", url],
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            assert process.stdout.readline() == f"connected to {address}\n"
            with connect(url) as other:
                other.send("one")
                assert process.stdout.readline() == "one\n"
        # The server has stopped with 1001; another one takes its place.
        with running("group_chat", "--port", str(port)):
            assert process.stdout.readline() == f"connected to {address}\n"
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=SECONDS) == ("", "")
    assert process.returncode == 0


def test_reconnecting_client_gives_up_where_it_is_refused(other_server: str) -> None:
    ran = run("reconnecting_client", f"ws://{other_server}/refuse")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("cannot connect: ")
    assert "403" in ran.stderr
    assert run("reconnecting_client").returncode == 2
    assert "cannot connect" in run("reconnecting_client", "http://x").stderr
