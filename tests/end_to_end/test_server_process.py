"""A server in a process of its own: how it exits, what it leaks, how it lacks descriptors."""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import subprocess
import sys
import urllib.request
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
from transport.peer import CLOSE, HANDSHAKE, TEXT, close_payload, frame

from wscore.trio import ConnectionClosed, connect_websocket

PROGRAM = Path(__file__).with_name("echo_program.py")
TIMEOUT = 100

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the program reads /proc"
)


class Server:
    """The process, and what it says."""

    def __init__(self, process: trio.Process, log: Path, port: int) -> None:
        self.process, self.log, self.port = process, log, port

    async def report(self) -> dict[str, object]:
        url = f"http://127.0.0.1:{self.port}/counters"

        def get():
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
                return json.load(response)

        return await trio.to_thread.run_sync(get)

    async def report_when(self, condition) -> dict[str, object]:
        """What it says as soon as it meets a condition; another process has no Event for us.

        Gives up if its counters stand still, however long they move before.
        """
        before: list[object] = []
        with trio.fail_after(TIMEOUT) as scope:
            while not condition(report := await self.report()):
                counters = [report[name] for name in ("accepted", "ended", "handled")]
                if counters != before:
                    before = counters
                    scope.deadline = trio.current_time() + TIMEOUT
                await trio.sleep(0.02)
        return report

    async def wait_line(self) -> None:
        while not self.lines():  # noqa: ASYNC110
            await trio.sleep(0.01)

    def processor_seconds(self) -> float:
        """What it has used of a processor so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")  # of the user, of the system

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()


@asynccontextmanager
async def running(tmp_path, *, descriptors: int = 0, grace: float = 10, limit: float = TIMEOUT):
    log = tmp_path / "log"
    command = [sys.executable, str(PROGRAM), str(descriptors), str(grace)]
    with trio.fail_after(limit), ExitStack() as stack:
        stderr = stack.enter_context(log.open("wb"))
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=stderr)
        try:
            line = b""
            while not line.endswith(b"\n"):
                line += await process.stdout.receive_some()
            yield Server(process, log, int(line))
        finally:
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()
                await process.stdout.aclose()


async def connect(nursery, server, path="/"):
    return await connect_websocket(nursery, "127.0.0.1", server.port, path, use_ssl=False)


async def raw(server, path="/"):
    """A client that shakes hands and then neither reads nor writes."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    await stream.send_all(HANDSHAKE.replace(b"/chat?room=1", path.encode()))
    return stream


# Exit


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_tells_clients_and_exits_with_0(tmp_path, nursery, number):
    async with running(tmp_path) as server:
        clients = [await connect(nursery, server) for _ in range(10)]
        server.process.send_signal(number)
        for client in clients:
            with pytest.raises(ConnectionClosed) as info:
                await client.get_message()
            assert info.value.reason.code == 1001
            await client.aclose()
        assert await server.process.wait() == 0
    assert server.lines() == [f"INFO wscore.trio: {number.name}: stopping"]


async def test_clients_that_never_read_do_not_hold_the_exit_up(tmp_path):
    async with running(tmp_path, grace=1) as server:
        streams = [await raw(server, path) for path in ("/flood", "/stubborn", "/") * 5]
        streams.append(await trio.open_tcp_stream("127.0.0.1", server.port))
        await server.report_when(lambda report: report["open"] == 15)
        server.process.send_signal(signal.SIGTERM)
        assert await server.process.wait() == 0
        for stream in streams:
            await stream.aclose()
    assert not any("Traceback" in line for line in server.lines())


async def test_second_signal_exits_at_once(tmp_path):
    async with running(tmp_path, grace=1000) as server:
        stream = await raw(server, "/stubborn")
        await server.report_when(lambda report: report["open"] == 1)
        server.process.send_signal(signal.SIGTERM)
        await server.wait_line()
        server.process.send_signal(signal.SIGTERM)
        assert await server.process.wait() == 0
        await stream.aclose()


# Leaks


async def test_5000_connections_leave_nothing_behind(tmp_path):
    """Closed properly, dropped, reset, or gone in the middle of a request, many at a time."""

    message, echo = (frame(TEXT, b"x" * 5000, mask=mask) for mask in (True, False))
    close = frame(CLOSE, close_payload(1000))

    async def client(server, number):
        kind = number % 5
        with trio.socket.socket() as sock:
            await sock.connect(("127.0.0.1", server.port))
            await sock.send(HANDSHAKE[: -9 if kind == 0 else None])
            if kind == 1:
                reset = struct.pack("ii", 1, 0)
                sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, reset)
            elif kind > 1:
                assert (await sock.recv(4096)).startswith(b"HTTP/1.1 101 ")
            if kind > 2:
                await sock.send(message)
                received = b""
                while len(received) < len(echo):
                    received += await sock.recv(65536)
                assert received == echo
            if kind == 4:
                await sock.send(close)
                while await sock.recv(4096):
                    pass

    async def clients(server, numbers):
        for number in numbers:
            with trio.fail_after(TIMEOUT):
                await client(server, number)

    async def crowd(server, size, concurrency=20):
        before = (await server.report())["handled"]
        async with trio.open_nursery() as nursery:
            for begin in range(concurrency):
                nursery.start_soon(clients, server, range(begin, size, concurrency))
        return await server.report_when(
            lambda report: report["open"] == 0 and report["handled"] == before + size
        )

    # All together may take as long as they like; no single one may hang.
    async with running(tmp_path, limit=math.inf) as server:
        before = await crowd(server, 500)
        after = await crowd(server, 5000)
    # Of each five one hangs up, and one is reset, before the handshake is done, maybe.
    assert after["accepted"] - before["accepted"] >= 3000
    assert after["accepted"] == after["ended"] == sum(after["closed"].values())
    assert after["descriptors"] == before["descriptors"]
    assert after["tasks"] == before["tasks"]
    assert after["memory"] - before["memory"] < 1024, "KiB"
    levels = {line.split()[0] for line in server.lines()}
    assert levels <= {"INFO"}


# Descriptors


async def test_without_descriptors_clients_wait_and_nobody_is_lost(tmp_path, nursery):
    async with running(tmp_path, descriptors=40) as server:
        first = [await connect(nursery, server) for _ in range(10)]
        waiting = [await raw(server) for _ in range(60)]
        await server.wait_line()
        for client in first:  # those who are in are served
            await client.send_message("still here")
            assert await client.get_message() == "still here"
        before = server.processor_seconds()
        await trio.sleep(1)
        assert server.processor_seconds() - before < 0.2  # it does not try all the time
        # Room for the others, one after the other.
        for client in first:
            await client.aclose()
        for stream in waiting:
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
            await stream.aclose()
        assert (await server.report())["accepted"] == 70
    warnings = [line for line in server.lines() if not line.startswith("INFO")]
    assert warnings == [
        "WARNING wscore.trio: new connections wait, as none can be accepted: Too many open files"
    ]
