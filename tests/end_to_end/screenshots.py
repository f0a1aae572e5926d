"""Pictures of the page in its states, from a real server and a real browser.

`python tests/end_to_end/screenshots.py docs` renews the pictures of the documentation;
`--all` adds the states that it does not show. Fonts are the system's: with fonts-inter,
fonts-noto-cjk and fonts-noto-color-emoji of Debian they look as they do there.
"""

from __future__ import annotations

import argparse
import base64
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from end_to_end.chat_page import Server, Window, new_context, post, serving
from end_to_end.chromium import PATIENCE, running_chromium
from playwright.sync_api import Browser, expect

TALK = [
    ("grace", "Morning! The new build is up: https://build.example.org/1284"),
    ("grace", "Resume works after a restart now, even one in the middle of a message 🎉"),
    ("linus", "And nothing twice?"),
    ("grace", "Nothing twice, nothing missing."),
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
            expect(grace.stored.last).to_have_text(text)
        else:
            post(url, user, room, [text])
    ada.write("Works for me 👍")
    expect(ada.stored.last).to_have_text("Works for me 👍")


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
        ada.page.mouse.move(700, 790)
        for scheme, name in (("light", "chat.png"), ("dark", "chat-dark.png")):
            ada.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            grace.page.locator("#text").fill("")
            grace.page.locator("#text").press_sequentially("I will bring the cake", delay=150)
            expect(ada.page.locator("#typing")).to_have_text("grace is typing…")
            ada.page.screenshot(path=folder / name)
        context.close()
        other.close()
    pictures = [*phone(browser, "light", "en-GB"), *phone(browser, "dark", "zh-CN")]
    montage(browser, pictures, folder / "chat-phone.png")


def phone(browser: Browser, scheme: str, locale: str) -> tuple[bytes, bytes]:
    """A conversation on a phone, and the list of conversations."""
    with serving() as url:
        context, other = new_context(
            browser,
            viewport={"width": 360, "height": 720},
            has_touch=True,
            is_mobile=True,
            color_scheme=scheme,
            reduced_motion="reduce",
            locale=locale,
        ), new_context(browser)  # fmt: skip
        ada, grace = Window(context), Window(other)
        english = locale.startswith("en")
        grace.enter(url, "grace" if english else "小红")
        room = "engineering" if english else "茶馆"
        ada.enter(url, "ada" if english else "小明")
        ada.page.locator("#empty-join").click()
        ada.page.locator("#ask-name").fill(room)
        ada.page.locator("#ask-go").click()
        grace.join(room)
        if english:
            talk(url, room, ada, grace)
        else:
            grace.write("早上好！新版本已经上线：https://build.example.org/1284")
            post(url, "林风", room, ["重启之后也能接着聊吗？", "一条都没丢？"])
            grace.write("随时重启都行，一条不少，一条不重 🎉")
            expect(ada.texts).to_have_count(4)
            ada.write("太好了，周一发布 👍")
            expect(ada.stored.last).to_have_text("太好了，周一发布 👍")
        conversation = ada.page.screenshot()
        grace.page.locator("#member-list button").first.click()
        grace.write("Lunch at noon?" if english else "中午一起吃饭？")
        ada.page.locator("[data-action=show-list]").click()
        expect(ada.page.locator("#directs .badge")).to_be_visible()
        lists = ada.page.screenshot()
        context.close()
        other.close()
        return conversation, lists


def montage(browser: Browser, pictures: list[bytes], path: Path) -> None:
    """Several pictures side by side in one."""
    page = browser.new_page(viewport={"width": 1600, "height": 800})
    sources = [f"data:image/png;base64,{base64.b64encode(data).decode()}" for data in pictures]
    images = "".join(
        f'<img src="{source}" style="border-radius: 22px; border: 1px solid #8886">'
        for source in sources
    )
    page.set_content(f'<div style="display: flex; gap: 28px; width: max-content">{images}</div>')
    page.locator("div").screenshot(path=path, omit_background=True)
    page.close()


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
            expect(window.stored.last).to_have_text("<b>no markup</b> javascript:alert(1)")
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
            window.write(f"before, {scheme}")
            expect(window.stored.last).to_have_text(f"before, {scheme}")
            server.kill()
            expect(window.banner).to_be_visible()
            window.write("one", "two", "three")
            expect(window.unsent).to_have_count(3)
            expect(window.note).to_have_count(1)
            window.page.screenshot(path=folder / f"disconnected-{scheme}.png")
            context.close()
            server.start()
        server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Take pictures of the chat's page.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="states beyond the documentation's, too")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=PATIENCE)
    with running_chromium() as browser:
        documentation(browser, options.folder)
        if options.all:
            states(browser, options.folder)
            disconnected(browser, options.folder)


if __name__ == "__main__":
    main()
