"""The load generator notices a server that answers wrong; its connections are real ones."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import wsproto
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Message,
    Ping,
    Pong,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # at the end: wscore itself stays the installed one

from benchmarks import load  # noqa: E402
from benchmarks.load import Load, LoadError, LoadUnavailable, build  # noqa: E402
from benchmarks.servers import send_loop  # noqa: E402

try:
    build()
except LoadUnavailable as unavailable:
    if os.environ.get("WSCORE_REQUIRE_EXT") == "1":  # there has to be a compiler
        raise
    pytest.skip(str(unavailable), allow_module_level=True)

#: What a frame of the server becomes on its way, for the how-manieth message of its connection.
Change = Callable[[bytes, int], bytes]


class Peer:
    """A server of wsproto's, a thread for each connection, that does what it is told to."""

    def __init__(self, **behaviour: Any) -> None:
        self.behaviour = behaviour
        self.members: list[socket.socket] = []
        self.pongs: list[bytes] = []
        self.closes: list[int] = []

    def serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            deflate = self.behaviour.get("deflate", False)
            ws = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
            extensions = [PerMessageDeflate()] if deflate else []
            number, target, text = 0, "", ""
            while data := connection.recv(65536):
                ws.receive_data(data)
                for event in ws.events():
                    if isinstance(event, Request):
                        target = event.target
                        response = ws.send(AcceptConnection(extensions=extensions))
                        response = self.behaviour.get("response", bytes)(response)
                        connection.sendall(response)
                        if target == "/members":
                            self.members.append(connection)
                        if "ping" in self.behaviour:
                            connection.sendall(ws.send(Ping(payload=self.behaviour["ping"])))
                    elif isinstance(event, Message):
                        assert isinstance(event, TextMessage)
                        text += event.data
                        if not event.message_finished:
                            continue
                        frame, text = ws.send(TextMessage(data=text)), ""
                        for at, receiver in enumerate(self.receivers(connection, target)):
                            change = self.behaviour.get("change", lambda frame, number: frame)
                            self.send(receiver, change(frame, number + at))
                        number += 1
                    elif isinstance(event, Pong):
                        self.pongs.append(bytes(event.payload))
                    elif isinstance(event, CloseConnection):
                        self.closes.append(event.code)
                        connection.sendall(ws.send(event.response()))
                        return

    def receivers(self, connection: socket.socket, target: str) -> list[socket.socket]:
        return self.members if target == "/publish" else [connection]

    def send(self, connection: socket.socket, data: bytes) -> None:
        piece = self.behaviour.get("piece", len(data) or 1)
        for at in range(0, len(data), piece):
            connection.sendall(data[at : at + piece])


@contextmanager
def running(**behaviour: Any) -> Iterator[tuple[Load, Peer]]:
    """A load generator before such a server."""
    peer = Peer(**behaviour)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=peer.serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        with Load(listener.getsockname()[1], stall=behaviour.get("stall", 10)) as load:
            yield load, peer
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("size", "depth"), [(0, 1), (5, 1), (32, 64), (125, 1), (126, 3), (65535, 1), (65536, 2)]
)
def test_messages_of_any_size_come_back_whole(size: int, depth: int, piece: int) -> None:
    with running(piece=max(piece, size // 64)) as (load, _):
        assert load.open(3).done == 3
        assert load.echo(3 * depth * 2, size, depth).done == 3 * depth * 2
        assert load.close().done == 3


def instead(wrong: bytes) -> Change:
    return lambda frame, number: wrong if number == 2 else frame


def altered(frame: bytes, number: int) -> bytes:
    return frame[:-1] + b"!" if number == 2 else frame


WRONG: dict[str, tuple[Change, str]] = {
    "another message": (altered, "message 2 is another"),
    "the one before again": (
        lambda frame, number: frame.replace(b"2The", b"1The"),
        "message 2 is another",
    ),
    "a shorter one": (instead(b"\x81\x02ab"), "message 2 is another"),
    "a binary one": (lambda frame, number: b"\x82" + frame[1:], "begins with 0x82, not 0x81"),
    "compressed without being negotiated": (
        lambda frame, number: b"\xc1" + frame[1:],
        "begins with 0xc1, not 0x81",
    ),
    "a fragment": (lambda frame, number: b"\x01" + frame[1:], "begins with 0x01, not 0x81"),
    "two for one": (lambda frame, number: frame * 2, "message 1 is another"),
    "two for the last": (
        lambda frame, number: frame * (2 if number == 3 else 1),
        "one message too many",
    ),
    "nothing": (instead(b""), "no progress in 0.3 s: 2 of 4"),
    "a masked frame": (instead(b"\x81\x82abcdef"), "mask bit is wrong"),
    "a close": (instead(b"\x88\x02\x03\xf3"), "closed by the server with 1011"),
    "a close without a code": (instead(b"\x88\x00"), "closed by the server with 1005"),
    "half a frame": (instead(b"\x81"), "no progress"),
    "a frame without end": (instead(b"\x81\x7f\0\0\0\0\x7f\0\0\0" + bytes(200_000)), "without end"),
}


@pytest.mark.parametrize(("change", "error"), WRONG.values(), ids=WRONG)
def test_a_reply_that_is_not_the_message_is_found(change: Change, error: str) -> None:
    with running(change=change, stall=0.3) as (load, _):
        load.open(1)
        with pytest.raises(LoadError, match=error):
            load.echo(4, 32)
        with pytest.raises(LoadError, match="ended"):
            load.echo(1, 32)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda response: response.replace(b"101", b"403"), "the handshake was refused"),
        (lambda response: response.replace(b"s3pP", b"S3pP"), "another Sec-WebSocket-Accept"),
        (lambda response: response[:-4] + b"\r\nX: permessage-deflate\r\n\r\n", "without an offer"),
        (lambda response: b"x" * 9000, "a response without end"),
    ],
)
def test_a_wrong_handshake_is_found(change: Callable[[bytes], bytes], error: str) -> None:
    with running(response=change) as (load, _), pytest.raises(LoadError, match=error):
        load.open(2)


def test_a_refused_and_a_lost_connection_are_found() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with Load(free.getsockname()[1]) as load, pytest.raises(LoadError, match="refused"):
            load.open(1)
    with (
        running(response=lost) as (load, _),
        pytest.raises(LoadError, match=r"connection \d: lost \(end of stream\)"),
    ):
        load.open(2)


def lost(response: bytes) -> bytes:
    raise ConnectionResetError


def test_pings_are_answered_also_between_commands() -> None:
    with running(ping=b"alive?") as (load, peer):
        load.open(5)
        load.wait(0.01)
        assert load.echo(10, 32).pings == 5
        assert load.close().done == 5
    assert peer.pongs == [b"alive?"] * 5
    assert peer.closes == [1000] * 5


def test_what_is_published_reaches_all_others() -> None:
    with running() as (load, _):
        load.open(4, "/members")
        load.open(1, "/publish")
        for _ in range(2):
            assert load.publish(3, 128).done == 12


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda frame, number: frame[:-1] + b"!" if number == 4 else frame, "is another"),
        (lambda frame, number: b"" if number == 4 else frame, "no progress in 0.3 s: 7 of 12"),
        (lambda frame, number: frame * (2 if number == 4 else 1), "is another|too many"),
    ],
)
def test_a_member_that_is_left_out_or_gets_another_message_is_found(
    change: Change, error: str
) -> None:
    with running(change=change, stall=0.3) as (load, _):
        load.open(4, "/members")
        load.open(1, "/publish")
        with pytest.raises(LoadError, match=error):
            load.publish(3, 128)


def test_connections_are_opened_and_closed() -> None:
    with running() as (load, peer):
        assert load.connect(30, "/", 4).done == 30
        assert peer.closes == [1000] * 30


TEXTS = ["one " * 30, "two, and another one", "three: 三"]


def other(text: str) -> bytes:
    """A compressed frame of another text."""
    body = zlib.compress(text.encode(), wbits=-15)
    return bytes([0xC1, len(body)]) + body


def test_compressed_messages_come_back_whole() -> None:
    with running(deflate=True) as (load, _):
        load.texts(TEXTS)
        load.open(2, deflate=True)
        assert load.deflate(20).done == 20


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (instead(other("three: 四")), "message 2 is another"),
        (instead(other("")), "message 2 is another"),
        (instead(b"\xc1\x03\xff\xff\xff"), "message 2 is another"),
        (instead(b"\x81\x0a" + TEXTS[2].encode()), "begins with 0x81, not 0xc1"),
    ],
)
def test_a_compressed_reply_that_is_not_the_message_is_found(change: Change, error: str) -> None:
    with running(deflate=True, change=change) as (load, _):
        load.texts(TEXTS)
        load.open(1, deflate=True)
        with pytest.raises(LoadError, match=error):
            load.deflate(4)


def test_deflate_has_to_be_accepted() -> None:
    with running() as (load, _), pytest.raises(LoadError, match="was not accepted"):
        load.open(1, deflate=True)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (["nonsense"], "no such command"),
        (["echo", 1, 32, 1], "0 connections are open, not 1"),
        (["deflate", 1], "no texts were given"),
        (["texts", "/nonexistent"], "No such file"),
    ],
)
def test_a_wrong_command_is_an_error(command: list[object], error: str) -> None:
    with Load(1) as load, pytest.raises(LoadError, match=error):
        load.command(*command)


def test_a_size_out_of_bounds_is_an_error() -> None:
    with running() as (load, _):
        load.open(1)
        with pytest.raises(LoadError, match="out of bounds"):
            load.echo(1, (1 << 20) + 1)


def test_without_a_compiler_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(load, "FOLDER", tmp_path)
    monkeypatch.setenv("CC", "")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LoadUnavailable, match="no C compiler"):
        load.build()
    monkeypatch.setenv("CC", "/bin/false")
    with pytest.raises(LoadUnavailable, match="does not compile"):
        load.build()
    assert list(tmp_path.iterdir()) == []


def test_without_zlib_it_is_built_without_compressed_messages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-lz*) exit 1;; esac\nexec cc "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setattr(load, "FOLDER", tmp_path / "built")
    monkeypatch.setenv("CC", f"{compiler} -Wall -Wextra -Werror")
    assert not load.can_deflate()
    with Load(1) as generator, pytest.raises(LoadError, match="built without zlib"):
        generator.texts(["text"])


def test_it_compiles_without_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(load, "FOLDER", tmp_path)
    monkeypatch.setenv("CC", "cc -Wall -Wextra -Werror")
    assert load.can_deflate()
    assert os.access(load.built("send_loop", [send_loop.SOURCE]), os.X_OK)


def test_a_folder_that_cannot_be_written_to_is_not_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(load, "FOLDER", tmp_path / "file" / "folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert load.build().is_relative_to(tmp_path / "cache")


def test_it_ends_with_its_input_and_on_sigterm() -> None:
    for end in (lambda p: p.stdin.close(), lambda p: p.terminate()):
        process = subprocess.Popen(
            [load.build(), "127.0.0.1", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with process:
            end(process)
            assert process.wait(10) in (0, -15)
    assert os.access(load.build(), os.X_OK)


OK = '{"type":"ok","id":"$"}'


def test_a_chat_that_answers_is_asked_and_posted_to() -> None:
    """The peer sends back what it gets: these requests are their own answers."""
    with running() as (load, _):
        load.open(100, "/ws")
        assert load.ask(10, 90, OK).done == 90
        done = load.post(0, 7, 500, OK)
        assert done.done == 500
        assert 0 < done.p50 <= done.p99 < done.seconds
        pushes = '{"type":"ok","id":"$","messages":[{"type":"message","offset":8},'
        assert load.follow(2, pushes + '{"type":"message","offset":9}]}').done == 2


SOCKET_IO = "/socket.io/?EIO=4&transport=websocket"


def test_a_chat_that_speaks_socket_io_is_asked_and_posted_to() -> None:
    with running() as (load, _):
        load.open(10, SOCKET_IO)
        assert load.ask(0, 10, "40").done == 10
        done = load.post(0, 7, 500, "43$[]")
        assert done.done == 500
        assert 0 < done.p50 <= done.p99 < done.seconds


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        ('44{"message":"no"}', "an error"),
        ("437$[]", "an answer to something else"),
        ('43$[{"type":"message","offset":7}]', "offset 7 after 7"),
    ],
)
def test_a_chat_that_speaks_socket_io_wrong_is_found(request_: str, complaint: str) -> None:
    with running() as (load, _):
        load.open(2, SOCKET_IO)
        with pytest.raises(LoadError, match=complaint):
            load.post(0, 2, 20, request_)


def test_pings_of_engine_io_are_answered() -> None:
    sent: list[bytes] = []

    def ping_first(frame: bytes, number: int) -> bytes:
        sent.append(frame)
        return b"\x81\x012" + frame if number == 0 else frame

    with running(change=ping_first) as (load, _):
        load.open(1, SOCKET_IO)
        assert load.post(0, 1, 50, "43$[]").pings == 1
    assert sent.count(b"\x81\x013") == 1  # the peer sends back what it gets


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        ('{"type":"error","id":"$"}', "an error"),
        ('{"type":"ok","id":"7$"}', "an answer to something else"),
        ('{"type":"ok","id":"$","x":[{"type":"message","offset":7}]}', "offset 7 after 7"),
        (
            '{"type":"ok","id":"$","x":[{"type":"message","offset":7},{"type":"message","offset":9}]}',
            "offset 9 after 7",
        ),
    ],
)
def test_a_chat_that_answers_wrong_is_found(request_: str, complaint: str) -> None:
    with running() as (load, _):
        load.open(2, "/ws")
        with pytest.raises(LoadError, match=complaint):
            load.post(0, 2, 20, request_)
