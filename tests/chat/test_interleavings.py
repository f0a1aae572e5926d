"""Any interleaving of requests of several clients, through real connections to a real server.

A client checks by arithmetic alone what it is sent. The hub's own machine is `test_hub_machine`.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from chat.client import SESSION, Chat, ChatClient, Json, running
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from wscore.chat import ChatServer, Limits, MemoryBackend
from wscore.chat.backends.base import Listener
from wscore.chat.backends.memory import _Kept
from wscore.chat.model import inbox_log, room_log
from wscore.trio import ConnectionClosed

USERS = ("Anna", "Anna", "Bob", "Carol")
ROOMS = ("r", "s")


class Forgetful(MemoryBackend):
    """A store that can lose a log."""

    def open(self, listener: Listener) -> Any:
        self.listener = listener
        return super().open(listener)

    def lose(self, log: Any) -> bool:
        kept = self._logs.get(log)
        if kept is None:
            return False
        self._logs[log] = _Kept(kept.name, kept.secret)
        self.listener.reset([log])
        return True

    def head(self, log: Any) -> tuple[str, int]:
        return self._logs[log].epoch, len(self._logs[log].entries)

    def ids(self, log: Any) -> list[str]:
        return [entry.id for entry in self._logs[log].entries]


class Device:
    """A client that keeps its positions, reads all the time, and checks each message."""

    def __init__(self, user: str, chat: Chat) -> None:
        self.user = user
        self.chat = chat
        self.client: ChatClient | None = None
        self.asked: dict[str, Json] = {}
        self.position: dict[str, Json] = {}  # where a room, or the inbox "", is known up to
        self.joined: set[str] = set()
        self.acknowledged: list[tuple[str, str, int, str]] = []  # epoch, log, offset, id
        self.codes: list[int] = []

    async def connect(self, nursery: trio.Nursery) -> None:
        self.client = await self.chat.connect()
        self.asked.clear()
        self.joined.clear()
        hello = {"user": self.user, "session": SESSION}
        if "" in self.position:
            hello["position"] = dict(self.position[""])  # type: ignore[assignment]
        await self.ask("hello", **hello)
        nursery.start_soon(self.read, self.client)

    async def ask(self, type: str, **fields: Any) -> None:
        if self.client is None:
            return
        try:
            id = await self.client.send(type, **fields)
        except ConnectionClosed:
            return
        self.asked[id] = {"type": type, **fields}

    async def read(self, client: ChatClient) -> None:
        try:
            while True:
                message = await client.receive()
                if self.client is client:  # it has not been dropped
                    self.take(message)
        except ConnectionClosed as error:
            if self.client is client:
                self.codes.append(error.reason.code)
                self.client = None

    def take(self, message: Json) -> None:
        match message["type"]:
            case "ok":
                self.take_ok(self.asked.pop(message["id"]), message)
            case "error":
                asked = self.asked.pop(message["id"])
                assert message["code"] == "not_joined", (asked, message)
                assert asked.get("room") not in self.joined
            case "message":
                assert message["room"] in self.joined, "a push before the ok, or after the leave"
                self.advance(message["room"], message)
            case "direct":
                self.advance("", message)
            case "presence":
                assert message["room"] in self.joined

    def take_ok(self, asked: Json, reply: Json) -> None:
        match asked["type"]:
            case "hello":
                self.take_slice("", asked, reply["inbox"])
            case "join":
                self.joined.add(reply["room"])
                self.take_slice(reply["room"], asked, reply)
            case "leave":
                self.joined.remove(asked["room"])
            case "post" | "direct":
                log = asked.get("room", "")
                self.acknowledged.append((reply["epoch"], log, reply["offset"], reply["id"]))

    def take_slice(self, log: str, asked: Json, slice: Json) -> None:
        found = [message["offset"] for message in slice["messages"]]
        position = asked.get("position")
        continues = position is not None and not slice["gap"]
        first = position["offset"] + 1 if continues else slice["offset"] - len(found) + 1
        assert found == list(range(first, first + len(found)))
        known = first + len(found) - 1
        assert slice["more"] is (known < slice["offset"])
        if continues:
            assert position["epoch"] == slice["epoch"]
        self.position[log] = {"epoch": slice["epoch"], "offset": known}

    def advance(self, log: str, push: Json) -> None:
        assert push["offset"] == self.position[log]["offset"] + 1
        self.position[log]["offset"] += 1


number = st.integers(0, len(USERS) - 1)
room = st.sampled_from(ROOMS)
steps = st.one_of(
    st.tuples(st.just("join"), number, room, st.booleans()),
    st.tuples(st.just("join"), number, room, st.booleans()),
    st.tuples(st.just("leave"), number, room),
    st.tuples(st.just("post"), number, room, st.integers(1, 12)),
    st.tuples(st.just("post"), number, room, st.integers(1, 12)),
    st.tuples(st.just("direct"), number, st.sampled_from(USERS), st.integers(1, 3)),
    st.tuples(st.just("drop"), number),
    st.tuples(st.just("connect"), number),
    st.tuples(st.just("lose"), st.sampled_from([*ROOMS, ""])),
    st.tuples(st.just("turns"), st.integers(1, 5)),
    st.tuples(st.just("rest")),
)


async def play(story: list[Any]) -> None:
    backend = Forgetful()
    server = ChatServer(backend, limits=Limits(rate=0, page=3, history=4))
    async with running(server) as chat, trio.open_nursery() as nursery:
        devices = [Device(user, chat) for user in USERS]
        for device in devices:
            await device.connect(nursery)
        await wait_all_tasks_blocked()  # now every name has been seen
        lost: set[str] = set()
        for step in story:
            await act(step, devices, nursery, backend, lost)
        await wait_all_tasks_blocked()
        check(devices, backend, lost)
        for device in devices:
            if device.client is not None:
                await device.client.connection.aclose()


async def act(
    step: Any, devices: list[Device], nursery: trio.Nursery, backend: Forgetful, lost: set[str]
) -> None:
    match step:
        case ("join", which, room, resumes):
            device = devices[which]
            position = device.position.get(room)
            if resumes and position is not None:
                await device.ask("join", room=room, position=dict(position))
            else:
                await device.ask("join", room=room)
        case ("leave", which, room):
            await devices[which].ask("leave", room=room)
        case ("post", which, room, count):
            for _ in range(count):
                await devices[which].ask("post", room=room, text="x")
        case ("direct", which, to, count):
            for _ in range(count):
                await devices[which].ask("direct", to=to, text="x")
        case ("drop", which):
            client, devices[which].client = devices[which].client, None
            if client is not None:
                await client.connection.aclose()
        case ("connect", which):
            if devices[which].client is None:
                await devices[which].connect(nursery)
        case ("lose", name):
            if backend.lose(room_log(name) if name else inbox_log("anna")):
                lost.add(name)
        case ("turns", count):
            for _ in range(count):
                await trio.lowlevel.checkpoint()
        case _:
            await wait_all_tasks_blocked()


def check(devices: list[Device], backend: Forgetful, lost: set[str]) -> None:
    """When all is quiet, everybody is where the logs are, and nothing acknowledged is missing."""
    for device in devices:
        assert set(device.codes) <= ({1012} if lost else set())
        logs = {name: room_log(name) for name in ROOMS} | {"": inbox_log(device.user.lower())}
        if device.client is not None:
            assert device.asked == {}
            for name in (*device.joined, ""):
                epoch, offset = backend.head(logs[name])
                assert device.position[name] == {"epoch": epoch, "offset": offset}
        for epoch, name, offset, id in device.acknowledged:
            if epoch == backend.head(logs[name])[0]:
                assert backend.ids(logs[name])[offset - 1] == id
    for log in (room_log("r"), room_log("s"), inbox_log("anna")):
        if log in backend._logs:
            assert len(set(backend.ids(log))) == len(backend.ids(log))


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=40))
def test_any_interleaving(story: list[Any]) -> None:
    trio.run(play, story, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("name", ["r", ""])
def test_a_loss_in_the_middle_of_everything(name: str) -> None:
    story = [("join", which, "r", True) for which in range(4)]
    story += [("post", which, "r", 12) for which in range(4)]
    story += [("direct", 2, "Anna", 3), ("turns", 3), ("lose", name), ("post", 0, "r", 3)]
    story += [("connect", which) for which in range(4)]
    story += [("join", which, "r", True) for which in range(4)]
    trio.run(play, story, clock=MockClock(autojump_threshold=0))
