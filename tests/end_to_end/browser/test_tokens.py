"""The page of a server that wants tokens: a real one, with a key, and tokens of its own command."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from end_to_end.chat_page import SECONDS, Server, Window
from playwright.sync_api import expect

from wscore.chat.tokens import make_token

pytestmark = pytest.mark.browser


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(secrets.token_urlsafe(48))
    return path


@pytest.fixture
def locked(tmp_path: Path, key: Path) -> Iterator[Server]:
    """A server process that lets nobody in without a token."""
    server = Server(tmp_path / "chat.db", "--jwt-key-file", str(key))
    try:
        yield server
    finally:
        server.close()


def token_of(user: str, key: Path) -> str:
    """What `wscore chat token` prints."""
    command = [sys.executable, "-m", "wscore", "chat", "token", user, "--jwt-key-file", str(key)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    return made.stdout.strip()


def test_a_link_with_a_token_and_a_token_that_is_typed_let_in(
    locked: Server, key: Path, ada: Window, grace: Window
) -> None:
    ada.page.goto(f"{locked.url}#token={token_of('Ada', key)}")
    expect(ada.page.locator("#me-name")).to_have_text("Ada")
    expect(ada.page).to_have_url(locked.url)  # nobody sees it over the shoulder, or in the history
    ada.join("lobby")

    grace.page.goto(locked.url)
    grace.page.get_by_label("Your name").fill("Grace")
    grace.page.keyboard.press("Enter")
    field = grace.page.get_by_label("Access token")
    expect(field).to_be_focused()
    field.fill(make_token("Grace", "another key, which nobody here has configured"))
    grace.page.keyboard.press("Enter")
    expect(grace.page.get_by_role("alert")).to_contain_text("another token")
    field.fill(token_of("Grace", key))
    grace.page.keyboard.press("Enter")
    expect(grace.page.locator("#me-name")).to_have_text("Grace")
    grace.join("lobby")
    grace.write("hello")
    ada.expect_texts("hello")
    ada.write("hello Grace")
    ada.expect_texts("hello", "hello Grace")

    # Both come back without being asked again, also to a server that was started anew.
    locked.kill()
    locked.start()
    for window, name in ((ada, "Ada"), (grace, "Grace")):
        window.page.reload()
        expect(window.page.locator("#me-name")).to_have_text(name)
        window.expect_texts("hello", "hello Grace")


def test_a_token_that_runs_out_is_asked_for_anew(locked: Server, key: Path, ada: Window) -> None:
    ada.page.goto(f"{locked.url}#token={token_of('Ada', key)}")
    ada.join("lobby")
    ada.write("with the first")
    ada.expect_texts("with the first")
    for seconds in (5, 20, 60):  # until it is long enough for a slow machine to let her in
        token = make_token("Ada", key.read_text(), seconds=seconds)
        ada.page.goto(f"{locked.url}#token={token}")
        ada.page.reload()  # only what follows # was another
        expect(ada.page.get_by_role("alert")).not_to_be_empty()
        if ada.page.locator("#title").text_content() == "# lobby":
            break
    expect(ada.page.locator("#title")).to_have_text("# lobby")  # it is still below
    expect(ada.page.get_by_role("alert")).to_contain_text("Your token has expired")
    ada.page.get_by_label("Access token").fill(token_of("Ada", key))
    ada.page.keyboard.press("Enter")
    expect(ada.page.locator("#title")).to_be_visible()
    ada.write("and with the third")
    ada.expect_texts("with the first", "and with the third")
