"""Listening on Unix sockets, and what becomes of their files."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys

import pytest
import trio

from wscore.trio import WebSocketServer, open_unix_listener, wrap_client_stream

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="trio has no Unix sockets on Windows"
)


async def echo(request):
    connection = await request.accept()
    while True:
        await connection.send_message(await connection.get_message())


async def check_echo(path):
    stream = await trio.open_unix_socket(path)
    async with trio.open_nursery() as nursery:
        connection = await wrap_client_stream(nursery, stream, "localhost", "/")
        await connection.send_message("x")
        assert await connection.get_message() == "x"
        await connection.aclose()


async def test_server_on_a_unix_socket(tmp_path):
    path = tmp_path / "socket"
    server = WebSocketServer(echo, [await open_unix_listener(path)])
    assert server.listeners == [f"unix:{path}"]
    with pytest.raises(RuntimeError, match="no port"):
        server.port
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        await check_echo(path)
        await server.aclose()
    assert not path.exists()


async def test_file_goes_when_the_server_is_cancelled(tmp_path):
    path = tmp_path / "socket"
    async with trio.open_nursery() as nursery:
        await nursery.start(WebSocketServer(echo, [await open_unix_listener(path)]).run)
        nursery.cancel_scope.cancel()
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
async def test_permissions(tmp_path, mode):
    path = tmp_path / "socket"
    async with await open_unix_listener(path, mode=mode):
        assert stat.S_IMODE(path.stat().st_mode) == mode


async def test_file_of_a_dead_server_is_replaced(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
        dead.listen()
    async with trio.open_nursery() as nursery:
        await nursery.start(WebSocketServer(echo, [await open_unix_listener(path)]).run)
        await check_echo(path)
        nursery.cancel_scope.cancel()


async def test_living_server_is_left_alone(tmp_path):
    path = str(tmp_path / "socket")
    async with trio.open_nursery() as nursery:
        await nursery.start(WebSocketServer(echo, [await open_unix_listener(path)]).run)
        with pytest.raises(OSError) as info:
            await open_unix_listener(path)
        assert info.value.errno == errno.EADDRINUSE
        await check_echo(path)
        nursery.cancel_scope.cancel()


async def test_what_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OSError) as info:
        await open_unix_listener(path)
    assert info.value.errno == errno.EADDRINUSE
    assert path.read_text() == "data"


async def test_file_of_a_successor_is_left_alone(tmp_path):
    path = tmp_path / "socket"
    first = await open_unix_listener(path)
    path.unlink()  # by somebody who thought it dead
    async with await open_unix_listener(path):
        await first.aclose()
        assert path.exists()
        await first.aclose()
        assert path.exists()


async def test_errors_leave_nothing_open(tmp_path):
    before = os.listdir("/dev/fd")
    for path in (tmp_path / "no" / "such", tmp_path / ("x" * 200)):
        with pytest.raises(OSError):
            await open_unix_listener(path)
    assert len(os.listdir("/dev/fd")) == len(before)


async def test_file_that_is_gone_already(tmp_path):
    path = tmp_path / "socket"
    listener = await open_unix_listener(path)
    path.unlink()
    await listener.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()
