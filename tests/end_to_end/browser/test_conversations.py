"""Conversations in the page: rooms, direct messages, history, drafts, several windows."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

import pytest
from end_to_end.chat_page import Relay, Window, post, probe, serving
from playwright.sync_api import expect

from wscore.chat import Limits

pytestmark = pytest.mark.browser

SHOWN = 200
"""Messages that the page has in its document at most."""


def enter_lobby(url: str, *windows: Window) -> None:
    for window, name in zip(windows, ("ada", "grace", "linus"), strict=False):
        window.enter(url, name)
        window.join("lobby")


def test_two_people_chat_in_a_room_and_directly(url: str, ada: Window, grace: Window) -> None:
    enter_lobby(url, ada, grace)
    expect(ada.page.locator("#member-list .name")).to_have_text(["ada", "grace"])
    expect(ada.page.locator("#subtitle")).to_have_text("2 members here")

    ada.write("Hello, everybody")
    grace.expect_texts("Hello, everybody")
    grace.write("Hello, Ada")
    grace.page.locator("#text").press_sequentially("two")
    grace.page.locator("#text").press("Shift+Enter")
    grace.page.locator("#text").press_sequentially("lines")
    grace.page.locator("#text").press("Enter")
    ada.expect_texts("Hello, everybody", "Hello, Ada", "two\nlines")

    grace.member("ada").click()
    grace.write("Just between us")
    expect(ada.entry("grace").locator(".badge")).to_have_text("1 (1 unread)")
    expect(ada.page).to_have_title(re.compile(r"^\(1\) "))
    ada.open("grace")
    ada.expect_texts("Just between us")
    expect(ada.entry("grace").locator(".badge")).to_have_count(0)
    expect(ada.page).to_have_title("grace · wscore chat")

    expect(ada.page.locator("#typing")).to_have_text("")
    ada.page.clock.set_fixed_time(datetime.now())  # the notice is not over before it is seen
    grace.page.locator("#text").press_sequentially("And one more thing")
    expect(ada.page.locator("#typing")).to_have_text("grace is typing…")


def test_three_people_see_the_same_in_the_same_order(
    url: str, ada: Window, grace: Window, open_window: Callable[..., Window]
) -> None:
    linus = open_window()
    people = [ada, grace, linus]
    enter_lobby(url, *people)
    for number in range(4):
        for window in people:
            window.write(f"{number}")
    for window in people:
        expect(window.stored).to_have_count(12)
        expect(window.texts).to_have_count(12)
    orders = [window.page.locator("#log .message").evaluate_all(IDS) for window in people]
    assert orders[0] == orders[1] == orders[2]
    linus.page.locator("#leave").click()
    expect(linus.page.get_by_text("Nothing open yet")).to_be_visible()
    expect(linus.page.locator("#empty-join")).to_be_focused()
    expect(ada.member("linus")).to_have_count(0)


IDS = "(messages) => messages.map((message) => message.dataset.id)"


def test_unread_rooms_are_counted_until_they_are_looked_at(
    url: str, ada: Window, grace: Window
) -> None:
    enter_lobby(url, ada, grace)
    ada.join("annex")
    grace.write("one", "two", "three")
    expect(ada.entry("lobby").locator(".badge")).to_contain_text("3")
    expect(ada.page).to_have_title("(3) annex · wscore chat")
    ada.page.reload()
    expect(ada.entry("lobby").locator(".badge")).to_contain_text("3")
    ada.open("lobby")
    expect(ada.page.locator("#log .divider.unread")).to_have_text("New")
    expect(ada.entry("lobby").locator(".badge")).to_have_count(0)


def test_two_windows_of_one_user_agree(
    url: str, ada: Window, grace: Window, open_window: Callable[..., Window]
) -> None:
    enter_lobby(url, ada, grace)
    second = open_window(beside=ada)
    second.page.goto(url)
    second.page.get_by_role("button", name="ada").click()
    second.open("lobby")
    ada.page.bring_to_front()
    ada.write("from the first")
    for window in (second, grace):
        window.expect_texts("from the first")
    # What grace is told comes in order: nobody has come since.
    expect(grace.page.locator("#subtitle")).to_have_text("2 members here")

    # What one has read is read in the other; a room joined in one is there in the other.
    ada.join("annex")
    expect(second.entry("annex")).to_be_visible()
    second.page.locator("#sidebar [data-name=annex]").click()
    grace.write("unread in both")
    for window in (ada, second):
        expect(window.entry("lobby").locator(".badge")).to_contain_text("1")
    ada.page.bring_to_front()
    ada.open("lobby")
    expect(second.entry("lobby").locator(".badge")).to_have_count(0)
    ada.page.close()
    second.write("still here")
    expect(grace.page.locator("#subtitle")).to_have_text("2 members here")


def test_a_reload_keeps_the_user_the_rooms_and_each_draft(
    url: str, ada: Window, grace: Window
) -> None:
    enter_lobby(url, ada, grace)
    ada.write("kept")
    ada.expect_texts("kept")
    text = ada.page.locator("#text")
    text.fill("half a thou")
    ada.join("annex")
    expect(text).to_have_value("")
    text.fill("another")
    expect(ada.entry("lobby")).to_contain_text("draft")
    ada.page.reload()
    expect(text).to_have_value("another")
    ada.open("lobby")
    ada.expect_texts("kept")
    expect(text).to_have_value("half a thou")


def test_the_room_just_opened_is_seen_among_many_in_the_order_of_their_numbers(
    url: str, ada: Window
) -> None:
    ada.enter(url, "ada")
    for number in range(28):
        ada.join(f"room-{number}")
    expect(ada.entry("room-27")).to_be_in_viewport(ratio=1)
    expect(ada.entry("room-0")).not_to_be_in_viewport()
    expect(ada.page.locator("#rooms .name")).to_have_text([f"room-{n}" for n in range(28)])
    # It is the user who scrolls after that.
    ada.page.locator(".lists").evaluate("lists => { lists.scrollTop = 0; }")
    post(url, "grace", "room-3", ["hello"])
    expect(ada.entry("room-3").locator(".badge")).to_be_visible()
    expect(ada.entry("room-27")).not_to_be_in_viewport()
    ada.entry("room-3").click()
    expect(ada.entry("room-3")).to_be_in_viewport(ratio=1)


def test_the_longest_name_of_a_room_leaves_the_field_one_line(url: str, ada: Window) -> None:
    ada.enter(url, "ada")
    text = ada.page.locator("#text")

    def height() -> float:
        box = text.bounding_box()
        assert box is not None
        return box["height"]

    ada.join("r")
    one_line = height()
    ada.join("W" * 64)
    expect(text).to_have_attribute("placeholder", re.compile("W{64}"))
    assert height() == one_line
    text.fill("x" * 400)
    assert height() > one_line


def test_names_that_are_taken_or_no_names_are_refused(url: str, ada: Window, grace: Window) -> None:
    ada.enter(url, "ada")
    grace.page.goto(url)
    for name, complaint in (("ADA", "belongs to somebody else"), ("no spaces", "1 to 64 letters")):
        grace.page.get_by_label("Your name").fill(name)
        grace.page.keyboard.press("Enter")
        expect(grace.page.get_by_role("alert")).to_contain_text(complaint)
        expect(grace.page.get_by_label("Your name")).to_have_attribute("aria-invalid", "true")
    grace.enter(url, "grace")
    grace.page.reload()
    expect(grace.page.locator("#me-name")).to_have_text("grace")
    grace.page.get_by_role("button", name="Switch user").click()
    expect(grace.page.get_by_role("button", name="grace")).to_be_visible()
    expect(grace.page.get_by_role("button", name="ada")).to_have_count(0)

    grace.page.get_by_role("button", name="grace").click()
    grace.page.locator("#empty-join").click()
    grace.page.get_by_label("Name of the room").fill("no room!")
    grace.page.keyboard.press("Enter")
    expect(grace.page.locator("#ask-error")).to_contain_text("1 to 64 letters")


def test_the_longest_name_can_be_typed_in_any_writing(url: str, ada: Window) -> None:
    """Its length is counted in characters: the browser's `maxlength` counts UTF-16 units."""
    name = "𠀀" * 64
    ada.page.goto(url)
    for field, shown, said in (
        ("Your name", "#me-name", name),
        ("Name of the room", "#title", f"# {name}"),
    ):
        ada.page.get_by_label(field).focus()
        ada.page.keyboard.insert_text(name)
        ada.page.keyboard.press("Enter")
        expect(ada.page.locator(shown)).to_have_text(said)
        if field == "Your name":
            ada.page.locator("#empty-join").click()


def test_a_message_to_nobody_fails_and_can_be_tried_again_or_discarded(
    url: str, ada: Window, grace: Window
) -> None:
    ada.enter(url, "ada")
    ada.page.locator("#sidebar [data-action=new-direct]").click()
    ada.page.get_by_label("Name of the person").fill("grace")
    ada.page.keyboard.press("Enter")
    ada.write("first", "second")
    expect(ada.note).to_have_count(2)
    expect(ada.note.first).to_contain_text("Nobody of this name has been here")
    grace.enter(url, "grace")
    ada.note.last.get_by_role("button", name="Discard").click()
    expect(ada.note).to_have_count(1)
    ada.note.get_by_role("button", name="Try again").click()
    ada.expect_texts("first")
    grace.open("ada")
    grace.expect_texts("first")


def test_a_text_is_counted_before_it_is_too_long(url: str, ada: Window, grace: Window) -> None:
    enter_lobby(url, ada, grace)
    text, over = ada.page.locator("#text"), ada.page.locator("#over")
    text.fill("x" * 3000)
    expect(over).to_have_text("")
    text.fill("x" * 3990)
    expect(over).to_have_text("10 characters left")
    text.fill("x" * 4001)
    expect(over).to_have_text("1 character too long")
    expect(ada.page.get_by_role("button", name="Send")).to_be_disabled()
    text.press("Enter")
    longest = "😀" * 4000  # code points are counted, not UTF-16 units
    text.fill(longest)
    expect(over).to_have_text("0 characters left")
    text.press("Enter")
    grace.expect_texts(longest)


def test_older_history_loads_on_scrolling_up_without_moving_the_view(url: str, ada: Window) -> None:
    texts = [f"entry {n}" for n in range(130)]
    post(url, "linus", "archive", texts)
    ada.enter(url, "ada")
    ada.join("archive")
    ada.expect_texts(*texts[-50:])
    ada.page.locator("#scroller").hover()
    for shown in (100, 130):
        first = ada.texts.first.inner_text()
        ada.page.mouse.wheel(0, -20_000)
        expect(ada.texts).to_have_count(shown)
        expect(ada.page.get_by_text(first, exact=True)).to_be_in_viewport()
    ada.expect_texts(*texts)
    expect(ada.page.get_by_text("This is the beginning of the room.")).to_have_count(1)
    post(url, "marie", "archive", ["news"])
    ada.page.get_by_role("button", name="1 new message").click()
    expect(ada.page.get_by_text("news", exact=True)).to_be_in_viewport()


def test_who_speaks_is_said_however_far_above_the_head_of_the_group_is(
    url: str, ada: Window
) -> None:
    post(url, "linus", "lobby", [f"entry {n}" for n in range(90)])
    ada.enter(url, "ada")
    ada.join("lobby")
    ada.write("mine")
    ada.expect_texts(*[f"entry {n}" for n in range(40, 90)], "mine")
    speaker = ada.page.locator("#speaker")
    expect(speaker).to_have_text("linus")
    expect(speaker).to_be_visible()
    # Where the head itself is in view, it is not said twice.
    ada.page.locator("#scroller").hover()
    ada.page.mouse.wheel(0, -20_000)
    expect(ada.texts).to_have_count(91)
    ada.page.mouse.wheel(0, -20_000)
    expect(ada.page.get_by_text("entry 0", exact=True)).to_be_in_viewport()
    expect(speaker).to_be_hidden()
    # The next to speak.
    ada.page.locator("#latest").click()
    expect(speaker).to_be_visible()
    ada.write(*[f"mine {n}" for n in range(40)])
    expect(speaker).to_have_text("ada")
    # Another conversation has another speaker, or none.
    ada.join("annex")
    expect(speaker).to_be_hidden()


def test_ten_thousand_messages_keep_the_document_small(ada: Window) -> None:
    """However far up one reads and however much comes, few messages are in the document."""
    with serving(Limits(rate=0, replay=20_000)) as url:
        post(url, "linus", "archive", [f"entry {n}" for n in range(1, 10_001)])
        ada.enter(url, "ada")
        ada.join("archive")
        expect(ada.texts.last).to_have_text("entry 10000")
        probe(ada.page, "watch")
        ada.page.locator("#scroller").hover()
        for _ in range(400):
            top = int(ada.texts.first.inner_text().removeprefix("entry "))
            if top < 8_000:
                break
            ada.page.mouse.wheel(0, -20_000)
            ada.page.wait_for_function(MOVED, arg=f"entry {top}")
        else:
            pytest.fail("2,000 messages up were not reached")
        texts = ada.texts.all_inner_texts()
        top = int(texts[0].removeprefix("entry "))  # it may have gone further
        assert texts == [f"entry {n}" for n in range(top, top + len(texts))]

        # Meanwhile, below: 10,000 more, of which none is drawn until one goes there.
        post(url, "marie", "archive", [f"entry {n}" for n in range(10_001, 20_001)])
        ada.page.get_by_role("button", name="10000 new messages").click()
        expect(ada.texts.last).to_have_text("entry 20000")
        texts = ada.texts.all_inner_texts()
        assert texts == [f"entry {n}" for n in range(20_001 - len(texts), 20_001)]
        most = ada.page.evaluate("window.mostMessages")
        assert 50 < most <= SHOWN, f"{most} messages were in the document"

        # The way down again, from the middle: nothing is passed over.
        ada.page.locator("#scroller").hover()
        ada.page.mouse.wheel(0, -20_000)
        ada.page.wait_for_function(MOVED, arg=texts[0])
        while (last := ada.texts.last.inner_text()) != "entry 20000":
            ada.page.mouse.wheel(0, 20_000)
            ada.page.wait_for_function(GREW, arg=last)
        ada.page.mouse.wheel(0, 20_000)
        expect(ada.page.get_by_text("entry 20000", exact=True)).to_be_in_viewport()
        expect(ada.page.locator("#latest")).to_be_hidden()


GREW = "(text) => [...document.querySelectorAll('#log .text')].at(-1).textContent !== text"
MOVED = "(text) => document.querySelector('#log .text').textContent !== text"


def test_ten_thousand_missed_messages_arrive_on_resume(url: str, ada: Window) -> None:
    with Relay(url) as relay:
        enter_lobby(relay.url, ada)
        ada.write("before")
        ada.expect_texts("before")
        probe(ada.page, "watch")
        relay.cut()
        expect(ada.banner).to_be_visible()
        post(url, "linus", "lobby", [f"entry {n}" for n in range(1, 10_000)])
        relay.mend()
        expect(ada.texts.last).to_have_text("entry 9999")
        expect(ada.page.locator("#log .gap")).to_have_count(0)
        assert ada.page.evaluate("window.mostMessages") <= SHOWN


def test_messages_that_were_missed_for_good_are_announced(ada: Window) -> None:
    with serving(Limits(rate=0, replay=5)) as url, Relay(url) as relay:
        enter_lobby(relay.url, ada)
        ada.write("before")
        ada.expect_texts("before")
        relay.cut()
        expect(ada.banner).to_be_visible()
        post(url, "linus", "lobby", [f"entry {n}" for n in range(60)])
        relay.mend()
        gap = ada.page.locator("#log .divider.gap")
        expect(gap).to_contain_text("Messages were missed here")
        expect(ada.texts.last).to_have_text("entry 59")
        ada.page.locator("#scroller").hover()
        ada.page.mouse.wheel(0, -20_000)
        expect(ada.texts).to_have_count(61)
        expect(ada.texts.first).to_have_text("before")
