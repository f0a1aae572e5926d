"""One Chromium for the tests of the page; each test has windows of its own in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from end_to_end.chat_page import Server, Window, new_context, serving
from end_to_end.chromium import PATIENCE, running_chromium
from playwright.sync_api import Browser, expect

OpenWindow = Callable[..., Window]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # Not for the session: while it runs, no other test of this thread can have an asyncio loop.
    expect.set_options(timeout=PATIENCE)
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def url() -> Iterator[str]:
    """The address of a chat with nothing in it."""
    with serving() as url:
        yield url


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server process that can be killed and started again."""
    server = Server(tmp_path / "chat.db")
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def open_window(browser: Browser) -> Iterator[OpenWindow]:
    """Opens windows: by default in a browser of its own, with `beside` in that of another one.

    At the end nothing may have gone wrong in any of them: no uncaught error, no warning, no
    violation of the Content-Security-Policy.
    """
    windows: list[Window] = []

    def open_window(*, beside: Window | None = None, **options: object) -> Window:
        context = beside.page.context if beside is not None else new_context(browser, **options)
        windows.append(Window(context))
        return windows[-1]

    yield open_window
    complaints = [window.complaints for window in windows]
    for context in {id(window.page.context): window.page.context for window in windows}.values():
        context.close()
    assert not any(complaints), complaints


@pytest.fixture
def ada(open_window: OpenWindow) -> Window:
    return open_window()


@pytest.fixture
def grace(open_window: OpenWindow) -> Window:
    return open_window()
