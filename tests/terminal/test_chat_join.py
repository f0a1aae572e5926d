"""``wscore chat join`` as a process, on a pseudo-terminal and in pipes, with a real chat server."""

from __future__ import annotations

import json
import signal
import stat
import sys
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from terminal.program import in_pipe, on_terminal

from wscore.chat import Backend, ChatServer, MemoryBackend
from wscore.chat.client import ChatClient, Direct, Event, Message, open_chat
from wscore.terminal.style import Style
from wscore.trio import WebSocketRequest, WebSocketServer, serve_websocket

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")

MODULE = "wscore.chat.terminal"


class Site:
    """A running chat server."""

    def __init__(self, server: ChatServer, port: int) -> None:
        self.server = server
        self.port = port
        self.url = f"http://127.0.0.1:{port}/"
        self.stopped = trio.Event()


@asynccontextmanager
async def serving(backend: Backend | None = None, port: int = 0) -> AsyncIterator[Site]:
    server = ChatServer(backend or MemoryBackend())
    async with trio.open_nursery() as nursery:
        listening: WebSocketServer = await nursery.start(server.serve, "127.0.0.1", port)
        yield Site(server, listening.port)
        server.stop()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as site:
        yield site


async def until(chat: ChatClient, kind: type[Event]) -> Event:
    with trio.fail_after(30):
        async for event in chat:
            if isinstance(event, kind):
                return event
    raise AssertionError


def hostile(text: str) -> set[str]:
    return {char for char in text if unicodedata.category(char) in ("Cc", "Cf")}


# --- Pipes --------------------------------------------------------------------------------------


async def test_lines_of_a_pipe_are_said(site: Site, tmp_path: Path) -> None:
    async with open_chat(site.url, "Bela") as bela:
        await bela.join("lobby")
        lines = b"hi\n\n//slash\n/dm Bela psst\n/who\n/rooms\n/history 1\n"
        arguments = (site.url, "Lobby", "--user", "Anna", "--wait", "0.3")
        done = await in_pipe(MODULE, *arguments, state=tmp_path, input=lines)
        heard = [await until(bela, Message), await until(bela, Message)]
        assert [message.text for message in heard if isinstance(message, Message)] == [
            "hi",
            "/slash",
        ]
        direct = await until(bela, Direct)
        assert isinstance(direct, Direct)
        assert (direct.sender, direct.text) == ("Anna", "psst")
    out = done.out.splitlines()
    assert sum(line.endswith(" #lobby Anna: hi") for line in out) == 1
    assert sum(line.endswith(" #lobby Anna: /slash") for line in out) == 2  # and in the history
    assert sum(line.endswith(" Anna → Bela: psst") for line in out) == 1
    assert "#lobby: Anna, Bela" in out
    assert "#lobby: 2 here, 2 messages" in out
    assert (done.status, done.err) == (0, "")


async def test_the_session_is_kept_so_that_the_name_stays_ours(site: Site, tmp_path: Path) -> None:
    join = partial(in_pipe, MODULE, site.url, "lobby", "--user", "Anna", "--wait", "0")
    assert (await join(state=tmp_path / "mine")).status == 0
    assert (await join(state=tmp_path / "mine", input=b"again\n")).status == 0
    other = await join(state=tmp_path / "other")
    assert other.status == 1
    assert len(other.err.splitlines()) == 1
    [file] = (tmp_path / "mine").rglob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    kept = json.loads(file.read_text())
    assert (kept["user"], len(kept["session"])) == ("Anna", 43)
    assert list((tmp_path / "other").rglob("*.json*")) == []  # it would be of no use
    websocket = f"ws://127.0.0.1:{site.port}/ws"
    async with open_chat(websocket, "anna", session=kept["session"]) as anna:
        assert [message.text for message in (await history(anna))] == ["again"]


async def history(chat: ChatClient) -> list[Message] | list[Direct]:
    await chat.join("lobby")
    return (await chat.history("lobby")).messages


def overwrite_session(folder: Path, content: str) -> None:
    [file] = folder.rglob("*.json")
    file.write_text(content)


@pytest.mark.parametrize("content", ["", "[]", '{"session": 5}', "\x00"])
async def test_a_session_file_that_is_broken(site: Site, tmp_path: Path, content: str) -> None:
    join = partial(in_pipe, MODULE, site.url, "lobby", "--user", "Anna", "--wait", "0")
    assert (await join(state=tmp_path)).status == 0
    overwrite_session(tmp_path, content)
    done = await join(state=tmp_path)
    assert done.status == 1
    [line] = done.err.splitlines()
    assert "cannot use" in line


async def test_what_others_say_never_acts_on_the_terminal(site: Site, tmp_path: Path) -> None:
    evil = "\x1b[2J\u202eevil\x9b31m\nnext: line\x07"
    async with open_chat(site.url, "Bela") as bela:
        await bela.join("lobby")
        await bela.post("lobby", evil)
        arguments = (site.url, "lobby", "--user", "Anna", "--wait", "0.3")
        done = await in_pipe(MODULE, *arguments, state=tmp_path, until="next: line")
        assert hostile(done.out) == {"\n"}
        assert done.out.endswith("Bela: \\e[2J\\u202eevil\\x9b31m\\nnext: line\\x07\n")
        async with on_terminal(
            MODULE, site.url, "lobby", "--user", "Anna", state=tmp_path
        ) as terminal:
            await terminal.shows("next: line\\x07")
            assert b"\x1b[2J\xe2" not in terminal.raw
            assert "\u202e" not in terminal.raw.decode()
            assert "\x9b" not in terminal.raw.decode()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("/dance", "no such command: /dance"),
        ("/dm Bela", "/dm NAME TEXT"),
        ("/dm Nobody hello", "no user"),
        ("/join a b", "1-64 letters"),
        ("/history x", "/history 50"),
        ("/leave elsewhere", "elsewhere"),
        ("x" * 4001, "4000 characters"),
    ],
)
async def test_what_cannot_be_done_is_said(
    site: Site, tmp_path: Path, line: str, complaint: str
) -> None:
    arguments = (site.url, "lobby", "--user", "Anna", "--wait", "0")
    done = await in_pipe(MODULE, *arguments, state=tmp_path, input=f"{line}\nhi\n".encode())
    [said] = done.err.splitlines()
    assert said.startswith("wscore chat join: ")
    assert complaint in said or complaint == "no user"
    assert done.status == 1
    async with open_chat(site.url, "Bela") as bela:
        assert [message.text for message in await history(bela)] == ["hi"]


async def test_nobody_listens(tmp_path: Path) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"
    await listener.aclose()
    done = await in_pipe(MODULE, url, "lobby", "--user", "Anna", state=tmp_path, input=b"hi\n")
    [line] = done.err.splitlines()
    assert "cannot connect" in line
    assert done.status == 1


async def test_a_server_that_is_no_chat(tmp_path: Path, nursery: trio.Nursery) -> None:
    async def echo(request: WebSocketRequest) -> None:
        connection = await request.accept(subprotocol="chat.wscore.v1")
        async for message in connection:
            await connection.send_message(message)

    server = await nursery.start(serve_websocket, echo, "127.0.0.1", 0, None)
    url = f"ws://127.0.0.1:{server.port}/"
    done = await in_pipe(MODULE, url, "lobby", "--user", "Anna", state=tmp_path, input=b"hi\n")
    [line] = done.err.splitlines()
    assert "does not keep to the protocol" in line
    assert done.status == 1
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("http://example.com/", "lobby"),
        ("ftp://example.com/", "lobby", "--user", "Anna"),
        ("http://example.com/", "no room", "--user", "Anna"),
        ("http://example.com/", "lobby", "--user", ""),
        ("http://example.com/", "lobby", "--user", "Anna", "--wait", "-1"),
    ],
)
async def test_wrong_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = await in_pipe(MODULE, *arguments, state=tmp_path)
    assert done.status == 2
    assert done.err.startswith("usage: wscore chat join")


# --- Terminals ----------------------------------------------------------------------------------


async def test_a_conversation_on_a_terminal(site: Site, tmp_path: Path) -> None:
    async with open_chat(site.url, "Bela") as bela:
        await bela.join("lobby")
        await bela.post("lobby", "said before")
        async with on_terminal(
            MODULE, site.url, "lobby", "--user", "Anna", state=tmp_path
        ) as terminal:
            await terminal.shows("said before")
            await terminal.shows("#lobby>")
            terminal.type("hello\r")
            await terminal.shows("Anna: hello")
            await bela.post("lobby", "one\ntwo")
            await terminal.shows("Bela: one")
            await terminal.shows("      two")
            terminal.type("/dm bela psst\r")
            await terminal.shows("Anna → Bela: psst")
            await bela.direct("Anna", "what?")
            await terminal.shows("Bela → Anna: what?")
            bela.typing("lobby")
            await terminal.shows("Bela …")
            terminal.type("/who\r")
            await terminal.shows("#lobby: Anna, Bela")
            terminal.type("/join other\r")
            await terminal.shows("#other: Anna")
            terminal.type("over here\r")
            await terminal.shows("#other Anna: over here")
            await bela.post("lobby", "where are you?")
            await terminal.shows("#lobby Bela: where are you?")
            terminal.type("/leave\r")
            await terminal.shows("you are in #lobby now")
            await bela.leave("lobby")
            await terminal.shows("Bela left #lobby (1 here)")
            terminal.type("/rooms\r")
            await terminal.shows("#lobby: 1 here")
            terminal.type("/nonsense\r")
            await terminal.shows("no such command")
            terminal.type("/quit\r")
            assert await terminal.ends() == 0
            assert "Traceback" not in terminal.text
            for name in ("Anna", "Bela"):
                assert Style(True).name(name).encode() in terminal.raw


@pytest.mark.parametrize(("key", "status"), [("\x04", 0), ("\x03", 130)])
async def test_keys_that_end_it(site: Site, tmp_path: Path, key: str, status: int) -> None:
    async with on_terminal(MODULE, site.url, "lobby", "--user", "Anna", state=tmp_path) as terminal:
        await terminal.shows("#lobby>")
        terminal.type(key)
        assert await terminal.ends() == status
        assert "Traceback" not in terminal.text


async def test_a_name_that_is_taken_ends_it(site: Site, tmp_path: Path) -> None:
    async with open_chat(site.url, "Anna"):
        arguments = (MODULE, site.url, "lobby", "--user", "Anna")
        async with on_terminal(*arguments, state=tmp_path) as terminal:
            await terminal.shows("this name belongs to somebody else")
            assert await terminal.ends() == 1


async def test_a_signal_ends_it(site: Site, tmp_path: Path) -> None:
    async with on_terminal(MODULE, site.url, "lobby", "--user", "Anna", state=tmp_path) as terminal:
        await terminal.shows("#lobby>")
        terminal.process.send_signal(signal.SIGINT)
        assert await terminal.ends() == 130
        assert "Traceback" not in terminal.text


async def test_a_server_that_comes_late_goes_away_and_comes_back(tmp_path: Path) -> None:
    """What is said meanwhile is said when it is back."""
    backend = MemoryBackend()
    async with serving() as other:
        port, url = other.port, other.url
    async with on_terminal(MODULE, url, "lobby", "--user", "Anna", state=tmp_path) as terminal:
        await terminal.shows("not connected")
        await terminal.shows("next try in")
        async with serving(backend, port):
            await terminal.shows("#lobby: Anna")
        await terminal.shows("not connected: the server stops")
        terminal.type("are you back?\r")
        await terminal.shows("next try in")
        async with serving(backend, port):
            await terminal.shows("connected again")
            await terminal.shows("Anna: are you back?")
            terminal.type("\x04")
            assert await terminal.ends() == 0
