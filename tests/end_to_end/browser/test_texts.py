"""What people write, with any intention and in any writing, as the page shows it."""

from __future__ import annotations

import pytest
from end_to_end.chat_page import Window, post, probe
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

ATTACKS = [
    '<img src=x onerror="window.attacked = true"><script>window.attacked = true</script>',
    "&lt;b&gt;bold&lt;/b&gt;",
    "</p></article><svg onload=window.attacked=true>",
    "javascript:window.attacked=true",
    "[click](javascript:window.attacked=true)",
    'https://example.org/"onmouseover="window.attacked=true',
    "https://bank.example@evil.example/",
    "data:text/html,<script>window.attacked=true</script>",
    "{{constructor.constructor('window.attacked=true')()}} ${window.attacked=true}",
    "\u202egpj.exe \u2066https://example.org/\u202eevil",
    "\u0000 \ufeff \u200b nothing to see",
]


def test_text_of_users_never_becomes_markup(url: str, ada: Window, grace: Window) -> None:
    grace.enter(url, "grace")
    grace.join("lobby")
    ada.enter(url, "ada")
    ada.join("lobby")
    post(url, "constructor", "lobby", ATTACKS)
    post(url, "__proto__", "lobby", ["a name that is a property of everything"])
    ada.page.locator("#sidebar [data-action=new-direct]").click()
    ada.page.locator("#ask-name").fill("<b>bold</b>")
    ada.page.keyboard.press("Enter")
    expect(ada.page.locator("#ask-error")).to_contain_text("1 to 64 letters")
    ada.page.keyboard.press("Escape")
    for room in ("__proto__", "constructor", "hasOwnProperty"):
        ada.join(room)
        ada.write("here")
        ada.expect_texts("here")
    ada.page.reload()
    for room in ("__proto__", "constructor", "lobby"):
        ada.open(room)
    for window in (ada, grace):
        page = window.page
        expect(window.texts).to_have_count(len(ATTACKS) + 1)
        assert window.texts.all_inner_texts()[0] == ATTACKS[0]
        assert (
            page.locator("#log").locator("img, script, b, iframe, [onerror], [onload]").count() == 0
        )
        links = page.locator("#log a").evaluate_all(
            "(all) => all.map((a) => [a.protocol, a.host, a.rel])"
        )
        assert {tuple(link) for link in links} == {
            ("https:", "example.org", "noopener noreferrer nofollow")
        }
        assert page.evaluate("window.attacked") is None


def test_words_of_any_length_direction_and_kind_look_right(url: str, ada: Window) -> None:
    ada.enter(url, "ada")
    ada.join("lobby")
    ada.join("غرفة")
    arabic, zalgo = "مرحبا (hello) بالعالم!", "Z" + "\u0351\u036b\u0343" * 40
    texts = ["x" * 500, arabic, f"English\n{arabic}", "👩‍👩‍👧‍👦 🇺🇳", zalgo, " indented\n\n  twice"]
    ada.write(*texts)
    ada.expect_texts(*texts)
    assert probe(ada.page, "overflowing") == []
    sides, sizes = zip(*probe(ada.page, "beginnings"), strict=True)
    assert sides[:3] == ("left", "right", "left")
    assert sizes[3] > sizes[0] == sizes[4]
    assert ada.texts.last.inner_text() == texts[-1]  # each space of it
    # Stacked marks do not reach into the messages around.
    expect(ada.page.locator("#log .message").nth(4)).to_have_css("overflow-y", "clip")
