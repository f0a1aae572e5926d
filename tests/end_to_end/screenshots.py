"""Pictures of the page in its states, from a real server and a real browser.

`python tests/end_to_end/screenshots.py docs` renews the pictures of the documentation;
`--all` adds the states that it does not show. Fonts are the system's: with fonts-inter,
fonts-noto-cjk and fonts-noto-color-emoji of Debian they look as they do there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from end_to_end.chat_page import Server, Window, new_context, post, serving
from end_to_end.chromium import running_chromium
from playwright.sync_api import Browser, expect

TALK = [
    ("grace", "Morning! The new build is up: https://build.example.org/1284"),
    ("grace", "Resume works after a restart now, I killed the server twenty times 🎉"),
    ("linus", "And nothing twice?"),
    ("grace", "Nothing twice, nothing missing. 12,000 messages each time."),
    ("yuki", "了解です。あとで確認しますね"),
    (
        "linus",
        "Then let us ship it on Monday. I will write the notes tonight:\n"
        "– durable before ok\n– one file, no broker\n– the page works offline and catches up",
    ),
]


def talk(url: str, room: str, ada: Window, grace: Window | None = None) -> None:
    for user, text in TALK:
        if user == "grace" and grace is not None:
            grace.write(text)
            expect(grace.unsent).to_have_count(0)
        else:
            post(url, user, room, [text])
    ada.write("Works for me 👍")
    expect(ada.unsent).to_have_count(0)


def furnish(url: str, ada: Window, grace: Window) -> None:
    """People, rooms and messages, as on some morning."""
    grace.enter(url, "grace")
    for room in ("lobby", "engineering"):
        grace.join(room)
    ada.enter(url, "ada")
    for room in ("design", "lobby", "engineering"):
        ada.join(room)
    talk(url, "engineering", ada, grace)
    grace.member("ada").click()
    grace.write("Lunch at noon?", "The usual place")
    post(url, "marie", "design", ["The dark one is better", "Both, please", "See the sketch"])
    grace.open("engineering")
    expect(ada.entry("grace").locator(".badge")).to_contain_text("2")


def documentation(browser: Browser, folder: Path) -> None:
    with serving() as url:
        context, other = new_context(browser), new_context(browser)
        ada, grace = Window(context), Window(other)
        furnish(url, ada, grace)
        ada.page.bring_to_front()
        grace.page.locator("#text").press_sequentially("I will bring the cake, as ever", delay=100)
        expect(ada.page.locator("#typing")).to_have_text("grace is typing…")
        ada.page.screenshot(path=folder / "chat.png")
        ada.page.emulate_media(color_scheme="dark")
        grace.page.locator("#text").press_sequentially(" and tea, if you like, too", delay=100)
        ada.page.screenshot(path=folder / "chat-dark.png")
        context.close()
        other.close()


def states(browser: Browser, folder: Path) -> None:
    with serving() as url:
        for scheme in ("light", "dark"):
            context = new_context(browser, color_scheme=scheme)
            window = Window(context)
            window.page.goto(url)
            window.page.screenshot(path=folder / f"entry-{scheme}.png")
            window.enter(url, f"ada-{scheme}")
            window.page.screenshot(path=folder / f"empty-{scheme}.png")
            window.join("lobby")
            window.page.locator("#sidebar [data-action=new-direct]").click()
            window.page.screenshot(path=folder / f"dialog-{scheme}.png")
            window.page.keyboard.press("Escape")
            window.write(
                "A very long word: " + "x" * 300,
                "مرحبا بالعالم! هذا سطر\nand an English one\nשלום",
                "🎉",
                "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324" * 6
                + " stacked marks",
                "\u202egnp.exe turned around",
                "https://example.org/a/b?c=d, and (https://example.org/wiki/X_(y)).",
                "<b>no markup</b> javascript:alert(1)",
            )
            expect(window.unsent).to_have_count(0)
            window.page.screenshot(path=folder / f"texts-{scheme}.png")
            window.page.locator("#sidebar [data-action=new-direct]").click()
            window.page.locator("#ask-name").fill("nobody")
            window.page.keyboard.press("Enter")
            window.write("Are you there?")
            expect(window.page.locator("#log .failed")).to_have_count(1)
            window.page.locator("#text").fill("x" * 4012)
            window.page.screenshot(path=folder / f"failed-{scheme}.png")
            context.close()


def disconnected(browser: Browser, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        server = Server(Path(place) / "chat.db")
        for scheme in ("light", "dark"):
            context = new_context(browser, color_scheme=scheme)
            window = Window(context)
            window.enter(server.url, f"ada-{scheme}")
            window.join("lobby")
            window.write("before")
            expect(window.unsent).to_have_count(0)
            server.kill()
            expect(window.banner).to_be_visible()
            window.write("one", "two", "three")
            expect(window.note).to_have_count(1)
            window.page.screenshot(path=folder / f"disconnected-{scheme}.png")
            context.close()
            server.start()
        server.kill()


def phone(browser: Browser, folder: Path) -> None:
    with serving() as url:
        for scheme, locale in (("light", "en-GB"), ("dark", "zh-CN")):
            context = new_context(
                browser,
                viewport={"width": 360, "height": 720},
                has_touch=True,
                is_mobile=True,
                device_scale_factor=2,
                color_scheme=scheme,
                locale=locale,
            )
            name = "ada" if scheme == "light" else "小明"
            room = "engineering" if scheme == "light" else "茶馆"
            window = Window(context)
            window.enter(url, name)
            window.page.locator("#empty-join").click()
            window.page.locator("#ask-name").fill(room)
            window.page.locator("#ask-go").click()
            expect(window.page.locator("#title")).to_have_text(f"# {room}")
            talk(url, room, window)
            window.page.screenshot(path=folder / f"phone-{scheme}.png")
            window.page.locator("[data-action=show-list]").click()
            window.page.wait_for_timeout(400)
            window.page.screenshot(path=folder / f"phone-list-{scheme}.png")
            context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Take pictures of the chat's page.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="states beyond the documentation's, too")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=30_000)
    with running_chromium() as browser:
        documentation(browser, options.folder)
        if options.all:
            states(browser, options.folder)
            disconnected(browser, options.folder)
            phone(browser, options.folder)


if __name__ == "__main__":
    main()
