"""``wscore connect`` as a process, on a pseudo-terminal and in pipes, with real servers."""

from __future__ import annotations

import signal
import ssl
import sys
import unicodedata
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from terminal.program import environment, in_pipe, on_terminal

from wscore.trio import ConnectionClosed, WebSocketRequest, WebSocketServer, serve_websocket

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")

MODULE = "wscore.connect"
EVIL = "\x1b]0;owned\x07\x1b[2J\u202eevil\u200b\x9b31m\r\n\x00end"


async def handle(request: WebSocketRequest) -> None:
    """Do what the path says."""
    match request.path:
        case "/refuse":
            await request.reject(403, body=b"no\x1b[31m")
            return
        case "/headers":
            connection = await request.accept(subprotocol=request.proposed_subprotocols[0])
            names = (b"x-one", b"origin", b"authorization")
            shown = [f"{name!r}: {value!r}" for name, value in request.headers if name in names]
            await connection.send_message("; ".join(sorted(shown)))
            await connection.aclose()
            return
    connection = await request.accept()
    try:
        match request.path:
            case "/evil":
                await connection.send_message(EVIL)
                await connection.send_message(EVIL.encode() + bytes(range(256)))
                await connection.aclose(4001, "\x1b[31m\u202ered")
            case "/long":
                await connection.send_message("é" * 50_000)
                await connection.send_message(b"\x01" * 50_000)
            case "/error":
                await connection.aclose(1011, "sorry")
            case "/silent":
                await trio.sleep_forever()
            case "/cut":
                await connection.get_message()
                connection._session.cut(None)
            case "/ping":
                await connection.ping(b"hey")
                await connection.aclose()
        async for message in connection:
            await connection.send_message(message)
    except ConnectionClosed:
        pass


@pytest.fixture
async def url(nursery: trio.Nursery) -> AsyncIterator[str]:
    """Where the server is."""
    server: WebSocketServer = await nursery.start(serve_websocket, handle, "127.0.0.1", 0, None)
    yield f"ws://127.0.0.1:{server.port}"
    nursery.cancel_scope.cancel()


def hostile(text: str) -> set[str]:
    return {char for char in text if unicodedata.category(char) in ("Cc", "Cf")}


# --- Pipes --------------------------------------------------------------------------------------


async def test_lines_of_a_pipe_are_sent_and_answers_printed(url: str, tmp_path: Path) -> None:
    lines = "hi\n\n//slash\nünï".encode()
    done = await in_pipe(MODULE, "--wait", "5", url, state=tmp_path, input=lines)
    assert done.out == "hi\n\n/slash\nünï\n"
    assert (done.status, done.err) == (0, "")


async def test_a_file_is_sent_like_a_pipe(url: str, tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_text("one\ntwo\n")
    shell = f'exec "$0" -m {MODULE} --wait 5 {url} < {file}'
    done = await trio.run_process(
        ["sh", "-c", shell, sys.executable], capture_stdout=True, env=environment(tmp_path)
    )
    assert done.stdout == b"one\ntwo\n"


async def test_no_wait_means_that_answers_are_not_waited_for(url: str, tmp_path: Path) -> None:
    done = await in_pipe(MODULE, f"{url}/silent", "--wait", "0", state=tmp_path, input=b"x\n")
    assert (done.status, done.out) == (0, "")


async def test_what_comes_from_the_network_never_acts_on_the_terminal(
    url: str, tmp_path: Path
) -> None:
    done = await in_pipe(MODULE, "-v", f"{url}/evil", state=tmp_path)
    assert hostile(done.out) == hostile(done.err) == {"\n"}
    assert r"\e]0;owned\x07\e[2J\u202eevil\u200b\x9b31m\r\n\x00end" in done.out
    assert "binary message of 291 bytes" in done.out
    assert "1b 5d 30 3b" in done.out
    assert done.status == 1
    assert r"closed with 4001: \e[31m\u202ered" in done.err


async def test_verbose_shows_the_handshake_and_each_frame(url: str, tmp_path: Path) -> None:
    done = await in_pipe(MODULE, "-v", f"{url}/ping", state=tmp_path)
    lines = done.err.splitlines()
    assert "→ GET /ping HTTP/1.1" in lines
    assert "→ Upgrade: websocket" in lines
    assert any(line.startswith("← HTTP/1.1 101") for line in lines)
    assert "← ping 3 bytes 'hey'" in lines
    assert "→ pong 3 bytes 'hey'" in lines
    assert "← close 1000 (NORMAL_CLOSURE)" in lines
    assert "→ close 1000 (NORMAL_CLOSURE)" in lines
    assert done.status == 0


async def test_commands_work_in_a_pipe(url: str, tmp_path: Path) -> None:
    first, last = b"/binary 00ff\n/ping hey\n", b"/close 4000 bye\nnever sent\n"
    done = await in_pipe(
        MODULE, "-v", url, state=tmp_path, input=first, until="00000000  00 ff", then=last
    )
    assert "→ binary 2 bytes" in done.err
    assert "→ ping 3 bytes 'hey'" in done.err
    assert "→ close 4000 'bye'" in done.err
    assert "00000000  00 ff" in done.out
    assert "never" not in done.out
    assert done.status == 0


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"/dance", "no such command: /dance"),
        (b"/binary xyz", "/binary takes"),
        (b"/close soon", "/close takes"),
        (b"/close 999", "not closed"),
        (b"/ping " + 200 * b"x", "no ping"),
        (b"\xff\xfe", "not UTF-8"),
        (2_000_000 * b"x", "1,048,576 bytes"),
    ],
)
async def test_a_wrong_line_is_said_and_the_next_one_sent(
    url: str, tmp_path: Path, line: bytes, complaint: str
) -> None:
    done = await in_pipe(MODULE, url, state=tmp_path, input=line + b"\nhi\n", until="hi")
    assert complaint in done.err
    assert done.out == "hi\n"
    assert done.status == 1


async def test_options_of_the_handshake(url: str, tmp_path: Path) -> None:
    done = await in_pipe(
        MODULE,
        f"{url.replace('ws://', 'ws://me:secret@')}/headers",
        *("--header", "X-One: 1", "--subprotocol", "a", "--subprotocol", "b"),
        *("--origin", "https://example.com", "--compress"),
        state=tmp_path,
    )
    assert "b'x-one': b'1'" in done.out
    assert "b'origin': b'https://example.com'" in done.out
    assert "b'authorization': b'Basic" in done.out
    assert done.status == 0


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/refuse", "status 403"),
        ("/error", "1011 (INTERNAL_ERROR): sorry"),
        ("/cut", "the connection was lost"),
    ],
)
async def test_other_ends_than_a_normal_close_are_failures(
    url: str, tmp_path: Path, path: str, complaint: str
) -> None:
    done = await in_pipe(MODULE, url + path, state=tmp_path, input=b"x\n")
    [line] = done.err.splitlines()
    assert complaint in line
    assert done.status == 1


async def test_messages_are_compressed_where_both_want_it(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    serve = partial(serve_websocket, handle, "127.0.0.1", 0, None, compression=True)
    server = await nursery.start(serve)
    url = f"ws://127.0.0.1:{server.port}/"
    line = b"again and again and again\n"
    done = await in_pipe(MODULE, "-v", "--compress", url, state=tmp_path, input=line, until="again")
    assert "→ text (compressed)" in done.err
    assert "← text (compressed)" in done.err
    assert done.out.encode() == line
    nursery.cancel_scope.cancel()


async def test_certificates(tmp_path: Path, nursery: trio.Nursery) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    server = await nursery.start(serve_websocket, handle, "127.0.0.1", 0, context)
    run = partial(in_pipe, MODULE, f"wss://localhost:{server.port}/", state=tmp_path, input=b"hi\n")
    for options in (("--ca", str(tmp_path / "ca.pem")), ("--insecure",)):
        done = await run(*options)
        assert (done.status, done.out) == (0, "hi\n")
    done = await run()
    assert done.status == 1
    assert "certificate" in done.err
    nursery.cancel_scope.cancel()


async def test_nobody_listens(tmp_path: Path) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    done = await in_pipe(MODULE, f"ws://127.0.0.1:{port}/", state=tmp_path)
    [line] = done.err.splitlines()
    assert line.startswith(f"wscore connect: cannot connect to 127.0.0.1 port {port}: ")
    assert done.status == 1


async def test_a_server_that_says_nothing(tmp_path: Path, nursery: trio.Nursery) -> None:
    async def say_nothing(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    [listener] = await nursery.start(partial(trio.serve_tcp, say_nothing, 0, host="127.0.0.1"))
    port = listener.socket.getsockname()[1]
    done = await in_pipe(MODULE, f"ws://127.0.0.1:{port}/", "--timeout", "0.1", state=tmp_path)
    assert "no answer within 0.1 s" in done.err
    assert done.status == 1
    nursery.cancel_scope.cancel()


async def test_garbage_in_place_of_a_handshake(tmp_path: Path, nursery: trio.Nursery) -> None:
    async def rave(stream: trio.SocketStream) -> None:
        await stream.send_all(b"\x1b[31m\xff garbage\r\n\r\n" * 100)
        await stream.aclose()

    [listener] = await nursery.start(partial(trio.serve_tcp, rave, 0, host="127.0.0.1"))
    port = listener.socket.getsockname()[1]
    done = await in_pipe(MODULE, "-v", f"ws://127.0.0.1:{port}/", state=tmp_path)
    assert hostile(done.err) == {"\n"}
    assert "Traceback" not in done.err
    assert done.status == 1
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("http://example.com/",),
        ("ws://example.com/", "--header", "nonsense"),
        ("ws://example.com/", "--timeout", "soon"),
        ("ws://example.com/", "--insecure"),
        ("wss://example.com/", "--ca", "/nowhere"),
    ],
)
async def test_wrong_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = await in_pipe(MODULE, *arguments, state=tmp_path)
    assert done.status == 2
    assert done.err.startswith("usage: wscore connect")
    assert "Traceback" not in done.err


async def test_who_reads_the_output_may_leave(url: str, tmp_path: Path) -> None:
    shell = f'(echo a; echo b; sleep 0.3; echo c; sleep 0.3) | "$0" -m {MODULE} {url} | head -1'
    done = await trio.run_process(
        ["sh", "-c", shell, sys.executable],
        capture_stdout=True,
        capture_stderr=True,
        env=environment(tmp_path),
    )
    assert (done.stdout, done.stderr) == (b"a\n", b"")


@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_closed_streams(url: str, tmp_path: Path, stream: str) -> None:
    shell = f'"$0" -m {MODULE} --wait 0 {url} {stream}'
    done = await trio.run_process(
        ["sh", "-c", shell, sys.executable],
        capture_stdout=True,
        capture_stderr=True,
        env=environment(tmp_path),
    )
    assert (done.stdout, done.stderr) == (b"", b"")


async def test_an_output_that_cannot_show_everything(url: str, tmp_path: Path) -> None:
    done = await in_pipe(
        MODULE, url, state=tmp_path, input="ünï".encode(), PYTHONIOENCODING="ascii"
    )
    assert done.out == "\\xfcn\\xef\n"
    assert done.status == 0


# --- Terminals ----------------------------------------------------------------------------------


async def test_talking_on_a_terminal(url: str, tmp_path: Path) -> None:
    async with on_terminal(MODULE, url, state=tmp_path) as terminal:
        await terminal.shows("connected")
        terminal.type("hello\r")
        await terminal.shows("< hello")
        terminal.type("/help\r")
        await terminal.shows("/binary HEX")
        terminal.type("/ping\r")
        await terminal.shows("pong after")
        terminal.type("/nonsense\r")
        await terminal.shows("no such command")
        terminal.type("/close 4000 bye\r")
        await terminal.shows("closed with 4000")
        assert await terminal.ends() == 1  # there was a wrong command
        assert b"\x1b[1;32m< " in terminal.raw


@pytest.mark.parametrize(("key", "status"), [("\x04", 0), ("\x03", 130)])
async def test_keys_that_end_it(url: str, tmp_path: Path, key: str, status: int) -> None:
    async with on_terminal(MODULE, url, state=tmp_path) as terminal:
        await terminal.shows(">")
        terminal.type(key)
        assert await terminal.ends() == status
        assert "Traceback" not in terminal.text


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_signals(url: str, tmp_path: Path, number: int, status: int) -> None:
    async with on_terminal(MODULE, url, state=tmp_path) as terminal:
        await terminal.shows(">")
        terminal.process.send_signal(number)
        assert await terminal.ends() == status
        assert "Traceback" not in terminal.text


async def test_a_server_that_goes_away_ends_it(tmp_path: Path) -> None:
    async with trio.open_nursery() as servers:
        server = await servers.start(serve_websocket, handle, "127.0.0.1", 0, None)
        url = f"ws://127.0.0.1:{server.port}"
        async with on_terminal(MODULE, url, state=tmp_path) as terminal:
            await terminal.shows(">")
            servers.cancel_scope.cancel()
            assert await terminal.ends() in (0, 1)
            assert "Traceback" not in terminal.text


async def test_a_hostile_server_on_a_terminal(url: str, tmp_path: Path) -> None:
    async with on_terminal(MODULE, f"{url}/evil", state=tmp_path) as terminal:
        await terminal.shows("end")
        await terminal.ends()
        assert b"owned\x07" not in terminal.raw
        for char in ("\u202e", "\u200b", "\x9b"):
            assert char not in terminal.raw.decode()


async def test_long_messages_are_cut_on_a_terminal(url: str, tmp_path: Path) -> None:
    async with on_terminal(MODULE, f"{url}/long", "--shown", "400", state=tmp_path) as terminal:
        await terminal.shows("(49,600 more characters)")
        await terminal.shows("(49,900 more bytes)")


async def test_what_is_shown_does_not_take_keys_away(url: str, tmp_path: Path) -> None:
    async with on_terminal(MODULE, url, state=tmp_path) as terminal:
        await terminal.shows("connected")
        terminal.type("first\r")
        await terminal.shows("< first")
        terminal.type("".join(f"{number}\r" for number in range(50)))
        while "< 49" not in terminal.text:
            assert all(terminal.takes_keys for _ in range(1000))
            await terminal.read()
        terminal.type("\x04")
        assert await terminal.ends() == 0


async def test_no_colours_where_they_are_not_wanted(url: str, tmp_path: Path) -> None:
    async with on_terminal(MODULE, url, state=tmp_path, NO_COLOR="1") as terminal:
        await terminal.shows("connected")
        terminal.type("hello\r")
        await terminal.shows("< hello")
        terminal.type("\x04")
        assert await terminal.ends() == 0
        assert b"\x1b[1;32m" not in terminal.raw
