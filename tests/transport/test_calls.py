"""What `get_message`, `send_message` and `async for` give before they are awaited: coroutines, also
where the compiled twin makes them of its own kind.
"""

from __future__ import annotations

import collections.abc
import gc
import inspect
import warnings

import pytest
import trio
from transport.peer import BINARY, TEXT, server_and_peer
from trio.testing import wait_all_tasks_blocked

from wscore.trio import CloseReason, ConnectionClosed, WebSocketConnection, _flow, _flow_py

pytestmark = pytest.mark.usefixtures("any_wire")


def result(call):
    """Run a call that has nothing to wait for."""
    with pytest.raises(StopIteration) as info:
        call.send(None)
    return info.value.value


async def test_calls_are_coroutines():
    connection, _peer = await server_and_peer()
    for call in (
        connection.get_message(),
        connection.send_message("x"),
        type(connection).__anext__(connection),
    ):
        assert isinstance(call, collections.abc.Coroutine)
        assert inspect.isawaitable(call)
        assert call.__await__() is not None
        assert "coroutine" in repr(call)
        call.close()


@pytest.mark.parametrize("name", ["get_message", "send_message"])
def test_both_twins_say_the_same_of_themselves(name):
    ours, reference = getattr(_flow.MessageChannel, name), getattr(_flow_py.MessageChannel, name)
    assert inspect.getdoc(ours) == inspect.getdoc(reference)
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(reference).parameters)


async def test_a_call_does_nothing_before_it_is_awaited():
    connection, peer = await server_and_peer()
    await peer.send((TEXT, b"one"), (TEXT, b"two"))
    await wait_all_tasks_blocked()
    late, early = connection.get_message(), connection.get_message()
    assert await early == "one"
    assert await late == "two"
    sending = connection.send_message("b")
    await connection.send_message("a")
    await sending
    assert [(await peer.receive()).payload for _ in range(2)] == [b"a", b"b"]


async def test_a_call_that_is_dropped_has_no_effect_and_is_warned_about():
    connection, peer = await server_and_peer()
    await peer.send((TEXT, b"one"))
    await wait_all_tasks_blocked()
    with pytest.warns(RuntimeWarning, match="get_message' was never awaited"):
        connection.get_message()
    with pytest.warns(RuntimeWarning, match="send_message' was never awaited"):
        connection.send_message("dropped")
    assert await connection.get_message() == "one"
    await connection.send_message("sent")
    assert (await peer.receive()).payload == b"sent"


async def test_a_closed_call_has_no_effect_and_is_not_warned_about():
    connection, peer = await server_and_peer()
    await peer.send((TEXT, b"one"))
    await wait_all_tasks_blocked()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for call in (connection.get_message(), connection.send_message("closed")):
            call.close()
            call.close()
            with pytest.raises(RuntimeError, match="already awaited"):
                await call
        del call
    assert await connection.get_message() == "one"


async def test_a_call_is_awaited_once():
    connection, peer = await server_and_peer()
    await peer.send((TEXT, b"one"), (TEXT, b"two"))
    await wait_all_tasks_blocked()
    for call in (connection.get_message(), connection.send_message("x")):
        await call
        with pytest.raises(RuntimeError, match="already awaited"):
            await call
        with pytest.raises(RuntimeError, match="already awaited"):
            call.throw(LookupError())
    waiting = connection.get_message()
    assert await waiting == "two"
    with pytest.raises(RuntimeError, match="already awaited"):
        waiting.send(None)


async def test_a_call_that_is_kept_does_not_become_another():
    connection, peer = await server_and_peer()
    await peer.send(*[(TEXT, b"%d" % number) for number in range(3)])
    first = connection.get_message()
    assert await first == "0"
    second = connection.get_message()
    assert second is not first
    with pytest.raises(RuntimeError, match="already awaited"):
        await first
    sending = connection.send_message("x")
    assert await second == "1"
    await sending
    assert await connection.get_message() == "2"
    for call in (first, second, sending):
        with pytest.raises(RuntimeError, match="already awaited"):
            await call


async def test_a_call_that_waited_is_awaited_once():
    connection, peer = await server_and_peer()
    call = connection.get_message()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.send, (TEXT, b"one"))
        assert await call == "one"
    with pytest.raises(RuntimeError, match="already awaited"):
        await call


async def test_a_call_in_two_tasks_belongs_to_the_first():
    connection, peer = await server_and_peer()
    call = connection.get_message()
    found = []

    async def take():
        found.append(await call)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="being awaited already"):
            await call
        await peer.send((TEXT, b"one"))
    assert found == ["one"]


async def test_what_is_thrown_into_a_new_call_ends_it():
    connection, peer = await server_and_peer()
    await peer.send((TEXT, b"one"))
    await wait_all_tasks_blocked()
    for call in (connection.get_message(), connection.send_message("x")):
        with pytest.raises(LookupError, match="by the test"):
            call.throw(LookupError("by the test"))
        with pytest.raises(RuntimeError, match="already awaited"):
            call.send(None)
    assert await connection.get_message() == "one"


async def test_a_new_call_takes_no_value():
    connection, _peer = await server_and_peer()
    call = connection.get_message()
    with pytest.raises(TypeError, match="just-started"):
        call.send(1)
    call.close()


async def test_calls_can_be_driven_by_hand():
    connection, peer = await server_and_peer()
    await peer.send((TEXT, b"one"), (BINARY, b"two"), (TEXT, b"three"))
    await wait_all_tasks_blocked()
    assert result(connection.get_message()) == "one"
    assert result(connection.send_message("reply")) is None
    assert result(type(connection).__anext__(connection)) == b"two"
    call = connection.get_message().__await__()
    with pytest.raises(StopIteration) as info:
        next(call)
    assert info.value.value == "three"
    connection._session.flush()
    assert (await peer.receive()).payload == b"reply"


async def test_tasks_are_started_with_calls():
    connection, peer = await server_and_peer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.get_message)
        nursery.start_soon(connection.send_message, "from a task")
        assert (await peer.receive()).payload == b"from a task"
        await wait_all_tasks_blocked()
        await peer.send((TEXT, b"one"))
    await peer.send((TEXT, b"two"))
    assert await connection.get_message() == "two"


async def test_where_a_waiting_task_stands_can_be_seen():
    connection, peer = await server_and_peer()
    tasks = []

    async def take():
        tasks.append(trio.lowlevel.current_task())
        await connection.get_message()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        names = [frame.f_code.co_name for frame, _ in tasks[0].iter_await_frames()]
        assert names[0] == "take"
        assert "wait_task_rescheduled" in names
        await peer.send((TEXT, b"one"))


async def test_timeouts_around_calls(autojump_clock):
    connection, peer = await server_and_peer()
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(1):
            await connection.get_message()
    with trio.move_on_after(1) as scope:
        async for _ in connection:
            pass
    assert scope.cancelled_caught
    await peer.send((TEXT, b"one"))
    with trio.fail_after(1):
        assert await connection.get_message() == "one"


async def test_a_waiting_call_can_be_closed():
    """As happens to a task of a trio run that is given up."""
    connection, peer = await server_and_peer()
    call = connection.get_message()
    call.send(None)
    await wait_all_tasks_blocked()
    getter = connection._session.getters.pop()
    call.close()
    del getter
    with pytest.raises(RuntimeError, match="already awaited"):
        call.send(None)
    await peer.send((TEXT, b"one"))
    assert await connection.get_message() == "one"


async def test_an_iteration_raises_what_it_is_thrown():
    connection, _peer = await server_and_peer()
    for error, caught in [
        (ConnectionClosed(CloseReason(1000)), StopAsyncIteration),
        (ConnectionClosed(CloseReason(1011)), ConnectionClosed),
        (LookupError(), LookupError),
    ]:
        call = type(connection).__anext__(connection)
        call.send(None)
        connection._session.getters.clear()
        with pytest.raises(caught):
            call.throw(error)
        with pytest.raises(RuntimeError, match="already awaited"):
            call.send(None)


async def test_calls_are_collected():
    connection, _peer = await server_and_peer()
    call = connection.get_message()
    call.send(None)
    connection._session.getters.clear()

    class Holder:
        def __init__(self, call):
            self.call, self.own = call, self

        def __del__(self):
            collected.append(True)

    collected = []
    Holder(call)
    del call
    gc.collect()
    assert collected == [True]


async def test_messages_may_be_given_by_keyword():
    connection, peer = await server_and_peer()
    await connection.send_message(message="x")
    assert (await peer.receive()).payload == b"x"


@pytest.mark.parametrize("wrong", [None, 1, ["x"]])
async def test_what_is_no_message_is_refused(wrong):
    connection, peer = await server_and_peer()
    with pytest.raises(ValueError, match="str or bytes"):
        await connection.send_message(wrong)
    await connection.send_message("x")
    assert (await peer.receive()).payload == b"x"


async def test_subclasses_call_what_they_override():
    class Shouting(WebSocketConnection):
        __slots__ = ()

        async def get_message(self):
            return (await super().get_message()).upper()

        async def send_message(self, message):
            await super().send_message(message.lower())

    connection, peer = await server_and_peer()
    connection.__class__ = Shouting
    await peer.send((TEXT, b"one"))
    assert await connection.get_message() == "ONE"
    await connection.send_message("TWO")
    assert (await peer.receive()).payload == b"two"
