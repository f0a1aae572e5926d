"""``wscore chat`` as a user meets it: real processes, ports and signals."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from chat.process import command, environment, serving

from wscore.trio import ConnectionClosed


async def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""

    def wait() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment(),
            timeout=30,
        )

    return await trio.to_thread.run_sync(wait)


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.fixture
def occupied() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        yield somebody.getsockname()[1]


async def test_it_says_where_it_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert server.line == f"wscore chat on http://127.0.0.1:{server.port}/ (data: chat.db)\n"
        assert "chat.db" in files(tmp_path)
        async with server.client() as anna:
            await anna.hello("Anna")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_stops_cleanly(tmp_path: Path, number: int) -> None:
    async with serving(tmp_path) as server, server.client() as anna:
        await anna.hello("Anna")
        status: list[tuple[int, str]] = []
        async with trio.open_nursery() as nursery:

            async def end() -> None:
                status.append(await server.end(number))

            nursery.start_soon(end)
            assert await anna.closed() == 1012
        assert status == [(0, "")]
    async with serving(tmp_path) as server:
        pass


async def test_clients_that_never_read_do_not_hold_it_up(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.client() as anna:
        await anna.hello("Anna")
        await anna.ok("join", room="r")
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
        with trio.fail_after(15):  # ten seconds and some for a busy machine
            assert (await server.end(signal.SIGTERM))[0] == 0
        for one in idle:
            one.close()
        with pytest.raises(ConnectionClosed):
            await anna.ok("ping")


async def test_memory(tmp_path: Path) -> None:
    async with serving(tmp_path, "--data", ":memory:") as server, server.client() as anna:
        assert server.line.endswith("(data: :memory:)\n")
        await anna.hello("Anna")
        assert files(tmp_path) == set()


async def test_ipv6(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with serving(tmp_path, "--host", "::1") as server:
        assert "http://[::1]:" in server.line


def one_line(finished: subprocess.CompletedProcess[str]) -> str:
    assert finished.stdout == ""
    assert finished.stderr.count("\n") == 1
    assert finished.stderr.startswith("wscore chat: ")
    return finished.stderr


async def test_an_occupied_port(tmp_path: Path, occupied: int) -> None:
    finished = await run(tmp_path, "--port", str(occupied))
    assert finished.returncode == 1
    line = one_line(finished)
    assert str(occupied) in line
    assert os.strerror(errno.EADDRINUSE) in line


async def test_an_address_that_is_none(tmp_path: Path) -> None:
    finished = await run(tmp_path, "--host", "no.such.host.invalid", "--port", "0")
    assert finished.returncode == 1
    assert "no.such.host.invalid" in one_line(finished)


async def test_an_unwritable_data_path(tmp_path: Path) -> None:
    for path in ("missing/chat.db", ".", "/proc/chat.db"):
        finished = await run(tmp_path, "--port", "0", "--data", path)
        assert finished.returncode == 1
        assert path in one_line(finished)


async def test_data_that_is_in_use(tmp_path: Path) -> None:
    async with serving(tmp_path):
        finished = await run(tmp_path, "--port", "0")
    assert finished.returncode == 1
    assert "another server" in one_line(finished)


@pytest.mark.parametrize(
    "arguments", [["--colour"], ["--port", "http"], ["--port", "65536"], ["extra"], ["--port"]]
)
async def test_unknown_options(tmp_path: Path, arguments: list[str]) -> None:
    finished = await run(tmp_path, *arguments)
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    assert finished.stderr.startswith("usage: wscore chat")
    assert files(tmp_path) == set()


async def test_help(tmp_path: Path) -> None:
    finished = await run(tmp_path, "--help")
    assert finished.returncode == 0
    for option in ("--host", "--port", "--data"):
        assert option in finished.stdout


async def test_peers_mistakes_leave_no_traceback(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for data in (
            b"",
            b"\r\n\r\n",
            b"\x16\x03\x01\x00",
            b"GET /ws HTTP/1.1\r\n\r\n",
            b"x" * 70000,
        ):
            with socket.create_connection(("127.0.0.1", server.port)) as raw:
                raw.sendall(data)
        async with server.client() as anna, server.client() as bob:
            await anna.hello("Anna")
            await anna.connection.send_message("nonsense")
            assert (await anna.reply(None))["code"] == "malformed"
            await anna.connection.send_message(b"binary")
            assert await anna.closed() == 1003
            await bob.hello("Bob")
        assert await server.end(signal.SIGTERM) == (0, "")
