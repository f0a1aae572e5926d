"""The hub as pure functions: any interleaving keeps every client's view whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wscore.chat.hub import Delivery, Hub, Publication
from wscore.chat.model import Entry, Head, Log, Name, inbox_log, parse_name, room_log
from wscore.chat.protocol import ChatError, Limits, PresencePush, TypingPush

ROOM = room_log("room")


def name(text: str) -> Name:
    found = parse_name(text)
    assert found is not None
    return found


def entry(offset: int) -> Entry:
    return Entry(offset, "Anna", None, "x", 0, str(offset))


def connect(hub: Hub, connection: int, user: str) -> None:
    hub.connect(connection, name(user))
    follow(hub, connection, inbox_log(name(user).key), user)


def follow(hub: Hub, connection: int, log: Log, shown: str) -> list[Delivery]:
    hub.attach(connection, log)
    hub.opened(log, shown, Head("epoch", 0))
    head = hub.head(log)
    assert head is not None
    deliveries = hub.enter(connection, log) if log.kind == "room" else []
    assert hub.settle(connection, log, head.offset)
    return deliveries


def join(hub: Hub, connection: int, room: str = "Room") -> list[Delivery]:
    return follow(hub, connection, room_log(name(room).key), room)


def flat(deliveries: list[Delivery]) -> list[tuple[set[int], Any]]:
    return [(set(to), push) for to, push in deliveries if to]


@pytest.fixture
def hub() -> Hub:
    return Hub(Limits(presence=3, joined=2))


def test_entries_go_to_those_who_are_live(hub: Hub) -> None:
    for connection, user in enumerate(("Anna", "Bob", "Carol")):
        connect(hub, connection, user)
    join(hub, 0)
    join(hub, 1)
    hub.attach(2, ROOM)
    assert flat(hub.announce(ROOM, entry(1))) == [({0, 1}, Publication(entry(1), "Room"))]
    hub.enter(2, ROOM)
    assert not hub.settle(2, ROOM, 0)
    assert flat(hub.announce(ROOM, entry(2))) == [({0, 1}, Publication(entry(2), "Room"))]
    assert not hub.settle(2, ROOM, 1)
    assert hub.settle(2, ROOM, 2)
    assert flat(hub.announce(ROOM, entry(3))) == [({0, 1, 2}, Publication(entry(3), "Room"))]
    hub.leave(0, "room")
    hub.disconnect(1)
    assert flat(hub.announce(ROOM, entry(4))) == [({2}, Publication(entry(4), "Room"))]


def test_an_entry_announced_before_the_head_is_known_counts(hub: Hub) -> None:
    connect(hub, 0, "Anna")
    hub.attach(0, ROOM)
    hub.announce(ROOM, entry(8))
    assert hub.head(ROOM) is None
    hub.opened(ROOM, "Room", Head("epoch", 7))
    assert hub.head(ROOM) == Head("epoch", 8)


def test_an_abandoned_slice(hub: Hub) -> None:
    connect(hub, 0, "Anna")
    hub.attach(0, ROOM)
    assert hub.abandon(0, ROOM) is None
    with pytest.raises(ChatError, match="not_joined"):
        hub.require_joined(0, "room")
    join(hub, 0)
    hub.announce(ROOM, entry(1))
    hub.attach(0, ROOM)
    assert hub.announce(ROOM, entry(2)) == []
    assert hub.abandon(0, ROOM) == 1
    assert hub.require_joined(0, "room") == ROOM


def test_nothing_is_kept_of_what_nobody_follows(hub: Hub) -> None:
    connect(hub, 0, "Anna")
    join(hub, 0)
    hub.leave(0, "room")
    hub.attach(0, ROOM)
    hub.abandon(0, ROOM)
    hub.disconnect(0)
    hub.disconnect(0)
    assert not hub._channels
    assert not hub._connections
    assert not hub._recount


def test_presence_with_several_devices(hub: Hub) -> None:
    connect(hub, 0, "Anna")
    connect(hub, 1, "Bob")
    connect(hub, 2, "Bob")
    assert flat(join(hub, 0)) == []
    joined = PresencePush(room="Room", user="Bob", state="joined", count=2)
    assert flat(join(hub, 1)) == [({0}, joined)]
    assert flat(join(hub, 2)) == []
    assert flat(join(hub, 2)) == []
    assert hub.present(ROOM) == (2, ["Anna", "Bob"])
    assert flat(hub.disconnect(1)) == []
    left = PresencePush(room="Room", user="Bob", state="left", count=1)
    assert flat(hub.leave(2, "room")) == [({0}, left)]


def test_presence_in_a_big_room_is_a_count(hub: Hub) -> None:
    for connection, user in enumerate("abcde"):
        connect(hub, connection, user)
        pushes = flat(join(hub, connection))
        assert bool(pushes) is (0 < connection < 3)
    assert flat(hub.counts()) == [({0, 1, 2, 3, 4}, PresencePush(room="Room", count=5))]
    assert hub.counts() == []
    assert flat(hub.leave(4, "room")) == []
    assert flat(hub.counts()) == [({0, 1, 2, 3}, PresencePush(room="Room", count=4))]
    hub.leave(3, "room")
    assert hub.counts() == []  # the push of the last who left said it


def test_members_are_sorted_and_at_most_two_hundred() -> None:
    hub = Hub(Limits())
    for connection in range(250):
        connect(hub, connection, f"u{999 - connection}")
        join(hub, connection)
    count, members = hub.present(ROOM)
    assert count == 250
    assert members == [f"u{n}" for n in range(750, 950)]


def test_the_limit_of_rooms(hub: Hub) -> None:
    connect(hub, 0, "Anna")
    join(hub, 0, "one")
    join(hub, 0, "two")
    with pytest.raises(ChatError, match="limit_reached"):
        hub.attach(0, room_log("three"))
    assert hub.head(room_log("three")) is None
    join(hub, 0, "two")
    hub.leave(0, "one")
    join(hub, 0, "three")


def test_rooms_with_most_present_first(hub: Hub) -> None:
    for connection in range(3):
        connect(hub, connection, f"u{connection}")
        join(hub, connection, "big")
    join(hub, 0, "b-small")
    join(hub, 1, "a-small")
    assert [(r.room, r.count) for r in hub.rooms(100)] == [
        ("big", 3),
        ("a-small", 1),
        ("b-small", 1),
    ]
    assert len(hub.rooms(2)) == 2


def test_typing_in_a_room(hub: Hub) -> None:
    for connection, user in enumerate(("Anna", "Anna", "Bob", "Carol")):
        connect(hub, connection, user)
        if user != "Carol":
            join(hub, connection)
    push = TypingPush(room="Room", user="Anna")
    assert flat(hub.typing_in(0, "room", 10.0)) == [({2}, push)]
    assert hub.typing_in(1, "room", 10.9) == []
    assert flat(hub.typing_in(2, "room", 10.9)) == [({0, 1}, TypingPush(room="Room", user="Bob"))]
    assert flat(hub.typing_in(1, "room", 11.0)) == [({2}, push)]
    assert hub.typing_in(3, "room", 12.0) == []
    assert hub.typing_in(0, "nowhere", 12.0) == []


def test_typing_to_a_person(hub: Hub) -> None:
    for connection, user in enumerate(("Anna", "Bob", "Bob")):
        connect(hub, connection, user)
    hub.attach(2, inbox_log("bob"))
    assert flat(hub.typing_to(0, "bob", 1.0)) == [({1, 2}, TypingPush(to="Bob", user="Anna"))]
    assert hub.typing_to(0, "bob", 1.5) == []
    assert hub.typing_to(0, "anna", 1.5) == []
    assert hub.typing_to(0, "nobody", 1.5) == []


def test_typing_does_not_grow(hub: Hub) -> None:
    connect(hub, 0, "Bob")
    for connection in range(1, 500):
        connect(hub, connection, f"u{connection}")
        assert hub.typing_to(connection, "bob", float(connection * 2))
    assert len(hub._channels[inbox_log("bob")].typed) <= 64


class Views(RuleBasedStateMachine):
    """Clients of one room, each with what it has received; the log is a count of entries.

    A client's slice begins, is read from the log as it then is, and may be followed by a replay
    in steps, while entries are announced and others come and go in between.
    """

    USERS = ("Anna", "Bob", "Carol")

    def __init__(self) -> None:
        super().__init__()
        self.hub = Hub(Limits(presence=2))
        self.log = 0
        self.user: dict[int, str] = {}
        self.reading: dict[int, int] = {}  # slices under way: the head they were promised
        self.known: dict[int, int] = {}  # joined clients: the offset they know
        self.seen: dict[int, set[str]] = {}  # joined clients: who they think is there
        self.next = 0

    def deliver(self, deliveries: list[Delivery]) -> None:
        for to, push in deliveries:
            for connection in to:
                assert connection in self.known, "a push before the ok of the join"
                if isinstance(push, Publication):
                    assert push.entry.offset == self.known[connection] + 1
                    self.known[connection] += 1
                elif isinstance(push, PresencePush) and isinstance(push.user, str):
                    members = self.seen[connection]
                    assert (push.user in members) is (push.state == "left")
                    members ^= {push.user}
                    assert push.count == len(self.present())

    def present(self) -> set[str]:
        return {self.user[connection] for connection in self.known}

    def pick(self, data: st.DataObject, among: Any) -> int:
        chosen = data.draw(st.sampled_from(sorted(among)))
        assert isinstance(chosen, int)
        return chosen

    @initialize(log=st.integers(0, 5))
    def start(self, log: int) -> None:
        self.log = log

    @rule(user=st.sampled_from(USERS))
    def connect(self, user: str) -> None:
        connect(self.hub, self.next, user)
        self.user[self.next] = user
        self.next += 1

    @precondition(lambda self: bool(set(self.user) - set(self.reading)))
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        connection = self.pick(data, set(self.user) - set(self.reading))
        self.hub.attach(connection, ROOM)
        self.reading[connection] = -1

    @precondition(lambda self: -1 in self.reading.values())
    @rule(data=st.data())
    def open(self, data: st.DataObject) -> None:
        waiting = {c for c, head in self.reading.items() if head == -1}
        connection = self.pick(data, waiting)
        self.hub.opened(ROOM, "Room", Head("epoch", self.log))
        head = self.hub.head(ROOM)
        assert head == Head("epoch", self.log)
        self.reading[connection] = self.log

    @precondition(lambda self: any(head >= 0 for head in self.reading.values()))
    @rule(data=st.data(), succeeds=st.booleans())
    def finish(self, data: st.DataObject, succeeds: bool) -> None:
        connection = self.pick(data, {c for c, head in self.reading.items() if head >= 0})
        head = self.reading.pop(connection)
        if not succeeds:
            before = self.hub.abandon(connection, ROOM)
            assert before == self.known.get(connection)
            if before is not None:
                self.hub.settle(connection, ROOM, before)
            return
        deliveries = self.hub.enter(connection, ROOM)
        cursor = data.draw(st.integers(max(0, head - 3), head))
        self.known[connection] = cursor
        self.seen.setdefault(connection, set(self.hub.present(ROOM)[1]))
        self.deliver(deliveries)
        self.hub.settle(connection, ROOM, cursor)

    @rule()
    def post(self) -> None:
        self.log += 1
        self.deliver(self.hub.announce(ROOM, entry(self.log)))

    @precondition(lambda self: bool(self.behind()))
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        connection = self.pick(data, self.behind())
        self.known[connection] += 1
        self.hub.settle(connection, ROOM, self.known[connection])

    def behind(self) -> set[int]:
        return {c for c, at in self.known.items() if at < self.log and c not in self.reading}

    @precondition(lambda self: bool(set(self.known) - set(self.reading)))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        connection = self.pick(data, set(self.known) - set(self.reading))
        del self.known[connection], self.seen[connection]
        self.deliver(self.hub.leave(connection, "room"))

    @precondition(lambda self: bool(self.user))
    @rule(data=st.data())
    def disconnect(self, data: st.DataObject) -> None:
        connection = self.pick(data, self.user)
        for state in (self.known, self.seen, self.reading):
            state.pop(connection, None)
        self.deliver(self.hub.disconnect(connection))
        del self.user[connection]

    @rule()
    def tick(self) -> None:
        for to, push in self.hub.counts():
            assert push == PresencePush(room="Room", count=len(self.present()))
            assert set(to) == set(self.known)

    @invariant()
    def presence_is_right(self) -> None:
        if self.known:
            count, members = self.hub.present(ROOM)
            assert (count, set(members)) == (len(self.present()), self.present())
            assert members == sorted(members)

    @invariant()
    def those_who_are_behind_can_catch_up(self) -> None:
        for connection, at in self.known.items():
            assert self.hub.follows(connection, ROOM)
            assert at <= self.log

    @invariant()
    def nothing_leaks(self) -> None:
        assert (ROOM in self.hub._channels) is bool(set(self.known) | set(self.reading))


Views.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestViews = Views.TestCase
