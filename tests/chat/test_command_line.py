"""``wscore chat`` as a user meets it: real processes, ports and signals."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
import trustme
from chat.client import ChatClient, SilentStream
from chat.process import command, environment, serving
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from wscore.trio import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    open_websocket_url,
    wrap_client_stream,
)


async def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; settings are variables of its environment."""

    def wait() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment() | settings,
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
        place = f"127.0.0.1:{server.port}"
        data = tmp_path / "chat.db"
        assert server.line == f"wscore chat on http://{place}/ (data: {data})\n"
        assert server.process.stdout is not None
        second = server.process.stdout.readline()
        assert second == f"WebSocket at ws://{place}/ws, subprotocol chat.wscore.v1\n"
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
        assert (await server.end(signal.SIGTERM))[0] == 0
        for one in idle:
            one.close()
        with pytest.raises(ConnectionClosed):
            await anna.ok("ping")


async def test_one_with_a_full_outbox_does_not_hold_it_up(tmp_path: Path) -> None:
    async with serving(tmp_path, "--rate=0") as server, trio.open_nursery() as nursery:
        stream = SilentStream(await trio.open_tcp_stream("127.0.0.1", server.port))
        silent = ChatClient(await wrap_client_stream(nursery, stream, "127.0.0.1", "/ws"))
        await silent.hello("Silent")
        await silent.ok("join", room="r")
        stream.silent = True
        async with server.client() as anna:
            await anna.hello("Anna")
            await anna.ok("join", room="r")
            for _ in range(100):
                await anna.ok("post", room="r", text="x" * 4000)
            assert await server.end(signal.SIGTERM) == (0, "")
            assert await anna.closed() == 1012
        nursery.cancel_scope.cancel()


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
    ("arguments", "settings", "named"),
    [
        (["--colour"], {}, "--colour"),
        (["--port", "http"], {}, "--port"),
        (["--port", "65536"], {}, "--port"),
        (["extra"], {}, "extra"),
        (["--port"], {}, "--port"),
        (["--hos", "::1"], {}, "--hos"),
        ([], {"WSCORE_RATE": "fast"}, "WSCORE_RATE"),
        (["--config", "missing.toml"], {}, "missing.toml"),
        (["--origin", "example.com"], {}, "--origin"),
        (["--origin", "https://[x]:y"], {}, "origin"),
        (["--tls-cert", "missing.pem"], {}, "missing.pem"),
        (["--tls-key", "missing.pem"], {}, "--tls-key"),
        (["--jwt-key-file", "missing"], {}, "missing"),
        (["--jwt-algorithm", "none"], {"WSCORE_JWT_KEY": "k"}, "--jwt-algorithm"),
        (["--jwt-algorithm", "RS256"], {"WSCORE_JWT_KEY": "k"}, "RS256"),
    ],
)
async def test_wrong_settings(
    tmp_path: Path, arguments: list[str], settings: dict[str, str], named: str
) -> None:
    finished = await run(tmp_path, *arguments, **{"WSCORE_DATA": ":memory:", **settings})
    assert finished.returncode == 2
    assert named in one_line(finished)
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


async def test_settings_from_everywhere(tmp_path: Path) -> None:
    (tmp_path / "chat.toml").write_text(
        'data = "file.db"\nrate = 1\nburst = 2\npresence-limit = 3\norigin = ["http://a.test"]\n'
    )
    async with serving(tmp_path, "--rate=0", WSCORE_CONFIG="chat.toml", WSCORE_BURST="7") as server:
        assert (tmp_path / "file.db").exists()
        url = f"ws://127.0.0.1:{server.port}/ws"
        origin = [(b"Origin", b"http://a.test")]
        async with open_websocket_url(url, extra_headers=origin) as connection:
            limits = (await ChatClient(connection).hello("Anna"))["limits"]
        assert (limits["rate"], limits["burst"], limits["presence"]) == (0, 7, 3)
        with pytest.raises(ConnectionRejected) as caught:
            async with open_websocket_url(url, extra_headers=[(b"Origin", b"http://b.test")]):
                pass
        assert caught.value.status_code == 403


async def test_caps_of_rooms_and_users(tmp_path: Path) -> None:
    for data in (":memory:", "chat.db"):
        async with (
            serving(tmp_path, "--max-rooms=1", "--max-users=1", "--data", data) as server,
            server.client() as anna,
            server.client() as bob,
        ):
            await anna.hello("Anna")
            assert await bob.error("hello", user="Bob") == "limit_reached"
            await anna.ok("join", room="one")
            assert await anna.error("join", room="two") == "limit_reached"


async def test_tokens(tmp_path: Path) -> None:
    secret = "a-secret-of-at-least-32-characters"
    (tmp_path / "key").write_text(f"{secret}\n")
    issued = await run_token(tmp_path, "Anna", "--days=1", WSCORE_JWT_KEY=secret)
    assert (issued.returncode, issued.stderr) == (0, "")
    async with serving(tmp_path, "--jwt-key-file=key") as server, server.client() as anna:
        assert await anna.error("hello", user="Anna") == "unauthorized"
        assert (await anna.ok("hello", token=issued.stdout.strip()))["user"] == "Anna"
        assert await server.end(signal.SIGTERM) == (0, "")


async def test_tokens_of_a_public_key(tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "private.pem").write_bytes(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (tmp_path / "public.pem").write_bytes(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "chat.toml").write_text('jwt-algorithm = ["ES256"]\njwt-audience = "chat"\n')
    config = "--config=chat.toml"
    issued = await run_token(tmp_path, "Anna", config, "--jwt-key-file=private.pem")
    assert (issued.returncode, issued.stderr) == (0, "")
    async with (
        serving(tmp_path, config, "--jwt-key-file=public.pem") as server,
        server.client() as anna,
    ):
        assert (await anna.ok("hello", token=issued.stdout.strip()))["user"] == "Anna"
    public = await run_token(tmp_path, "Anna", config, "--jwt-key-file=public.pem")
    assert public.returncode == 2
    assert public.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "settings", "named"),
    [
        (["Anna"], {}, "WSCORE_JWT_KEY"),
        ([], {"WSCORE_JWT_KEY": "k"}, "USER"),
        (["not a name"], {"WSCORE_JWT_KEY": "k"}, "'not a name'"),
        (["Anna", "--days=0"], {"WSCORE_JWT_KEY": "k"}, "--days"),
        (["Anna", "--days=soon"], {"WSCORE_JWT_KEY": "k"}, "'soon'"),
        (["Anna", "--port=80"], {"WSCORE_JWT_KEY": "k"}, "--port"),
        (["Anna", "--jwt-algorithm=none"], {"WSCORE_JWT_KEY": "k"}, "--jwt-algorithm"),
    ],
)
async def test_tokens_that_cannot_be(
    tmp_path: Path, arguments: list[str], settings: dict[str, str], named: str
) -> None:
    finished = await run_token(tmp_path, *arguments, **settings)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith("wscore chat token: ")
    assert finished.stderr.count("\n") == 1
    assert named in finished.stderr


async def run_token(
    folder: Path, *arguments: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run ``wscore chat token`` to its end."""

    def wait() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "wscore", "chat", "token", *arguments],
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment() | settings,
            timeout=30,
        )

    return await trio.to_thread.run_sync(wait)


async def test_check(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.client() as anna:
        await anna.hello("Anna")
        await anna.ok("join", room="r")
        await anna.ok("post", room="r", text="t")
        await server.end(signal.SIGTERM)
    good = await run(tmp_path, "--check")
    assert (good.returncode, good.stderr) == (0, "")
    assert "chat.db" in good.stdout
    with sqlite3.connect(tmp_path / "chat.db") as database:
        database.execute("UPDATE logs SET last = 9")
    database.close()
    bad = await run(tmp_path, "--check")
    assert bad.returncode == 1
    assert bad.stdout == ""
    assert bad.stderr
    assert "Traceback" not in bad.stderr
    missing = await run(tmp_path, "--check", WSCORE_DATA="missing.db")
    assert missing.returncode == 1
    assert "missing.db" in missing.stderr
    assert not (tmp_path / "missing.db").exists()
    nothing = await run(tmp_path, "--check", "--data", ":memory:")
    assert nothing.returncode == 2
    assert ":memory:" in one_line(nothing)


async def test_retention(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.client() as anna:
        await anna.hello("Anna")
        epoch = (await anna.ok("join", room="r"))["epoch"]
        for n in range(1, 11):
            await anna.ok("post", room="r", text=str(n))
        await server.end(signal.SIGTERM)
    kept = {"position": {"epoch": epoch, "offset": 1}}
    async with (
        serving(tmp_path, "--keep-messages=3", "--rate=0") as server,
        server.client() as anna,
    ):
        await anna.hello("Anna")
        with trio.fail_after(30):
            while not (slice := await anna.ok("join", room="r", **kept))["gap"]:  # noqa: ASYNC110
                await trio.sleep(0.01)  # it trims when it has begun to serve
        assert [message["text"] for message in slice["messages"]] == ["8", "9", "10"]


async def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(tmp_path / "cert.pem", append=True)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with serving(tmp_path, "--tls-cert=cert.pem", "--tls-key=key.pem") as server:
        place = f"127.0.0.1:{server.port}"
        assert server.line.startswith(f"wscore chat on https://{place}/ ")
        assert server.process.stdout is not None
        assert f"wss://{place}/ws" in server.process.stdout.readline()

        def page() -> int:
            with urllib.request.urlopen(f"https://{place}/", context=trusting) as answer:
                return int(answer.status)

        assert await trio.to_thread.run_sync(page) == 200
        origin = [(b"Origin", f"https://{place}".encode())]
        async with open_websocket_url(
            f"wss://{place}/ws", ssl_context=trusting, extra_headers=origin
        ) as connection:
            anna = ChatClient(connection)
            await anna.hello("Anna")
            await anna.ok("join", room="r")
            assert (await anna.ok("post", room="r", text="over TLS"))["offset"] == 1
            # Somebody who speaks plain HTTP there, and somebody who trusts nobody.
            with socket.create_connection(("127.0.0.1", server.port)) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with pytest.raises(HandshakeError):
                async with open_websocket_url(f"wss://{place}/ws", ssl_context=None):
                    pass
            ended: list[tuple[int, str]] = []

            async def end() -> None:
                ended.append(await server.end(signal.SIGTERM))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(end)
                assert await anna.closed() == 1012
        assert ended == [(0, "")]


async def test_a_certificate_and_a_key_that_do_not_match(tmp_path: Path) -> None:
    authority = trustme.CA()
    one, other = authority.issue_cert("a.test"), authority.issue_cert("b.test")
    one.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    other.private_key_pem.write_to_path(tmp_path / "key.pem")
    finished = await run(tmp_path, "--tls-cert=cert.pem", "--tls-key=key.pem")
    assert finished.returncode == 2
    assert "cert.pem and key.pem" in one_line(finished)


async def test_logs_for_programs(tmp_path: Path) -> None:
    async with serving(tmp_path, "--log-format=json", "--log-level=info") as server:
        async with server.client() as anna:
            await anna.hello("Anna")
            await anna.connection.send_message(b"binary")
            await anna.closed()
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(b"nonsense\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 400")
        status, stderr = await server.end(signal.SIGTERM)
    assert status == 0
    lines = [json.loads(line) for line in stderr.splitlines()]
    assert {"info"} == {line["level"] for line in lines}
    assert "wscore.trio" in {line["logger"] for line in lines}
    assert any("400" in line["message"] for line in lines)
    for line in lines:
        assert datetime.fromisoformat(line["time"]).tzinfo is UTC


async def test_a_second_signal_cuts(tmp_path: Path) -> None:
    async with serving(tmp_path, "--log-level=info") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as silent:
            silent.sendall(
                b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            assert silent.recv(1000).startswith(b"HTTP/1.1 101")
            server.process.send_signal(signal.SIGTERM)
            assert silent.recv(1000)[0] == 0x88  # the Close, which is not answered
            status, _ = await server.end(signal.SIGINT)
    assert status == 0
