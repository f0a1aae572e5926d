"""The client's dialogue without I/O, under hypothesis: whatever happens to connections and replies,
each log comes whole and in order, and what was asked for is stored once.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from wscore.chat.client.dialogue import Dialogue
from wscore.chat.client.events import Connected, Direct, Gap, Joined, Message, Positions
from wscore.chat.client.following import Delivery
from wscore.chat.client.lane import Ticket
from wscore.chat.protocol import Position

Json = dict[str, Any]
ROOMS = ("one", "Two")
TIME = "2026-01-01T00:00:00.000Z"


def spelled(room: str) -> str:
    """The server's spelling."""
    return next(name for name in ROOMS if name.lower() == room.lower())


class Model:
    """A server as the protocol describes it: logs, joins, ids; without names and limits."""

    def __init__(self) -> None:
        self.logs: dict[str | None, list[Json]] = {None: [], "one": [], "Two": []}
        self.first: dict[str | None, int] = dict.fromkeys(self.logs, 1)
        self.connected = False
        self.joined: set[str | None] = set()
        self.wire: list[Json] = []

    def connect(self) -> None:
        self.connected = True
        self.joined.clear()
        self.wire.clear()

    def append(self, log: str | None, id: str, text: str) -> tuple[int, bool]:
        """Store a message unless it is there; returns its offset and whether it was."""
        for message in self.logs[log]:
            if message["id"] == id:
                return message["offset"], True
        message = {
            "offset": len(self.logs[log]) + 1,
            "from": "Anna",
            "text": text,
            "time": TIME,
            "id": id,
        }
        message |= {"type": "message", "room": log} if log else {"type": "direct", "to": "Anna"}
        self.logs[log].append(message)
        if self.connected and log in self.joined:
            self.wire.append(message)
        return message["offset"], False

    def part(self, log: str | None, position: Json | None) -> Json:
        """A slice; a continuation that is not kept any more is a gap."""
        entries = self.logs[log]
        gap = position is not None and position["offset"] + 1 < self.first[log]
        after = max(len(entries) - 3, 0) if position is None or gap else position["offset"]
        after = max(after, self.first[log] - 1)
        end = len(entries)
        # Of a continuation, two messages come with the slice, and the others behind it.
        split = after + 2 if position is not None and not gap else end
        rest = entries[split:]
        return {
            "epoch": "e",
            "offset": end,
            "messages": entries[after:split],
            "gap": gap,
            "more": bool(rest),
        }

    def answer(self, request: Json, refuse: str | None) -> None:
        """Do what a request asks for."""
        kind, id = request["type"], request.get("id")
        if refuse is not None and kind in ("post", "direct", "join", "rooms", "leave"):
            self.wire.append({"type": "error", "id": id, "code": refuse, "reason": "not now"})
            return
        ok: Json = {"type": "ok", "id": id}
        rest: list[Json] = []
        match kind:
            case "hello":
                self.joined.add(None)
                part = self.part(None, request.get("position"))
                rest = self._rest(None, part)
                ok |= {"user": "Anna", "session": "s" * 22, "inbox": part, "limits": {"rate": 0}}
            case "join":
                room = spelled(request["room"])
                self.joined.add(room)
                part = self.part(room, request.get("position"))
                rest = self._rest(room, part)
                ok |= {"room": room, "count": 1, "members": ["Anna"], **part}
            case "leave":
                self.joined.discard(spelled(request["room"]))
            case "rooms":
                ok |= {"rooms": []}
            case "post" | "direct":
                log = spelled(request["room"]) if kind == "post" else None
                assert log is None or log in self.joined
                offset, was_there = self.append(log, id, request["text"])
                ok |= {"epoch": "e", "offset": offset, "time": TIME}
                if was_there:
                    ok["duplicate"] = True
        self.wire += [ok, *rest]

    def _rest(self, log: str | None, part: Json) -> list[Json]:
        if not part["more"]:
            return []
        return self.logs[log][part["messages"][-1]["offset"] :]


class DialogueMachine(RuleBasedStateMachine):
    """Programs, networks and servers in any interleaving."""

    tickets = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.server = Model()
        self.now = 0.0
        self.count = 0
        self.heard: dict[str | None, list[int]] = {None: [], "one": [], "Two": []}
        self.start: dict[str | None, int | None] = dict.fromkeys(self.heard)
        self.stored: dict[str, Ticket] = {}
        self.given_up: set[str] = set()
        self.dialogue = Dialogue("Anna", "s" * 22, Positions())
        self.wanted: set[str] = set()

    # --- The program ----------------------------------------------------------------------------

    @rule(room=st.sampled_from(ROOMS))
    def join(self, room: str) -> None:
        self.wanted.add(room)
        self.dialogue.join(room.upper(), lambda: None)

    @rule(room=st.sampled_from(ROOMS))
    def leave(self, room: str) -> None:
        if room in self.wanted:
            self.wanted.remove(room)
            self.dialogue.leave(room, lambda: None)
            self.heard[room], self.start[room] = [], None

    @rule(target=tickets, room=st.sampled_from((*ROOMS, None)))
    def post(self, room: str | None) -> Ticket | None:
        if room is not None and room not in self.wanted:
            return None
        self.count += 1
        text = f"text-{self.count}"
        if room is None:
            ticket = self.dialogue.direct("Anna", text, None, lambda: None)
        else:
            ticket = self.dialogue.post(room, text, None, lambda: None)
        self.stored[ticket.request.id] = ticket
        return ticket

    @rule(ticket=tickets)
    def give_up(self, ticket: Ticket | None) -> None:
        if ticket is not None and not ticket.awaited.is_done:
            self.given_up.add(ticket.request.id)
            self.dialogue.give_up(ticket)

    @rule()
    def start_again(self) -> None:
        """Another program takes over, from where this one had delivered."""
        if not self.server.connected:
            positions = self.dialogue.positions
            for ticket in self.stored.values():
                if not ticket.awaited.is_done:
                    self.given_up.add(ticket.request.id)
            self.dialogue = Dialogue("Anna", "s" * 22, positions)
            for room in self.wanted:
                self.dialogue.join(room, lambda: None)

    # --- The network ----------------------------------------------------------------------------

    @rule()
    def connect(self) -> None:
        if not self.server.connected:
            self.server.connect()
            self.dialogue.open(None)

    @rule()
    def cut(self) -> None:
        """Lose the connection, and whatever was on its way."""
        if self.server.connected:
            self.server.connected = False
            self.server.wire.clear()
            self.dialogue.close()

    @rule(refuse=st.sampled_from([None, None, None, "rate_limited", "unavailable"]))
    def request(self, refuse: str | None) -> None:
        """The next request reaches the server."""
        if self.server.connected:
            self.now += 20
            text = self.dialogue.next_message(self.now)
            if text is not None:
                self.server.answer(json.loads(text), refuse)

    @rule(count=st.integers(1, 5), has_space=st.booleans())
    def receive(self, count: int, has_space: bool) -> None:
        """The next messages of the server arrive; some find no space for events."""
        for _ in range(min(count, len(self.server.wire))):
            message = json.dumps(self.server.wire.pop(0))
            self.take(self.dialogue.receive(message, self.now, has_space=has_space))

    @rule(log=st.sampled_from((*ROOMS, None)), count=st.integers(1, 4))
    def others_write(self, log: str | None, count: int) -> None:
        for _ in range(count):
            self.count += 1
            self.server.append(log, f"other-{self.count}", "hello")

    @rule(log=st.sampled_from((*ROOMS, None)))
    def trim(self, log: str | None) -> None:
        """The server forgets all but the last message."""
        if not self.server.connected:
            self.server.first[log] = max(len(self.server.logs[log]), 1)

    # --- What must hold -------------------------------------------------------------------------

    def take(self, deliveries: list[Delivery]) -> None:
        for event, log, position in deliveries:
            if log is not None:
                log.delivered = position
            match event:
                case Message(room=room, offset=offset):
                    self.hear(room, offset)
                case Direct(offset=offset):
                    self.hear(None, offset)
                case Gap(room=room, after=after, before=before):
                    assert after.offset == self.last(room)
                    assert before.offset > after.offset
                    self.start[room], self.heard[room] = before.offset, []
                case Joined(room=room):
                    if self.start[room] is None:
                        assert isinstance(position, Position)
                        self.start[room] = position.offset
                case Connected():
                    if self.start[None] is None:
                        assert isinstance(position, Position)
                        self.start[None] = position.offset

    def last(self, log: str | None) -> int:
        start = self.start[log]
        assert start is not None
        return self.heard[log][-1] if self.heard[log] else start

    def hear(self, log: str | None, offset: int) -> None:
        assert offset == self.last(log) + 1
        self.heard[log].append(offset)

    @invariant()
    def an_id_is_stored_once_and_an_ok_is_true(self) -> None:
        for id, ticket in self.stored.items():
            found = [m for log in self.server.logs.values() for m in log if m["id"] == id]
            assert len(found) <= 1
            if ticket.awaited.reply is not None:
                assert [m["offset"] for m in found] == [ticket.awaited.reply.offset]  # type: ignore[attr-defined]
            assert ticket.awaited.error is None or id not in self.given_up

    def teardown(self) -> None:
        """With a good network, everything arrives and everybody gets a reply."""
        if not self.server.connected:
            self.connect()
        for _ in range(2):
            for _ in range(200):
                self.request(None)
                self.receive(5, True)
            if self.dialogue.is_lagging:
                self.cut()
                self.connect()
        assert not self.server.wire
        assert not self.dialogue.is_busy
        for room in (*self.wanted, None):
            if self.start[room] is not None:
                assert self.last(room) == len(self.server.logs[room])
        for id, ticket in self.stored.items():
            assert ticket.awaited.is_done or id in self.given_up
            if ticket.awaited.error is not None:
                assert "the room was left" in str(ticket.awaited.error)


test_any_interleaving = DialogueMachine.TestCase
