"""The Python client and servers that lie, are too slow for it, close it, or want new tokens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from chat.client import MemoryListener
from chat.streams import Door
from trio.testing import MockClock

from wscore.chat.client import (
    ChatError,
    Connected,
    ContiguityError,
    Disconnected,
    Message,
    Position,
    Positions,
    ProtocolError,
)
from wscore.trio import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    WebSocketRequest,
    WebSocketServer,
)

Json = dict[str, Any]


class Liar:
    """A server that says whatever it is told to, after a proper hello.

    Attributes:
        requests: what clients sent, hellos included.
        answers: what is sent for the next requests: messages for each of them, in order, in which
            ``"id": …`` is replaced by that of the request; a number closes with that code.
    """

    def __init__(self) -> None:
        self.listener = MemoryListener()
        self.door = Door(self.listener)
        self.requests: list[Json] = []
        self.answers: list[list[Json | int | str | bytes]] = []
        self.hello: Json = {
            "type": "ok",
            "id": ...,
            "user": "Anna",
            "session": "x" * 22,
            "inbox": {"epoch": "i", "offset": 0, "messages": [], "gap": False, "more": False},
            "limits": {},
        }

    async def handle(self, request: WebSocketRequest) -> None:
        connection = await request.accept(subprotocol="chat.wscore.v1")
        try:
            while True:
                message = json.loads(await connection.get_message())
                self.requests.append(message)
                answers = self.answers.pop(0) if self.answers else []
                if message["type"] == "hello" and not answers:
                    answers = [self.hello]
                for answer in answers:
                    await self.say(connection, message, answer)
        except ConnectionClosed:
            pass

    async def say(
        self, connection: WebSocketConnection, request: Json, answer: Json | int | str | bytes
    ) -> None:
        if isinstance(answer, int):
            await connection.aclose(answer, "so be it")
        elif isinstance(answer, dict):
            if answer.get("id") is ...:
                answer = {**answer, "id": request["id"]}
            await connection.send_message(json.dumps(answer))
        else:
            await connection.send_message(answer)


@pytest.fixture
async def liar(nursery: trio.Nursery) -> AsyncIterator[Liar]:
    """A server that lies."""
    liar = Liar()
    async with trio.open_nursery() as handlers:
        server = WebSocketServer(liar.handle, [liar.listener], handler_nursery=handlers)
        await nursery.start(server.run)
        yield liar
        await liar.listener.hang_up()
        nursery.cancel_scope.cancel()
        handlers.cancel_scope.cancel()


def part(*offsets: int, end: int | None = None, **fields: Any) -> Json:
    """A reply to a join, with messages."""
    last = (offsets or (0,))[-1] if end is None else end
    messages = [push(offset) for offset in offsets]
    return {
        "type": "ok",
        "id": ...,
        "room": "r",
        "epoch": "e",
        "offset": last,
        "messages": messages,
        "gap": False,
        "more": False,
        "count": 1,
        "members": ["Anna"],
        **fields,
    }


def push(offset: int, **fields: Any) -> Json:
    return {
        "type": "message",
        "room": "r",
        "offset": offset,
        "from": "Bela",
        "text": str(offset),
        "time": "2026-01-01T00:00:00.000Z",
        "id": f"m{offset}",
        **fields,
    }


STORED = {"type": "ok", "id": ..., "epoch": "e", "offset": 1, "time": "2026-01-01T00:00:00.000Z"}
AT_FIVE = Positions(rooms={"r": Position("e", 5)})
NOWHERE = Positions()


@pytest.mark.parametrize(
    ("positions", "answers", "fault"),
    [
        (NOWHERE, [part(1, 2), push(4)], "hole: offset 4 after 2"),
        (NOWHERE, [part(1, 2), push(2)], "repeat: offset 2 after 2"),
        (NOWHERE, [part(1, 2), push(3), push(1)], "repeat: offset 1 after 3"),
        (NOWHERE, [part(1, 3)], "hole: offset 3 after 1"),
        (NOWHERE, [part(2, 1)], "repeat: offset 1 after 2"),
        (NOWHERE, [part(1, 2, end=3)], "ends with offset 2, the log with 3"),
        (NOWHERE, [part(1, 2, end=1)], "ends with offset 2, the log with 1"),
        (NOWHERE, [part(1, gap=True)], "nothing was to be continued"),
        (AT_FIVE, [part(7)], "hole: offset 7 after 5"),
        (AT_FIVE, [part(5, 6)], "repeat: offset 5 after 5"),
        (AT_FIVE, [part(6, end=8)], "ends with offset 6, the log with 8"),
        (AT_FIVE, [part(6, end=8, more=True), push(8)], "hole: offset 8 after 6"),
        (AT_FIVE, [part(6, epoch="other")], "epoch 'other' continues epoch 'e'"),
        (AT_FIVE, [part(end=3)], "ends with offset 5, the log with 3"),
    ],
)
async def test_a_server_that_breaks_its_promise_is_found(
    liar: Liar,
    positions: Positions,
    answers: list[Json],
    fault: str,
    autojump_clock: MockClock,
) -> None:
    liar.answers = [[], answers]
    async with liar.door.open_chat("Anna", positions=positions) as anna:
        with suppress(ContiguityError):
            await anna.join("r")
        with pytest.raises(ContiguityError) as caught:
            async for _ in anna:
                pass
        assert fault in str(caught.value)
        assert caught.value.room == "r"
        for call in (anna.rooms, lambda: anna.post("r", "x"), lambda: anna.join("r")):
            with pytest.raises(ContiguityError):
                await call()  # type: ignore[operator]
    assert liar.door.tries == 1


async def test_a_good_continuation_is_taken(liar: Liar, autojump_clock: MockClock) -> None:
    """What the tests above are measured against."""
    liar.answers = [[], [part(6, 7, end=9, more=True), push(8), push(9), push(10)]]
    async with liar.door.open_chat("Anna", positions=AT_FIVE) as anna:
        await anna.join("r")
        heard = []
        async for event in anna:
            if isinstance(event, Message):
                heard.append(event.offset)
                if event.offset == 10:
                    break
        assert heard == [6, 7, 8, 9, 10]
        assert anna.positions.rooms == {"r": Position("e", 10)}
    assert liar.requests[1]["position"] == {"epoch": "e", "offset": 5}


async def test_a_post_in_another_epoch_is_found(liar: Liar, autojump_clock: MockClock) -> None:
    liar.answers = [[], [part()], [{**STORED, "epoch": "other"}]]
    async with liar.door.open_chat("Anna") as anna:
        await anna.join("r")
        with pytest.raises(ContiguityError):
            await anna.post("r", "x")


async def test_the_inbox_is_checked_too(liar: Liar, autojump_clock: MockClock) -> None:
    direct = {**push(2), "type": "direct", "to": "Anna"}
    liar.answers = [[liar.hello, direct]]
    async with liar.door.open_chat("Anna") as anna:
        with pytest.raises(ContiguityError) as caught:
            async for _ in anna:
                pass
        assert caught.value.room is None


@pytest.mark.parametrize(
    "answer",
    [
        "no JSON",
        b"binary",
        "[]",
        "{}",
        '{"type":"surprise"}',
        '{"type":"message","room":"r"}',
        '{"type":"ok","id":"nobody asked"}',
        '{"type":"ok"}',
        "[" * 100_000,
    ],
)
async def test_a_server_that_does_not_keep_to_the_protocol_is_found(
    liar: Liar, answer: str | bytes, autojump_clock: MockClock
) -> None:
    liar.answers = [[liar.hello, answer]]
    async with liar.door.open_chat("Anna") as anna:
        with pytest.raises(ProtocolError):
            async for _ in anna:
                pass
    assert liar.door.tries == 1


async def test_pushes_of_a_room_that_was_left_are_passed_over(
    liar: Liar, autojump_clock: MockClock
) -> None:
    liar.answers = [[], [part(1)], [push(2), {"type": "ok", "id": ...}, push(3)], [part(2, 3)]]
    async with liar.door.open_chat("Anna") as anna:
        await anna.join("r")
        await anna.leave("r")
        await anna.join("r")
        heard = []
        async for event in anna:
            if isinstance(event, Message):
                heard.append(event.offset)
                if event.offset == 3:
                    break
        assert heard == [1, 2, 3]
    assert "position" not in liar.requests[3]


# --- Refusals that are not the end --------------------------------------------------------------


def error(code: str, **fields: Any) -> Json:
    return {"type": "error", "id": ..., "code": code, "reason": "because", **fields}


async def test_rate_limited_and_unavailable_are_tried_again_under_the_same_id(
    liar: Liar, autojump_clock: MockClock
) -> None:
    liar.answers = [
        [],
        [error("unavailable")],
        [part()],
        [error("rate_limited", retry_after=7.5)],
        [error("unavailable")],
        [error("unavailable")],
        [STORED],
    ]
    async with liar.door.open_chat("Anna") as anna:
        await anna.join("r")
        begin = trio.current_time()
        stored = await anna.post("r", "x", id="the-id")
        assert stored.offset == 1
        assert trio.current_time() - begin >= 7.5
    posts = [request for request in liar.requests if request["type"] == "post"]
    assert len(posts) == 4
    assert all(post == posts[0] for post in posts)


async def test_posts_are_no_faster_than_the_server_takes_them(
    liar: Liar, autojump_clock: MockClock
) -> None:
    """So that nothing has to be refused."""
    liar.hello["limits"] = {"rate": 10, "burst": 6}
    liar.answers = [[], [part()], *([STORED] for _ in range(25))]
    async with liar.door.open_chat("Anna") as anna:
        await anna.join("r")
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            for n in range(25):
                nursery.start_soon(anna.post, "r", str(n))
        assert trio.current_time() - begin == pytest.approx(2.0)  # 5 at once, 20 more at 10/s


async def test_a_hello_that_cannot_be_stored_is_said_again(
    liar: Liar, autojump_clock: MockClock
) -> None:
    liar.answers = [[error("unavailable")], [error("rate_limited", retry_after=5)], [liar.hello]]
    async with liar.door.open_chat("Anna") as anna:
        events = [await anext(anna) for _ in range(3)]
    assert [type(event) for event in events] == [Disconnected, Disconnected, Connected]
    assert isinstance(events[1], Disconnected)
    assert events[1].delay >= 5
    assert [request["session"] for request in liar.requests] == [anna.session] * 3


@pytest.mark.parametrize(
    "code", ["name_taken", "invalid_name", "forbidden", "unauthorized", "limit_reached"]
)
async def test_a_hello_that_is_refused_ends_it(
    liar: Liar, code: str, autojump_clock: MockClock
) -> None:
    liar.answers = [[error(code)]]
    async with liar.door.open_chat("Anna") as anna:
        with pytest.raises(ChatError) as caught:
            await anna.join("r")
        assert caught.value.code == code
    assert liar.door.tries == 1


# --- Close codes --------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1003, 1007, 1008, 1009, 1002])
async def test_codes_that_blame_the_client_end_it(
    liar: Liar, code: int, autojump_clock: MockClock
) -> None:
    liar.answers = [[liar.hello, code]]
    async with liar.door.open_chat("Anna") as anna:
        with pytest.raises(ConnectionClosed) as caught:
            await anna.join("r")
        assert caught.value.reason.code == code
    assert liar.door.tries == 1


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4000])
async def test_other_codes_mean_to_come_again(
    liar: Liar, code: int, autojump_clock: MockClock
) -> None:
    liar.answers = [[], [part(1), code], [liar.hello], [part(2)]]
    async with liar.door.open_chat("Anna") as anna:
        await anna.join("r")
        async for event in anna:
            if isinstance(event, Disconnected):
                assert (event.code, event.reason) == (code, "so be it")
            if isinstance(event, Message) and event.offset == 2:
                break
    assert liar.requests[3]["position"] == {"epoch": "e", "offset": 1}


async def test_an_unanswered_post_is_sent_again_with_the_same_id(
    liar: Liar, autojump_clock: MockClock
) -> None:
    liar.answers = [[], [part()], [4000], [liar.hello], [part()], [1001], [], [part()], [STORED]]
    liar.answers[6] = [liar.hello]
    async with liar.door.open_chat("Anna") as anna:
        await anna.join("r")
        assert (await anna.post("r", "x")).offset == 1
    posts = [request for request in liar.requests if request["type"] == "post"]
    assert len(posts) == 3
    assert all(post == posts[0] for post in posts)
    assert len(posts[0]["id"]) >= 22


async def test_a_handshake_that_cannot_succeed_ends_it(autojump_clock: MockClock) -> None:
    async def refuse() -> WebSocketConnection:
        await trio.lowlevel.checkpoint()
        raise HandshakeError("the certificate is not good")

    door = Door(None)
    door.connect = refuse  # type: ignore[method-assign]
    async with door.open_chat("Anna") as anna:
        with pytest.raises(HandshakeError):
            await anna.join("r")


# --- Tokens -------------------------------------------------------------------------------------


async def test_a_token_that_ran_out_is_replaced(liar: Liar, autojump_clock: MockClock) -> None:
    asked = 0

    async def new_token() -> str:
        nonlocal asked
        await trio.sleep(1)
        asked += 1
        return f"token-{asked}"

    liar.answers = [[liar.hello, 4003], [liar.hello, 1012], [error("unauthorized")], [liar.hello]]
    async with liar.door.open_chat(None, token=new_token) as anna:
        connected = 0
        async for event in anna:
            connected += isinstance(event, Connected)
            if connected == 3:
                break
        assert anna.user == "Anna"
    tokens = [request["token"] for request in liar.requests]
    assert tokens == ["token-1", "token-2", "token-2", "token-3"]
    assert not any("user" in request or "session" in request for request in liar.requests)


async def test_a_fresh_token_that_is_refused_ends_it(liar: Liar, autojump_clock: MockClock) -> None:
    liar.answers = [[error("unauthorized")]]
    async with liar.door.open_chat(None, token=lambda: "bad") as anna:
        with pytest.raises(ChatError, match="unauthorized"):
            await anna.rooms()
    assert liar.door.tries == 1


async def test_a_token_without_a_source_is_not_replaced(
    liar: Liar, autojump_clock: MockClock
) -> None:
    liar.answers = [[liar.hello, 4003]]
    async with liar.door.open_chat(None, token="once") as anna:
        with pytest.raises(ConnectionClosed):
            await anna.join("r")


async def test_an_error_of_the_token_source_ends_it(liar: Liar, autojump_clock: MockClock) -> None:
    def fail() -> str:
        raise LookupError("no token today")

    async with liar.door.open_chat(None, token=fail) as anna:
        with pytest.raises(LookupError):
            await anna.join("r")
