"""The page when the connection, the server or the browser's storage fails it."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta

import pytest
from end_to_end.chat_page import Relay, Server, Window, serving
from playwright.sync_api import Error, Response, WebSocketRoute, expect
from trio.testing import MockClock

from wscore.chat import Limits

pytestmark = pytest.mark.browser


def enter_lobby(url: str, *windows: Window) -> None:
    for window, name in zip(windows, ("ada", "grace"), strict=False):
        window.enter(url, name)
        window.join("lobby")


def test_a_killed_server_comes_back_and_nothing_is_missed(
    server: Server, ada: Window, grace: Window
) -> None:
    enter_lobby(server.url, ada, grace)
    ada.write("before")
    grace.expect_texts("before")
    texts = [f"message {n}" for n in range(8)]
    ada.write(*texts[:4])  # some stored, some not, some stored without the answer having come
    server.kill()
    expect(ada.banner).to_be_visible()
    ada.write(*texts[4:])
    expect(ada.note.last).to_have_text("Will be sent when the connection is back")
    server.start()
    ada.page.bring_to_front()
    for window in (ada, grace):
        expect(window.banner).to_be_hidden()
        window.expect_texts("before", *texts)

    # A direct message to somebody who is away, written without a server, waits in the inbox.
    ada.member("grace").click()
    grace.page.goto("about:blank")
    server.kill()
    expect(ada.banner).to_be_visible()
    ada.write("for later")
    server.start()
    ada.expect_texts("for later")
    grace.page.goto(server.url)
    expect(grace.entry("ada").locator(".badge")).to_contain_text("1")
    grace.open("ada")
    grace.expect_texts("for later")

    status, errors = server.stop()  # a restart that is announced: 1012
    assert (status, "Traceback" in errors) == (0, False), errors
    expect(grace.banner).to_contain_text("Disconnected")
    server.start()
    expect(grace.banner).to_be_hidden()


def test_a_lost_network_is_counted_down_and_tried_again_at_once_if_asked(
    url: str, ada: Window, grace: Window
) -> None:
    clock = ada.page.clock
    clock.install()
    with Relay(url) as relay:
        enter_lobby(relay.url, ada)
        grace.enter(url, "grace")  # on the server's side of the network
        grace.join("lobby")
        relay.cut()
        expect(ada.banner).to_be_visible()
        expect(ada.page.locator("#status")).to_have_text("Not connected.")
        ada.write("one", "two")
        expect(ada.unsent).to_have_count(2)
        grace.write("meanwhile")
        grace.expect_texts("meanwhile")
        # From now on no time passes in ada's page but what the test lets pass.
        clock.pause_at(datetime.now() + timedelta(hours=1))
        for seconds in ("[6-9]", "[3-5]"):  # after some tries
            for _ in range(600):
                if re.search(f"again in {seconds} s", ada.banner.inner_text()):
                    break
                clock.run_for(500)
            else:
                pytest.fail("nothing is counted down")
        relay.mend()
        ada.page.get_by_role("button", name="Reconnect now").click()
        clock.resume()
        expect(ada.banner).to_be_hidden()
        for window in (ada, grace):
            window.expect_texts("meanwhile", "one", "two")


def test_a_reload_while_disconnected_sends_what_was_written(
    server: Server, ada: Window, grace: Window
) -> None:
    enter_lobby(server.url, ada, grace)
    server.kill()
    expect(ada.banner).to_be_visible()
    ada.write("precious")
    expect(ada.unsent).to_have_count(1)
    server.start()
    ada.page.reload()
    ada.expect_texts("precious")
    grace.expect_texts("precious")


def test_a_network_that_falls_silent_is_noticed(url: str, ada: Window) -> None:
    with Relay(url) as relay:
        ada.page.clock.install()
        enter_lobby(relay.url, ada)
        relay.silence()
        for _ in range(5):  # a while without a word, a question, and no answer
            ada.page.clock.run_for(15_000)
        expect(ada.banner).to_be_visible()


def test_too_many_messages_at_once_wait_for_their_turn(ada: Window, grace: Window) -> None:
    clock = MockClock()  # the server's: it stands still, however long the page takes to write
    with serving(Limits(rate=0.5, burst=3), clock) as url:
        enter_lobby(url, ada, grace)
        texts = [f"message {n}" for n in range(5)]
        ada.write(*texts)
        expect(ada.note).to_contain_text("Too many messages at once. This one goes out in")
        grace.expect_texts(*texts[:3])
        clock.rate = 1
        for window in (ada, grace):
            window.expect_texts(*texts)


# ---- what a healthy server does not do: a hand in the connection ----


def test_a_store_that_fails_for_a_while_holds_messages_back(
    url: str, ada: Window, grace: Window
) -> None:
    failing = True

    def meddle(route: WebSocketRoute) -> None:
        upstream = route.connect_to_server()

        def request(text: str | bytes) -> None:
            message = json.loads(text)
            if failing and message["type"] == "post":
                refusal = {"type": "error", "code": "unavailable", "reason": "the disk is full"}
                route.send(json.dumps({**refusal, "id": message["id"]}))
            else:
                upstream.send(text)

        route.on_message(request)

    ada.page.route_web_socket("**/ws", meddle)
    enter_lobby(url, ada, grace)
    ada.write("one", "two")
    expect(ada.note).to_contain_text("The server cannot store anything at the moment. Trying again")
    failing = False
    for window in (ada, grace):
        window.expect_texts("one", "two")


def test_a_hole_in_the_log_is_noticed_mended_and_reported(
    url: str, ada: Window, grace: Window
) -> None:
    def meddle(route: WebSocketRoute) -> None:
        upstream = route.connect_to_server()

        def push(text: str | bytes) -> None:
            message = json.loads(text)
            if message["type"] != "message" or message["text"] != "swallowed":
                route.send(text)

        upstream.on_message(push)

    ada.page.route_web_socket("**/ws", meddle)
    enter_lobby(url, ada, grace)
    with ada.page.expect_console_message(lambda message: message.type == "warning"):
        grace.write("first", "swallowed", "third")
    expect(ada.notice).to_contain_text("Messages of lobby did not arrive in order")
    ada.expect_texts("first", "swallowed", "third")
    ada.page.get_by_role("button", name="Dismiss").click()
    expect(ada.notice).to_be_hidden()
    warnings, ada.complaints[:] = ada.complaints[:], []
    assert warnings == ["warning: chat: hole offset 3 after 1 lobby"]


@pytest.mark.parametrize("code", [1003, 1007, 1008, 1009])
def test_a_fault_of_the_page_is_not_repeated(url: str, ada: Window, code: int) -> None:
    connections: list[WebSocketRoute] = []

    def meddle(route: WebSocketRoute) -> None:
        connections.append(route)
        route.connect_to_server()

    ada.page.clock.install()
    ada.page.route_web_socket("**/ws", meddle)
    enter_lobby(url, ada)
    connections[0].close(code=code)
    expect(ada.banner).to_contain_text("Reload the page")
    ada.page.clock.fast_forward("10:00")
    with ada.page.expect_event("load"):
        ada.page.get_by_role("button", name="Reload").click()
    expect(ada.page.locator("#title")).to_have_text("# lobby")
    expect(ada.banner).to_be_hidden()
    assert len(connections) == 2  # none between the fault and the reload


def test_a_server_that_wants_tokens_is_given_one_and_a_new_one_when_it_expires(
    url: str, ada: Window
) -> None:
    """The server's side of tokens has tests of its own; here it is a hand in the connection."""
    connections: list[WebSocketRoute] = []
    tokens: list[str] = []

    def meddle(route: WebSocketRoute) -> None:
        connections.append(route)
        upstream = route.connect_to_server()

        def request(text: str | bytes) -> None:
            message = json.loads(text)
            if message["type"] != "hello":
                upstream.send(text)
            elif "token" not in message or message["token"] == "wrong":
                refusal = {"type": "error", "code": "unauthorized", "reason": "no"}
                route.send(json.dumps({**refusal, "id": message["id"]}))
            else:
                tokens.append(message.pop("token"))
                upstream.send(json.dumps({**message, "user": "ada", "session": "s" * 22}))

        route.on_message(request)

    ada.page.route_web_socket("**/ws", meddle)
    ada.page.goto(url)
    ada.page.get_by_label("Your name").fill("ada")
    ada.page.keyboard.press("Enter")
    field = ada.page.get_by_label("Access token")
    expect(field).to_be_focused()
    field.fill("wrong")
    ada.page.keyboard.press("Enter")
    expect(ada.page.get_by_role("alert")).to_contain_text("another token")
    first = "e30.eyJzdWIiOiJhZGEifQ.x"  # {"sub": "ada"}, not signed
    field.fill(first)
    ada.page.keyboard.press("Enter")
    ada.join("lobby")
    ada.page.locator("#text").fill("half a thou")
    ada.page.reload()
    expect(ada.page.locator("#title")).to_have_text("# lobby")

    connections[-1].close(code=4003)
    expect(ada.page.get_by_role("alert")).to_contain_text("Your token has expired")
    # A link with a token in it is a way in, too; the token does not stay in the address.
    ada.page.goto(f"{url}#token={first[:-1]}y")
    ada.page.reload()
    expect(ada.page.locator("#title")).to_have_text("# lobby")
    expect(ada.page.locator("#text")).to_have_value("half a thou")
    expect(ada.page).to_have_url(url)
    assert tokens[0] == tokens[1] == first
    assert tokens[-1] == f"{first[:-1]}y"


def test_a_room_that_is_refused_says_so(url: str, ada: Window) -> None:
    def meddle(route: WebSocketRoute) -> None:
        upstream = route.connect_to_server()

        def request(text: str | bytes) -> None:
            message = json.loads(text)
            if message.get("room") == "secret":
                refusal = {"type": "error", "code": "forbidden", "reason": "no"}
                route.send(json.dumps({**refusal, "id": message["id"]}))
            else:
                upstream.send(text)

        route.on_message(request)

    ada.page.route_web_socket("**/ws", meddle)
    enter_lobby(url, ada)
    ada.page.locator("#sidebar [data-action=join-room]").click()
    ada.page.get_by_label("Name of the room").fill("secret")
    ada.page.keyboard.press("Enter")
    expect(ada.page.locator("#ask-error")).to_have_text("This is not allowed here.")
    ada.page.keyboard.press("Escape")
    expect(ada.entry("secret")).to_have_count(0)


# ---- the browser's storage ----

BLOCKED = """
for (const name of ["localStorage", "sessionStorage"])
  Object.defineProperty(window, name, {
    get() { throw new DOMException("The operation is insecure.", "SecurityError"); },
  });
"""
FULL = """
for (const storage of [localStorage, sessionStorage]) {
  let piece = "x".repeat(1 << 20);
  for (let n = 0; piece.length > 0; n += 1) {
    try { storage.setItem("filler" + n, piece); }
    catch { piece = piece.slice(0, piece.length >> 1); }
  }
}
"""


@pytest.mark.parametrize("trouble", [BLOCKED, FULL], ids=["blocked", "full"])
def test_a_browser_that_stores_nothing(url: str, ada: Window, grace: Window, trouble: str) -> None:
    ada.page.add_init_script(trouble)
    enter_lobby(url, ada, grace)
    expect(ada.notice).to_contain_text("This browser keeps nothing for this page")
    ada.write("here I am")
    grace.expect_texts("here I am")
    ada.page.locator("#text").fill("a draft")
    ada.join("annex")
    ada.open("lobby")
    expect(ada.page.locator("#text")).to_have_value("a draft")
    ada.page.get_by_role("button", name="Switch user").click()
    expect(ada.page.get_by_role("button", name="ada")).to_be_visible()


def test_the_policy_is_strict_and_reaches_every_file(url: str, ada: Window) -> None:
    policies: dict[str, str] = {}

    def note(response: Response) -> None:
        policies[response.url] = response.headers["content-security-policy"]

    ada.page.on("response", note)
    ada.enter(url, "ada")
    assert len(policies) > 10
    for policy in policies.values():
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules.pop("require-trusted-types-for") == "'script'"
        assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
        assert set(rules.values()) <= {"'none'", "'self'"}
    # And the browser obeys it; in a page whose complaints nobody counts.
    page = ada.page.context.new_page()
    page.goto(url)
    with pytest.raises(Error, match="TrustedHTML"):
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<b>markup</b>')")
    assert page.evaluate(FORBIDDEN_IMAGE) == "img-src"


FORBIDDEN_IMAGE = """
() => new Promise((resolve) => {
  addEventListener("securitypolicyviolation", ({ blockedURI, effectiveDirective }) => {
    if (blockedURI === "data") resolve(effectiveDirective);
  });
  document.body.append(Object.assign(new Image(), { src: "data:," }));
})
"""
