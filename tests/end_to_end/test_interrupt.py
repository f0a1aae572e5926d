"""Ctrl-C in a program that is a server and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from wscore.trio import open_websocket

PROGRAM = Path(__file__).with_name("plain_program.py")
TIMEOUT = 60

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")


async def read_line(stream):
    line = b""
    while not line.endswith(b"\n"):
        line += await stream.receive_some(1)
    return line


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("path", ["/waits", "/sends", "/computes"])
async def test_it_ends_and_says_goodbye(tmp_path, certificate, client_context, path, tls):
    chain, key, log = (tmp_path / name for name in ("chain", "key", "log"))
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(str(chain), append=True)
    certificate.private_key_pem.write_to_path(str(key))

    command = [sys.executable, str(PROGRAM), *([str(chain), str(key)] if tls else [])]
    with log.open("wb") as stderr, trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            start = partial(
                trio.run_process, command, stdout=subprocess.PIPE, stderr=stderr, check=False
            )
            process = await nursery.start(start)
            port = int(await read_line(process.stdout))
            async with open_websocket(
                "localhost", port, path, use_ssl=client_context if tls else False
            ) as connection:
                assert await connection.get_message() == "here"
                assert await read_line(process.stdout) == b"ready\n"
                process.send_signal(signal.SIGINT)
                async for message in connection:  # until the peer closes well
                    assert message == "x" * 100
            assert connection.closed.code == 1001
            status = await process.wait()
    said = log.read_text()
    assert status != 0
    assert "KeyboardInterrupt" in said
    assert "internal error" not in said.lower()
    assert "InternalError" not in said
