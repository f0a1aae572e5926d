"""The open connection: states, what may be sent when, closing."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from vectors import BAD_CLOSE_CODES, GOOD_CLOSE_CODES, server_frame

from wscore.connection import CLIENT, SERVER, Connection, ConnectionState, ConnectionType
from wscore.errors import LocalProtocolError
from wscore.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    Request,
    TextMessage,
)
from wscore.extensions import PerMessageDeflate
from wscore.frame_protocol import CloseReason

ENDS = [(CLIENT, SERVER), (SERVER, CLIENT)]


def deliver(data: bytes, to: Connection) -> list[Event]:
    to.receive_data(data)
    return list(to.events())


@pytest.fixture(params=ENDS, ids=["client sends", "server sends"])
def pair(request: pytest.FixtureRequest) -> tuple[Connection, Connection]:
    here, there = request.param
    return Connection(here), Connection(there)


class TestMessages:
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
    def test_round_trip(self, pair: tuple[Connection, Connection], size: int) -> None:
        here, there = pair
        text, data = "é" * (size // 2), bytes(size)
        assert deliver(here.send(TextMessage(text)), there) == [TextMessage(text)]
        assert deliver(here.send(BytesMessage(data)), there) == [BytesMessage(data)]

    def test_fragments(self, pair: tuple[Connection, Connection]) -> None:
        here, there = pair
        assert deliver(here.send(TextMessage("a", message_finished=False)), there) == [
            TextMessage("a", message_finished=False)
        ]
        assert deliver(here.send(Ping(b"x")), there) == [Ping(b"x")]
        assert deliver(here.send(TextMessage("b")), there) == [TextMessage("b")]

    @pytest.mark.parametrize(
        ("data", "received"),
        [
            ("a", TextMessage("a")),
            (b"a", BytesMessage(b"a")),
            (bytearray(b"a"), BytesMessage(b"a")),
            (memoryview(b"a"), BytesMessage(b"a")),
        ],
    )
    @pytest.mark.parametrize("kind", [Message, TextMessage, BytesMessage])
    def test_the_data_decides(
        self, pair: tuple[Connection, Connection], data: Any, received: Event, kind: Any
    ) -> None:
        here, there = pair
        assert deliver(here.send(kind(data=data)), there) == [received]

    def test_a_type_change_inside_a_message(self, pair: tuple[Connection, Connection]) -> None:
        here, there = pair
        first = here.send(TextMessage("a", message_finished=False))
        with pytest.raises(TypeError, match="began as TEXT"):
            here.send(BytesMessage(b"b"))
        assert deliver(first + here.send(TextMessage("b")), there)[-1] == TextMessage("b")

    def test_what_is_no_text_at_all_is_said_first(
        self, pair: tuple[Connection, Connection]
    ) -> None:
        here, _ = pair
        here.send(BytesMessage(b"a", message_finished=False))
        with pytest.raises(UnicodeEncodeError):
            here.send(TextMessage("\ud800"))

    @pytest.mark.parametrize("data", [None, 5, ["a"]])
    def test_neither_text_nor_bytes(self, pair: tuple[Connection, Connection], data: Any) -> None:
        with pytest.raises(TypeError):
            pair[0].send(Message(data=data))

    def test_a_message_that_cannot_be_encoded_leaves_no_trace(
        self, pair: tuple[Connection, Connection]
    ) -> None:
        here, there = pair
        with pytest.raises(UnicodeEncodeError):
            here.send(TextMessage("\ud800", message_finished=False))
        assert deliver(here.send(BytesMessage(b"x")), there) == [BytesMessage(b"x")]

    def test_every_client_frame_has_its_own_key(self) -> None:
        client = Connection(CLIENT)
        frames = {client.send(Ping()) for _ in range(1000)}
        assert len(frames) > 990

    def test_whole_messages_and_limits(self) -> None:
        here = Connection(SERVER)
        there = Connection(CLIENT, whole_messages=True, max_message_size=4)
        stream = here.send(TextMessage("ab", message_finished=False)) + here.send(TextMessage("cd"))
        assert deliver(stream, there) == [TextMessage("abcd")]
        [event] = deliver(here.send(TextMessage("abcde")), there)
        assert isinstance(event, CloseConnection)
        assert event.code is CloseReason.MESSAGE_TOO_BIG


class TestSendingInParts:
    @pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_a_binary_message_is_not_copied(self, size: int, kind: Any) -> None:
        server = Connection(SERVER)
        data = kind(bytes(size))
        header, payload = server.send_parts(BytesMessage(data))
        assert payload is data
        assert header + bytes(payload) == server.send(BytesMessage(bytes(size)))

    @pytest.mark.parametrize(
        "event",
        [
            TextMessage("é"),
            BytesMessage(b"x", message_finished=False),
            Ping(b"x"),
            CloseConnection(1000),
        ],
        ids=lambda event: type(event).__name__,
    )
    def test_all_else_is_one_part(self, event: Event) -> None:
        assert Connection(SERVER).send_parts(event) == (Connection(SERVER).send(event), b"")

    def test_where_bytes_change(self, pair: tuple[Connection, Connection]) -> None:
        here, there = pair
        for event in (
            BytesMessage(b"a", message_finished=False),
            BytesMessage(memoryview(b"bc")),
            BytesMessage(b"d"),
        ):
            first, second = here.send_parts(event)
            there.receive_data(first + bytes(second))
        data = [event.data for event in there.events() if isinstance(event, BytesMessage)]
        assert data == [b"a", b"bc", b"d"]
        extension = PerMessageDeflate()
        extension.finalize("permessage-deflate")
        compressed, empty = Connection(SERVER, [extension]).send_parts(BytesMessage(b"x"))
        assert (compressed[0], empty) == (0xC2, b"")

    def test_a_scattered_buffer_is_refused_as_by_send(self) -> None:
        event = BytesMessage(memoryview(b"abcdef")[::2])
        for send in (Connection(SERVER).send, Connection(SERVER).send_parts):
            with pytest.raises(BufferError):
                send(event)

    def test_a_released_buffer_is_refused(self) -> None:
        data = memoryview(b"abc")
        data.release()
        with pytest.raises(ValueError):
            Connection(SERVER).send_parts(BytesMessage(data))

    def test_a_subclass_may_write_send_anew(self) -> None:
        class Loud(Connection):
            def send(self, event: Event) -> bytes:
                return b"loud"

        assert Loud(SERVER).send_parts(TextMessage("x")) == (b"loud", b"")

    def test_not_when_closing(self) -> None:
        server = Connection(SERVER)
        server.send(CloseConnection(1000))
        with pytest.raises(LocalProtocolError):
            server.send_parts(BytesMessage(b"x"))


class TestSendingWithoutEvents:
    @pytest.mark.parametrize("data", ["", "é", b"", b"x" * 126, "x" * 65536])
    @pytest.mark.parametrize("client", [True, False])
    def test_the_same_message(
        self, framing: ModuleType, data: str | bytes, *, client: bool
    ) -> None:
        here = framing.OpenConnection(framing.FrameDecoder(client), True)
        there = framing.FrameDecoder(not client)
        there.receive_data(here.send_message(data))
        assert [event.data for event in there] == [data]

    def test_through_deflate(self) -> None:
        extension = PerMessageDeflate()
        extension.finalize("permessage-deflate; server_no_context_takeover")
        here, there = Connection(SERVER, [extension]), Connection(SERVER, [extension])
        for data in ("text" * 9, b"bytes" * 9):
            event = TextMessage(data) if isinstance(data, str) else BytesMessage(data)
            assert here.send_message(data) == there.send(event)

    def test_through_what_only_the_connection_knows(self) -> None:
        here = Connection(SERVER)
        first = here.send(TextMessage("a", message_finished=False))
        there = Connection(CLIENT, whole_messages=True)
        assert deliver(first + here.send_message("b"), there) == [TextMessage("ab")]
        with pytest.raises(TypeError):
            here.send_message(5)  # type: ignore[arg-type]
        here.send(CloseConnection(1000))
        with pytest.raises(LocalProtocolError):
            here.send_message("c")


class TestControl:
    def test_ping_and_pong(self, pair: tuple[Connection, Connection]) -> None:
        here, there = pair
        [ping] = deliver(here.send(Ping(b"x" * 125)), there)
        assert isinstance(ping, Ping)
        assert deliver(there.send(ping.response()), here) == [Pong(b"x" * 125)]

    @pytest.mark.parametrize("kind", [Ping, Pong])
    def test_too_long(self, pair: tuple[Connection, Connection], kind: Any) -> None:
        with pytest.raises(ValueError, match="125"):
            pair[0].send(kind(b"x" * 126))


class TestClosing:
    def test_the_handshake(self, pair: tuple[Connection, Connection]) -> None:
        here, there = pair
        [close] = deliver(here.send(CloseConnection(CloseReason.GOING_AWAY, "bye")), there)
        assert close == CloseConnection(1001, "bye")
        assert isinstance(close, CloseConnection)
        assert here.state is ConnectionState.LOCAL_CLOSING
        assert there.state is ConnectionState.REMOTE_CLOSING
        assert deliver(there.send(close.response()), here) == [close]
        assert here.state is there.state is ConnectionState.CLOSED

    def test_both_at_once(self, pair: tuple[Connection, Connection]) -> None:
        here, there = pair
        mine, theirs = here.send(CloseConnection(1000)), there.send(CloseConnection(1001))
        assert deliver(theirs, here) == [CloseConnection(1001, "")]
        assert deliver(mine, there) == [CloseConnection(1000, "")]
        assert here.state is there.state is ConnectionState.CLOSED

    def test_messages_still_come_while_we_close(self, pair: tuple[Connection, Connection]) -> None:
        here, there = pair
        here.send(CloseConnection(1000))
        assert deliver(there.send(TextMessage("late")), here) == [TextMessage("late")]
        assert here.state is ConnectionState.LOCAL_CLOSING

    def test_state_changes_when_the_event_is_taken(self) -> None:
        client = Connection(CLIENT)
        client.receive_data(server_frame(0x89) + server_frame(0x88))
        events = client.events()
        assert next(events) == Ping()
        assert client.state is ConnectionState.OPEN
        next(events)
        assert client.state is ConnectionState.REMOTE_CLOSING

    @pytest.mark.parametrize("code", GOOD_CLOSE_CODES)
    def test_good_codes(self, pair: tuple[Connection, Connection], code: int) -> None:
        here, there = pair
        assert deliver(here.send(CloseConnection(code)), there) == [CloseConnection(code, "")]

    @pytest.mark.parametrize("code", sorted({*BAD_CLOSE_CODES, -1, 65536} - {1005, 1006, 1015}))
    def test_bad_codes(self, pair: tuple[Connection, Connection], code: int) -> None:
        here, _ = pair
        with pytest.raises(LocalProtocolError, match=str(code)):
            here.send(CloseConnection(code))
        assert here.state is ConnectionState.OPEN

    @pytest.mark.parametrize(("code", "sent"), [(1005, 1005), (1006, 1000), (1015, 1000)])
    def test_codes_that_no_frame_carries(
        self, pair: tuple[Connection, Connection], code: int, sent: int
    ) -> None:
        here, there = pair
        assert deliver(here.send(CloseConnection(code)), there) == [CloseConnection(sent, "")]

    def test_a_long_reason_is_cut_between_characters(
        self, pair: tuple[Connection, Connection]
    ) -> None:
        here, there = pair
        [event] = deliver(here.send(CloseConnection(1000, "é" * 100)), there)
        assert event == CloseConnection(1000, "é" * 61)

    def test_the_transport_ends(self, pair: tuple[Connection, Connection]) -> None:
        here, _ = pair
        here.receive_data(None)
        assert list(here.events()) == [CloseConnection(1006)]
        assert here.state is ConnectionState.CLOSED
        with pytest.raises(LocalProtocolError, match="closed"):
            here.receive_data(b"x")

    def test_the_end_comes_behind_what_came_before_it(self) -> None:
        client = Connection(CLIENT)
        events = client.events()
        client.receive_data(server_frame(0x89) + server_frame(0x02, b"a") + b"\x80\x09cut")
        client.receive_data(None)
        client.receive_data(None)
        assert client.state is ConnectionState.CLOSED
        assert list(events) == [
            Ping(),
            BytesMessage(b"a", True, False),
            BytesMessage(b"cut", False, False),
            CloseConnection(1006),
        ]
        assert list(client.events()) == []
        assert client.state is ConnectionState.CLOSED

    @pytest.mark.parametrize("taken_first", [True, False])
    @pytest.mark.parametrize(
        ("data", "code"), [(server_frame(0x88, b"\x03\xe8"), 1000), (b"\x83\x00", 1002)]
    )
    def test_no_end_behind_a_close(self, data: bytes, code: int, taken_first: bool) -> None:
        client = Connection(CLIENT)
        client.receive_data(data)
        events = list(client.events()) if taken_first else []
        client.receive_data(None)
        events += list(client.events())
        assert [event.code for event in events if isinstance(event, CloseConnection)] == [code]
        assert len(events) == 1
        assert client.state is ConnectionState.CLOSED

    def test_the_end_while_we_close(self) -> None:
        client = Connection(CLIENT)
        client.send(CloseConnection(1000))
        client.receive_data(None)
        assert list(client.events()) == [CloseConnection(1006)]
        assert client.state is ConnectionState.CLOSED


class TestViolation:
    def test_it_can_be_answered(self) -> None:
        client = Connection(CLIENT)
        [close] = deliver(b"\x83\x00" + server_frame(0x89), client)
        assert isinstance(close, CloseConnection)
        assert close.code is CloseReason.PROTOCOL_ERROR
        assert client.state is ConnectionState.REMOTE_CLOSING
        assert client.send(close.response())
        assert client.state is ConnectionState.CLOSED

    def test_nothing_comes_after_it(self) -> None:
        client = Connection(CLIENT)
        deliver(b"\x83\x00", client)
        assert deliver(server_frame(0x81, b"late"), client) == []

    def test_while_we_close(self) -> None:
        client = Connection(CLIENT)
        client.send(CloseConnection(1000))
        [close] = deliver(b"\x83\x00", client)
        assert isinstance(close, CloseConnection)
        assert client.state is ConnectionState.CLOSED


STATES: dict[ConnectionState, list[type[Event]]] = {
    ConnectionState.OPEN: [TextMessage, BytesMessage, Ping, Pong, CloseConnection],
    ConnectionState.REMOTE_CLOSING: [CloseConnection],
    ConnectionState.LOCAL_CLOSING: [],
    ConnectionState.CLOSED: [],
}
EVENTS: list[Event] = [
    TextMessage("x"),
    BytesMessage(b"x"),
    Ping(),
    Pong(),
    CloseConnection(1000),
    Request(host="x", target="/"),
    AcceptConnection(),
]


def in_state(state: ConnectionState) -> Connection:
    connection = Connection(CLIENT)
    if state in (ConnectionState.LOCAL_CLOSING, ConnectionState.CLOSED):
        connection.send(CloseConnection(1000))
    if state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED):
        deliver(server_frame(0x88), connection)
    assert connection.state is state
    return connection


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_state_and_every_event(state: ConnectionState, event: Event) -> None:
    connection = in_state(state)
    if type(event) in STATES[state]:
        assert connection.send(event)
    else:
        with pytest.raises(LocalProtocolError, match=state.name):
            connection.send(event)
        assert connection.state is state


class TestWhatUsersDo:
    def test_subclass_with_attributes(self) -> None:
        class Mine(Connection):
            def __init__(self, connection_type: ConnectionType) -> None:
                super().__init__(connection_type)
                self.name = "mine"

        mine = Mine(SERVER)
        assert mine.name == "mine"
        assert not mine.client

    def test_events_put_in_by_hand_come_first(self) -> None:
        client = Connection(CLIENT, trailing_data=server_frame(0x89))
        client._events.append(Pong(b"mine"))
        client._events.appendleft(Pong(b"first"))
        assert list(client.events()) == [Pong(b"first"), Pong(b"mine"), Ping()]

    def test_next_of_events(self) -> None:
        client = Connection(CLIENT, [], server_frame(0x89, b"1") + server_frame(0x89, b"2"))
        assert next(client.events()) == Ping(b"1")
        assert next(client.events()) == Ping(b"2")
        with pytest.raises(StopIteration):
            next(client.events())


class TestBase:
    """What the connection's base does alone, in both twins."""

    def test_it_knows_whole_messages_only(self, framing: ModuleType) -> None:
        base = framing.OpenConnection(framing.FrameDecoder(False), True)
        assert base.send(framing.TextMessage("x")) == b"\x81\x01x"
        with pytest.raises(LocalProtocolError):
            base.send(framing.Ping())
        with pytest.raises(LocalProtocolError):
            base.receive_data(None)
