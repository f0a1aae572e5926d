"""The systems of the classic tutorials: what their pages and clients do; nothing crashes."""

from __future__ import annotations

import ast
import json
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import websocket
from end_to_end.chromium import PATIENCE, running_chromium
from examples.program import SECONDS, environment, running
from playwright.sync_api import Page
from ports import reserved_port
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

NAMES = ["Bob", "张三", "with space", "a+b", "per%cent", "grüß/gott", "?"]


def visit(address: str, path: str, **options: Any) -> ClientConnection:
    patience = {"open_timeout": SECONDS, "ping_interval": None, "close_timeout": 5}
    return connect(f"ws://{address}{path}", proxy=None, **patience | options)


def silent(*clients: ClientConnection) -> None:
    """Nothing came for these: a ping overtakes nothing."""
    for client in clients:
        assert client.ping().wait(SECONDS)
        with pytest.raises(TimeoutError):
            client.recv(timeout=0)


def vanish(client: ClientConnection) -> None:
    """Go without a word, so that the next thing sent meets a reset."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


# group_chat


def test_group_chat_tells_all_the_others() -> None:
    with running("group_chat") as address, ExitStack() as stack:
        one, two, three = (stack.enter_context(visit(address, "/ws")) for _ in range(3))
        for text in ("hello", "", "你好", "x" * 100_000):
            one.send(text)
            assert [two.recv(timeout=SECONDS), three.recv(timeout=SECONDS)] == [text, text]
        silent(one)
        two.send(b"bytes are for nobody")
        silent(one, three)
        vanish(two)
        one.send("still here")
        assert three.recv(timeout=SECONDS) == "still here"


def test_group_chat_keeps_what_it_said_for_one_who_waits_at_input() -> None:
    with running("group_chat") as address, visit(address, "/ws") as other:
        waiting = websocket.create_connection(f"ws://{address}/ws")
        for n in range(100):
            other.send(str(n))
        assert [waiting.recv() for _ in range(100)] == [str(n) for n in range(100)]
        waiting.shutdown()


# direct_chat


@pytest.fixture(scope="module")
def direct() -> Iterator[str]:
    with running("direct_chat") as address:
        yield address


@pytest.mark.parametrize("way", ["/ws/", "/my_ws/", "/privateChat/"])
@pytest.mark.parametrize("name", NAMES)
def test_direct_chat_passes_on_unchanged(direct: str, way: str, name: str) -> None:
    path = way + quote(name, safe="+")
    with visit(direct, "/privateChat/" + quote("Änne")) as one, visit(direct, path) as two:
        for field in ("receiver", "to_user"):
            text = f'{{"b": 1.0,  "{field}": {json.dumps(name)}, "a" : "\\u00e9 é"}}'
            one.send(text)
            assert two.recv(timeout=SECONDS) == text
        two.send(json.dumps({"receiver": "Änne"}))
        assert json.loads(one.recv(timeout=SECONDS)) == {"receiver": "Änne"}
        silent(one, two)


@pytest.mark.parametrize(
    ("sent", "who", "what"),
    [
        ({"sender": "me", "receiver": "nobody", "data": "x"}, "sender", "data"),
        ({"from_user": "me", "to_user": "nobody", "message": "x"}, "from_user", "message"),
        ({"sender": "me", "receiver": "", "data": ""}, "sender", "data"),
        ({"from_user": "me", "to_user": "", "message": "x"}, "from_user", "message"),
        ({"sender": "me", "receiver": ["nobody"], "data": "x"}, "sender", "data"),
        ({"data": "x"}, "sender", "data"),
        ({}, "sender", "data"),
    ],
)
def test_direct_chat_says_that_somebody_is_away(
    direct: str, sent: Any, who: str, what: str
) -> None:
    with visit(direct, "/ws/me") as me:
        me.send(json.dumps(sent))
        answer = json.loads(me.recv(timeout=SECONDS))
        assert set(answer) == {"error", who, what}
        assert all(isinstance(value, str) and value for value in answer.values())
        silent(me)


BAD = ["", "no json", "[1]", '"text"', "null", "1", "{", "[" * 100_000, b"\xff\xfe"]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_direct_chat_answers_what_is_no_json(direct: str, bad: str | bytes) -> None:
    with visit(direct, "/ws/me") as me, visit(direct, "/ws/other") as other:
        me.send(bad)
        answer = json.loads(me.recv(timeout=SECONDS))
        # Readable on the pages of either kind.
        assert set(answer) == {"error", "sender", "data", "from_user", "message"}
        silent(me, other)


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("direct_chat", "/ws/Bob", {"receiver": "Bob"}),
        ("named_group_chat", "/groupchat/Bob", {"from_user": "x", "info": "y"}),
    ],
)
def test_a_second_login_takes_the_name(name: str, path: str, message: Any) -> None:
    with ExitStack() as stack:
        address = stack.enter_context(running(name))
        other = stack.enter_context(visit(address, path.replace("Bob", "other")))
        first = stack.enter_context(visit(address, path))
        second = stack.enter_context(visit(address, path))
        with pytest.raises(ConnectionClosed):
            first.recv(timeout=SECONDS)
        other.send(json.dumps(message))
        assert json.loads(second.recv(timeout=SECONDS)) == message
        second.close()
        with visit(address, path) as third:  # and the name is free again
            other.send(json.dumps(message))
            while json.loads(third.recv(timeout=SECONDS)) != message:
                pass


def test_direct_chat_outlives_a_receiver_that_vanished(direct: str) -> None:
    with visit(direct, "/ws/me") as me, visit(direct, "/ws/gone") as gone:
        vanish(gone)
        for _ in range(3):
            me.send(json.dumps({"receiver": "gone", "data": "x"}))
        with visit(direct, "/ws/here") as here:
            me.send(json.dumps({"receiver": "here", "data": "x"}))
            assert json.loads(here.recv(timeout=SECONDS)) == {"receiver": "here", "data": "x"}


# named_group_chat


def test_named_group_chat_tells_everybody() -> None:
    with running("named_group_chat") as address, ExitStack() as stack:
        paths = ["/groupchat/" + quote(name) for name in ("张三", "b c")]
        one, two = (stack.enter_context(visit(address, path)) for path in paths)
        text = '{"from_user":  "张三", "info": ""}'
        one.send(text)
        assert one.recv(timeout=SECONDS) == two.recv(timeout=SECONDS) == text
        for bad in BAD:
            one.send(bad)
            answer = json.loads(one.recv(timeout=SECONDS))
            assert set(answer) == {"error", "from_user", "info"}
        silent(one, two)


# room_chat


def test_room_chat_keeps_groups_apart() -> None:
    with running("room_chat") as address, ExitStack() as stack:
        paths = ["/room/1/", "/room/1", "/room/" + quote("二 2") + "/"]
        one, same, other = (stack.enter_context(visit(address, path)) for path in paths)
        for text in ("hello", "", '{"any": "thing"}'):
            one.send(text)
            assert one.recv(timeout=SECONDS) == same.recv(timeout=SECONDS) == text
        silent(one, same, other)
        other.send("x")
        assert other.recv(timeout=SECONDS) == "x"


# raw_handshake


@pytest.mark.parametrize("way", ["hand", "library"])
def test_raw_handshake_answers_each_text(way: str) -> None:
    with (
        running("raw_handshake", "--by", way) as address,
        visit(address, "/", close_timeout=SECONDS) as client,
    ):
        for text in ("hello", "", "你好", "x" * 200, "y" * 70_000, "{}"):
            client.send(text)
            assert client.recv(timeout=SECONDS) == f"接收数据: {text}"
        silent(client)
        client.close(4000, "bye")
        assert client.close_code == 4000


# echo


def test_echo() -> None:
    with running("echo") as address:
        with visit(address, "/any/path") as client:
            for text in ("hello", ""):
                client.send(text)
                assert client.recv(timeout=SECONDS) == f"Server received: {text}"
        ran = subprocess.run(
            [
                *(sys.executable, "-m", "wscore.examples.echo"),
                *("--connect", f"ws://{address}/", "one", "two"),
            ],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
        assert ran.stdout == "Server received: one\nServer received: two\n"


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1/", "no url", "http://127.0.0.1:1/"])
def test_the_echo_client_says_what_is_wrong_in_one_line(url: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "wscore.examples.echo", "--connect", url, "text"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(f"cannot talk to {url}: ")
    assert ran.stderr.count("\n") == 1


# All of them

ALL = {
    "group_chat": "/ws",
    "direct_chat": "/ws/x",
    "named_group_chat": "/groupchat/x",
    "room_chat": "/room/x/",
    "raw_handshake": "/",
    "echo": "/",
}


@pytest.mark.parametrize("name", ALL)
def test_every_example_outlives_what_is_thrown_at_it(name: str) -> None:
    with running(name) as address:
        host, port = address.split(":")
        for data in (b"", b"\x16\x03\x01\x02\x00garbage\r\n\r\n", b"GET\r\n\r\n", b"\x00" * 70_000):
            with socket.create_connection((host, int(port)), timeout=SECONDS) as raw:
                raw.sendall(data)
                raw.shutdown(socket.SHUT_WR)
                try:
                    while raw.recv(65536):
                        pass
                except ConnectionResetError:
                    pass
        for origin in ("null", "file://", "http://elsewhere.example:8080"):
            with visit(address, ALL[name], origin=origin):
                pass
        if ALL[name] != "/":
            with pytest.raises(InvalidStatus, match="404"):
                visit(address, "/elsewhere")
        with urllib.request.urlopen(f"http://{address}/", timeout=SECONDS) as response:
            page = response.read().decode()
            assert response.headers.get_content_type() == "text/html"
        assert json.dumps(ALL[name].split("/")[1])[1:-1] in page
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://{address}/elsewhere", timeout=SECONDS)
        # An occupied port is one clear line.
        again = subprocess.run(
            [sys.executable, "-m", f"wscore.examples.{name}", "--port", port],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert (again.returncode, again.stdout) == (1, "")
        assert again.stderr.startswith(f"cannot serve at 127.0.0.1 port {port}: ")
        assert again.stderr.count("\n") == 1


#: Where two clients are, and what comes to the second one when the first has said it.
PAIRS = {
    "group_chat": ("/ws", "/ws", "still there?"),
    "direct_chat": ("/ws/one", "/privateChat/two", '{"to_user": "two"}'),
    "named_group_chat": ("/groupchat/one", "/groupchat/two", '{"info": "x"}'),
    "room_chat": ("/room/x/", "/room/x/", "still there?"),
}


@pytest.mark.parametrize("name", [*PAIRS, "echo"])
def test_a_client_that_never_answers_pings_stays(name: str) -> None:
    path, own, said = PAIRS.get(name, ("/", "/", "Server received: x"))
    with running(name, "--ping-interval", "0.05") as address:
        host, port = address.split(":")
        with (
            visit(address, path) as other,
            socket.create_connection((host, int(port)), timeout=SECONDS) as waiting,
        ):
            waiting.sendall(
                f"GET {own} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n".encode()
                + b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            received = b""
            while received.count(b"\x89\x04") < 10:  # pings with payloads of four bytes
                received += waiting.recv(65536)
            if name == "echo":
                waiting.sendall(b"\x81\x81\0\0\0\0x")
            else:
                other.send(said)
            frame = bytes([0x81, len(said)]) + said.encode()
            while frame not in received:
                data = waiting.recv(65536)
                assert data, "it was cut"
                received += data


@pytest.mark.parametrize("name", PAIRS)
def test_one_who_vanished_is_no_trouble_to_the_others(name: str) -> None:
    path, own, said = PAIRS[name]
    with running(name) as address, visit(address, path) as one, visit(address, own) as gone:
        vanish(gone)
        for _ in range(3):
            one.send(said)
        with visit(address, own) as here:
            while True:  # until the server has let it in
                one.send(said)
                try:
                    assert here.recv(timeout=1) == said
                    break
                except TimeoutError:
                    continue


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("system", "path"), [("named_group_chat", "/groupchat/{}"), ("room_chat", "/room/{}/")]
)
def test_names_are_percent_encoded(
    tutorials: dict[str, str], system: str, path: str, name: str
) -> None:
    here, text = path.format(quote(name, safe="+")), '{"info": "x"}'
    address = tutorials[system]
    with visit(address, here) as one:
        one.send(text)
        assert one.recv(timeout=SECONDS) == text
        same = path.format("".join(f"%{byte:02x}" for byte in name.encode()))
        with visit(address, same) as again:
            again.send(text)
            assert again.recv(timeout=SECONDS) == text
            if system == "named_group_chat":
                with pytest.raises(ConnectionClosed):  # it is the same name
                    one.recv(timeout=SECONDS)
            else:
                assert one.recv(timeout=SECONDS) == text  # it is the same group


@pytest.fixture(scope="module")
def tutorials() -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(running(name)) for name in ("named_group_chat", "room_chat")
        }


def test_the_interactive_client_talks_to_the_echo() -> None:
    with running("echo") as address:
        ran = subprocess.run(
            [sys.executable, "-m", "wscore", "connect", f"ws://{address}/"],
            env=environment(),
            input="one\n\n张三\n",
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
    assert ran.stdout.splitlines() == [f"Server received: {text}" for text in ("one", "", "张三")]


@pytest.mark.parametrize("name", ALL)
def test_each_is_short_and_says_that_it_checks_no_origin(name: str) -> None:
    spec = find_spec(f"wscore.examples.{name}")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    assert source.count("\n") <= 60
    assert "no origin is checked" in (ast.get_docstring(ast.parse(source)) or "").casefold()


def test_the_guide_says_of_each_what_is_better() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text(encoding="utf-8")
    lines = [line for line in guide.splitlines() if "../wscore/examples/" in line]
    table = {
        cells[2].partition("`")[2].partition("`")[0]: cells
        for line in lines
        if len(cells := [cell.strip() for cell in line.split("|")]) == 6
    }
    assert set(table) == set(ALL)
    assert all(all(cells[1:5]) for cells in table.values())


#: What is filled in on each page, what is typed, and what two visitors of it then see.
PAGES: dict[str, tuple[dict[str, str], str, list[str]]] = {
    "group_chat": ({}, "hi <b>", ["", "hi <b>"]),
    "direct_chat": (
        {"name": "a b", "to": "a b"},
        "嗨",
        ["closed: 4000 logged in elsewhere", '{"sender":"a b","receiver":"a b","data":"嗨"}'],
    ),
    "named_group_chat": (
        {"name": "张三"},
        "x",
        ["closed: 4000 logged in elsewhere", '{"from_user":"张三","info":"x"}'],
    ),
    "room_chat": ({"group": "r/1"}, "x", ["x", "x"]),
    "raw_handshake": ({}, "嗨", ["", "接收数据: 嗨"]),
    "echo": ({}, "x", ["", "Server received: x"]),
}


@pytest.mark.browser
def test_the_pages_in_a_browser() -> None:
    # Not in this thread, where other tests may have a browser open.
    with ThreadPoolExecutor(1) as executor:
        executor.submit(try_the_pages).result()


_LINES = "[...document.querySelectorAll('#log li')].map((line) => line.textContent)"
LOG_HAS = f"(lines) => lines.every((line) => {_LINES}.includes(line))"
LOG_IS = f"(lines) => JSON.stringify(lines) === JSON.stringify({_LINES})"


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.click("text=Send")


def try_the_pages() -> None:
    by_hand = ("raw_handshake", ["--by", "hand"])
    with running_chromium() as browser:
        for name, options in [*((name, []) for name in PAGES), by_hand]:
            fields, text, seen = PAGES[name]
            with running(name, *options) as address:
                pages = [browser.new_page() for _ in seen]
                for page in pages:
                    page.set_default_timeout(PATIENCE)
                    page.goto(f"http://{address}/")
                    for field, value in fields.items():
                        page.fill(f"#{field}", value)
                    page.click("text=Connect")
                    page.wait_for_selector("text=connected")
                # The last one speaks.
                say(pages[-1], text)
                if name == "group_chat":
                    pages.reverse()
                for page, line in zip(pages, seen, strict=True):
                    if line:
                        page.wait_for_function(LOG_HAS, arg=[line])
                if not seen[0]:
                    # Nothing has come to that one: the answer to what is said now is its first.
                    say(pages[1] if name == "group_chat" else pages[0], text)
                    pages[0].wait_for_function(LOG_IS, arg=["connected", seen[1]])
                for page in pages:
                    page.close()


#: Opens two WebSockets, says something on the first, and returns what comes to the second.
TALK = """
async ([one, two, text]) => {
  const open = (url) => new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    socket.onopen = () => resolve(socket);
    socket.onerror = () => reject(new Error(`${url} cannot be opened`));
  });
  const receiver = await open(two);
  const sender = two === one ? receiver : await open(one);
  const heard = new Promise((resolve) => { receiver.onmessage = ({ data }) => resolve(data); });
  sender.send(text);
  return await heard;
}
"""


@pytest.mark.browser
def test_pages_from_files_talk_to_each(tmp_path: Path) -> None:
    """As those of the tutorials are opened: their Origin is null."""
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><title>a page of somebody else</title>")
    with ThreadPoolExecutor(1) as executor:
        heard = executor.submit(talk_from_a_file, page).result()
    echoes = {"echo": "Server received: x", "raw_handshake": "接收数据: x"}
    assert heard == {name: said for name, (_, _, said) in PAIRS.items()} | echoes


def talk_from_a_file(file: Path) -> dict[str, str]:
    heard = {}
    with running_chromium() as browser:
        page = browser.new_page()
        page.goto(file.as_uri())
        assert page.evaluate("location.origin") in ("null", "file://")
        for name in ALL:
            one, two, said = PAIRS.get(name, ("/", "/", "x"))
            with running(name) as address:
                urls = [f"ws://{address}{path}" for path in (one, two)]
                if name == "group_chat":
                    urls[1] += "?another"  # two connections, though it is one path
                heard[name] = page.evaluate(TALK, [*urls, said])
    return heard


@contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """A real Redis with nothing on disk."""
    with reserved_port() as port:
        place = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        command = ["redis-server", *place, "--save", ""]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            assert any("Ready to accept connections" in line for line in process.stdout)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.communicate()


def test_room_chat_shares_groups_through_redis(tmp_path: Path) -> None:
    path = "/room/" + quote("二/:", safe="") + "/"
    with ExitStack() as stack:
        redis = stack.enter_context(ExitStack())
        url = redis.enter_context(running_redis(tmp_path))
        addresses = [stack.enter_context(running("room_chat", "--redis", url)) for _ in range(2)]
        one, two = (stack.enter_context(visit(address, path)) for address in addresses)
        other = stack.enter_context(visit(addresses[1], "/room/else/"))
        for text in ("hello", "", "你好"):
            one.send(text)
            assert one.recv(timeout=SECONDS) == two.recv(timeout=SECONDS) == text
            one.send(b"no text")
        silent(one, two, other)
        # Both say much at once: everybody gets all of it, in one order.
        for n in range(50):
            one.send(f"one {n}")
            two.send(f"two {n}")
        said = [one.recv(timeout=SECONDS) for _ in range(100)]
        assert said == [two.recv(timeout=SECONDS) for _ in range(100)]
        for name in "one", "two":
            assert [text for text in said if text.startswith(name)] == [
                f"{name} {n}" for n in range(50)
            ]
        silent(one, two, other)
        redis.close()
        two.send("nobody hears this, and its sender is told")
        with pytest.raises(ConnectionClosed):
            two.recv(timeout=SECONDS)
        assert two.close_code == 1013
        silent(one)
        with pytest.raises(InvalidStatus, match="503"):
            visit(addresses[0], path)
