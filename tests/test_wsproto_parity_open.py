"""wsproto and wscore side by side: open connections, the same bytes and events for both."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packages import WSCORE, WSPROTO, compressing, frame
from parity import BOTH, FEWER, LOCAL, MASK, PIECES, attempt, cut, events_of, plain, sent, take


@st.composite
def messages(draw: st.DrawFn, *, compressed: bool) -> list[tuple[int, bytes]]:
    """Valid frames as (first byte, payload), as if one peer had sent them."""
    frames: list[tuple[int, bytes]] = []
    compressor = zlib.compressobj(wbits=-15)
    for _ in range(draw(st.integers(0, 5))):
        opcode, payload = draw(
            st.one_of(
                st.tuples(st.just(1), st.text(max_size=60).map(str.encode)),
                st.tuples(st.just(2), st.binary(max_size=300)),
            )
        )
        deflate = compressed and draw(st.booleans())
        if deflate:
            payload = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
            opcode, payload = opcode | 0x40, payload[:-4]
        parts = cut(payload, draw(st.lists(st.integers(0, 30), max_size=3)))
        for i, part in enumerate(parts):
            frames.append((opcode | (0x80 if i == len(parts) - 1 else 0), part))
            opcode = 0
            # Inside a compressed message: "a control frame inside a compressed message".
            if (not deflate or i == len(parts) - 1) and draw(st.booleans()):
                control = draw(st.sampled_from([0x89, 0x8A]))
                frames.append((control, draw(st.binary(max_size=125))))
    if draw(st.integers(0, 3)) == 0:
        code = draw(st.sampled_from([b"", b"\x03\xe8", b"\x0f\xa0why", b"\x03\xf4"]))
        frames.append((0x88, code))
    return frames


def joined(frames: list[tuple[int, bytes]], kind: str) -> bytes:
    """The frames as the peer of an endpoint of this kind sends them."""
    key = None if kind == "CLIENT" else MASK
    return b"".join(frame(first, payload, key) for first, payload in frames)


def connect(lib: Any, kind: str, *, compressed: bool) -> Any:
    return compressing(lib, kind) if compressed else lib.Connection(getattr(lib, kind))


SENT = st.one_of(
    st.tuples(
        st.sampled_from(["Message", "TextMessage", "BytesMessage"]),
        st.one_of(
            st.text(max_size=200),
            st.binary(max_size=200),
            st.binary(max_size=9).map(bytearray),
            st.sampled_from([None, 5, "\ud800", "x" * 70_000, b"y" * 65_536]),
        ),
        st.booleans(),
        st.booleans(),
    ),
    st.tuples(st.sampled_from(["Ping", "Pong"]), st.binary(max_size=130)),
    st.tuples(
        st.just("CloseConnection"),
        st.sampled_from([None, 1000, 1001, 1011, 1006, 1015, 3000, 4999]),
        st.one_of(st.none(), st.text(max_size=90)),
    ),
    st.sampled_from([("AcceptConnection",), ("Request", "host", "/")]),
)

STEPS = st.one_of(
    st.tuples(st.just("receive"), st.integers(0, 60)),
    st.tuples(st.just("send"), SENT),
    st.tuples(st.just("take"), st.integers(0, 3)),
    st.tuples(st.just("end"), st.none()),
)


def play(
    lib: Any, kind: str, stream: bytes, steps: list[tuple[str, Any]], *, compressed: bool
) -> list[Any]:
    """What a connection does at each step, and its state after it."""
    connection = connect(lib, kind, compressed=compressed)
    seen: list[Any] = []
    for step, value in steps:
        result: Any = None
        if step == "receive":
            result = attempt(connection.receive_data, stream[:value])
            stream = stream[value:]
        elif step == "end":  # with nothing waiting: "the end comes last"
            result = [plain(event) for event in connection.events()]
            if connection.state.name in ("OPEN", "LOCAL_CLOSING"):  # "no end behind a close"
                connection.receive_data(None)
        elif step == "send":
            result = sent(connection, getattr(lib, value[0])(*value[1:]))
        else:
            events = connection.events()
            result = [plain(next(events, None)) for _ in range(value)]
        seen.append((step, result, connection.state.name))
    rest = [plain(event) for event in connection.events()]
    return [*seen, rest, connection.state.name]


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "deflate"])
@pytest.mark.parametrize("kind", ["CLIENT", "SERVER"])
class TestConversations:
    @FEWER
    @given(data=st.data())
    def test_scripts(self, kind: str, compressed: bool, data: st.DataObject) -> None:
        stream = joined(data.draw(messages(compressed=compressed)), kind)
        steps = data.draw(st.lists(STEPS, max_size=14))
        ours = play(WSCORE, kind, stream, steps, compressed=compressed)
        theirs = play(WSPROTO, kind, stream, steps, compressed=compressed)
        assert ours == theirs

    @FEWER
    @given(data=st.data())
    def test_streams(self, kind: str, compressed: bool, data: st.DataObject) -> None:
        """Valid streams, in any pieces: the same events, piece by piece."""
        stream = joined(data.draw(messages(compressed=compressed)), kind)
        pieces = cut(stream, data.draw(PIECES))
        ours, theirs = (connect(lib, kind, compressed=compressed) for lib in (WSCORE, WSPROTO))
        assert take(ours, *pieces) == take(theirs, *pieces)
        assert ours.state.name == theirs.state.name

    @FEWER
    @given(data=st.data())
    def test_mutated_streams(self, kind: str, compressed: bool, data: st.DataObject) -> None:
        stream = bytearray(joined(data.draw(messages(compressed=compressed)), kind))
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(stream)))
            stream[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        check_any_stream(kind, bytes(stream), data.draw(PIECES), compressed=compressed)

    @FEWER
    @given(st.binary(max_size=60), PIECES)
    @example(b"\x01\x02\xed\xa0", [])
    @example(b"\x81\x02\xc3\xa9\x83", [1, 1, 1])
    @example(b"\x88\x01\x00", [])
    @example(b"\x82\x7f\x80", [])
    def test_random_streams(
        self, kind: str, compressed: bool, stream: bytes, steps: list[int]
    ) -> None:
        check_any_stream(kind, stream, steps, compressed=compressed)


def check_any_stream(kind: str, stream: bytes, steps: list[int], *, compressed: bool) -> None:
    """The same up to the first violation, and then the same violation, if at another byte."""
    end, who = first_difference(kind, stream, compressed=compressed)
    pieces = cut(stream[:end], steps)
    ours, theirs = (connect(lib, kind, compressed=compressed) for lib in (WSCORE, WSPROTO))
    assert take(ours, *pieces) == take(theirs, *pieces)
    assert ours.state.name == theirs.state.name
    if who == "wsproto":
        # "an extension sees each header once": ours waits for the mask key.
        assert compressed
        assert kind == "SERVER"
        [close] = events_of(theirs, stream[end : end + 1])
        assert close[1]["code"] == "CloseReason.PROTOCOL_ERROR"
        code, end = close[1]["code"], end + 1
        [close] = events_of(ours, (stream[end - 1 :] + bytes(4))[:5])
        assert close[1]["code"] == code
    elif who == "wscore":
        [close] = events_of(ours, stream[end : end + 1])
        codes = violations_of_wsproto(kind, stream[: end + 1], compressed=compressed)
        assert close[1]["code"] in codes
    if who:
        assert ours.state is WSCORE.ConnectionState.REMOTE_CLOSING
        assert take(ours, stream[end + 1 :]) == [[]]


def first_difference(kind: str, stream: bytes, *, compressed: bool) -> tuple[int, str]:
    """How many bytes come before the first violation, or the first thing that wsproto is known to
    do wrong; and for a violation, which package sees it first.
    """
    ours, theirs = (connect(lib, kind, compressed=compressed) for lib in (WSCORE, WSPROTO))
    finished = True
    for end in range(len(stream)):
        byte = stream[end : end + 1]
        events, expected = events_of(ours, byte), events_of(theirs, byte)
        if compressed:
            [extension] = theirs._proto.extensions
            if extension._decompressor is not None and extension._decompressor.eof:
                return end, ""  # "a compressed message behind a final block"
        if events and events[-1][0] == "CloseConnection":
            # A close frame is in both the same, a violation never: "the wording of reasons".
            return (end + 1, "") if events == expected else (end, "wscore")
        if expected and expected[-1][0] == "CloseConnection":
            return end, "wsproto"
        for event, shown in events:
            finished = shown.get("message_finished", finished)
            if compressed:
                [extension] = ours._proto.extensions
                if event in ("Ping", "Pong") and extension._message_compressed and not finished:
                    return end, ""  # "a control frame inside a compressed message"
    return len(stream), ""


def violations_of_wsproto(kind: str, stream: bytes, *, compressed: bool) -> set[str]:
    """The codes with which wsproto refuses the stream, now or once it has more bytes."""
    codes = set()
    key = None if kind == "CLIENT" else MASK
    for more in (b"", bytes(14), b"\x80" * 130, frame(0x00, b"\x80", key)):
        theirs = connect(WSPROTO, kind, compressed=compressed)
        events = events_of(theirs, stream + more)
        if events and events[-1][0] == "CloseConnection" and theirs.state.name == "OPEN":
            codes.add(events[-1][1]["code"])
    return codes


class TestHabits:
    """What users of Connection do beside sending and receiving."""

    @pytest.mark.parametrize("lib", BOTH)
    def test_a_subclass_with_more_attributes(self, lib: Any) -> None:
        class Mine(lib.Connection):  # type: ignore[misc,name-defined]
            def __init__(self, *args: Any, note: str, **others: Any) -> None:
                self.note = note
                super().__init__(*args, **others)
                self.log: list[Any] = []

            def send(self, event: Any) -> Any:
                self.log.append(event)
                return super().send(event)

            def receive_data(self, data: bytes | None) -> None:
                super().receive_data(data)
                self.touched = True

        mine = Mine(lib.CLIENT, trailing_data=frame(0x89), note="x")
        assert (mine.note, mine.client, mine.touched) == ("x", True, True)
        assert [*mine.events()] == [lib.Ping()]
        mine.send(lib.Pong())
        assert mine.log == [lib.Pong()]
        mine.anything = 1
        assert mine.anything == 1

    @pytest.mark.parametrize("lib", BOTH)
    def test_arguments(self, lib: Any) -> None:
        for connection in (
            lib.Connection(lib.CLIENT, None, frame(0x89)),
            lib.Connection(lib.CLIENT, [], frame(0x89)),
            lib.Connection(
                connection_type=lib.CLIENT, extensions=[], trailing_data=bytearray(frame(0x89))
            ),
        ):
            assert list(connection.events()) == [lib.Ping()]
            assert connection.state is lib.ConnectionState.OPEN

    @pytest.mark.parametrize("lib", BOTH)
    def test_arguments_by_keyword(self, lib: Any) -> None:
        server, client = lib.Connection(lib.SERVER), lib.Connection(lib.CLIENT)
        for event in (lib.TextMessage(data="a"), lib.Ping(payload=b"b")):
            client.receive_data(data=server.send(event=event))
            assert list(client.events()) == [event]

    @pytest.mark.parametrize("lib", BOTH)
    def test_events_put_in_by_hand(self, lib: Any) -> None:
        connection = lib.Connection(lib.CLIENT)
        connection.receive_data(frame(0x89, b"2"))
        connection._events.append(lib.Ping(b"0"))
        connection._events.append(lib.Ping(b"1"))
        assert [event.payload for event in connection.events()] == [b"0", b"1", b"2"]
        connection._events.append(lib.Ping(b"3"))
        assert next(connection.events()) == lib.Ping(b"3")
        assert not connection._events
        connection._events.extend([lib.Ping(b"5"), lib.Ping(b"6")])
        connection._events.appendleft(lib.Ping(b"4"))
        assert connection._events.popleft() == lib.Ping(b"4")
        assert list(connection.events()) == [lib.Ping(b"5"), lib.Ping(b"6")]

    @pytest.mark.parametrize("lib", BOTH)
    def test_one_event_at_a_time(self, lib: Any) -> None:
        connection = lib.Connection(lib.CLIENT)
        connection.receive_data(frame(0x89, b"1") + frame(0x82, b"2") + frame(0x88))
        assert next(connection.events()) == lib.Ping(b"1")
        assert next(connection.events()) == lib.BytesMessage(b"2")
        assert connection.state is lib.ConnectionState.OPEN
        close = next(connection.events())
        assert (close.code, close.reason) == (lib.CloseReason.NO_STATUS_RCVD, "")
        assert connection.state is lib.ConnectionState.REMOTE_CLOSING
        assert next(connection.events(), None) is None
        with pytest.raises(StopIteration):
            next(connection.events())

    @pytest.mark.parametrize("lib", BOTH)
    def test_parsing_is_lazy(self, lib: Any) -> None:
        """A violation counts when it is taken; until then, what came before can be answered."""
        connection = lib.Connection(lib.CLIENT)
        connection.receive_data(frame(0x89, b"1") + b"\x83\x00")
        ping = next(connection.events())
        assert connection.send(ping.response())
        assert next(connection.events()).code is lib.CloseReason.PROTOCOL_ERROR

    @pytest.mark.parametrize("lib", BOTH)
    @pytest.mark.parametrize("data", ["x", b"x", bytearray(b"x"), memoryview(b"x")])
    @pytest.mark.parametrize("name", ["Message", "TextMessage", "BytesMessage"])
    def test_the_data_decides(self, lib: Any, data: Any, name: str) -> None:
        connection = lib.Connection(lib.SERVER)
        opcode = 0x81 if isinstance(data, str) else 0x82
        wire = connection.send(getattr(lib, name)(data=data))
        assert type(wire) is bytes
        assert wire == frame(opcode, b"x")

    @pytest.mark.parametrize("name", ["Ping", "Pong"])
    @pytest.mark.parametrize(
        "payload", [b"x", bytearray(b"x"), memoryview(b"x"), "x", None, bytes(126)]
    )
    def test_control_payloads(self, name: str, payload: Any) -> None:
        for kind in ("CLIENT", "SERVER"):
            ours, theirs = (
                sent(lib.Connection(getattr(lib, kind)), getattr(lib, name)(payload))
                for lib in (WSCORE, WSPROTO)
            )
            assert ours == theirs

    @pytest.mark.parametrize("code", [None, 1000, 3000])
    @pytest.mark.parametrize("reason", [None, "", "why", "\xe9" * 80, b"why", 5, "\ud800"])
    def test_close_arguments(self, code: Any, reason: Any) -> None:
        ours, theirs = (
            sent(lib.Connection(lib.SERVER), lib.CloseConnection(code, reason))
            for lib in (WSCORE, WSPROTO)
        )
        assert ours == theirs

    @pytest.mark.parametrize("event", ["x", None, b"x", 5])
    def test_what_is_no_event(self, event: Any) -> None:
        for lib in (WSCORE, WSPROTO):
            assert sent(lib.Connection(lib.CLIENT), event) == LOCAL
            assert sent(lib.WSConnection(lib.CLIENT), event) == LOCAL

    @pytest.mark.parametrize("data", ["x", 5, [1], object()])
    def test_what_are_no_bytes(self, data: Any) -> None:
        ours, theirs = (
            attempt(lib.Connection(lib.CLIENT).receive_data, data) for lib in (WSCORE, WSPROTO)
        )
        assert ours == theirs
