"""Who can use the page: by keyboard, with a screen reader, on a phone, in the dark, in Chinese."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from end_to_end.chat_page import Relay, Window, post
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

OpenWindow = Callable[..., Window]
PHONE = {"viewport": {"width": 360, "height": 720}, "has_touch": True, "is_mobile": True}
LONG = "x" * 64

# Of each text that can be seen: the ratio of its colour to what lies behind it (WCAG 2.2, 1.4.3).
CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((v, i) => v * a + under[i] * (1 - a));
  const luminance = (colour) => {
    const [r, g, b] = colour.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    if (element === null) return rgba(getComputedStyle(document.body).backgroundColor).slice(0, 3);
    const colour = rgba(getComputedStyle(element).backgroundColor);
    return colour[3] === 1 ? colour.slice(0, 3) : over(colour, behind(element.parentElement));
  };
  const results = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (walker.currentNode.data.trim() === "" || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest(".visually-hidden, .skip, noscript, :disabled")) continue;
    const back = behind(element);
    const [r, g, b, a] = rgba(getComputedStyle(element).color);
    let alpha = a;
    for (let at = element; at !== null; at = at.parentElement) alpha *= Number(getComputedStyle(at).opacity);
    if (alpha === 0) continue;
    const [light, dark] = [luminance(over([r, g, b, alpha], back)), luminance(back)].sort((x, y) => y - x);
    results.push([(light + 0.05) / (dark + 0.05), `${element.className || element.tagName}: ${element.textContent}`]);
  }
  return results;
}"""


def assert_readable(page: Page) -> None:
    contrasts = page.evaluate(CONTRASTS)
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


def furnish(url: str, window: Window, relay: Relay | None = None) -> None:
    """A conversation in which everything is to be seen that the page can show."""
    window.enter(relay.url if relay else url, "ada")
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
        furnish(url, window, relay)
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
            assert page.evaluate(FOCUS_IS_VISIBLE), "the focus cannot be seen"
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
    expect(ada.unsent).to_have_count(0)
    page.keyboard.press("Alt+ArrowUp")
    expect(page.locator("#title")).to_have_text("# lobby")

    # The messages scroll with the arrows, and a failed one is mended.
    tab_to("Leave room", back=True)
    page.keyboard.press("Enter")
    expect(page.locator("#empty-join")).to_be_focused()
    tab_to("Switch user", back=True)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your name")).to_be_focused()


FOCUS_IS_VISIBLE = """() => {
  const element = document.activeElement;
  if (element === document.body) return true;
  const around = element.closest(".box") ?? element;
  const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(around);
  return (outlineStyle !== "none" && parseFloat(outlineWidth) >= 1) || boxShadow !== "none";
}"""


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
    ada.page.locator("#text").fill("x" * 4001)
    expect(said).to_have_text(["linus: new", "1 character too long"])
    log = ada.page.locator("#announcer")
    expect(log).to_have_attribute("aria-live", "polite")


def test_a_phone(url: str, open_window: OpenWindow) -> None:
    window = open_window(**PHONE, reduced_motion="reduce")  # drawers stand where they go
    page = window.page

    def fits() -> None:
        assert page.evaluate(OVERFLOWING) == []

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
    window.write("y" * 400, "https://example.org/" + "z" * 300, "two\nlines", "x" * 4000)
    expect(window.unsent).to_have_count(0)
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

    targets = page.locator("button:visible").evaluate_all(
        "(all) => all.map((b) => b.getBoundingClientRect()).filter((r) => Math.min(r.width, r.height) < 24)"
    )
    assert targets == [], "targets of a finger have 24 px at least (WCAG 2.2, 2.5.8)"


# What reaches beyond the window, and texts that are cut off without an ellipsis.
OVERFLOWING = """() => [...document.querySelectorAll("body *")].filter((element) => {
  if (!element.checkVisibility({ visibilityProperty: true })) return false;
  if (element.closest(".visually-hidden, .skip, svg")) return false;
  const { left, right, width } = element.getBoundingClientRect();
  if (width > 0 && (left < -0.5 || right > innerWidth + 0.5)) return true;
  const cut = element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX !== "visible";
  return cut && getComputedStyle(element).textOverflow !== "ellipsis" && element.tagName !== "INPUT";
}).map((element) => element.id || element.className || element.tagName)"""


def test_chinese_without_a_word_of_english(url: str, open_window: OpenWindow) -> None:
    window = open_window(locale="zh-CN")
    page = window.page

    def check() -> None:
        texts = [re.sub(r"wscore chat|ada|lobby|annex|nobody|Shift\+Enter|Enter|https://\S+", "", t)
                 for t in page.evaluate(TEXTS)]  # fmt: skip
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


TEXTS = """() => [...document.querySelectorAll("body *, title")].flatMap((element) => {
  if (element.closest("noscript, textarea")) return [];
  const own = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.data);
  const said = ["aria-label", "title", "placeholder", "alt"].map((name) => element.getAttribute(name) ?? "");
  const shown = element.checkVisibility() ? own : [];
  return [...shown, ...said].filter((text) => text.trim() !== "");
})"""


def test_motion_is_left_out_where_it_is_not_wanted(url: str, open_window: OpenWindow) -> None:
    window = open_window(reduced_motion="reduce", **PHONE)
    window.enter(url, "ada")
    moving = window.page.evaluate(
        """() => [...document.querySelectorAll("*")].filter((element) => {
          const { transitionDuration, animationName } = getComputedStyle(element);
          return parseFloat(transitionDuration) > 0 || animationName !== "none";
        }).length"""
    )
    assert moving == 0


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
        assert page.locator("#log").locator("img, script, b, iframe, [onerror], [onload]").count() == 0
        links = page.locator("#log a").evaluate_all("(all) => all.map((a) => [a.protocol, a.host, a.rel])")
        assert {tuple(link) for link in links} == {
            ("https:", "example.org", "noopener noreferrer nofollow")
        }
        assert page.evaluate("window.attacked") is None


def test_words_of_any_length_direction_and_kind_look_right(url: str, ada: Window) -> None:
    ada.enter(url, "ada")
    ada.join("lobby")
    ada.join("غرفة")
    arabic, zalgo = "مرحبا (hello) بالعالم!", "Z" + "\u0351\u036b\u0343" * 40
    ada.write("x" * 500, arabic, f"English\n{arabic}", "👩‍👩‍👧‍👦 🇺🇳", zalgo, " indented\n\n  twice")
    expect(ada.unsent).to_have_count(0)
    assert ada.page.evaluate(OVERFLOWING) == []
    starts = ada.texts.evaluate_all(
        """(all) => all.map((text) => {
          const range = document.createRange();
          range.setStart(text.firstChild, 0);
          range.setEnd(text.firstChild, 1);
          const { left, right } = text.getBoundingClientRect();
          return range.getBoundingClientRect().left > (left + right) / 2 ? "right" : "left";
        })"""
    )
    assert starts[:3] == ["left", "right", "left"]
    assert ada.texts.last.inner_text() == " indented\n\n  twice"
    sizes = ada.texts.evaluate_all("(all) => all.map((t) => parseFloat(getComputedStyle(t).fontSize))")
    assert sizes[3] > sizes[0] == sizes[4]
    # Stacked marks do not reach into the messages around.
    overflow = ada.page.locator("#log .message").nth(4)
    expect(overflow).to_have_css("overflow-y", "clip")
