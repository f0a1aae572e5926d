"""Who can use the page: by keyboard, with a screen reader, on a phone, in the dark, in Chinese."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from end_to_end.chat_page import Relay, Window, post, probe
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

OpenWindow = Callable[..., Window]
PHONE = {"viewport": {"width": 360, "height": 720}, "has_touch": True, "is_mobile": True}
LONG = "x" * 64


def assert_readable(page: Page) -> None:
    contrasts = probe(page, "contrasts")
    assert contrasts
    assert not [entry for entry in contrasts if entry[0] < 4.5]


def assert_named(page: Page) -> None:
    """Every control has a name, in the tree that assistive technology gets."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    roles = {"button", "textbox", "link", "heading", "navigation", "region", "dialog", "log"}
    names = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in roles
    ]
    assert len(names) >= 3
    assert not [role for role, name in names if not name.strip()], names


def furnish(window: Window, url: str) -> None:
    """Conversations in which everything is to be seen that the page can show."""
    window.join("annex")
    window.join("lobby")
    post(url, "linus", "lobby", ["Hello", "https://example.org/", "🎉"])
    post(url, "marie", "annex", ["unread"])
    expect(window.texts).to_have_count(3)
    window.write("mine")
    window.expect_texts("Hello", "https://example.org/", "🎉", "mine")
    window.page.locator("#sidebar [data-action=new-direct]").click()
    window.page.locator("#ask-name").fill("nobody")
    window.page.keyboard.press("Enter")
    window.write("Are you there?")
    expect(window.page.locator("#log .failed")).to_have_count(1)
    expect(window.entry("annex").locator(".badge")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_and_every_control_has_a_name(
    url: str, open_window: OpenWindow, scheme: str
) -> None:
    window = open_window(color_scheme=scheme)
    page = window.page

    def check() -> None:
        assert_readable(page)
        assert_named(page)

    page.goto(url)
    check()
    page.locator("#entry-name").fill("no name!")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).not_to_be_empty()
    check()
    with Relay(url) as relay:
        window.enter(relay.url, "ada")
        check()
        furnish(window, url)
        check()
        page.locator("#text").fill("x" * 4001)
        check()
        window.open("lobby")
        check()
        page.locator("#sidebar [data-action=join-room]").click()
        check()
        page.keyboard.press("Escape")
        relay.cut()
        expect(window.banner).to_be_visible()
        window.write("later")
        expect(window.unsent).to_have_count(1)
        check()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 200) == (scheme == "dark")


def test_everything_by_keyboard_alone(url: str, ada: Window, grace: Window) -> None:
    page = ada.page
    grace.enter(url, "grace")
    grace.join("lobby")
    page.goto(url)
    expect(page.get_by_label("Your name")).to_be_focused()
    page.keyboard.type("ada")
    page.keyboard.press("Enter")
    expect(page.locator("#me-name")).to_have_text("ada")

    def tab_to(name: str | re.Pattern[str], *, back: bool = False) -> None:
        target = page.get_by_role("button", name=name).first
        for _ in range(30):
            page.keyboard.press("Shift+Tab" if back else "Tab")
            assert probe(page, "focusIsVisible"), "the focus cannot be seen"
            if target.evaluate("(element) => element === document.activeElement"):
                return
        pytest.fail(f"Tab does not lead to {name}")

    tab_to("Join a room")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name of the room")).to_be_focused()
    for _ in range(8):  # the dialog holds the focus; the browser's own controls lie between
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('dialog, body').tagName") in (
            "DIALOG",
            "BODY",
        )
        assert not page.evaluate("document.activeElement.closest('#chat')")
    page.keyboard.press("Escape")
    expect(page.locator("#ask")).to_be_hidden()
    expect(page.locator("#sidebar [data-action=join-room]")).to_be_focused()

    page.keyboard.press("Enter")
    tab_to(re.compile("lobby"))  # one of those that are open now
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text("# lobby")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type("no mouse")
    page.keyboard.press("Enter")
    grace.expect_texts("no mouse")

    # From the first Tab stop straight to the field, and from conversation to conversation.
    page.evaluate("document.activeElement.blur(); getSelection().removeAllRanges()")
    tab_to("Skip to the message field", back=False)
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_be_focused()
    tab_to(re.compile("^grace"))  # a member
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text("grace")
    page.keyboard.type("psst")
    page.keyboard.press("Enter")
    ada.expect_texts("psst")
    page.keyboard.press("Alt+ArrowUp")
    expect(page.locator("#title")).to_have_text("# lobby")

    # The messages scroll with the arrows, and a failed one is mended.
    tab_to("Leave room", back=True)
    page.keyboard.press("Enter")
    expect(page.locator("#empty-join")).to_be_focused()
    tab_to("Switch user", back=True)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your name")).to_be_focused()


def test_what_arrives_is_announced_and_what_is_scrolled_in_is_not(url: str, ada: Window) -> None:
    post(url, "linus", "lobby", [f"old {n}" for n in range(120)])
    ada.enter(url, "ada")
    ada.join("lobby")
    said = ada.page.get_by_role("log").locator("p")
    expect(ada.texts.last).to_have_text("old 119")
    ada.page.locator("#scroller").hover()
    ada.page.mouse.wheel(0, -20_000)
    expect(ada.texts).to_have_count(100)
    expect(said).to_have_count(0)
    post(url, "linus", "lobby", ["new"])
    expect(said).to_have_text(["linus: new"])
    ada.write("mine")
    expect(ada.stored.last).to_have_text("mine")
    ada.page.locator("#text").fill("x" * 4001)
    expect(said).to_have_text(["linus: new", "1 character too long"])
    log = ada.page.locator("#announcer")
    expect(log).to_have_attribute("aria-live", "polite")


def test_a_phone(url: str, open_window: OpenWindow) -> None:
    window = open_window(**PHONE, reduced_motion="reduce")  # drawers stand where they go
    page = window.page

    def fits() -> None:
        assert probe(page, "overflowing") == []

    page.goto(url)
    fits()
    page.get_by_label("Your name").fill(LONG)
    page.get_by_role("button", name="Enter", exact=True).tap()
    expect(page.locator("#empty-join")).to_be_visible()
    fits()
    page.locator("#empty-join").tap()
    page.get_by_label("Name of the room").fill("r" + LONG[1:])
    fits()
    page.locator("#ask-go").tap()
    expect(page.locator("#title")).to_contain_text("# rx")
    texts = ["y" * 400, "https://example.org/" + "z" * 300, "two\nlines", "x" * 4000]
    window.write(*texts)
    window.expect_texts(*texts)
    fits()
    expect(page.locator("#sidebar")).to_be_hidden()
    expect(page.locator("#members")).to_be_hidden()

    for opener, drawer in (("Show conversations", "#sidebar"), ("Show members", "#members")):
        page.get_by_role("button", name=opener).tap()
        close = page.locator(f"{drawer} [data-action=close-drawers]")
        expect(close).to_be_focused()
        expect(page.locator(drawer)).to_be_in_viewport(ratio=0.9)
        fits()
        assert_named(page)
        for _ in range(12):  # the focus stays within
            page.keyboard.press("Tab")
            assert page.evaluate("!document.activeElement.closest('#conversation')")
        page.keyboard.press("Escape")
        expect(page.locator(drawer)).to_be_hidden()
        expect(page.get_by_role("button", name=opener)).to_be_focused()

    assert probe(page, "smallTargets") == []


def test_chinese_without_a_word_of_english(url: str, open_window: OpenWindow) -> None:
    window = open_window(locale="zh-CN")
    page = window.page

    def check() -> None:
        texts = [re.sub(r"wscore chat|ada|lobby|annex|nobody|Shift\+Enter|Enter|https://\S+", "", t)
                 for t in probe(page, "texts")]  # fmt: skip
        assert any(re.search(r"[\u4e00-\u9fff]", text) for text in texts)
        assert not [text for text in texts if re.search(r"[A-Za-z]{2,}", text)]

    page.goto(url)
    check()
    page.get_by_label("你的名字").fill("no name!")
    page.get_by_role("button", name="进入").click()
    expect(page.get_by_role("alert")).not_to_be_empty()
    page.get_by_label("你的名字").fill("")
    check()
    with Relay(url) as relay:
        window.enter(relay.url, "ada")
        check()
        window.join("lobby")
        window.join("annex")
        post(url, "小明", "lobby", ["大家好"])
        expect(window.entry("lobby").locator(".badge")).to_be_visible()
        window.open("lobby")
        check()
        page.locator("#sidebar [data-action=new-direct]").click()
        check()
        page.locator("#ask-name").fill("nobody")
        page.keyboard.press("Enter")
        window.write("在吗")
        expect(window.page.locator("#log .failed")).to_have_count(1)
        page.locator("#text").fill("长" * 4001)
        check()
        relay.cut()
        expect(window.banner).to_be_visible()
        window.write("稍后")
        expect(window.unsent).to_have_count(2)
        check()
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"


def test_motion_is_left_out_where_it_is_not_wanted(url: str, open_window: OpenWindow) -> None:
    window = open_window(reduced_motion="reduce", **PHONE)
    window.enter(url, "ada")
    assert probe(window.page, "moving") == 0
