"""The chat's page as people see it: servers for it, and windows in which it is used."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import trio
from end_to_end.chromium import PATIENCE
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from ports import port_of, reserve_port
from websockets.sync.client import connect

from wscore.chat import ChatServer, Limits, MemoryBackend

ROOT = Path(__file__).parents[2]
SECONDS = PATIENCE / 1000

UNLIMITED = Limits(rate=0)
"""Pages write as fast as a test does."""

_PROBES = (Path(__file__).parent / "browser" / "probes.js").read_text().partition("*/\n")[2]

# Ties a violation of the page's Content-Security-Policy to the window's complaints.
_LISTEN = """
addEventListener("securitypolicyviolation", (event) =>
  console.error("policy violated:", event.violatedDirective, event.blockedURI, event.sample));
"""


@contextmanager
def serving(limits: Limits = UNLIMITED, clock: trio.abc.Clock | None = None) -> Iterator[str]:
    """A chat in a thread of this process, with its store in memory; yields the page's address."""
    ready = threading.Event()
    found: list[object] = []

    async def run() -> None:
        chat = ChatServer(MemoryBackend(), limits=limits)
        async with trio.open_nursery() as nursery:
            server = await nursery.start(chat.serve, "127.0.0.1", 0)
            found.extend([server.port, trio.lowlevel.current_trio_token(), chat.stop])
            ready.set()

    thread = threading.Thread(target=lambda: trio.run(run, clock=clock), daemon=True)
    thread.start()
    assert ready.wait(SECONDS), "the server did not start"
    port, token, stop = found
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        assert isinstance(token, trio.lowlevel.TrioToken)
        token.run_sync_soon(stop)
        thread.join(SECONDS)


class Relay:
    """A network between a page and its server: it can be cut, or fall silent."""

    def __init__(self, url: str) -> None:
        self._target = int(url.rstrip("/").rpartition(":")[2])
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._silent = threading.Event()
        self._port = reserve_port()
        self.url = f"http://127.0.0.1:{port_of(self._port)}/"

    def __enter__(self) -> Relay:
        self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._port.close()

    def cut(self) -> None:
        """Cut all connections; new ones are refused until `mend`."""
        _close(self._listener)
        self._accepting.join()  # so that none is accepted after this
        for pair in self._pairs:
            for end in pair:
                _close(end)
        self._pairs.clear()

    def mend(self) -> None:
        self._silent.clear()
        self._listener = socket.create_server(self._port.getsockname())
        self._accepting = self._spawn(self._accept, self._listener)

    def silence(self) -> None:
        """From now on everything is lost, without a word to either side."""
        self._silent.set()

    def _spawn(self, target: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        thread.start()
        return thread

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._pairs.append((near, far))
                self._spawn(self._pump, near, far)
                self._spawn(self._pump, far, near)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if not self._silent.is_set():
                    target.sendall(data)
        _close(target)


def _close(end: socket.socket) -> None:
    with suppress(OSError):  # a listener has no connection to shut down, but wakes its accept
        end.shutdown(socket.SHUT_RDWR)
    end.close()


class Server:
    """`wscore chat` as a process of its own, which can be killed and started again."""

    def __init__(self, data: Path | str, *options: str) -> None:
        self._holder = reserve_port()
        port = port_of(self._holder)
        self._arguments = ["--port", str(port), "--data", str(data), *options]
        self.url = f"http://127.0.0.1:{port}/"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wscore", "chat", *self._arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith(f"wscore chat on {self.url} "):
            self.process.kill()
            errors = self.process.communicate()[1]
            raise AssertionError(f"the server did not start: {line!r} {errors}")

    def kill(self) -> None:
        """SIGKILL: no farewell, nothing flushed."""
        self.process.kill()
        self.process.communicate()

    def stop(self) -> tuple[int, str]:
        """SIGTERM: the exit status, and what was said on stderr."""
        self.process.terminate()
        _, errors = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, errors

    def close(self) -> None:
        """Kill it for the last time."""
        self.kill()
        self._holder.close()


def post(url: str, user: str, room: str, texts: list[str]) -> None:
    """Write to a room as somebody without a page; returns when everything is stored."""
    address = f"ws{url.removeprefix('http')}ws"
    with connect(address, proxy=None, open_timeout=SECONDS, ping_interval=None) as connection:
        session = f"the secret of {user}".ljust(22, "-")
        connection.send(json.dumps({"type": "hello", "id": "h", "user": user, "session": session}))
        connection.send(json.dumps({"type": "join", "id": "j", "room": room}))
        _await(connection.recv, "h")
        _await(connection.recv, "j")
        for start in range(0, len(texts), 200):
            requests = {uuid.uuid4().hex: text for text in texts[start : start + 200]}
            for request, text in requests.items():
                message = {"type": "post", "id": request, "room": room, "text": text}
                connection.send(json.dumps(message))
            for request in requests:
                _await(connection.recv, request)


def _await(receive: Callable[[float], str | bytes], request: str) -> None:
    while True:
        reply = json.loads(receive(SECONDS))
        if reply["type"] in ("ok", "error") and reply["id"] == request:
            break
    assert reply["type"] == "ok", reply


def probe(page: Page, name: str) -> Any:
    """Ask one of the questions in probes.js of the whole page."""
    return page.evaluate(f"{_PROBES.rstrip().removesuffix(';')}.{name}()")


class Window:
    """One user's browser window, driven by what that user sees."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.set_default_timeout(PATIENCE)
        if slowness := os.environ.get("WSCORE_SLOW_PAGES"):
            session = context.new_cdp_session(self.page)
            session.send("Emulation.setCPUThrottlingRate", {"rate": float(slowness)})
        self.page.add_init_script(_LISTEN)
        self.page.on("console", lambda message: self._hear(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def _hear(self, kind: str, text: str) -> None:
        # What tests do to the network, Chromium reports by itself.
        cut = re.match(r"WebSocket connection to '\S+' failed", text)
        if kind in ("error", "warning") and not cut:
            self.complaints.append(f"{kind}: {text}")

    def enter(self, url: str, name: str) -> None:
        self.page.goto(url)
        self.page.locator("#entry-name").fill(name)
        self.page.locator("#entry-form .primary").click()
        expect(self.page.locator("#me-name")).to_have_text(name)

    def join(self, room: str) -> None:
        self.page.locator("#sidebar [data-action=join-room]").click()
        self.page.locator("#ask-name").fill(room)
        self.page.locator("#ask-go").click()
        expect(self.page.locator("#title")).to_have_text(f"# {room}")

    def open(self, name: str) -> None:
        self.entry(name).click()
        expect(self.entry(name)).to_have_attribute("aria-current", "true")

    def entry(self, name: str) -> Locator:
        """The line of a room or person in the list of conversations."""
        return self.page.locator(f'#sidebar [data-name="{name}"]')

    def member(self, name: str) -> Locator:
        return self.page.locator(f'#member-list [data-name="{name}"]')

    def write(self, *texts: str) -> None:
        for text in texts:
            self.page.locator("#text").fill(text)
            self.page.locator("#text").press("Enter")

    @property
    def texts(self) -> Locator:
        return self.page.locator("#log .text")

    @property
    def stored(self) -> Locator:
        """Those of them that have come from the server."""
        return self.page.locator("#log .message.stored .text")

    @property
    def unsent(self) -> Locator:
        """Messages that are not stored yet, or were refused; one just written is shown soon."""
        return self.page.locator("#log .sending, #log .failed")

    @property
    def note(self) -> Locator:
        """What is said below messages that are not stored."""
        return self.page.locator("#log .note")

    @property
    def banner(self) -> Locator:
        return self.page.locator("#banner")

    @property
    def notice(self) -> Locator:
        return self.page.locator("#notice")

    def expect_texts(self, *texts: str) -> None:
        """Exactly these messages are shown, in this order, and all of them are stored."""
        expect(self.stored).to_have_text(list(texts))  # a message of one's own may move until then
        expect(self.texts).to_have_count(len(texts))


def new_context(browser: Browser, **options: object) -> BrowserContext:
    """A browser of its own: another person, or another device."""
    settings = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options}
    context: BrowserContext = browser.new_context(**settings)  # type: ignore[arg-type]
    return context
