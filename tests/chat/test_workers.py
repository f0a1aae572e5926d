"""``--workers N``: clients of all of them when they stop, and what they say of the engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from chat.client import ChatClient
from chat.plain_http import ask
from chat.process import Server, environment, serving
from chat.redis_server import redis_server
from chat.shared_prover import ALWAYS

from wscore.trio import ConnectionClosed

WORKERS, CLIENTS = 3, 12


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder, *ALWAYS) as server:
        yield server.url


async def talk(client: ChatClient, acknowledged: list[str]) -> int:
    """Post again and again until the connection is closed; returns its close code."""
    try:
        while True:
            message = await client.receive()
            if message["type"] == "ok":
                acknowledged.append(f"{message['epoch']}-{message['offset']}")
                await client.send("post", room="r", text="x")
    except ConnectionClosed as error:
        return error.reason.code


async def test_sigterm_drains_all_of_them(tmp_path: Path, url: str) -> None:
    """Each client is told, in whichever process it is, and what was acknowledged is there."""
    arguments = "--engine", url, "--workers", str(WORKERS), "--rate", "0", "--log-level", "error"
    acknowledged: list[str] = []
    codes: list[int] = []
    async with serving(tmp_path, *arguments) as server, trio.open_nursery() as nursery:

        async def client(number: int, task_status: trio.TaskStatus[None]) -> None:
            async with server.client() as found:
                await found.hello(f"User{number}")
                await found.ok("join", room="r")
                await found.send("post", room="r", text="x")
                task_status.started()
                codes.append(await talk(found, acknowledged))

        for number in range(CLIENTS):
            await nursery.start(client, number)
        with trio.fail_after(60):
            while len(acknowledged) < 10 * CLIENTS:  # noqa: ASYNC110
                await trio.sleep(0.01)
        status, stderr = await server.end(signal.SIGTERM)
        with trio.fail_after(60):
            while len(codes) < CLIENTS:  # noqa: ASYNC110
                await trio.sleep(0.01)
    assert (status, stderr) == (0, "")
    assert codes == [1012] * CLIENTS
    assert len(acknowledged) == len(set(acknowledged))
    async with serving(tmp_path, "--engine", url) as server, server.client() as late:
        await late.hello("Late")
        joined = await late.ok("join", room="r")
        assert joined["offset"] >= len(acknowledged)
        assert {each.partition("-")[0] for each in acknowledged} == {joined["epoch"]}
        assert max(int(each.partition("-")[2]) for each in acknowledged) <= joined["offset"]


async def engines(server: Server) -> tuple[str, bool]:
    """The engine as health and figures have it."""
    health = await ask(server.port, "GET", "/healthz")
    figures = (await ask(server.port, "GET", "/metrics")).body.decode()
    assert health.status == 200
    return json.loads(health.body)["engine"], 'engine_info{engine="redis"} 1.0' in figures


async def test_each_of_them_tells_of_the_engine(tmp_path: Path, url: str) -> None:
    async with serving(tmp_path, "--engine", url, "--workers", str(WORKERS)) as server:
        for _ in range(3 * WORKERS):  # whoever answers
            assert await engines(server) == ("redis", True)


SUPERVISED = r"""
import os, sys
from wscore.chat.workers import supervise

def work(place):
    os.write(1, b"%d\n" % os.getpid())
    os.read(0, 1)
    return 1

sys.exit(supervise(8, work))
"""


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_workers_that_end_at_the_same_moment() -> None:
    """Whoever has ended is sent no signal: the id may be another process's by then."""
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            workers = [int(process.stdout.readline()) for _ in range(8)]
            os.kill(process.pid, signal.SIGSTOP)
            process.stdin.close()
            while not all(map(is_zombie, workers)):
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGCONT)
            assert (process.stderr.read(), process.wait()) == ("", 1)
        finally:
            process.kill()
