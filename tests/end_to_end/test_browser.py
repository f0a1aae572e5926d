"""The page in a real browser against the real server; and the page's own tests, which node runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from end_to_end.chromium import running_chromium
from playwright.sync_api import Browser, Locator, Page, expect

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
PATIENCE = 30_000  # milliseconds until something awaited counts as missing; slow machines need them
ATTACK = '<img src=x onerror="window.attacked = true"><script>window.attacked = true</script>'


class Server:
    """`wscore chat` as a process of its own, which can be killed and started again."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._port = "0"
        self.start()

    def start(self) -> None:
        arguments = ["--port", self._port, "--data", str(self._data)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "wscore", "chat", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.match(r"wscore chat on (http://127\.0\.0\.1:(\d+)/) ", line)
        if found is None:
            self._process.kill()
            pytest.fail(f"the server did not start: {line!r} {self._process.communicate()[1]}")
        self.url, self._port = found.groups()

    def kill(self) -> None:
        """SIGKILL: no farewell, nothing flushed."""
        self._process.kill()
        self._process.communicate()

    def stop(self) -> tuple[int, str]:
        """SIGTERM: the exit status, and what was said on stderr."""
        self._process.terminate()
        _, errors = self._process.communicate(timeout=30)
        return self._process.returncode, errors


class Window:
    """One user's browser window, driven by what that user sees."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def _hear(self, kind: str, text: str) -> None:
        refused = "WebSocket connection to" in text and "ERR_CONNECTION_REFUSED" in text
        if kind in ("error", "warning") and not refused:
            self.complaints.append(f"{kind}: {text}")

    def enter(self, url: str, name: str) -> None:
        self.page.goto(url)
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_role("button", name="Enter", exact=True).click()
        expect(self.page.locator("#me-name")).to_have_text(name)

    def join(self, room: str) -> None:
        self.page.locator("#sidebar").get_by_role("button", name="Join a room").click()
        self.page.get_by_label("Name of the room").fill(room)
        self.page.get_by_role("button", name="Join", exact=True).click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text(f"# {room}")

    def open(self, name: str) -> None:
        self.entry(name).click()
        expect(self.entry(name)).to_have_attribute("aria-current", "true")

    def entry(self, name: str) -> Locator:
        """The line of a room or person in the list of conversations."""
        return self.page.locator(f'#sidebar [data-name="{name}"]')

    def write(self, *texts: str) -> None:
        for text in texts:
            self.page.locator("#text").fill(text)
            self.page.keyboard.press("Enter")

    def expect_texts(self, *texts: str) -> None:
        """Exactly these messages are shown, in this order, and none of them is pending."""
        expect(self.page.locator("#log .text")).to_have_text(list(texts))
        expect(self.page.locator("#log .note")).to_have_count(0)

    @property
    def banner(self) -> Locator:
        return self.page.locator("#banner")

    def picture(self, folder: Path, name: str) -> None:
        self.page.screenshot(path=folder / f"{name}.png")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "chat.db")
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def windows(browser: Browser) -> Iterator[tuple[Window, Window]]:
    """Two windows of one browser, which share its memory; nothing may have gone wrong in them."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    pair = Window(context.new_page()), Window(context.new_page())
    yield pair
    complaints = [window.complaints for window in pair]
    context.close()
    assert complaints == [[], []]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("WSCORE_SCREENSHOT_DIR") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_two_windows_chat_in_a_room_and_directly(
    server: Server, windows: tuple[Window, Window], pictures: Path
) -> None:
    ada, grace = windows
    ada.enter(server.url, "ada")
    grace.enter(server.url, "grace")
    ada.join("lobby")
    grace.join("lobby")
    expect(ada.page.locator("#member-list .name")).to_have_text(["ada", "grace"])

    ada.write("Hello, everybody")
    grace.expect_texts("Hello, everybody")
    grace.write("Hello, Ada", "two\nlines")
    ada.expect_texts("Hello, everybody", "Hello, Ada", "two\nlines")

    grace.page.locator('#member-list [data-name="ada"]').click()
    grace.write("Just between us")
    expect(ada.entry("grace").locator(".badge")).to_contain_text("1")
    expect(ada.page).to_have_title(re.compile(r"^\(1\) "))
    ada.open("grace")
    ada.expect_texts("Just between us")
    expect(ada.entry("grace").locator(".badge")).to_have_count(0)

    grace.page.locator("#text").press_sequentially("And one more thing", delay=200)
    expect(ada.page.locator("#typing")).to_have_text("grace is typing…")
    ada.open("lobby")
    ada.picture(pictures, "room")

    status, errors = server.stop()
    assert status == 0, errors
    assert "Traceback" not in errors


def test_a_killed_server_comes_back_and_nothing_is_missed(
    server: Server, windows: tuple[Window, Window], pictures: Path
) -> None:
    ada, grace = windows
    ada.enter(server.url, "ada")
    grace.enter(server.url, "grace")
    ada.join("lobby")
    grace.join("lobby")
    ada.write("before")
    grace.expect_texts("before")

    for round_ in ("first", "second"):
        server.kill()
        expect(ada.banner).to_be_visible()
        expect(grace.banner).to_be_visible()
        ada.write(f"{round_}: one", f"{round_}: two", f"{round_}: three")
        expect(ada.page.locator("#log .note")).to_have_count(3)
        expect(ada.page.locator("#log .note").first).to_contain_text("Will be sent")
        ada.picture(pictures, f"disconnected-{round_}")
        server.start()
        expect(ada.banner).to_be_hidden()
        expect(grace.banner).to_be_hidden()

    texts = ["before"] + [f"{r}: {n}" for r in ("first", "second") for n in ("one", "two", "three")]
    ada.expect_texts(*texts)
    grace.expect_texts(*texts)

    # A direct message to somebody who is away, written without a server, waits in the inbox.
    ada.page.locator('#member-list [data-name="grace"]').click()
    grace.page.goto("about:blank")
    server.kill()
    expect(ada.banner).to_be_visible()
    ada.write("for later")
    server.start()
    ada.expect_texts("for later")
    grace.page.goto(server.url)  # the same window: the same user
    expect(grace.entry("ada").locator(".badge")).to_contain_text("1")
    grace.open("ada")
    grace.expect_texts("for later")
    grace.open("lobby")
    grace.expect_texts(*texts)


def test_messages_written_just_before_the_kill_arrive_once(
    server: Server, windows: tuple[Window, Window]
) -> None:
    ada, grace = windows
    ada.enter(server.url, "ada")
    grace.enter(server.url, "grace")
    ada.join("lobby")
    grace.join("lobby")
    texts = [f"message {n}" for n in range(12)]
    ada.write(*texts[:6])  # some stored, some not, some stored without the answer having come
    server.kill()
    ada.write(*texts[6:])
    server.start()
    ada.expect_texts(*texts)
    grace.expect_texts(*texts)


def test_text_of_users_never_becomes_markup(server: Server, windows: tuple[Window, Window]) -> None:
    ada, grace = windows
    ada.enter(server.url, "ada")
    grace.enter(server.url, "grace")
    ada.join("lobby")
    grace.join("lobby")
    ada.write(ATTACK, "&lt;b&gt;bold&lt;/b&gt;")
    grace.expect_texts(ATTACK, "&lt;b&gt;bold&lt;/b&gt;")
    assert grace.page.locator("#log img, #log script, #log b").count() == 0
    assert grace.page.evaluate("window.attacked") is None


def test_a_reload_keeps_the_user_the_rooms_the_draft_and_what_was_not_sent(
    server: Server, windows: tuple[Window, Window]
) -> None:
    ada, grace = windows
    ada.enter(server.url, "ada")
    ada.join("lobby")
    ada.write("kept")
    ada.expect_texts("kept")
    ada.page.locator("#text").fill("half a thou")
    ada.page.reload()
    expect(ada.page.locator("#me-name")).to_have_text("ada")
    ada.expect_texts("kept")
    expect(ada.page.locator("#text")).to_have_value("half a thou")

    # The other window of this browser holds the secret too, and may be the same user.
    grace.page.goto(server.url)
    grace.page.get_by_role("button", name="ada").click()
    grace.open("lobby")
    grace.expect_texts("kept")


def test_a_name_that_belongs_to_somebody_else_is_refused(
    server: Server, browser: Browser, windows: tuple[Window, Window]
) -> None:
    ada, _ = windows
    ada.enter(server.url, "ada")
    elsewhere = browser.new_context(locale="en-GB")
    stranger = Window(elsewhere.new_page())
    stranger.page.goto(server.url)
    stranger.page.get_by_label("Your name").fill("ADA")
    stranger.page.keyboard.press("Enter")
    expect(stranger.page.get_by_role("alert")).to_contain_text("belongs to somebody else")
    stranger.page.get_by_label("Your name").fill("no spaces, please")
    stranger.page.keyboard.press("Enter")
    expect(stranger.page.get_by_role("alert")).to_contain_text("1 to 64 letters")
    stranger.enter(server.url, "stranger")
    stranger.page.reload()
    expect(stranger.page.locator("#me-name")).to_have_text("stranger")
    elsewhere.close()


def test_older_history_loads_on_scrolling_up_without_moving_the_view(
    server: Server, windows: tuple[Window, Window]
) -> None:
    ada, grace = windows
    ada.enter(server.url, "ada")
    ada.join("archive")
    texts = [f"entry {n}" for n in range(130)]
    ada.write(*texts)
    ada.expect_texts(*texts)
    grace.enter(server.url, "grace")
    grace.join("archive")
    grace.expect_texts(*texts[-50:])
    grace.page.locator("#scroller").hover()
    log = grace.page.locator("#log .text")
    for shown in (100, 130):
        first = log.first.inner_text()
        grace.page.mouse.wheel(0, -20_000)
        expect(log).to_have_count(shown)
        expect(grace.page.get_by_text(first, exact=True)).to_be_in_viewport()
    grace.expect_texts(*texts)
    ada.write("news")
    grace.page.get_by_role("button", name="1 new message").click()
    expect(grace.page.get_by_text("news", exact=True)).to_be_in_viewport()


def test_a_phone_in_the_dark_in_chinese(server: Server, browser: Browser, pictures: Path) -> None:
    context = browser.new_context(
        viewport={"width": 360, "height": 720}, color_scheme="dark", locale="zh-CN", has_touch=True
    )
    window = Window(context.new_page())
    page = window.page
    page.goto(server.url)
    page.get_by_label("你的名字").fill("小明")
    page.get_by_role("button", name="进入").click()
    page.get_by_role("button", name="加入聊天室").click()
    page.get_by_label("聊天室名称").fill("茶馆")
    page.get_by_role("button", name="加入", exact=True).click()
    window.write("大家好！" * 20 + "x" * 200)
    expect(page.locator("#log .text")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    expect(page.locator("#sidebar")).to_be_hidden()
    page.get_by_role("button", name="显示会话列表").click()
    expect(window.entry("茶馆")).to_be_in_viewport()
    window.picture(pictures, "phone")
    context.close()
    assert window.complaints == []


def test_logic_of_the_page_under_node() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.fail("no node: install it (Debian: apt-get install nodejs) to test the page's logic")
    files = sorted(str(path) for path in (ROOT / "tests" / "web").glob("*.test.mjs"))
    assert files, "tests/web holds no tests"
    done = subprocess.run([node, "--test", *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
