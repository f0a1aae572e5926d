"""The Python client against a real server in memory, on a clock that jumps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import trio
import trio.testing
from chat.client import Chat, running
from chat.streams import Door
from trio.testing import MockClock

from wscore.chat import ChatServer, Limits, MemoryBackend
from wscore.chat.client import (
    ChatClient,
    ChatError,
    Connected,
    Direct,
    Disconnected,
    Event,
    Gap,
    Joined,
    Left,
    Message,
    Presence,
    Typing,
    new_id,
    open_chat,
)
from wscore.chat.client.terms import websocket_url


@pytest.fixture
def door(chat: Chat) -> Door:
    """The way to the server, which can be cut."""
    return Door(chat.listener)


async def until(chat: ChatClient, kind: type[Event], count: int = 1) -> list[Event]:
    """Take events until there were so many of a kind; returns these."""
    found: list[Event] = []
    with trio.fail_after(1000):
        async for event in chat:
            if isinstance(event, kind):
                found.append(event)
                if len(found) == count:
                    break
    return found


def texts(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Message | Direct)]


# --- Rooms and messages -------------------------------------------------------------------------


async def test_what_is_posted_comes_back_as_a_message(
    door: Door, autojump_clock: MockClock
) -> None:
    async with door.open_chat("Anna") as anna:
        joined = await anna.join("Lobby")
        assert joined == Joined("Lobby", 1, ("Anna",))
        stored = await anna.post("lobby", "hello")
        assert stored.offset == 1
        events = [await anext(anna) for _ in range(3)]
        assert isinstance(events[0], Connected)
        assert events[0].user == "Anna"
        assert events[1] == joined
        assert isinstance(events[2], Message)
        assert (events[2].sender, events[2].text, events[2].id) == ("Anna", "hello", stored.id)
        assert (events[2].room, events[2].offset, events[2].time) == ("Lobby", 1, stored.time)


async def test_two_users_see_each_other(door: Door, autojump_clock: MockClock) -> None:
    async with door.open_chat("Anna") as anna:
        await anna.join("r")
        async with door.open_chat("Bela") as bela:
            assert (await bela.join("R")).members == ("Anna", "Bela")
            [came] = await until(anna, Presence)
            assert (came.user, came.state, came.count) == ("Bela", "joined", 2)
            bela.typing("r")
            [typing] = await until(anna, Typing)
            assert (typing.user, typing.room) == ("Bela", "r")
            await bela.direct("anna", "psst")
            [direct] = await until(anna, Direct)
            assert (direct.sender, direct.to, direct.text) == ("Bela", "Anna", "psst")
            await bela.leave("r")
        [left] = await until(anna, Presence)
        assert (left.user, left.state) == ("Bela", "left")


async def test_the_rooms_and_their_history_can_be_read(
    door: Door, autojump_clock: MockClock
) -> None:
    async with door.open_chat("Anna") as anna:
        await anna.join("r")
        for n in range(5):
            await anna.post("r", f"m{n}")
        await anna.direct("Anna", "note")
        [room] = await anna.rooms()
        assert (room.room, room.count, room.offset) == ("r", 1, 5)
        page = await anna.history("r", before=5, limit=2)
        assert [message.text for message in page.messages] == ["m2", "m3"]
        assert page.more
        assert [message.text for message in (await anna.history()).messages] == ["note"]
        assert not (await anna.history("r")).more


async def test_two_devices_are_one_user(door: Door, autojump_clock: MockClock) -> None:
    async with door.open_chat("Anna") as phone:
        await phone.join("r")
        async with door.open_chat("anna", session=phone.session) as laptop:
            assert (await laptop.join("r")).count == 1
            await laptop.direct("Anna", "note to self")
            [direct] = await until(phone, Direct)
            assert texts([direct]) == ["note to self"]
            await phone.post("r", "from the phone")
            assert texts(await until(laptop, Message)) == ["from the phone"]
            assert laptop.user == "Anna"


async def test_joining_again_is_answered_with_the_last_join(
    door: Door, autojump_clock: MockClock
) -> None:
    async with door.open_chat("Anna") as anna:
        assert await anna.join("r") is await anna.join("R")
        await anna.leave("R")
        assert (await anna.join("r")).count == 1


async def test_many_posts_at_once_keep_their_order_and_the_rate(
    door: Door, autojump_clock: MockClock
) -> None:
    """More than the server takes in a burst."""
    async with door.open_chat("Anna") as anna:
        await anna.join("r")
        async with trio.open_nursery() as nursery:
            for n in range(100):
                nursery.start_soon(anna.post, "r", str(n))
                await trio.testing.wait_all_tasks_blocked()
        assert texts(await until(anna, Message, 100)) == [str(n) for n in range(100)]


# --- Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (lambda chat: chat.join("no spaces"), "invalid_name"),
        (lambda chat: chat.post("elsewhere", "x"), "not_joined"),
        (lambda chat: chat.leave("elsewhere"), "not_joined"),
        (lambda chat: chat.history("elsewhere"), "not_joined"),
        (lambda chat: chat.post("r", ""), "malformed"),
        (lambda chat: chat.post("r", "\ud800"), "malformed"),
        (lambda chat: chat.post("r", "x" * 4001), "too_long"),
        (lambda chat: chat.post("r", "x" * 200_000), "too_long"),
        (lambda chat: chat.direct("Nobody", "x"), "unknown_user"),
        (lambda chat: chat.direct("a b", "x"), "invalid_name"),
    ],
)
async def test_what_is_refused_raises(
    door: Door, act: Callable[[ChatClient], object], code: str, autojump_clock: MockClock
) -> None:
    async with door.open_chat("Anna") as anna:
        await anna.join("r")
        with pytest.raises(ChatError) as caught:
            await act(anna)  # type: ignore[misc]
        assert caught.value.code == code
        await anna.post("r", "still here")
        assert door.tries == 1


async def test_wrong_arguments_are_the_callers_mistake(
    door: Door, autojump_clock: MockClock
) -> None:
    with pytest.raises(ValueError):
        async with door.open_chat(None):
            pass
    for options in ({"session": "short"}, {"events": 0}, {"first_delay": -1}):
        with pytest.raises(ValueError):
            async with door.open_chat("Anna", **options):
                pass
    with pytest.raises(ValueError):
        async with open_chat("ftp://example.com/", "Anna"):
            pass
    async with door.open_chat("Anna") as anna:
        await anna.join("r")
        for wrong in (
            partial(anna.post, "r", "x", id=""),
            partial(anna.post, "r", "x", id="x" * 65),
            partial(anna.history, "r", before=-1),
            partial(anna.history, "r", limit=0),
        ):
            with pytest.raises(ValueError):
                await wrong()
        with pytest.raises(ValueError):
            anna.typing()


async def test_a_taken_name_ends_the_client_with_the_same_error_everywhere(
    door: Door, autojump_clock: MockClock
) -> None:
    async with door.open_chat("Anna") as anna:
        await anna.join("r")
        async with door.open_chat("anna") as other:
            for wait in (partial(other.join, "r"), partial(anext, other), other.rooms):
                with pytest.raises(ChatError) as caught:
                    await wait()  # type: ignore[operator]
                assert caught.value.code == "name_taken"


async def test_an_error_that_nobody_got_is_raised_at_the_end(
    door: Door, autojump_clock: MockClock
) -> None:
    async with door.open_chat("Anna") as anna:
        await anna.join("r")
        with pytest.raises(ChatError, match="name_taken"):
            async with door.open_chat("anna"):
                await trio.sleep(10)


async def test_errors_of_the_block_pass_unchanged(door: Door, autojump_clock: MockClock) -> None:

    async def fail() -> None:
        async with door.open_chat("Anna") as anna:
            await anna.join("r")
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    with trio.move_on_after(5) as scope:
        async with door.open_chat("Anna"):
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_an_id_is_for_one_message(door: Door, autojump_clock: MockClock) -> None:
    async with door.open_chat("Anna") as anna:
        await anna.join("r")
        id = new_id()
        first = await anna.post("r", "once", id=id)
        again = await anna.post("r", "once", id=id)
        assert (again.offset, again.duplicate) == (first.offset, True)
        with pytest.raises(ChatError) as caught:
            await anna.post("r", "twice", id=id)
        assert caught.value.code == "conflict"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(anna.post, "r", "three", id="three"))
            await trio.testing.wait_all_tasks_blocked(0.0)
            if await anna.history("r", limit=1):  # the reply is there: the id is free again
                await anna.post("r", "three", id="three")


# --- Lost connections ---------------------------------------------------------------------------


async def test_a_cut_connection_is_resumed_without_hole_or_repeat(
    door: Door, chat: Chat, autojump_clock: MockClock
) -> None:
    async with door.open_chat("Anna") as anna, Door(chat.listener).open_chat("Bela") as bela:
        await anna.join("r")
        await bela.join("r")
        await bela.post("r", "one")
        assert texts(await until(anna, Message)) == ["one"]
        await door.cut()
        await bela.post("r", "two")
        await bela.direct("Anna", "psst")
        [lost] = await until(anna, Disconnected)
        assert (lost.code, lost.delay <= 1) == (1006, True)
        await until(anna, Connected)
        seen = [await anext(anna) for _ in range(3)]
        assert texts(seen) == ["psst", "two"]
        assert [type(event) for event in seen] == [Direct, Joined, Message]
        await bela.post("r", "three")
        assert texts(await until(anna, Message)) == ["three"]


async def test_the_waits_are_random_and_grow(door: Door, autojump_clock: MockClock) -> None:
    listener, door.listener = door.listener, None
    async with door.open_chat("Anna", first_delay=1, max_delay=4) as anna:
        delays = []
        for _ in range(40):
            [down] = await until(anna, Disconnected)
            assert "nobody listens" in down.reason
            assert down.code is None
            delays.append(down.delay)
        assert delays[0] <= 1
        assert delays[1] <= 2
        assert 2 < max(delays) <= 4
        assert len(set(delays)) == 40
        door.listener = listener
        await anna.join("r")


async def restart(chat: Chat) -> None:
    chat.server.stop()
    await chat.stopped.wait()


async def test_a_restart_of_the_server_loses_nothing(autojump_clock: MockClock) -> None:
    backend = MemoryBackend()
    async with running(ChatServer(backend)) as first:
        door = Door(first.listener)
        async with door.open_chat("Anna") as anna:
            await anna.join("r")
            await anna.post("r", "one")
            assert texts(await until(anna, Message)) == ["one"]
            await restart(first)
            [down] = await until(anna, Disconnected)
            assert down.code == 1012
            door.listener = None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(anna.post, "r", "two")
                nursery.start_soon(anna.direct, "Anna", "note")
                await until(anna, Disconnected, 3)
                async with running(ChatServer(backend)) as second:
                    door.listener = second.listener
                    async with door.open_chat("Bela") as bela:
                        await bela.join("r")
                        assert texts(await until(bela, Message, 2)) == ["one", "two"]
                    assert texts(await until(anna, Direct)) == ["note"]
                    assert texts(await until(anna, Message)) == ["two"]


async def test_a_program_that_starts_again_goes_on_where_it_was(
    door: Door, autojump_clock: MockClock
) -> None:
    async with door.open_chat("Bela") as bela, door.open_chat("Anna") as anna:
        await bela.join("r")
        await anna.join("R")
        for n in range(3):
            await bela.post("r", f"m{n}")
            await bela.direct("Anna", f"d{n}")
        assert texts(await until(anna, Message, 2)) == ["m0", "m1"]
        positions, session = anna.positions, anna.session
        assert positions.rooms["r"].offset == 2
        assert positions.inbox is not None
        direct = positions.inbox.offset
    async with door.open_chat("Anna", session=session, positions=positions) as anna:
        assert anna.positions == positions
        await anna.join("r")
        rest = await until(anna, Message)
        assert texts(rest) == ["m2"]
        assert anna.positions.rooms["r"].offset == 3
        assert anna.positions.inbox is not None
        assert anna.positions.inbox.offset == 3
        assert direct in (1, 2)


async def test_a_gap_is_announced(autojump_clock: MockClock) -> None:
    """The server continues over five messages at most."""
    async with running(ChatServer(MemoryBackend(), limits=Limits(replay=5))) as chat:
        door, other = Door(chat.listener), Door(chat.listener)
        async with door.open_chat("Anna") as anna, other.open_chat("Bela") as bela:
            await bela.join("r")
            await anna.join("r")
            await bela.post("r", "first")
            await until(anna, Message)
            door.listener = None
            await door.cut()
            for n in range(60):
                await bela.post("r", f"m{n}")
            door.listener = chat.listener
            [gap] = await until(anna, Gap)
            assert gap.room == "r"
            assert (gap.after.offset, gap.before.offset) == (1, 11)
            assert texts(await until(anna, Message, 50)) == [f"m{n}" for n in range(10, 60)]


async def test_a_room_that_is_closed_to_us_is_left(autojump_clock: MockClock) -> None:
    """The server refuses the join of a new connection."""
    backend = MemoryBackend()
    async with running(ChatServer(backend)) as first:
        door = Door(first.listener)
        async with door.open_chat("Anna") as anna:
            await anna.join("one")
            await anna.join("two")
            await restart(first)
            async with running(ChatServer(backend, limits=Limits(joined=1))) as second:
                door.listener = second.listener
                [left] = await until(anna, Left)
                assert left.code == "limit_reached"
                with pytest.raises(ChatError, match="not_joined"):
                    await anna.post(left.room, "x")


# --- Programs that take nothing, or give up -----------------------------------------------------


async def test_a_program_that_takes_no_events_slows_the_server_down(
    door: Door, chat: Chat, autojump_clock: MockClock
) -> None:
    """It holds a bounded number of events, and gets all of them in the end."""
    async with door.open_chat("Anna", events=10) as anna, Door(chat.listener).open_chat("B") as b:
        await anna.join("r")
        await b.join("r")
        for n in range(1500):
            await b.post("r", f"m{n}")
        assert len(anna._queue._events) <= 11
        assert texts(await until(anna, Message, 1500)) == [f"m{n}" for n in range(1500)]


async def test_who_posts_while_taking_events_never_waits_for_itself(
    door: Door, chat: Chat, autojump_clock: MockClock
) -> None:
    """The reply is behind more events than may wait; those are brought afterwards."""
    async with door.open_chat("Anna", events=10) as anna, Door(chat.listener).open_chat("B") as b:
        await anna.join("in")
        await anna.join("out")
        await b.join("in")
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                for n in range(200):
                    await b.post("in", f"m{n}")

            nursery.start_soon(ask)
            heard = []
            async for event in anna:
                if isinstance(event, Message) and event.room == "in":
                    heard.append(event.text)
                    await anna.post("out", f"re: {event.text}")
                    if len(heard) == 200:
                        break
        assert heard == [f"m{n}" for n in range(200)]
        answers = await anna.history("out", limit=200)
        assert texts(list(answers.messages)) == [f"re: m{n}" for n in range(200)]


async def test_a_join_without_space_for_its_messages_misses_none(
    door: Door, chat: Chat, autojump_clock: MockClock
) -> None:
    async with door.open_chat("Anna", events=1) as anna, Door(chat.listener).open_chat("B") as b:
        await b.join("r")
        for n in range(3):
            await b.post("r", f"m{n}")
        await trio.testing.wait_all_tasks_blocked()
        await anna.join("r")  # the event of the connection is still there
        for n in range(3, 80):  # more than the newest page has
            await b.post("r", f"m{n}")
        assert texts(await until(anna, Message, 80)) == [f"m{n}" for n in range(80)]


@pytest.mark.parametrize("checkpoints", range(12))
async def test_a_cancelled_post_is_stored_once_or_not_at_all(
    door: Door, chat: Chat, checkpoints: int, autojump_clock: MockClock
) -> None:
    """Cancelled ever later, from before it is sent until after the reply."""
    async with door.open_chat("Anna") as anna:
        await anna.join("r")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel() -> None:
                    for _ in range(checkpoints):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                nursery.start_soon(cancel)
                await anna.post("r", "x", id="the-id")
                nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        before = (await anna.history("r")).messages
        assert len(before) <= 1
        stored = await anna.post("r", "x", id="the-id")
        assert bool(stored.duplicate) is bool(before)
        assert len((await anna.history("r")).messages) == 1
        assert door.tries == 1


async def test_a_post_cancelled_before_there_is_a_connection_is_not_sent(
    door: Door, autojump_clock: MockClock
) -> None:
    listener = door.listener
    async with door.open_chat("Anna") as anna:
        await anna.join("r")
        door.listener = None
        await door.cut()
        await until(anna, Disconnected)
        with trio.move_on_after(5) as scope:
            await anna.post("r", "never")
        assert scope.cancelled_caught
        door.listener = listener
        await anna.post("r", "sent")
        assert [message.text for message in (await anna.history("r")).messages] == ["sent"]


async def test_a_reply_to_a_cancelled_post_is_not_taken_for_another(
    door: Door, autojump_clock: MockClock
) -> None:
    async with door.open_chat("Anna") as anna:
        await anna.join("r")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(anna.post, "r", "one", id="the-id"))
            while not any(ticket.is_sent for ticket in anna._dialogue._requests):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        with pytest.raises(ChatError) as caught:
            await anna.post("r", "two", id="the-id")
        assert caught.value.code == "conflict"


async def test_a_cancelled_join_is_taken_back(
    door: Door, chat: Chat, autojump_clock: MockClock
) -> None:
    async with door.open_chat("Anna") as anna, Door(chat.listener).open_chat("B") as b:
        await anna.rooms()
        for checkpoints in range(12):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def cancel(checkpoints: int, scope: trio.CancelScope) -> None:
                        for _ in range(checkpoints):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()

                    nursery.start_soon(cancel, checkpoints, scope)
                    await anna.join("r")
                    nursery.cancel_scope.cancel()
            joined = not scope.cancelled_caught
            await trio.testing.wait_all_tasks_blocked()
            members = (await b.join("r")).members
            assert members == (("Anna", "B") if joined else ("B",))
            await b.leave("r")
            if joined:
                await anna.leave("r")
        await anna.join("r")
        await anna.post("r", "x")


async def test_who_is_too_slow_is_cut_and_misses_nothing(
    chat: Chat, autojump_clock: MockClock
) -> None:
    """More than the server keeps for one connection, while the program takes nothing."""
    slow = Door(chat.listener, is_blocking=True)
    async with slow.open_chat("Anna", events=10) as anna, Door(chat.listener).open_chat("B") as b:
        await anna.join("r")
        await b.join("r")
        for n in range(1500):
            await b.post("r", f"m{n}")
        lost, heard = [], []
        async for event in anna:
            if isinstance(event, Disconnected):
                lost.append(event.code)
            if isinstance(event, Message):
                heard.append(event.text)
                if len(heard) == 1500:
                    break
        assert heard == [f"m{n}" for n in range(1500)]
        assert lost
        assert lost[0] in (4000, 1006)  # the close itself may not get through


async def test_after_the_block_nobody_waits_for_ever(door: Door, autojump_clock: MockClock) -> None:
    async with door.open_chat("Anna") as anna:
        await anna.join("r")
        async for _ in anna:
            break

    async def take_all() -> None:
        async for _ in anna:
            pass

    for wait in (take_all, anna.rooms, partial(anna.join, "r")):
        with pytest.raises(trio.ClosedResourceError):
            await wait()


@pytest.mark.parametrize(
    ("url", "websocket"),
    [
        ("http://host", "ws://host/ws"),
        ("http://host:8765/", "ws://host:8765/ws"),
        ("https://host/chat/", "wss://host/chat/ws"),
        ("https://host/chat/index.html?x#y", "wss://host/chat/ws"),
        ("http://[::1]:1/", "ws://[::1]:1/ws"),
        ("ws://host/elsewhere?x=1", "ws://host/elsewhere?x=1"),
        ("wss://host/ws", "wss://host/ws"),
    ],
)
def test_the_page_or_the_websocket_may_be_named(url: str, websocket: str) -> None:
    assert websocket_url(url) == websocket
