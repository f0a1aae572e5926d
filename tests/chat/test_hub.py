"""The hub, command by command; any interleaving of them is in `test_hub_machine`."""

from __future__ import annotations

from typing import Any

import pytest

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
    return [(set(to), push) for to, pushes in deliveries if to for push in pushes]


@pytest.fixture
def hub() -> Hub:
    return Hub(Limits(presence=3, joined=2))


def test_entries_go_to_those_who_are_live(hub: Hub) -> None:
    for connection, user in enumerate(("Anna", "Bob", "Carol")):
        connect(hub, connection, user)
    join(hub, 0)
    join(hub, 1)
    hub.attach(2, ROOM)
    assert flat([hub.announce(ROOM, [entry(1)])]) == [({0, 1}, Publication(entry(1), "Room"))]
    hub.enter(2, ROOM)
    assert not hub.settle(2, ROOM, 0)
    assert flat([hub.announce(ROOM, [entry(2)])]) == [({0, 1}, Publication(entry(2), "Room"))]
    assert not hub.settle(2, ROOM, 1)
    assert hub.settle(2, ROOM, 2)
    assert flat([hub.announce(ROOM, [entry(3)])]) == [({0, 1, 2}, Publication(entry(3), "Room"))]
    hub.leave(0, "room")
    hub.disconnect(1)
    assert flat([hub.announce(ROOM, [entry(4)])]) == [({2}, Publication(entry(4), "Room"))]


def test_entries_of_one_commit_go_together(hub: Hub) -> None:
    connect(hub, 0, "Anna")
    join(hub, 0)
    delivery = hub.announce(ROOM, [entry(1), entry(2)])
    assert delivery.pushes == [Publication(entry(1), "Room"), Publication(entry(2), "Room")]
    assert hub.head(ROOM) == Head("epoch", 2)


def test_an_entry_announced_before_the_head_is_known_counts(hub: Hub) -> None:
    connect(hub, 0, "Anna")
    hub.attach(0, ROOM)
    hub.announce(ROOM, [entry(7), entry(8)])
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
    hub.announce(ROOM, [entry(1)])
    hub.attach(0, ROOM)
    assert not hub.announce(ROOM, [entry(2)]).to
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
    assert not hub._ranks


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


def come(hub: Hub, *users: str, room: Log = ROOM) -> list[tuple[set[int], Any]]:
    return flat(hub.present_elsewhere(room, [name(user) for user in users], []))


def go(hub: Hub, *users: str, room: Log = ROOM) -> list[tuple[set[int], Any]]:
    return flat(hub.present_elsewhere(room, [], [name(user) for user in users]))


def test_presence_at_other_processes(hub: Hub) -> None:
    connect(hub, 0, "Anna")
    connect(hub, 1, "Bob")
    assert come(hub, "Carol") == []  # nobody is here
    join(hub, 0)
    joined = PresencePush(room="Room", user="Bob", state="joined", count=2)
    assert come(hub, "Bob") == [({0}, joined)]
    assert come(hub, "Bob") == []
    assert hub.present(ROOM) == (2, ["Anna", "Bob"])
    # Bob has a device here, too: still one Bob.
    assert flat(join(hub, 1)) == []
    assert go(hub, "Bob") == []
    assert hub.present(ROOM) == (2, ["Anna", "Bob"])
    assert come(hub, "Bob") == []
    assert flat(hub.leave(1, "room")) == []
    left = PresencePush(room="Room", user="Bob", state="left", count=1)
    assert go(hub, "Bob") == [({0}, left)]
    assert go(hub, "Bob") == []
    assert [(room.room, room.count) for room in hub.rooms(9)] == [("Room", 1)]


def test_a_room_is_big_with_users_elsewhere(hub: Hub) -> None:
    connect(hub, 0, "Anna")
    join(hub, 0)
    hub.counts()
    assert len(come(hub, "b", "c", "d", "e")) == 2
    assert flat(hub.counts()) == [({0}, PresencePush(room="Room", count=5))]
    assert go(hub, "b") == []
    assert flat(hub.counts()) == [({0}, PresencePush(room="Room", count=4))]
    assert hub.rooms(9)[0].count == 4


def test_others_in_a_big_room_before_the_first_one_here_has_joined(hub: Hub) -> None:
    connect(hub, 0, "Anna")
    hub.attach(0, ROOM)
    assert come(hub, "Bob", "Carol", "Dave", "Eve") == []
    assert hub.counts() == []


def test_nothing_is_kept_of_others_where_nobody_is_left_or_the_log_began_anew(hub: Hub) -> None:
    connect(hub, 0, "Anna")
    for _ in range(2):
        join(hub, 0)
        come(hub, "Bob", "Carol")
        hub.leave(0, "room")
        assert not hub._ranks
        assert ROOM not in hub._channels
    join(hub, 0)
    come(hub, "Anna", "Bob")
    hub.reset(ROOM)
    assert hub.present(ROOM) == (1, ["Anna"])
    hub.disconnect(0)
    assert not hub._ranks


class Told:
    """What the hub tells other processes."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Log, str]] = []

    def follow(self, log: Log) -> None:
        self.said.append(("follow", log, ""))

    def unfollow(self, log: Log) -> None:
        self.said.append(("unfollow", log, ""))

    def enter(self, room: Log, user: Name) -> None:
        self.said.append(("enter", room, user.text))

    def leave(self, room: Log, user: Name) -> None:
        self.said.append(("leave", room, user.text))

    def type(self, log: Log, user: Name) -> None:
        self.said.append(("type", log, user.text))

    def take(self) -> list[tuple[str, Log, str]]:
        said, self.said = self.said, []
        return said


def test_what_others_are_told() -> None:
    told = Told()
    hub = Hub(Limits(), told)
    inbox = inbox_log("anna")
    for connection in range(2):
        connect(hub, connection, "Anna")
        join(hub, connection)
    assert told.take() == [("follow", inbox, ""), ("follow", ROOM, ""), ("enter", ROOM, "Anna")]
    hub.typing_in(0, "room", 1.0)
    hub.typing_in(1, "room", 1.5)
    for to, now in ("bob", 1.0), ("bob", 1.9), ("anna", 2.0), ("bob", 2.0):
        hub.typing_to(0, to, now)
    bob = inbox_log("bob")
    assert told.take() == [("type", ROOM, "Anna"), ("type", bob, "Anna"), ("type", bob, "Anna")]
    hub.leave(0, "room")
    assert told.take() == []
    hub.disconnect(1)
    hub.disconnect(0)
    assert told.take() == [
        ("leave", ROOM, "Anna"),
        ("unfollow", ROOM, ""),
        ("unfollow", inbox, ""),
    ]


def test_typing_at_other_processes(hub: Hub) -> None:
    for connection, user in enumerate(("Anna", "Bob")):
        connect(hub, connection, user)
        join(hub, connection)
    push = TypingPush(room="Room", user="Anna")
    assert flat(hub.typing_elsewhere(ROOM, name("Anna"), 1.0)) == [({1}, push)]
    assert hub.typing_elsewhere(ROOM, name("Anna"), 1.9) == []
    assert hub.typing_in(0, "room", 1.9) == []  # one Anna
    direct = TypingPush(to="Bob", user="Carol")
    assert flat(hub.typing_elsewhere(inbox_log("bob"), name("Carol"), 1.0)) == [({1}, direct)]
    assert hub.typing_elsewhere(inbox_log("nobody"), name("Carol"), 1.0) == []


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
        ("b-small", 1),
        ("a-small", 1),
    ]
    assert len(hub.rooms(2)) == 2
    for connection in range(3):
        hub.leave(connection, "big")
    join(hub, 2, "a-small")
    assert [(r.room, r.count) for r in hub.rooms(100)] == [("a-small", 2), ("b-small", 1)]


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


def test_leaving_does_not_allow_more_typing(hub: Hub) -> None:
    for connection, user in enumerate(("Anna", "Bob")):
        connect(hub, connection, user)
        join(hub, connection)
    assert hub.typing_in(0, "room", 10.0) != []
    hub.leave(0, "room")
    join(hub, 0)
    assert hub.typing_in(0, "room", 10.5) == []


def test_in_a_big_room_one_who_types_stands_for_all(hub: Hub) -> None:
    for connection, user in enumerate("abcd"):
        connect(hub, connection, user)
        join(hub, connection)
    push = TypingPush(room="Room", user="b")
    assert flat(hub.typing_in(1, "room", 10.0)) == [({0, 2, 3}, push)]
    assert hub.typing_in(2, "room", 10.9) == []
    assert hub.typing_in(1, "room", 11.0) != []
    hub.leave(3, "room")
    assert hub.typing_in(1, "room", 11.5) == []
    assert hub.typing_in(2, "room", 11.9) != []


def test_typing_to_a_person(hub: Hub) -> None:
    for connection, user in enumerate(("Anna", "Bob", "Bob")):
        connect(hub, connection, user)
    hub.attach(2, inbox_log("bob"))
    assert flat(hub.typing_to(0, "bob", 1.0)) == [({1, 2}, TypingPush(to="Bob", user="Anna"))]
    assert hub.typing_to(0, "bob", 1.5) == []
    assert hub.typing_to(0, "anna", 1.5) == []
    assert hub.typing_to(0, "nobody", 1.5) == []


def test_a_log_that_began_anew(hub: Hub) -> None:
    """Who followed it, or was about to, is out; who comes anew is in."""
    for connection, user in enumerate(("Anna", "Bob", "Carol", "Dora")):
        connect(hub, connection, user)
    join(hub, 0)
    hub.announce(ROOM, [entry(1)])
    hub.attach(1, ROOM)
    assert sorted(hub.reset(ROOM)) == [0, 1]
    assert hub.reset(room_log("another")) == []
    assert hub.head(ROOM) is None
    hub.attach(2, ROOM)
    hub.opened(ROOM, "Room", Head("new", 0))
    hub.enter(2, ROOM)
    assert hub.settle(2, ROOM, 0)
    assert flat([hub.announce(ROOM, [entry(1)])]) == [({2}, Publication(entry(1), "Room"))]
    assert hub.abandon(1, ROOM) is None
    assert hub.disconnect(0) != []


def test_typing_does_not_grow(hub: Hub) -> None:
    connect(hub, 0, "Bob")
    for connection in range(1, 500):
        connect(hub, connection, f"u{connection}")
        assert hub.typing_to(connection, "bob", float(connection * 2))
    assert len(hub._channels[inbox_log("bob")].typed) <= 64
    for connection in range(1, 500):
        assert hub.typing_to(connection, "bob", 2000.0)
    assert hub.typing_to(1, "bob", 3000.0)
    assert len(hub._channels[inbox_log("bob")].typed) <= 500
