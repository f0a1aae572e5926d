"""Each request of the protocol, through a real connection in memory."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime

import pytest
from chat.client import SESSION, Chat, running

from wscore.chat import ChatServer, Limits, MemoryBackend
from wscore.trio import ConnectionClosed


async def test_hello(chat: Chat) -> None:
    anna = await chat.connect()
    reply = await anna.hello("Anna")
    epoch = reply["inbox"].pop("epoch")
    assert isinstance(epoch, str)
    assert reply.pop("id")
    assert reply == {
        "type": "ok",
        "user": "Anna",
        "session": SESSION,
        "inbox": {"offset": 0, "messages": [], "gap": False, "more": False},
        "limits": {
            "text": 4000,
            "name": 64,
            "id": 64,
            "message": 131072,
            "rate": 20,
            "burst": 40,
            "page": 50,
            "history": 200,
            "replay": 10000,
            "presence": 200,
            "joined": 100,
        },
    }


async def test_hello_without_a_session_gives_one(chat: Chat) -> None:
    session = (await (await chat.connect()).ok("hello", user="Anna"))["session"]
    assert 22 <= len(session) <= 128
    other = (await (await chat.connect()).ok("hello", user="Bob"))["session"]
    assert other != session
    again = await (await chat.connect()).ok("hello", user="anna", session=session)
    assert again["user"] == "Anna"


async def test_a_name_belongs_to_its_session(chat: Chat) -> None:
    await chat.user("Straße")
    thief = await chat.connect()
    assert await thief.error("hello", user="STRASSE", session="x" * 22) == "name_taken"
    assert await thief.error("hello", user="STRASSE") == "name_taken"
    # A refused one can try again, and is nobody in between.
    assert await thief.error("rooms") == "hello_required"
    assert (await thief.hello("Thief"))["user"] == "Thief"


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "<i>", "\u202e", "😀"])
async def test_invalid_names(chat: Chat, name: str) -> None:
    anna = await chat.connect()
    assert await anna.error("hello", user=name) == "invalid_name"
    await anna.hello("Anna")
    assert await anna.error("join", room=name) == "invalid_name"
    assert await anna.error("leave", room=name) == "invalid_name"
    assert await anna.error("post", room=name, text="x") == "invalid_name"
    assert await anna.error("direct", to=name, text="x") == "invalid_name"
    assert await anna.error("history", room=name) == "invalid_name"


async def test_tokens_need_a_key(chat: Chat) -> None:
    anna = await chat.connect()
    assert await anna.error("hello", token="a.b.c") == "unauthorized"
    assert await anna.error("hello", user="Anna", token="a.b.c") == "unauthorized"


async def test_everything_else_needs_a_hello(chat: Chat) -> None:
    anna = await chat.connect()
    assert await anna.error("ping") == "hello_required"
    assert await anna.error("rooms") == "hello_required"
    assert await anna.error("join", room="r") == "hello_required"
    assert await anna.error("post", room="r", text="x") == "hello_required"
    assert await anna.error("direct", to="Anna", text="x") == "hello_required"
    assert await anna.error("history", inbox=True) == "hello_required"
    await anna.connection.send_message('{"type":"typing","room":"r"}')
    await anna.hello("Anna")


async def test_a_second_hello_is_malformed(chat: Chat) -> None:
    anna = await chat.user("Anna", room="r")
    assert await anna.error("hello", user="Anna", session=SESSION) == "malformed"
    assert (await anna.ok("post", room="r", text="still here"))["offset"] == 1


async def test_join_post_and_push(chat: Chat) -> None:
    anna = await chat.user("Anna")
    bob = await chat.user("Bob", room="Kitchen")
    joined = await anna.ok("join", room="KITCHEN")
    assert joined["room"] == "Kitchen"
    assert joined["count"] == 2
    assert joined["members"] == ["Anna", "Bob"]
    assert (joined["offset"], joined["messages"], joined["gap"], joined["more"]) == (
        0,
        [],
        False,
        False,
    )
    stored = await anna.ok("post", room="kitchen", text="tea?", id="m1")
    assert stored["epoch"] == joined["epoch"]
    assert stored["offset"] == 1
    assert "duplicate" not in stored
    assert stored["time"].endswith("Z")
    assert len(stored["time"]) == len("2026-01-01T00:00:00.000Z")
    assert datetime.fromisoformat(stored["time"]).utcoffset() is not None
    expected = {
        "type": "message",
        "room": "Kitchen",
        "offset": 1,
        "from": "Anna",
        "text": "tea?",
        "time": stored["time"],
        "id": "m1",
    }
    assert await anna.push("message") == expected
    assert await bob.push("message") == expected
    # The same form in slices and history.
    assert (await bob.ok("join", room="kitchen"))["messages"] == [expected]
    assert (await bob.ok("history", room="kitchen"))["messages"] == [expected]


async def test_a_post_needs_this_connections_join(chat: Chat) -> None:
    anna = await chat.user("Anna", room="r")
    other_device = await chat.user("Anna")
    assert await other_device.error("post", room="r", text="x") == "not_joined"
    assert await other_device.error("history", room="r") == "not_joined"
    assert await other_device.error("leave", room="r") == "not_joined"
    assert await anna.error("post", room="elsewhere", text="x") == "not_joined"
    await anna.ok("leave", room="r")
    assert await anna.error("post", room="r", text="x") == "not_joined"
    assert await anna.error("leave", room="r") == "not_joined"


async def test_no_pushes_after_leave(chat: Chat) -> None:
    anna = await chat.user("Anna", room="r")
    bob = await chat.user("Bob", room="r")
    await anna.sync()
    await anna.ok("leave", room="r")
    await bob.ok("post", room="r", text="x")
    assert await anna.sync() == []


async def test_direct_messages(chat: Chat) -> None:
    anna, bob = await chat.user("Anna"), await chat.user("Bob")
    phone = await chat.user("Anna")
    carol = await chat.user("Carol")
    await carol.ok("direct", to="bob", text="first")
    stored = await anna.ok("direct", to="BOB", text="hi", id="d1")
    expected = {"type": "direct", "from": "Anna", "to": "Bob", "text": "hi", "id": "d1"}
    expected["time"] = stored["time"]
    assert stored["offset"] == 1
    assert await anna.push() == {**expected, "offset": 1}
    assert await phone.push() == {**expected, "offset": 1}
    assert (await bob.push())["text"] == "first"
    assert await bob.push() == {**expected, "offset": 2}
    assert [push["text"] for push in await carol.sync()] == ["first"]
    inbox = await bob.ok("history", inbox=True)
    assert [(m["offset"], m["from"]) for m in inbox["messages"]] == [(1, "Carol"), (2, "Anna")]


async def test_a_direct_message_to_oneself(chat: Chat) -> None:
    anna, phone = await chat.user("Anna"), await chat.user("Anna")
    assert (await anna.ok("direct", to="anna", text="note"))["offset"] == 1
    for device in (anna, phone):
        pushes = await device.sync()
        assert [(p["from"], p["to"], p["offset"]) for p in pushes] == [("Anna", "Anna", 1)]
    assert len((await anna.ok("history", inbox=True))["messages"]) == 1


async def test_a_direct_message_to_somebody_who_is_away(chat: Chat) -> None:
    anna, bob = await chat.user("Anna"), await chat.user("Bob")
    await bob.connection.aclose()
    await anna.ok("direct", to="bob", text="call me")
    back = await (await chat.connect()).hello("bob")
    assert [m["text"] for m in back["inbox"]["messages"]] == ["call me"]
    assert back["inbox"]["offset"] == 1


async def test_a_direct_message_to_a_name_never_seen(chat: Chat) -> None:
    anna = await chat.user("Anna")
    assert await anna.error("direct", to="nobody", text="x", id="d") == "unknown_user"
    await chat.user("nobody")
    assert (await anna.ok("direct", to="nobody", text="x", id="d"))["offset"] == 1


async def test_sending_again_stores_nothing_new(chat: Chat) -> None:
    anna = await chat.user("Anna", room="r")
    await chat.user("Bob")
    first = await anna.ok("post", room="r", text="once", id="m1")
    again = await anna.ok("post", room="R", text="once", id="m1")
    assert again == {**first, "duplicate": True}
    assert await anna.error("post", room="r", text="twice", id="m1") == "conflict"
    # Another user's id, and another log, are other messages.
    bob = await chat.user("Bob", room="r")
    assert (await bob.ok("post", room="r", text="mine", id="m1"))["offset"] == 2
    await anna.ok("join", room="other")
    assert (await anna.ok("post", room="other", text="once", id="m1"))["offset"] == 1

    sent = await anna.ok("direct", to="bob", text="once", id="m1")
    assert await anna.ok("direct", to="BOB", text="once", id="m1") == {**sent, "duplicate": True}
    assert await anna.error("direct", to="bob", text="twice", id="m1") == "conflict"
    assert await anna.error("direct", to="anna", text="once", id="m1") == "conflict"
    assert await anna.error("direct", to="nobody", text="once", id="m1") == "conflict"
    texts = [push["text"] for push in await anna.sync() if push["type"] == "message"]
    assert texts == ["once", "mine", "once"]


async def test_the_length_of_a_text(chat: Chat) -> None:
    anna = await chat.user("Anna", room="r")
    await anna.ok("post", room="r", text="😀" * 4000)
    assert await anna.error("post", room="r", text="x" * 4001) == "too_long"
    assert await anna.error("direct", to="anna", text="x" * 4001) == "too_long"
    assert (await anna.ok("history", room="r"))["messages"][0]["text"] == "😀" * 4000


async def test_history(chat: Chat) -> None:
    anna = await chat.user("Anna", room="r")
    for number in range(1, 31):
        await anna.ok("post", room="r", text=str(number))

    async def offsets(**fields: object) -> tuple[list[int], bool]:
        reply = await anna.ok("history", room="r", **fields)
        return [message["offset"] for message in reply["messages"]], reply["more"]

    assert await offsets() == (list(range(1, 31)), False)
    assert await offsets(limit=5) == ([26, 27, 28, 29, 30], True)
    assert await offsets(before=26, limit=5) == ([21, 22, 23, 24, 25], True)
    assert await offsets(before=6, limit=5) == ([1, 2, 3, 4, 5], False)
    assert await offsets(before=7, limit=5) == ([2, 3, 4, 5, 6], True)
    assert await offsets(before=3) == ([1, 2], False)
    assert await offsets(before=1) == ([], False)
    assert await offsets(before=0) == ([], False)
    assert await offsets(before=2**53 - 1, limit=10**12) == (list(range(1, 31)), False)


async def test_history_has_pages() -> None:
    async with running(ChatServer(MemoryBackend(), limits=Limits(rate=0))) as chat:
        anna = await chat.user("Anna", room="r")
        for number in range(300):
            await anna.send("post", room="r", text=str(number))
        await anna.sync()
        default = await anna.ok("history", room="r")
        most = await anna.ok("history", room="r", limit=10_000)
        assert [m["offset"] for m in default["messages"]] == list(range(251, 301))
        assert [m["offset"] for m in most["messages"]] == list(range(101, 301))


async def test_rooms(chat: Chat) -> None:
    anna, bob = await chat.user("Anna", room="big"), await chat.user("Bob", room="big")
    await anna.ok("join", room="small")
    await anna.ok("post", room="small", text="x")
    await bob.ok("join", room="left")
    await bob.ok("leave", room="left")
    assert (await anna.ok("rooms"))["rooms"] == [
        {"room": "big", "count": 2, "offset": 0},
        {"room": "small", "count": 1, "offset": 1},
        {"room": "left", "count": 0, "offset": 0},
    ]


async def test_at_most_a_hundred_rooms() -> None:
    async with running(ChatServer(MemoryBackend(), limits=Limits(rate=0))) as chat:
        anna = await chat.user("Anna")
        for number in range(100):
            await anna.ok("join", room=f"r{number}")
        assert await anna.error("join", room="one-more") == "limit_reached"
        await anna.ok("join", room="r7")
        await anna.ok("leave", room="r7")
        await anna.ok("join", room="one-more")
        rooms = (await anna.ok("rooms"))["rooms"]
        assert len(rooms) == 100
        assert all(room["count"] == 1 for room in rooms)


async def test_rooms_and_users_are_capped() -> None:
    async with running(ChatServer(MemoryBackend(max_rooms=1, max_users=2))) as chat:
        anna = await chat.user("Anna", room="r")
        await chat.user("Bob", room="r")
        carol = await chat.connect()
        assert await carol.error("hello", user="Carol", session=SESSION) == "limit_reached"
        assert await anna.error("join", room="other") == "limit_reached"
        await anna.ok("post", room="r", text="x")


async def test_ping(chat: Chat) -> None:
    anna = await chat.user("Anna")
    assert await anna.ok("ping", id="p") == {"type": "ok", "id": "p"}


async def test_requests_take_effect_in_order(chat: Chat) -> None:
    anna = await chat.user("Anna")
    bob = await chat.user("Bob")
    ids = [
        await anna.send("join", room="r"),
        await anna.send("post", room="r", text="1"),
        await anna.send("direct", to="bob", text="2"),
        await anna.send("post", room="r", text="3"),
        await anna.send("history", room="r"),
        await anna.send("leave", room="r"),
        await anna.send("post", room="r", text="4"),
    ]
    replies = {}
    while len(replies) < len(ids):
        message = await anna.receive()
        if message["type"] in ("ok", "error"):
            replies[message["id"]] = message
    found = [replies[id] for id in ids]
    assert [m["text"] for m in found[4]["messages"]] == ["1", "3"]
    assert [reply["type"] for reply in found] == ["ok"] * 6 + ["error"]
    assert found[6]["code"] == "not_joined"
    assert [push["text"] for push in await bob.sync()] == ["2"]


async def test_malformed_requests_are_answered(chat: Chat) -> None:
    anna = await chat.user("Anna")
    for text, code, id in [
        ("nonsense", "malformed", None),
        ('{"type":"join","id":"7"}', "malformed", "7"),
        ('{"type":"dance","id":"8"}', "unknown_type", "8"),
        ('{"type":"typing","id":"9","room":1}', "malformed", None),
    ]:
        await anna.connection.send_message(text)
        reply = await anna.reply(id)
        assert (reply["type"], reply["code"], reply["id"]) == ("error", code, id)
    await anna.ok("ping")


async def test_ten_malformed_requests_in_a_row_close(chat: Chat) -> None:
    anna = await chat.user("Anna")
    for _ in range(9):
        await anna.connection.send_message("nonsense")
    for _ in range(9):
        assert (await anna.receive())["code"] == "malformed"
    assert await anna.error("join", room="no name") == "invalid_name"  # starts the count anew
    for number in range(10):
        await anna.connection.send_message('{"type":"dance"}' if number % 2 else "nonsense")
    assert await anna.closed() == 1008
    codes = [push["code"] for push in anna.pushes]
    assert codes == ["malformed", "unknown_type"] * 5


async def test_a_binary_message_closes(chat: Chat) -> None:
    anna = await chat.user("Anna")
    await anna.connection.send_message(json.dumps({"type": "ping", "id": "1"}).encode())
    assert await anna.closed() == 1003


async def test_the_size_of_a_message(chat: Chat) -> None:
    anna = await chat.user("Anna")
    frame = '{"type":"ping","id":"1","x":"%s"}'
    fill = "x" * (128 * 1024 - len(frame % ""))
    await anna.connection.send_message(frame % fill)
    assert (await anna.reply("1"))["type"] == "ok"
    with suppress(ConnectionClosed):  # the refusal may be here before all is sent
        await anna.connection.send_message(frame % (fill + "x"))
    assert await anna.closed() == 1009


async def test_the_end_of_a_bad_connection_is_nobody_elses(chat: Chat) -> None:
    anna, bob = await chat.user("Anna", room="r"), await chat.user("Bob", room="r")
    await bob.connection.send_message(b"\0")
    assert await bob.closed() == 1003
    assert (await anna.push("presence"))["state"] == "joined"
    assert (await anna.push("presence"))["state"] == "left"
    await anna.ok("post", room="r", text="x")
