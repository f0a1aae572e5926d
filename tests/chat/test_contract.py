"""Sentences of the protocol that no other test takes by its word."""

from __future__ import annotations

import json
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from chat.client import SESSION, Chat, ChatClient, MemoryListener, SilentStream, running
from hypothesis import given
from hypothesis import strategies as st

from wscore.chat import ChatServer, Limits, MemoryBackend, SQLiteBackend
from wscore.chat.client.terms import new_id
from wscore.chat.model import parse_name
from wscore.trio import ConnectionClosed, wrap_client_stream

# --- Transport ------------------------------------------------------------------------------


async def test_each_request_gets_exactly_one_reply_with_its_id(chat: Chat) -> None:
    anna = await chat.connect()
    requests: list[dict[str, Any]] = [
        {"type": "hello", "user": "Anna", "session": SESSION},
        {"type": "hello", "user": "Anna"},
        {"type": "rooms"},
        {"type": "join", "room": "r"},
        {"type": "join", "room": "r"},
        {"type": "join", "room": "no name"},
        {"type": "post", "room": "r", "text": "t"},
        {"type": "post", "room": "r", "text": ""},
        {"type": "direct", "to": "Anna", "text": "t"},
        {"type": "direct", "to": "nobody", "text": "t"},
        {"type": "history", "room": "r"},
        {"type": "history", "room": "r", "limit": 0},
        {"type": "ping"},
        {"type": "dance"},
        {"type": "leave", "room": "r"},
        {"type": "leave", "room": "r"},
    ]
    for number, request in enumerate(requests):
        await anna.connection.send_message(json.dumps({**request, "id": f"{number}"}))
        await anna.connection.send_message('{"type":"typing","room":"r"}')  # gets none
    await anna.connection.send_message('{"type":"ping","id":"last"}')
    replies = []
    while "last" not in replies:
        message = await anna.receive()
        if message["type"] in ("ok", "error"):
            replies.append(message["id"])
    assert sorted(replies) == sorted([*map(str, range(len(requests))), "last"])


async def test_an_id_is_one_to_64_code_points_and_may_be_used_again(chat: Chat) -> None:
    anna = await chat.user("Anna")
    for id in ("1", "😀" * 64, "\x00", " "):
        for _ in range(2):
            assert (await anna.ok("ping", id=id))["id"] == id
    for id in ("", "i" * 65, "😀" * 65):
        await anna.connection.send_message(json.dumps({"type": "ping", "id": id}))
        assert (await anna.reply(None))["code"] == "malformed"


async def test_a_push_is_no_reply(chat: Chat) -> None:
    anna, bob = await chat.user("Anna", room="r"), await chat.user("Bob")
    joined = await bob.send("join", room="r")
    await bob.reply(joined)
    posted = await bob.send("post", room="r", text="t")
    await bob.reply(posted)
    await bob.connection.send_message('{"type":"typing","room":"r","id":"t"}')
    await bob.sync()
    pushes = await anna.sync()
    assert [push["type"] for push in pushes] == ["presence", "message", "typing"]
    assert [push.get("id") for push in pushes] == [None, posted, None]


async def test_unknown_fields_are_ignored(chat: Chat) -> None:
    anna = await chat.user("Anna", room="r", colour="blue")
    await anna.ok("post", room="r", text="t", position=7, extra={"deep": [None]})
    assert set(await anna.push("message")) == {
        "type",
        "room",
        "offset",
        "from",
        "text",
        "time",
        "id",
    }


async def test_the_size_of_a_message_is_counted_in_bytes(chat: Chat) -> None:
    anna = await chat.user("Anna")
    frame = '{"type":"ping","id":"1","x":"%s"}'
    fill = "é" * ((128 * 1024 - len(frame % "")) // 2)
    await anna.connection.send_message(frame % fill)
    assert (await anna.reply("1"))["type"] == "ok"
    with suppress(ConnectionClosed):  # the refusal may be here before all is sent
        await anna.connection.send_message(frame % (fill + "é"))
    assert await anna.closed() == 1009


async def test_bad_utf8_closes_with_1007_and_nobody_else_notices(
    chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    anna = await chat.user("Anna", room="r")
    stream = chat.listener.connect()
    await stream.send_all(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        b"\x81\x82\0\0\0\0\xc3\x28"
    )
    answer = b""
    async for data in stream:
        answer += data
        if answer.endswith(b"\r\n\r\n"):
            continue
        break
    frame = answer.partition(b"\r\n\r\n")[2]
    assert frame[0] == 0x88
    assert int.from_bytes(frame[2:4], "big") == 1007
    await anna.ok("post", room="r", text="t")
    assert caplog.records == []


@pytest.mark.parametrize("turns", range(8))
async def test_no_push_comes_before_the_ok_that_begins_it(chat: Chat, turns: int) -> None:
    bob = await chat.user("Bob", room="r")
    await (await chat.connect()).hello("Anna")  # so that there is somebody to write to
    done = trio.Event()
    order: list[tuple[str, str | None]] = []

    async def chatter() -> None:
        for _ in range(12):
            await bob.send("post", room="r", text="t")
            await bob.send("direct", to="Anna", text="t")
            await trio.lowlevel.checkpoint()
        done.set()

    async with trio.open_nursery() as nursery:
        anna = await chat.connect()
        nursery.start_soon(chatter)
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        await anna.send("hello", user="Anna", session=SESSION, id="hello")
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        await anna.send("join", room="r", id="join")
        await done.wait()
    await bob.sync()
    await anna.send("history", inbox=True, id="last")
    while ("ok", "last") not in order:
        message = await anna.receive()
        order.append((message["type"], message.get("id")))
    kinds = [kind for kind, _ in order]
    first = {kind: kinds.index(kind) for kind in ("direct", "message", "presence") if kind in kinds}
    assert first.get("direct", 99) > order.index(("ok", "hello"))
    assert first.get("message", 99) > order.index(("ok", "join"))
    assert first.get("presence", 99) > order.index(("ok", "join"))


async def test_a_direct_message_looks_the_same_in_pushes_slices_and_histories(chat: Chat) -> None:
    anna, bob = await chat.user("Anna"), await chat.user("Bob")
    await bob.ok("direct", to="bob", text="so that the offsets differ")
    await bob.sync()
    await anna.ok("direct", to="bob", text="hi", id="d")
    for client, user, offset in ((anna, "Anna", 1), (bob, "Bob", 2)):
        push = await client.push("direct")
        assert push.pop("time")
        assert push == {
            "type": "direct",
            "from": "Anna",
            "to": "Bob",
            "offset": offset,
            "text": "hi",
            "id": "d",
        }
        history = (await client.ok("history", inbox=True))["messages"]
        again = (await (await chat.connect()).hello(user))["inbox"]["messages"]
        for messages in (history, again):
            assert messages[-1].pop("time")
            assert messages[-1] == push


def test_ids_are_random_with_64_bits_at_least() -> None:
    """Of our client; those of the page have a test beside its scripts."""
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    characters = set("".join(ids))
    assert len(characters) == 64
    assert min(map(len, ids)) * 6 >= 64


# --- Names ----------------------------------------------------------------------------------

letters = st.characters(categories=["L", "M", "Nd"], include_characters="-_.")
anything = st.text(max_size=70) | st.text(letters, max_size=70)


@given(anything)
def test_a_name_is_what_the_protocol_says(raw: str) -> None:
    text = unicodedata.normalize("NFC", raw)
    allowed = all(unicodedata.category(c)[0] in "LM" or c in "-_." or c.isdecimal() for c in text)
    name = parse_name(raw)
    assert (name is not None) == (1 <= len(text) <= 64 and allowed)
    if name is not None:
        assert name.text == text
        assert name.key == unicodedata.normalize("NFC", text.casefold())


@given(st.text(letters, min_size=1, max_size=64))
def test_canonically_equal_spellings_are_one_name(raw: str) -> None:
    names = {parse_name(unicodedata.normalize(form, raw)) for form in ("NFC", "NFD")}
    name = parse_name(raw)
    assert names == {name} or name is None or len(unicodedata.normalize("NFD", raw)) > 256


async def test_the_first_spelling_is_returned_everywhere(chat: Chat) -> None:
    anna = await chat.user("Ännchen", room="Küche")
    bob = await chat.user("Bob")
    for user, room in (("ÄNNCHEN", "KÜCHE"), ("a\u0308nnchen", "ku\u0308che")):
        phone = await chat.connect()
        assert (await phone.hello(user))["user"] == "Ännchen"
        joined = await phone.ok("join", room=room)
        assert (joined["room"], joined["members"]) == ("Küche", ["Ännchen"])
        await phone.ok("post", room=room, text="t")
        message = (await phone.ok("history", room=room))["messages"][-1]
        assert (message["room"], message["from"]) == ("Küche", "Ännchen")
        await phone.ok("leave", room=room)
    await bob.ok("join", room="KÜCHE")
    presence = await anna.push("presence")
    assert presence["room"] == "Küche"
    assert [room["room"] for room in (await bob.ok("rooms"))["rooms"]] == ["Küche"]
    await bob.ok("direct", to="ÄNNCHEN", text="t")
    push = await anna.push("direct")
    assert (push["from"], push["to"]) == ("Bob", "Ännchen")
    await anna.connection.send_message('{"type":"typing","room":"KÜCHE"}')
    typing = await bob.push("typing")
    assert (typing["room"], typing["user"]) == ("Küche", "Ännchen")
    await bob.connection.send_message('{"type":"typing","to":"ÄNNCHEN"}')
    typing = await anna.push("typing")
    assert (typing["to"], typing["user"]) == ("Ännchen", "Bob")


async def test_a_name_of_64_code_points_and_not_of_65(chat: Chat) -> None:
    for letter in ("a", "𝔸", "e\u0301"):  # one byte, four bytes, two code points that become one
        client = await chat.connect()
        name = letter * 64
        assert (await client.hello(name))["user"] == unicodedata.normalize("NFC", name)
        await client.ok("join", room=name)
        assert await client.error("join", room=letter * 65) == "invalid_name"


async def test_names_and_sessions_outlive_the_server(tmp_path: Path) -> None:
    for life in range(2):
        async with running(ChatServer(SQLiteBackend(tmp_path / "chat.db"))) as chat:
            if life:
                thief = await chat.connect()
                assert await thief.error("hello", user="ANNA", session="x" * 22) == "name_taken"
                assert await thief.error("hello", user="ANNA") == "name_taken"
            anna = await chat.connect()
            assert (await anna.hello("anna" if life else "Anna"))["user"] == "Anna"


# --- Limits ---------------------------------------------------------------------------------


async def test_what_is_rate_limited_is_not_stored(autojump_clock: trio.testing.MockClock) -> None:
    limits = Limits(rate=1, burst=2)
    async with running(ChatServer(MemoryBackend(), limits=limits)) as chat:
        anna = await chat.user("Anna", room="r")
        for n in range(2):
            await anna.ok("post", room="r", text=str(n))
        refused = await anna.ask("post", room="r", text="no", id="no")
        assert refused["code"] == "rate_limited"
        assert refused["retry_after"] == pytest.approx(1)
        await anna.error("direct", to="Anna", text="no")
        texts = [entry["text"] for entry in (await anna.ok("history", room="r"))["messages"]]
        assert texts == ["0", "1"]
        assert (await anna.ok("history", inbox=True))["messages"] == []
        await trio.sleep(refused["retry_after"])
        assert "duplicate" not in await anna.ok("post", room="r", text="yes", id="no")


async def test_a_connection_is_in_100_rooms_at_most() -> None:
    async with running(ChatServer(MemoryBackend(), limits=Limits(rate=0))) as chat:
        anna = await chat.user("Anna")
        for n in range(100):
            await anna.ok("join", room=f"r{n}")
        assert await anna.error("join", room="one-more") == "limit_reached"
        await anna.ok("join", room="r7")  # again
        await anna.ok("leave", room="r7")
        await anna.ok("join", room="one-more")


# --- Closing --------------------------------------------------------------------------------


async def test_a_server_that_is_cancelled_says_1001() -> None:
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as serving:
            await serving.start(ChatServer(MemoryBackend()).serve_listeners, [listener])
            connection = await wrap_client_stream(nursery, listener.connect(), "x", "/ws")
            anna = ChatClient(connection)
            await anna.hello("Anna")
            serving.cancel_scope.cancel()
        assert await anna.closed() == 1001


async def test_who_asks_while_it_stops_gets_503(mock_clock: trio.testing.MockClock) -> None:
    async with running(ChatServer(MemoryBackend())) as chat:
        stream = SilentStream(chat.listener.connect())
        silent = await chat.connect(stream=stream)
        await silent.hello("Silent")
        stream.silent = True  # so that stopping takes a while
        late = chat.listener.connect()
        await late.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n")
        await trio.testing.wait_all_tasks_blocked()
        chat.server.stop()
        await trio.testing.wait_all_tasks_blocked()
        await late.send_all(b"\r\n")
        assert (await late.receive_some()).startswith(b"HTTP/1.1 503 ")
