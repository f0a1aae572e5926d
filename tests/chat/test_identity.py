"""Who somebody is and what they may do, as clients and embedding programs meet it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jwt
import pytest
import trio
from chat.client import SESSION, Chat, running
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from wscore.chat import ChatError, ChatServer, Hello, Identity, Limits, MemoryBackend
from wscore.chat.auth import Authenticate, Authorize, Gate
from wscore.chat.tokens import TokenAuthentication, make_token
from wscore.trio import HTTPRequest, WebSocketConnection, wrap_client_stream

KEY = "a-secret-that-is-long-enough-for-each-of-the-algorithms-with-a-secret"
NOW = 1_800_000_000.0
"""What the wall clock shows when a test's own clock shows 0."""


def wall() -> float:
    return NOW + trio.current_time()


def tokens(**options: Any) -> TokenAuthentication:
    return TokenAuthentication(KEY, **{"clock": wall, **options})


def server(
    authenticate: Authenticate | None = None, authorize: Authorize | None = None
) -> ChatServer:
    if authenticate is None:
        return ChatServer(MemoryBackend(), authorize=authorize, clock=wall)
    return ChatServer(MemoryBackend(), authenticate=authenticate, authorize=authorize, clock=wall)


def signed(key: Any = KEY, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"sub": "Anna", **claims}, key, algorithm)


# --- Sessions -------------------------------------------------------------------------------


async def test_a_name_belongs_to_whoever_said_hello_first_and_holds_its_session(
    chat: Chat,
) -> None:
    await chat.user("Anna", session=SESSION)
    other = await chat.connect()
    assert await other.error("hello", user="Anna", session="b" * 22) == "name_taken"
    assert await other.error("hello", user="ANNA", session="b" * 22) == "name_taken"
    assert await other.error("hello", user="Anna") == "name_taken"
    assert (await other.hello("aNNa", session=SESSION))["user"] == "Anna"


async def test_a_session_is_the_clients_choice_and_repeating_the_hello_is_harmless(
    chat: Chat,
) -> None:
    for session in ("s" * 22, "s" * 128):
        for _ in range(2):
            client = await chat.connect()
            assert (await client.hello(f"user-{len(session)}", session=session))[
                "session"
            ] == session
    client = await chat.connect()
    for session in ("s" * 21, "s" * 129):
        assert await client.error("hello", user="Bob", session=session) == "malformed"


async def test_without_a_session_one_is_returned_and_is_the_key(chat: Chat) -> None:
    first = await (await chat.connect()).ok("hello", user="Anna")
    second = await (await chat.connect()).ok("hello", user="Bob")
    assert 22 <= len(first["session"]) <= 128
    assert first["session"] != second["session"]
    again = await chat.connect()
    assert (await again.hello("Anna", session=first["session"]))["session"] == first["session"]


async def test_several_connections_with_one_session_are_one_user(chat: Chat) -> None:
    bob = await chat.user("Bob", room="r")
    phone = await chat.user("Anna", room="r")
    tablet = await chat.user("ANNA", room="r")
    assert (await bob.push("presence"))["count"] == 2
    assert (await bob.ok("join", room="r"))["members"] == ["Anna", "Bob"]
    await bob.ok("direct", to="anna", text="hello")
    for device in (phone, tablet):
        push = await device.push("direct")
        assert (push["text"], push["offset"]) == ("hello", 1)
    await phone.ok("leave", room="r")
    assert [push for push in await bob.sync() if push["type"] == "presence"] == []
    await tablet.ok("leave", room="r")
    assert (await bob.push("presence"))["state"] == "left"


async def test_a_token_without_a_key_configured_is_refused(chat: Chat) -> None:
    client = await chat.connect()
    assert await client.error("hello", token=signed()) == "unauthorized"
    assert await client.error("hello", token=signed(), user="Anna") == "unauthorized"
    await client.hello("Anna")


# --- Tokens ---------------------------------------------------------------------------------


async def test_a_token_says_who_it_is() -> None:
    async with running(server(tokens())) as chat:
        for _ in range(2):  # two devices
            client = await chat.connect()
            reply = await client.ok("hello", token=make_token("Anna", KEY, clock=wall))
            assert reply["user"] == "Anna"
            assert 22 <= len(reply["session"]) <= 128
        stranger = await chat.connect()
        assert await stranger.error("hello", user="Bob") == "unauthorized"
        assert (
            await stranger.error("hello", user="Anna", session=reply["session"]) == "unauthorized"
        )
        assert await stranger.error("rooms") == "hello_required"


PRIVATE_RSA = rsa.generate_private_key(65537, 2048)
PRIVATE_EC = ec.generate_private_key(ec.SECP256R1())
PRIVATE_ED = ed25519.Ed25519PrivateKey.generate()


def public(private: Any) -> bytes:
    pem: bytes = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def bad_tokens() -> dict[str, str]:
    good = signed(exp=NOW + 60)
    head, body, signature = good.split(".")
    unsigned = signed(key=None, algorithm="none")
    assert unsigned.endswith(".")
    return {
        "another key": signed(key=KEY[::-1]),
        "another algorithm": signed(algorithm="HS512"),
        "none": unsigned,
        "none with a signature": unsigned + signature,
        "a public-key algorithm": signed(key=PRIVATE_EC, algorithm="ES256"),
        "another body": f"{head}.{signed(sub='Bob').split('.')[1]}.{signature}",
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "empty": "",
        "no token": "Anna",
        "not ASCII": "é.é.é",
        "absurd": "W1tb" * 20_000 + ".e30.e30",
        "expired": signed(exp=NOW - 1),
        "expires now": signed(exp=NOW),
        "not yet": signed(nbf=NOW + 10),
        "exp is no time": _raw(exp="soon"),
        "exp is not finite": _raw(exp=float("inf")),
        "exp is absurd": _raw(exp=10**400),
        "exp is true": _raw(exp=True),
        "nbf is no time": _raw(nbf=[]),
        "no sub": jwt.encode({"exp": NOW + 60}, KEY, "HS256"),
        "sub is a number": _raw(sub=7),
        "sub is null": _raw(sub=None),
        "an audience": signed(aud="elsewhere"),
        "a list": jwt.api_jws.encode(b"[]", KEY, "HS256"),
        "no JSON": jwt.api_jws.encode(b"x", KEY, "HS256"),
    }


def _raw(**claims: Any) -> str:
    """A well signed token that PyJWT would not make."""
    return jwt.api_jws.encode(json.dumps({"sub": "Anna", **claims}).encode(), KEY, "HS256")


async def test_bad_tokens_are_refused_and_the_connection_lives_on(
    mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(server(tokens())) as chat:
        client = await chat.connect()
        for why, token in bad_tokens().items():
            reply = await client.ask("hello", token=token)
            assert (reply["type"], reply["code"]) == ("error", "unauthorized"), why
            assert 0 < len(reply["reason"]) <= 200
        name = await client.ask("hello", token=signed(sub="not a name"))
        assert name["code"] == "invalid_name"
        assert (await client.ok("hello", token=signed(exp=NOW + 60)))["user"] == "Anna"
    assert caplog.records == []


@given(st.text() | st.lists(st.binary(), min_size=3, max_size=3))
def test_no_token_is_a_mistake_of_the_server(token: str | list[bytes]) -> None:
    if isinstance(token, list):
        token = b".".join(map(jwt.utils.base64url_encode, token)).decode()
    check = TokenAuthentication(KEY, clock=lambda: NOW)
    hello = Hello(id="1", token=token)
    with pytest.raises(ChatError, match="unauthorized"):
        trio.run(check, hello, HTTPRequest("GET", "/ws", [], "client", "server"))


@pytest.mark.parametrize(
    ("private", "algorithm"),
    [(PRIVATE_RSA, "RS256"), (PRIVATE_RSA, "PS512"), (PRIVATE_EC, "ES256"), (PRIVATE_ED, "EdDSA")],
    ids=["RS256", "PS512", "ES256", "EdDSA"],
)
async def test_public_keys(private: Any, algorithm: str) -> None:
    key = public(private)
    check = TokenAuthentication(key, algorithms=[algorithm], clock=wall)
    async with running(server(check)) as chat:
        client = await chat.connect()
        # Whoever knows the public key must not be able to sign with it.
        forged = jwt.api_jws.encode(b'{"sub":"Anna"}', b"x" * 32, "HS256").rpartition(".")[0]
        mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        signature = jwt.utils.base64url_encode(mac.sign(forged.encode(), key)).decode()
        for token in (f"{forged}.{signature}", signed(), signed(None, "none")):
            assert await client.error("hello", token=token) == "unauthorized"
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        token = make_token("Anna", pem, algorithm=algorithm, clock=wall)
        assert (await client.ok("hello", token=token))["user"] == "Anna"


@pytest.mark.parametrize(
    ("key", "algorithms"),
    [
        (KEY, ["none"]),
        (KEY, ["None"]),
        (KEY, []),
        (KEY, ["HS256", "none"]),
        (KEY, ["HS257"]),
        (KEY, "HS256"),
        (KEY, ["RS256"]),
        ("", ["HS256"]),
        (public(PRIVATE_RSA), ["HS256"]),
        (public(PRIVATE_RSA), ["RS256", "HS256"]),
        (public(PRIVATE_RSA), ["ES256"]),
    ],
)
def test_keys_and_algorithms_that_do_not_go_together(key: str, algorithms: list[str]) -> None:
    with pytest.raises(ValueError):
        TokenAuthentication(key, algorithms=algorithms)
    if len(algorithms) == 1:
        with pytest.raises(ValueError):
            make_token("Anna", key, algorithm=algorithms[0])


def test_a_public_key_cannot_sign() -> None:
    with pytest.raises(ValueError, match="sign"):
        make_token("Anna", public(PRIVATE_RSA), algorithm="RS256")


async def test_a_short_secret_works_and_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    check = TokenAuthentication("short", clock=wall)
    async with running(server(check)) as chat:
        for _ in range(2):
            client = await chat.connect()
            await client.ok("hello", token=make_token("Anna", "short", clock=wall))
    [record] = caplog.records
    assert "32" in record.getMessage()
    assert "short" not in record.getMessage()


async def test_audience_and_issuer() -> None:
    async with running(server(tokens(audience="chat", issuer="us"))) as chat:
        client = await chat.connect()
        for claims in ({}, {"aud": "chat"}, {"iss": "us"}, {"aud": "x", "iss": "us"}):
            assert await client.error("hello", token=signed(**claims)) == "unauthorized"
        assert await client.error("hello", token=signed(aud="chat", iss="x")) == "unauthorized"
        token = make_token("Anna", KEY, audience="chat", issuer="us", clock=wall)
        await client.ok("hello", token=token)
        other = await chat.connect()
        await other.ok("hello", token=signed(aud=["x", "chat"], iss="us"))


async def test_nbf_is_obeyed(autojump_clock: trio.testing.MockClock) -> None:
    async with running(server(tokens())) as chat:
        token = signed(nbf=NOW + 5)
        client = await chat.connect()
        assert await client.error("hello", token=token) == "unauthorized"
        await trio.sleep(5)
        await client.ok("hello", token=token)


async def test_a_connection_is_closed_when_its_token_expires(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(server(tokens())) as chat:
        bob = await chat.connect()
        await bob.ok("hello", token=signed(sub="Bob"))  # for ever
        await bob.ok("join", room="r")
        anna = await chat.connect()
        token = signed(exp=NOW + 15)
        await anna.ok("hello", token=token)
        await anna.ok("join", room="r")
        await trio.sleep(14)
        await anna.ok("post", room="r", text="still here")
        assert await anna.closed() == 4003
        assert wall() - NOW == pytest.approx(15, abs=0.5)
        assert [push["type"] for push in (await bob.push(), await bob.push())] == [
            "presence",
            "message",
        ]
        assert (await bob.push("presence"))["state"] == "left"
        again = await chat.connect()
        assert await again.error("hello", token=token) == "unauthorized"
        await again.ok("hello", token=signed(exp=NOW + 200))
        await bob.ok("ping")


async def test_expiry_follows_the_time_of_day(autojump_clock: trio.testing.MockClock) -> None:
    behind = 0.0

    def clock() -> float:
        return wall() - behind

    check = tokens(clock=clock)
    async with running(ChatServer(MemoryBackend(), authenticate=check, clock=clock)) as chat:
        anna = await chat.connect()
        await anna.ok("hello", token=signed(exp=NOW + 10))
        behind = 5.0  # somebody set the clock
        await trio.sleep(12)
        await anna.ok("ping")
        assert await anna.closed() == 4003


async def test_a_name_with_a_session_and_one_with_a_token_are_not_each_others() -> None:
    check = tokens()

    async def either(hello: Hello, request: HTTPRequest) -> Identity:
        if hello.token:
            return await check(hello, request)
        assert isinstance(hello.user, str)
        return Identity(hello.user, session=hello.session or None)

    async with running(server(either)) as chat:
        guest = await chat.connect()
        await guest.hello("Guest")
        member = await chat.connect()
        await member.ok("hello", token=signed(sub="Member"))
        other = await chat.connect()
        assert await other.error("hello", token=signed(sub="Guest")) == "name_taken"
        assert await other.error("hello", user="Member", session=SESSION) == "name_taken"
        await other.ok("hello", token=signed(sub="Member"))


# --- Callables ------------------------------------------------------------------------------


async def with_headers(chat: Chat, *headers: tuple[bytes, bytes]) -> WebSocketConnection:
    return await wrap_client_stream(
        chat.nursery,
        chat.listener.connect(),
        "chat.example",
        "/ws?x=1",
        extra_headers=list(headers),
    )


async def test_authenticate_gets_the_hello_and_the_request_of_the_connection() -> None:
    seen: list[tuple[Hello, HTTPRequest]] = []

    async def by_cookie(hello: Hello, request: HTTPRequest) -> Identity:
        seen.append((hello, request))
        await trio.lowlevel.checkpoint()
        if request.header(b"cookie") != b"sid=42":
            raise ChatError("unauthorized", "log in first")
        return Identity("ANNA")

    async with running(server(by_cookie)) as chat:
        good = await with_headers(chat, (b"Cookie", b"sid=42"), (b"X-Real-IP", b"192.0.2.1"))
        bad = await with_headers(chat)
        for connection in (good, bad):
            await connection.send_message('{"type":"hello","id":"1","user":"whoever"}')
        assert json.loads(await good.get_message())["user"] == "ANNA"
        refused = json.loads(await bad.get_message())
        assert (refused["code"], refused["reason"]) == ("unauthorized", "log in first")
    hello, request = seen[0]
    assert (hello.user, request.path, request.target) == ("whoever", "/ws", "/ws?x=1")
    assert request.header(b"x-real-ip") == b"192.0.2.1"
    assert request.header(b"host") == b"chat.example"
    assert request.remote


@dataclass(frozen=True)
class Member(Identity):
    """An identity that knows more."""

    groups: frozenset[str] = frozenset()


async def test_authorize_is_asked_at_each_join_post_and_direct_message() -> None:
    asked: list[tuple[str, str, str]] = []
    closed: set[str] = set()

    async def member(hello: Hello, request: HTTPRequest) -> Identity:
        assert isinstance(hello.user, str)
        return Member(hello.user, session=SESSION, groups=frozenset({"staff"}))

    async def authorize(identity: Identity, action: str, target: str) -> bool:
        assert isinstance(identity, Member)
        assert identity.groups == {"staff"}
        await trio.lowlevel.checkpoint()
        asked.append((identity.user, action, target))
        return target not in closed

    async with running(server(member, authorize)) as chat:
        anna, bob = await chat.user("Anna"), await chat.user("Bob")
        await anna.ok("join", room="Straße")
        await anna.ok("post", room="STRASSE", text="one")
        await anna.ok("direct", to="BOB", text="one")
        assert asked == [
            ("Anna", "join", "strasse"),
            ("Anna", "post", "strasse"),
            ("Anna", "direct", "bob"),
        ]
        closed |= {"strasse", "bob"}
        assert await anna.error("post", room="Straße", text="two") == "forbidden"
        assert await anna.error("direct", to="Bob", text="two") == "forbidden"
        assert await bob.error("join", room="strasse") == "forbidden"
        assert await bob.error("post", room="strasse", text="x") == "not_joined"
        closed.clear()
        assert (await anna.ok("post", room="Straße", text="three"))["offset"] == 2
        assert [m["text"] for m in (await bob.ok("history", inbox=True))["messages"]] == ["one"]


async def test_rooms_that_a_user_may_not_join_are_not_listed() -> None:
    asked: list[tuple[str, str]] = []

    async def authorize(identity: Identity, action: str, target: str) -> bool:
        if identity.user != "Anna":
            asked.append((action, target))
        return identity.user == "Anna" or not target.startswith("straße".casefold())

    async with running(server(authorize=authorize)) as chat:
        anna, bob = await chat.user("Anna"), await chat.user("Bob")
        await anna.ok("join", room="quiet")
        await anna.ok("leave", room="quiet")
        await anna.ok("join", room="open")
        for number in range(90):
            await anna.ok("join", room=f"Straße{number}")
        assert len((await anna.ok("rooms"))["rooms"]) == 92
        assert asked == []
        assert {room["room"] for room in (await bob.ok("rooms"))["rooms"]} == {"open", "quiet"}
        assert ("join", "strasse7") in asked  # as names are compared
        carol = await chat.user("Carol")
        for number in range(60):
            await anna.ok("leave", room=f"Straße{number}")
        assert [room["room"] for room in (await carol.ok("rooms"))["rooms"]] == ["open", "quiet"]


async def test_rooms_are_listed_that_come_after_hundreds_one_may_not_join() -> None:
    async def authorize(identity: Identity, action: str, target: str) -> bool:
        return identity.user == "Anna" or target.startswith("open")

    free = ChatServer(MemoryBackend(), authorize=authorize, limits=Limits(rate=0))
    async with running(free) as chat:
        anna = await chat.user("Anna")
        rooms = [f"open{number:03}" for number in range(110)]
        for room in [*rooms, *(f"closed{number}" for number in range(150))]:
            await anna.ok("join", room=room)
            await anna.ok("leave", room=room)
        assert len((await anna.ok("rooms"))["rooms"]) == 100
        seen = [room["room"] for room in (await (await chat.user("Bob")).ok("rooms"))["rooms"]]
        assert len(seen) == 100
        assert set(seen) < set(rooms)


async def broken(*_: object) -> Any:
    raise ZeroDivisionError("secret of the server")


async def wrong(*_: object) -> Any:
    return "yes"


def not_async(*_: object) -> Any:
    return True


@pytest.mark.parametrize("callable", [broken, wrong, not_async])
async def test_a_broken_callable_is_one_traceback_and_the_connection_lives(
    callable: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    is_broken = True

    async def authenticate(hello: Hello, request: HTTPRequest) -> Identity:
        if is_broken:
            return await callable(hello, request)
        assert isinstance(hello.user, str)
        return Identity(hello.user, SESSION)

    async def authorize(identity: Identity, action: str, target: str) -> bool:
        return await callable(identity, action, target) if is_broken else True

    async with running(server(authenticate, authorize)) as chat:
        client = await chat.connect()

        async def fails(type: str, **fields: Any) -> None:
            caplog.clear()
            reply = await client.ask(type, **fields)
            assert reply["code"] == "internal"
            assert "secret" not in reply["reason"]
            [record] = caplog.records
            assert (record.levelno, record.name) == (logging.ERROR, "wscore.chat")
            assert record.exc_info

        await fails("hello", user="Anna")
        is_broken = False
        await client.hello("Anna")
        await client.ok("join", room="r")
        is_broken = True
        await fails("join", room="r2")
        await fails("rooms")
        await fails("post", room="r", text="t")
        await fails("direct", to="Anna", text="t")
        is_broken = False
        assert (await client.ok("post", room="r", text="t"))["offset"] == 1


async def test_names_of_identities_are_normalised() -> None:
    async def whoever(hello: Hello, request: HTTPRequest) -> Identity:
        assert isinstance(hello.user, str)
        return Identity(hello.user)

    async with running(server(whoever)) as chat:
        client = await chat.connect()
        assert await client.error("hello", user="a b") == "invalid_name"
        assert (await client.ok("hello", user="e\u0301"))["user"] == "é"


async def test_the_limits_of_a_server_are_its_own() -> None:
    quick = ChatServer(MemoryBackend(), limits=Limits(rate=0, text=5))
    async with running(quick) as chat:
        client = await chat.connect()
        assert (await client.hello("Anna"))["limits"]["rate"] == 0
        await client.ok("join", room="r")
        assert await client.error("post", room="r", text="123456") == "too_long"
        ids = [await client.send("post", room="r", text="t") for _ in range(100)]
        assert [(await client.reply(id))["type"] for id in ids] == ["ok"] * 100


def test_the_gate_wants_what_it_was_promised() -> None:
    hello = Hello(id="1", user="Anna")
    request = HTTPRequest("GET", "/ws", [], "client", "server")
    with pytest.raises(TypeError, match="Identity, not str"):
        trio.run(partial(Gate(wrong).admit, hello, request))
