"""The hub as pure functions: any interleaving keeps every client's view whole."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wscore.chat.hub import Delivery, Hub, Publication
from wscore.chat.model import Entry, Head, Log, Name, inbox_log, parse_name, room_log
from wscore.chat.protocol import Limits, PresencePush, TypingPush

USERS = ("Anna", "Bob", "Carol")
ROOMS = ("Kitchen", "Garden")


def name(text: str) -> Name:
    found = parse_name(text)
    assert found is not None
    return found


def entry(offset: int) -> Entry:
    return Entry(offset, "Anna", None, "x", 0, str(offset))


class Life:
    """What there is of a log: which life of it this is, and how many entries it has."""

    def __init__(self, offset: int = 0) -> None:
        self.number = 0
        self.offset = offset

    @property
    def head(self) -> Head:
        return Head(f"epoch {self.number}", self.offset)


class Client:
    """One connection, with what it was sent."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.lost: set[Log] = (
            set()
        )  # logs that began anew under it: it was closed, and gets nothing
        self.reading: dict[Log, Head | None] = {}  # slices under way, and the promised head
        self.known: dict[Log, int] = {}  # of the logs it follows: the offset it knows
        self.epoch: dict[Log, str] = {}
        self.seen: dict[Log, set[str]] = {}  # who it thinks is in a room


class Views(RuleBasedStateMachine):
    """Clients of rooms and inboxes, several of one user among them.

    A slice begins, is read from the log as it then is, and may be followed by a replay in steps,
    while entries are announced, logs begin anew, and others come and go in between.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hub = Hub(Limits(presence=2))
        self.logs = {room_log(name(room).key): Life() for room in ROOMS}
        self.logs |= {inbox_log(name(user).key): Life() for user in USERS}
        self.clients: dict[int, Client] = {}
        self.next = 0
        self.now = 0.0
        self.typed: dict[tuple[str, Log], float] = {}
        # Who is in a room at other processes, and what the hub was told of that.
        self.elsewhere: dict[Log, set[str]] = {log: set() for log in self.logs}

    # --- The model --------------------------------------------------------------------------

    def shown(self, log: Log) -> str:
        names = ROOMS if log.kind == "room" else USERS
        return next(text for text in names if name(text).key == log.key)

    def present(self, log: Log) -> set[str]:
        here = {client.user for client in self.clients.values() if log in client.seen}
        return here | self.elsewhere[log]

    def deliver(self, deliveries: list[Delivery]) -> None:
        for to, pushes in deliveries:
            assert len(set(to)) == len(to)
            for connection in to:
                for push in pushes:
                    self.receive(self.clients[connection], push)

    def receive(self, client: Client, push: Any) -> None:
        if isinstance(push, Publication):
            log = (
                inbox_log(name(client.user).key)
                if push.room is None
                else room_log(name(push.room).key)
            )
            assert log not in client.lost
        if client.lost:
            return
        if isinstance(push, Publication):
            assert push.entry.offset == client.known[log] + 1
            assert client.epoch[log] == self.logs[log].head.epoch
            client.known[log] += 1
        elif isinstance(push, PresencePush):
            log = room_log(name(push.room).key)
            assert log in client.known, "a push before the ok of the join, or after the leave"
            assert push.count == len(self.present(log))
            if isinstance(push.user, str):
                assert (push.user in client.seen[log]) is (push.state == "left")
                client.seen[log] ^= {push.user}
        else:
            assert isinstance(push, TypingPush)
            assert push.user != client.user
            if isinstance(push.room, str):
                assert room_log(name(push.room).key) in client.known

    def pick(self, data: st.DataObject, among: Any) -> Any:
        return data.draw(st.sampled_from(sorted(among)))

    def open_clients(self) -> list[int]:
        return [number for number, client in self.clients.items() if not client.lost]

    def slices(self, *, opened: bool) -> list[tuple[int, Log]]:
        return [
            (number, log)
            for number, client in self.clients.items()
            for log, head in client.reading.items()
            if not client.lost and (head is not None) is opened
        ]

    def behind(self) -> list[tuple[int, Log]]:
        return [
            (number, log)
            for number, client in self.clients.items()
            for log, at in client.known.items()
            if not client.lost and log not in client.reading and at < self.logs[log].offset
        ]

    # --- What happens -----------------------------------------------------------------------

    @rule(user=st.sampled_from(USERS))
    def connect(self, user: str) -> None:
        self.hub.connect(self.next, name(user))
        self.clients[self.next] = Client(user)
        self.begin(self.next, inbox_log(name(user).key))
        self.next += 1

    def begin(self, number: int, log: Log) -> None:
        self.hub.attach(number, log)
        self.clients[number].reading[log] = None

    @precondition(lambda self: bool(self.open_clients()))
    @rule(data=st.data(), room=st.sampled_from(ROOMS))
    def join(self, data: st.DataObject, room: str) -> None:
        number = self.pick(data, self.open_clients())
        log = room_log(name(room).key)
        if log not in self.clients[number].reading:
            self.begin(number, log)

    @precondition(lambda self: bool(self.slices(opened=False)))
    @rule(data=st.data())
    def open(self, data: st.DataObject) -> None:
        number, log = self.pick(data, self.slices(opened=False))
        if self.hub.head(log) is None:
            self.hub.opened(log, self.shown(log), self.logs[log].head)
        assert self.hub.head(log) == self.logs[log].head
        self.clients[number].reading[log] = self.logs[log].head

    @precondition(lambda self: bool(self.slices(opened=True)))
    @rule(data=st.data(), succeeds=st.booleans())
    def finish(self, data: st.DataObject, succeeds: bool) -> None:
        number, log = self.pick(data, self.slices(opened=True))
        client = self.clients[number]
        head = client.reading.pop(log)
        assert head is not None
        if not succeeds:
            before = self.hub.abandon(number, log)
            assert before == client.known.get(log)
            if before is not None:
                self.hub.settle(number, log, before)
            self.forget_unfollowed()
            return
        deliveries = []
        if log.kind == "room":
            deliveries = self.hub.enter(number, log)
            client.seen.setdefault(log, set(self.hub.present(log)[1]))
        client.known[log] = data.draw(st.integers(max(0, head.offset - 3), head.offset))
        client.epoch[log] = head.epoch
        self.deliver(deliveries)
        self.hub.settle(number, log, client.known[log])

    @precondition(lambda self: bool(self.behind()))
    @rule(data=st.data(), most=st.integers(1, 3))
    def replay(self, data: st.DataObject, most: int) -> None:
        number, log = self.pick(data, self.behind())
        client = self.clients[number]
        client.known[log] = min(client.known[log] + most, self.logs[log].offset)
        assert self.hub.settle(number, log, client.known[log]) is (
            client.known[log] == self.logs[log].offset
        )

    @rule(data=st.data(), count=st.integers(1, 3))
    def post(self, data: st.DataObject, count: int) -> None:
        log = self.pick(data, self.logs)
        life = self.logs[log]
        entries = [entry(life.offset + n) for n in range(1, count + 1)]
        life.offset += count
        self.deliver([self.hub.announce(log, entries)])

    @rule(data=st.data(), offset=st.integers(0, 2))
    def reset(self, data: st.DataObject, offset: int) -> None:
        log = self.pick(data, self.logs)
        followers = {
            number
            for number, client in self.clients.items()
            if log in client.known or log in client.reading
        }
        gone = self.hub.reset(log)
        self.elsewhere[log].clear()
        assert len(gone) == len(set(gone))
        assert set(gone) == followers
        for number in gone:
            self.clients[number].lost.add(log)
        self.logs[log].number += 1
        self.logs[log].offset = offset

    @rule(user=st.sampled_from((*USERS, "Dora")), room=st.sampled_from(ROOMS), comes=st.booleans())
    def happen_elsewhere(self, user: str, room: str, comes: bool) -> None:
        """Heard of for as long as somebody here is in the room, or about to be."""
        log = room_log(name(room).key)
        if log in self.hub._channels:
            (self.elsewhere[log].add if comes else self.elsewhere[log].discard)(user)
        changed = [name(user)]
        self.deliver(
            self.hub.present_elsewhere(log, changed if comes else [], [] if comes else changed)
        )

    @precondition(lambda self: any(self.clients[n].seen for n in self.open_clients()))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        joined = [(n, log) for n in self.open_clients() for log in self.clients[n].seen]
        number, log = self.pick(data, joined)
        client = self.clients[number]
        if log in client.reading:  # its requests take effect one after the other
            return
        del client.known[log], client.seen[log]
        self.deliver(self.hub.leave(number, log.key))
        self.forget_unfollowed()

    def forget_unfollowed(self) -> None:
        for log, users in self.elsewhere.items():
            if log not in self.hub._channels:
                users.clear()

    @precondition(lambda self: bool(self.clients))
    @rule(data=st.data())
    def disconnect(self, data: st.DataObject) -> None:
        number = self.pick(data, self.clients)
        del self.clients[number]
        self.deliver(self.hub.disconnect(number))
        self.forget_unfollowed()

    @precondition(lambda self: bool(self.open_clients()))
    @rule(data=st.data(), wait=st.floats(0, 2), room=st.sampled_from(ROOMS))
    def type_in(self, data: st.DataObject, wait: float, room: str) -> None:
        number = self.pick(data, self.open_clients())
        client = self.clients[number]
        self.now += wait
        deliveries = self.hub.typing_in(number, name(room).key, self.now)
        if deliveries:
            assert room_log(name(room).key) in client.known
            self.told(client.user, room_log(name(room).key))
        self.deliver(deliveries)

    @precondition(lambda self: bool(self.open_clients()))
    @rule(data=st.data(), wait=st.floats(0, 2), to=st.sampled_from(USERS))
    def type_to(self, data: st.DataObject, wait: float, to: str) -> None:
        number = self.pick(data, self.open_clients())
        self.now += wait
        deliveries = self.hub.typing_to(number, name(to).key, self.now)
        if deliveries:
            self.told(self.clients[number].user, inbox_log(name(to).key))
        for delivery in deliveries:
            assert {self.clients[number].user for number in delivery.to} <= {to}
        self.deliver(deliveries)

    def told(self, user: str, log: Log) -> None:
        """At most one a second; where everybody is gone meanwhile, who comes has not heard it."""
        assert self.now - self.typed.get((user, log), -1.0) >= 1
        self.typed[user, log] = self.now

    @rule()
    def tick(self) -> None:
        for to, pushes in self.hub.counts():
            (push,) = pushes
            log = room_log(name(push.room).key)
            assert push == PresencePush(room=push.room, count=len(self.present(log)))
            assert set(to) == {n for n, client in self.clients.items() if log in client.seen}

    # --- What always holds ------------------------------------------------------------------

    @invariant()
    def presence_is_right(self) -> None:
        for log in self.logs:
            if log.kind == "room" and (present := self.present(log)):
                count, members = self.hub.present(log)
                assert (count, members) == (len(present), sorted(present))

    @invariant()
    def rooms_are_listed(self) -> None:
        listed = [(room.room, room.count) for room in self.hub.rooms(10)]
        joined = {log for client in self.clients.values() for log in client.seen}
        assert dict(listed) == {self.shown(log): len(self.present(log)) for log in joined}
        assert [count for _, count in listed] == sorted(dict(listed).values(), reverse=True)

    @invariant()
    def open_clients_follow_what_they_joined(self) -> None:
        for number, client in self.clients.items():
            for log, at in client.known.items():
                if not client.lost:
                    assert self.hub.follows(number, log)
                    assert at <= self.logs[log].offset
                    assert client.epoch[log] == self.logs[log].head.epoch

    @invariant()
    def nothing_leaks(self) -> None:
        followed = {
            log for client in self.clients.values() for log in (*client.known, *client.reading)
        }
        assert set(self.hub._channels) == followed
        self.typed = {key: at for key, at in self.typed.items() if key[1] in followed}
        assert set(self.hub._connections) == set(self.clients)


Views.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestViews = Views.TestCase
