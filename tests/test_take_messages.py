"""Messages taken without events are those that events give, in both twins, and so is the rest."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors import KEY, VIOLATIONS, server_frame

from wscore.connection import CLIENT, Connection
from wscore.errors import LocalProtocolError
from wscore.events import Ping
from wscore.extensions import PerMessageDeflate
from wscore.frame_protocol import CloseReason, RsvBits


class Shouting:
    """An extension that nobody here knows; it may refuse a payload, or raise at it."""

    def frame_inbound_header(self, proto: Any, opcode: Any, rsv: Any, length: int) -> Any:
        return RsvBits(False, False, False)

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> Any:
        if b"stop" in data:
            raise RuntimeError("stopped")
        if data == b"no":
            return CloseReason.POLICY_VIOLATION
        return data.upper()

    def frame_inbound_complete(self, proto: Any, fin: bool) -> None:
        return None


def deflate() -> PerMessageDeflate:
    extension = PerMessageDeflate()
    extension.finalize("permessage-deflate; server_no_context_takeover")
    return extension


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def connection(framing: ModuleType, extension: Any = None, **limits: int) -> Any:
    """A client's connection of this twin, which is sent unmasked frames."""
    decoder = framing.FrameDecoder(
        True,
        () if extension is None else (extension,),
        whole_messages=True,
        deflate=extension if isinstance(extension, PerMessageDeflate) else None,
        **limits,
    )
    return framing.OpenConnection(decoder, True)


def from_events(connection: Any) -> Iterator[Any]:
    """What there is, messages as their data."""
    for event in connection.events():
        yield getattr(event, "data", event)


def from_both(connection: Any, limit: int) -> Iterator[Any]:
    """The same, messages taken as far as they can be."""
    while True:
        while messages := connection.take_messages(limit):
            assert len(messages) <= limit
            yield from messages
        event = next(connection.events(), None)
        if event is None:
            break
        yield getattr(event, "data", event)


FRAMES = st.one_of(
    st.tuples(st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80]), st.binary(max_size=9)),
    st.tuples(st.sampled_from([0x81, 0x01, 0x80]), st.text(max_size=9).map(str.encode)),
    st.tuples(st.sampled_from([0x81, 0x82]), st.sampled_from([b"ok", b"no"])),
    st.tuples(st.sampled_from([0xC1, 0xC2]), st.binary(max_size=40).map(deflated)),
    st.tuples(st.just(0xC1), st.text(max_size=40).map(lambda text: deflated(text.encode()))),
    st.tuples(st.sampled_from([0x89, 0x8A]), st.binary(max_size=9)),
    st.sampled_from([(0x88, b""), (0x88, b"\x03\xe8bye"), (0x88, b"x"), (0x83, b""), (0x91, b"")]),
)
EXTENSIONS: list[Callable[[], Any]] = [lambda: None, deflate, Shouting]


class TestTheSameAsEvents:
    @given(
        st.lists(FRAMES, max_size=12),
        st.lists(st.integers(0, 200), max_size=6),
        st.integers(1, 5),
        st.sampled_from(EXTENSIONS),
        st.booleans(),
    )
    def test_any_frames_in_any_pieces(
        self,
        framing: ModuleType,
        frames: list[tuple[int, bytes]],
        cuts: list[int],
        limit: int,
        extension: Callable[[], Any],
        ends: bool,
    ) -> None:
        data = b"".join(server_frame(*frame) for frame in frames)
        cuts = sorted(min(cut, len(data)) for cut in cuts)
        limits = {"max_message_size": 30, "max_fragments": 3}
        one, other = (connection(framing, extension(), **limits) for _ in range(2))
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            for each in (one, other):
                each.receive_data(data[start:end])
            assert list(from_both(one, limit)) == list(from_events(other))
            assert one._decoder.closed is other._decoder.closed
        if ends and not one._decoder.closed:
            for each in (one, other):
                each._decoder.receive_eof()
            assert list(from_both(one, limit)) == list(from_events(other))

    @pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda violation: violation.name)
    def test_a_violation_behind_messages(self, framing: ModuleType, violation: Any) -> None:
        decoder = framing.FrameDecoder(not violation.from_client, whole_messages=True)
        one = framing.OpenConnection(decoder, True)
        message = framing.encode_frame(0x81, "a", KEY if violation.from_client else None)
        one.receive_data(message * 2 + violation.data)
        assert one.take_messages(9) == ["a", "a"]
        assert not decoder.closed
        assert one.take_messages(9) == []
        [close] = one.events()
        assert close.code == violation.code
        assert decoder.closed
        assert one.take_messages(9) == []

    @pytest.mark.parametrize("first", [0x83, 0x80, 0xC1, 0x09])
    def test_a_violation_is_known_before_it_is_an_event(
        self, framing: ModuleType, first: int
    ) -> None:
        one = connection(framing)
        one.receive_data(server_frame(0x81, b"a"))
        assert one.take_messages(9) == ["a"]
        assert not one.violated
        assert not one._decoder.violated
        one.receive_data(server_frame(0x81, b"b") + server_frame(first, b"x"))
        assert one.take_messages(9) == ["b"]
        assert one.violated
        assert one._decoder.violated
        one.send_message("the answer")
        assert [event.code for event in one.events()] == [1002]
        assert not one.violated
        with pytest.raises(LocalProtocolError):
            one.send_message("too late")

    def test_bytes_behind_a_violation_are_dropped(self, framing: ModuleType) -> None:
        one = connection(framing)
        one.receive_data(server_frame(0x81, b"a") + server_frame(0x81, b"\xff"))
        assert one.take_messages(9) == ["a"]
        one.receive_data(server_frame(0x81, b"b"))
        assert one.take_messages(9) == []
        assert [event.code for event in one.events()] == [1007]
        assert one.take_messages(9) == []


class TestBounds:
    @pytest.mark.parametrize("cut", range(1, 6))
    def test_a_frame_that_has_not_come_whole(self, framing: ModuleType, cut: int) -> None:
        one = connection(framing)
        data = server_frame(0x81, b"a") + server_frame(0x81, b"bcd")
        one.receive_data(data[: 3 + cut - 1])
        assert one.take_messages(9) == ["a"]
        assert one.take_messages(9) == list(one.events()) == []
        one.receive_data(data[3 + cut - 1 :])
        assert one.take_messages(9) == ["bcd"]

    def test_no_further_than_the_limit(self, framing: ModuleType) -> None:
        one = connection(framing)
        one.receive_data(server_frame(0x82, b"a") * 3 + server_frame(0x83))
        assert one.take_messages(0) == one.take_messages(-1) == []
        assert one.take_messages(2) == [b"a", b"a"]
        assert one.take_messages(1) == [b"a"]
        assert [event.code for event in one.events()] == [1002]

    def test_no_further_than_64_kib(self, framing: ModuleType) -> None:
        one = connection(framing)
        one.receive_data(framing.encode_frame(0x82, bytes(30000)) * 5)
        assert [len(one.take_messages(64)) for _ in range(3)] == [3, 2, 0]

    def test_one_at_a_time_where_an_extension_may_raise(self, framing: ModuleType) -> None:
        one = connection(framing, Shouting())
        one.receive_data(server_frame(0x81, b"a") * 2 + server_frame(0x81, b"stop"))
        assert one.take_messages(9) == ["A"]
        assert one.take_messages(9) == ["A"]
        with pytest.raises(RuntimeError, match="stopped"):
            one.take_messages(9)
        assert one.take_messages(9) == list(one.events()) == []

    def test_events_of_the_user_come_first(self, framing: ModuleType) -> None:
        one = connection(framing)
        one._events.append(Ping(b"mine"))
        one.receive_data(server_frame(0x82, b"a"))
        assert one.take_messages(9) == []
        assert list(from_events(one)) == [Ping(b"mine"), b"a"]


class TestMisuse:
    def test_without_whole_messages(self, framing: ModuleType) -> None:
        one = framing.OpenConnection(framing.FrameDecoder(True), True)
        with pytest.raises(ValueError, match="whole_messages"):
            one.take_messages(1)

    def test_from_inside_a_hook(self, framing: ModuleType) -> None:
        class Asking(Shouting):
            def frame_inbound_payload_data(self, proto: Any, data: bytes) -> bytes:
                one.take_messages(1)
                return data

        one = connection(framing, Asking())
        one.receive_data(server_frame(0x81, b"a"))
        with pytest.raises(ValueError, match="shown a frame"):
            one.take_messages(1)


def test_a_connection_has_it() -> None:
    client = Connection(CLIENT, whole_messages=True)
    client.receive_data(server_frame(0x81, b"a") + server_frame(0x89))
    assert client.take_messages(64) == ["a"]
    assert list(client.events()) == [Ping()]
