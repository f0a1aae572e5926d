"""The frame decoder, on both twins: every stream whole, byte by byte, and with bytes trailing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vectors import (
    BAD_CLOSE_CODES,
    BAD_UTF8,
    GOOD_CLOSE_CODES,
    GOOD_UTF8,
    KEY,
    LENGTHS,
    RFC_EXAMPLES,
    VIOLATIONS,
    Violation,
    server_frame,
)

from wscore._codes import CloseReason, Opcode, RsvBits


def take(decoder: Any, pieces: Iterable[bytes]) -> list[Any]:
    """Feeds the pieces one by one and takes the events after each."""
    events = []
    for piece in pieces:
        decoder.receive_data(piece)
        events += list(decoder)
    return events


def bytes_of(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def joined(events: list[Any]) -> list[tuple[str, Any]]:
    """Events without the cuts: whole messages as (class, data), others as they are."""
    result: list[tuple[str, Any]] = []
    pending: Any = None
    for event in events:
        name = type(event).__name__
        if name in ("TextMessage", "BytesMessage"):
            pending = event.data if pending is None else pending + event.data
            if event.message_finished:
                result.append((name, pending))
                pending = None
        else:
            result.append((name, event))
    return result


class TestMessages:
    @pytest.mark.parametrize(("frame", "masked", "first_byte", "payload"), RFC_EXAMPLES)
    def test_rfc_examples(
        self, framing: ModuleType, frame: bytes, masked: bool, first_byte: int, payload: bytes
    ) -> None:
        expected = {
            0x81: framing.TextMessage(payload.decode()),
            0x89: framing.Ping(payload),
            0x8A: framing.Pong(payload),
        }[first_byte]
        assert take(framing.FrameDecoder(client=not masked), [frame]) == [expected]
        events = take(framing.FrameDecoder(client=not masked), bytes_of(frame))
        assert joined(events) == joined([expected])

    @pytest.mark.parametrize("length", LENGTHS)
    @pytest.mark.parametrize("client", [True, False])
    @pytest.mark.parametrize("first_byte", [0x81, 0x82])
    def test_lengths(self, framing: ModuleType, length: int, client: bool, first_byte: int) -> None:
        payload = bytes(65 + i % 23 for i in range(length))
        frame = framing.encode_frame(first_byte, payload, None if client else KEY)
        data = payload.decode() if first_byte == 0x81 else payload
        for pieces in ([frame], [frame[:1], frame[1:]], [frame[:3], frame[3:7], frame[7:]]):
            events = take(framing.FrameDecoder(client), pieces)
            assert joined(events) == [(type(events[0]).__name__, data)]
            assert type(events[0].data) is type(data)
            assert [event.message_finished for event in events[:-1]] == [False] * (len(events) - 1)

    def test_pieces_as_they_come(self, framing: ModuleType) -> None:
        decoder = framing.FrameDecoder(True)
        assert take(decoder, [b"\x01\x04ab"]) == [framing.TextMessage("ab", False, False)]
        assert take(decoder, [b"cd"]) == [framing.TextMessage("cd", True, False)]
        assert take(decoder, [b"\x80\x02e"]) == [framing.TextMessage("e", False, False)]
        assert take(decoder, [b"f"]) == [framing.TextMessage("f", True, True)]

    def test_what_came_before_it_was_asked_is_one_piece(self, framing: ModuleType) -> None:
        decoder = framing.FrameDecoder(True)
        for byte in bytes_of(b"\x82\x04abcd\x82\x01e"):
            decoder.receive_data(byte)
        assert list(decoder) == [framing.BytesMessage(b"abcd"), framing.BytesMessage(b"e")]

    def test_parsing_is_lazy(self, framing: ModuleType) -> None:
        decoder = framing.FrameDecoder(True)
        decoder.receive_data(server_frame(0x89, b"1") + server_frame(0x88))
        assert not decoder.closed
        assert next(decoder) == framing.Ping(b"1")
        assert not decoder.closed
        assert next(decoder) == framing.CloseConnection(1005, "")
        assert decoder.closed

    def test_one_iterator_for_ever(self, framing: ModuleType) -> None:
        decoder = framing.FrameDecoder(True)
        assert iter(decoder) is decoder
        assert list(decoder) == []
        decoder.receive_data(server_frame(0x82, b"x"))
        assert list(decoder) == [framing.BytesMessage(b"x")]
        assert list(decoder) == []

    def test_control_between_fragments(self, framing: ModuleType) -> None:
        stream = (
            server_frame(0x01, "né".encode()[:2])
            + server_frame(0x89, b"p")
            + server_frame(0x00)
            + server_frame(0x8A)
            + server_frame(0x80, "né".encode()[2:])
        )
        expected = [("Ping", framing.Ping(b"p")), ("Pong", framing.Pong()), ("TextMessage", "né")]
        for pieces in ([stream], bytes_of(stream)):
            assert joined(take(framing.FrameDecoder(True), pieces)) == expected

    @pytest.mark.parametrize("kind", [bytearray, memoryview])
    def test_other_buffers_are_copied(self, framing: ModuleType, kind: Any) -> None:
        room = bytearray(server_frame(0x82, b"abc"))
        decoder = framing.FrameDecoder(True)
        decoder.receive_data(room if kind is bytearray else memoryview(room))
        room[:] = bytes(len(room))
        assert list(decoder) == [framing.BytesMessage(b"abc")]

    @pytest.mark.parametrize("data", ["text", None, 5])
    def test_no_buffer(self, framing: ModuleType, data: object) -> None:
        with pytest.raises(TypeError):
            framing.FrameDecoder(True).receive_data(data)

    def test_the_end(self, framing: ModuleType) -> None:
        decoder = framing.FrameDecoder(True)
        decoder.receive_data(server_frame(0x89) + b"\x82")
        decoder.receive_eof()
        assert not decoder.closed
        assert list(decoder) == [framing.Ping(), framing.CloseConnection(1006)]
        assert decoder.closed
        decoder.receive_eof()
        assert list(decoder) == []

    def test_small_reads_while_a_lot_is_waiting(self, framing: ModuleType) -> None:
        decoder = framing.FrameDecoder(True)
        stream = b"".join(server_frame(0x82, bytes((i % 256,)) * (i % 50)) for i in range(3000))
        events = []
        for start in range(0, len(stream), 97):
            decoder.receive_data(stream[start : start + 97])
            if start % 2:
                events += [event for event in [next(decoder, None)] if event is not None]
        events += list(decoder)
        assert [data for _, data in joined(events)] == [
            bytes((i % 256,)) * (i % 50) for i in range(3000)
        ]


class TestWholeMessages:
    @pytest.mark.parametrize("client", [True, False])
    def test_fragments_are_joined(self, framing: ModuleType, client: bool) -> None:
        key = None if client else KEY
        text = "Grüße, 世界 😀" * 20
        data = text.encode()
        stream = framing.encode_frame(0x01, data[:11], key)
        stream += framing.encode_frame(0x00, b"", key) + framing.encode_frame(0x89, b"?", key)
        stream += framing.encode_frame(0x00, data[11:100], key)
        stream += framing.encode_frame(0x80, data[100:], key)
        stream += framing.encode_frame(0x02, b"ab", key) + framing.encode_frame(0x80, b"", key)
        expected = [framing.Ping(b"?"), framing.TextMessage(text), framing.BytesMessage(b"ab")]
        for pieces in ([stream], bytes_of(stream)):
            events = take(framing.FrameDecoder(client, whole_messages=True), pieces)
            assert events == expected
            assert type(events[2].data) is bytes

    @pytest.mark.parametrize("first_byte", [0x81, 0x82])
    def test_empty(self, framing: ModuleType, first_byte: int) -> None:
        decoder = framing.FrameDecoder(True, whole_messages=True)
        stream = server_frame(first_byte & 0x0F) + server_frame(0x80) + server_frame(first_byte)
        assert [event.data for event in take(decoder, [stream])] == (
            ["", ""] if first_byte == 0x81 else [b"", b""]
        )


class TestLimits:
    @pytest.mark.parametrize("whole", [True, False])
    def test_frame(self, framing: ModuleType, whole: bool) -> None:
        decoder = framing.FrameDecoder(True, whole_messages=whole, max_frame_size=4)
        events = take(decoder, [server_frame(0x82, b"abcd") + server_frame(0x82, b"abcde")])
        assert events[0] == framing.BytesMessage(b"abcd")
        assert [event.code for event in events[1:]] == [1009]

    @pytest.mark.parametrize("whole", [True, False])
    def test_message_is_refused_on_its_header(self, framing: ModuleType, whole: bool) -> None:
        decoder = framing.FrameDecoder(True, whole_messages=whole, max_message_size=4)
        stream = server_frame(0x02, b"ab") + server_frame(0x00, b"cd") + server_frame(0x80)
        assert joined(take(decoder, [stream])) == [("BytesMessage", b"abcd")]
        events = take(decoder, [server_frame(0x02, b"ab") + b"\x80\x03"])
        assert events[-1].code is CloseReason.MESSAGE_TOO_BIG

    def test_fragments_count_empty_ones(self, framing: ModuleType) -> None:
        decoder = framing.FrameDecoder(True, whole_messages=True, max_fragments=3)
        three = server_frame(0x01) + server_frame(0x00) + server_frame(0x80)
        assert take(decoder, [three, three]) == [framing.TextMessage("")] * 2
        events = take(decoder, [server_frame(0x01) + server_frame(0x00) * 3])
        assert [event.code for event in events] == [1009]

    def test_controls_are_not_limited(self, framing: ModuleType) -> None:
        decoder = framing.FrameDecoder(True, max_frame_size=0, max_message_size=0, max_fragments=0)
        assert take(decoder, [server_frame(0x89, b"x" * 125)]) == [framing.Ping(b"x" * 125)]

    @pytest.mark.parametrize("name", ["max_frame_size", "max_message_size", "max_fragments"])
    @pytest.mark.parametrize("value", [-1, 2**63, 2**64])
    def test_impossible_limits(self, framing: ModuleType, name: str, value: int) -> None:
        with pytest.raises(ValueError, match=name):
            framing.FrameDecoder(True, **{name: value})

    @pytest.mark.parametrize("client", [True, False])
    @pytest.mark.parametrize(
        "length",
        [2**p + d for p in (7, 16, 31, 32, 62) for d in (-1, 0, 1)] + [2**63 - 2, 2**63 - 1],
    )
    def test_lengths_around_each_power(
        self, framing: ModuleType, length: int, client: bool
    ) -> None:
        """What is announced counts, whatever comes of it."""
        head = framing.encode_frame_header(0x82, length, None if client else bytes(4))
        for name in ("max_frame_size", "max_message_size"):
            for pieces in ([head + b"abc"], [*bytes_of(head), b"abc"]):
                decoder = framing.FrameDecoder(client, **{name: length})
                events = take(decoder, pieces)
                assert events == [framing.BytesMessage(b"abc", False, False)]
                decoder = framing.FrameDecoder(client, **{name: length - 1})
                assert [event.code for event in take(decoder, pieces)] == [1009]

    @pytest.mark.parametrize("whole", [True, False])
    @pytest.mark.parametrize("first", [1, 2, 100])
    def test_lengths_that_add_up_to_more_than_there_are(
        self, framing: ModuleType, first: int, whole: bool
    ) -> None:
        """No sum wraps around: a message has at most 2**63 - 1 bytes."""
        start = server_frame(0x02, bytes(first))
        for length, allowed in (
            (2**63 - 1, False),
            (2**63 - first, False),
            (2**63 - 1 - first, True),
        ):
            decoder = framing.FrameDecoder(True, whole_messages=whole)
            take(decoder, [start])
            events = take(decoder, [framing.encode_frame_header(0x80, length)])
            assert [event.code for event in events] == ([] if allowed else [1009])

    def test_a_large_announcement_takes_no_memory(self, framing: ModuleType) -> None:
        decoder = framing.FrameDecoder(True, whole_messages=True)
        assert take(decoder, [b"\x82\x7f" + (2**63 - 1).to_bytes(8, "big") + b"abc"]) == []


@pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda violation: violation.name)
class TestViolations:
    @pytest.mark.parametrize("whole", [True, False])
    def test_one_close_and_nothing_more(
        self, framing: ModuleType, violation: Violation, whole: bool
    ) -> None:
        frame = framing.encode_frame(0x89, b"later", KEY if violation.from_client else None)
        for pieces in ([violation.data + frame], [*bytes_of(violation.data), frame]):
            decoder = framing.FrameDecoder(not violation.from_client, whole_messages=whole)
            events = take(decoder, pieces)
            assert [e.code for e in events if isinstance(e, framing.CloseConnection)] == [
                violation.code
            ]
            assert events[-1].reason
            assert decoder.closed

    def test_known_at_the_first_byte_that_shows_it(
        self, framing: ModuleType, violation: Violation
    ) -> None:
        decoder = framing.FrameDecoder(not violation.from_client)
        at = violation.known_after
        assert not [
            event
            for event in take(decoder, bytes_of(violation.data[: at - 1]))
            if isinstance(event, framing.CloseConnection)
        ]
        assert take(decoder, [violation.data[at - 1 : at]])[-1].code == violation.code


class TestUTF8:
    @pytest.mark.parametrize("data", GOOD_UTF8)
    @pytest.mark.parametrize("whole", [True, False])
    def test_good(self, framing: ModuleType, data: bytes, whole: bool) -> None:
        frame = server_frame(0x81, data)
        for pieces in ([frame], bytes_of(frame)):
            decoder = framing.FrameDecoder(True, whole_messages=whole)
            assert joined(take(decoder, pieces)) == [("TextMessage", data.decode())]

    @pytest.mark.parametrize(("data", "known_after"), BAD_UTF8)
    @pytest.mark.parametrize("whole", [True, False])
    @pytest.mark.parametrize("key", [None, KEY])
    def test_bad(
        self, framing: ModuleType, data: bytes, known_after: int, whole: bool, key: bytes | None
    ) -> None:
        frame = framing.encode_frame(0x81, data + b"more", key)
        start = len(frame) - len(data) - 4
        decoder = framing.FrameDecoder(key is None, whole_messages=whole)
        early = take(decoder, bytes_of(frame[: start + known_after - 1]))
        assert not [event for event in early if isinstance(event, framing.CloseConnection)]
        events = take(decoder, [frame[start + known_after - 1 : start + known_after]])
        assert events[-1].code is CloseReason.INVALID_FRAME_PAYLOAD_DATA
        decoder = framing.FrameDecoder(key is None, whole_messages=whole)
        assert [event.code for event in take(decoder, [frame])] == [1007]

    @pytest.mark.parametrize("cut", [1, 2, 3])
    @pytest.mark.parametrize("whole", [True, False])
    def test_cut_at_the_end(self, framing: ModuleType, cut: int, whole: bool) -> None:
        frame = server_frame(0x81, "ab😀".encode()[: 2 + cut])
        for pieces in ([frame], bytes_of(frame)):
            events = take(framing.FrameDecoder(True, whole_messages=whole), pieces)
            assert events[-1].code == 1007


@pytest.fixture(params=["best", "word"])
def kernel(request: pytest.FixtureRequest, framing: ModuleType) -> Iterator[ModuleType]:
    """Each twin; the compiled one with vector loops and without."""
    choose = getattr(framing, "_choose_kernel", None)
    if choose is not None:
        choose(None if request.param == "best" else request.param)
    yield framing
    if choose is not None:
        choose(None)


#: Characters of one to four bytes, at the borders of each length, and long runs of three bytes.
TEXTS = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.text(
            st.sampled_from("aé\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"),
            max_size=12,
        ),
        st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=40),
    ),
    max_size=5,
).map("".join)


@pytest.mark.usefixtures("kernel")
class TestAgainstPython:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(TEXTS, st.booleans(), st.data())
    def test_valid(self, kernel: ModuleType, text: str, whole: bool, draw: st.DataObject) -> None:
        frame = kernel.encode_frame(0x81, text, KEY)
        cut = draw.draw(st.integers(0, len(frame)))
        for pieces in ([frame], [frame[:cut], frame[cut:]]):
            events = take(kernel.FrameDecoder(False, whole_messages=whole), pieces)
            assert joined(events) == [("TextMessage", text)]
            assert hash("".join(event.data for event in events)) == hash(text)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(TEXTS, st.data())
    def test_damaged(self, kernel: ModuleType, text: str, draw: st.DataObject) -> None:
        data = bytearray(text.encode() or b"x")
        for _ in range(draw.draw(st.integers(1, 3))):
            at = draw.draw(st.integers(0, len(data) - 1))
            data[at] = draw.draw(st.integers(0, 255))
        expected: str | None = None
        with suppress(UnicodeDecodeError):
            expected = data.decode()
        [event] = take(kernel.FrameDecoder(True), [kernel.encode_frame(0x81, data)])
        if expected is None:
            assert event.code == 1007
        else:
            assert event == kernel.TextMessage(expected)

    def test_a_run_of_every_length_with_every_damage(self, kernel: ModuleType) -> None:
        for length in range(1, 40):
            data = ("世" * length + "é").encode()
            for at in range(len(data)):
                for wrong in (0x00, 0x80, 0xBF, 0xC3, 0xE0, 0xED, 0xF0, 0xFF):
                    damaged = data[:at] + bytes((wrong,)) + data[at + 1 :]
                    [event] = take(kernel.FrameDecoder(True), [kernel.encode_frame(0x81, damaged)])
                    try:
                        assert event == kernel.TextMessage(damaged.decode())
                    except UnicodeDecodeError:
                        assert event.code == 1007


class TestClose:
    @pytest.mark.parametrize("code", GOOD_CLOSE_CODES)
    def test_good_codes(self, framing: ModuleType, code: int) -> None:
        frame = server_frame(0x88, code.to_bytes(2, "big") + "schön".encode())
        [event] = take(framing.FrameDecoder(True), [frame])
        assert event == framing.CloseConnection(code, "schön")
        assert isinstance(event.code, CloseReason) == (code < 3000)

    @pytest.mark.parametrize("code", BAD_CLOSE_CODES)
    def test_bad_codes(self, framing: ModuleType, code: int) -> None:
        frame = server_frame(0x88, code.to_bytes(2, "big"))
        assert [event.code for event in take(framing.FrameDecoder(True), [frame])] == [1002]

    def test_nothing_after_it(self, framing: ModuleType) -> None:
        decoder = framing.FrameDecoder(True)
        events = take(decoder, [server_frame(0x88) + server_frame(0x89), server_frame(0x89)])
        assert events == [framing.CloseConnection(1005, "")]


class Recorder:
    """An extension that turns payloads around with RSV3 and notes what it is shown."""

    def __init__(self, refuse: str = "") -> None:
        self.refuse = refuse
        self.seen: list[tuple[object, ...]] = []

    def _answer(self, hook: str, answer: Any) -> Any:
        return CloseReason.POLICY_VIOLATION if self.refuse == hook else answer

    def frame_inbound_header(self, proto: Any, opcode: Opcode, rsv: RsvBits, length: int) -> Any:
        assert isinstance(opcode, Opcode)
        assert isinstance(rsv, RsvBits)
        self.seen.append(("header", proto.client, opcode, rsv, length))
        return self._answer("header", RsvBits(False, False, True))

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> Any:
        assert type(data) is bytes
        self.seen.append(("data", data))
        return self._answer("data", data.swapcase())

    def frame_inbound_complete(self, proto: Any, fin: bool) -> Any:
        self.seen.append(("complete", fin))
        return self._answer("complete", b"!" if fin else None)


class TestExtensions:
    def test_hooks_see_every_frame(self, framing: ModuleType) -> None:
        extension = Recorder()
        decoder = framing.FrameDecoder(True, [extension])
        stream = server_frame(0x11, b"ab") + server_frame(0x89, b"p") + server_frame(0x80, b"c")
        assert take(decoder, [stream]) == [
            framing.TextMessage("AB", True, False),
            framing.Ping(b"P!"),
            framing.TextMessage("C!"),
        ]
        off = RsvBits(False, False, False)
        assert extension.seen == [
            ("header", True, Opcode.TEXT, RsvBits(False, False, True), 2),
            ("data", b"ab"),
            ("complete", False),
            ("header", True, Opcode.PING, off, 1),
            ("data", b"p"),
            ("complete", True),
            ("header", True, Opcode.CONTINUATION, off, 1),
            ("data", b"c"),
            ("complete", True),
        ]

    @pytest.mark.parametrize("hook", ["header", "data", "complete"])
    def test_refusals(self, framing: ModuleType, hook: str) -> None:
        decoder = framing.FrameDecoder(True, [Recorder(refuse=hook)])
        assert [event.code for event in take(decoder, [server_frame(0x81, b"a")])] == [1008]

    @pytest.mark.parametrize("rsv", [0x10 | 0x20, 0x20, 0x40])
    def test_unclaimed_bits(self, framing: ModuleType, rsv: int) -> None:
        decoder = framing.FrameDecoder(True, [Recorder()])
        assert [event.code for event in take(decoder, [bytes((0x81 | rsv, 0))])] == [1002]

    @pytest.mark.parametrize("whole", [True, False])
    def test_what_an_extension_adds_counts(self, framing: ModuleType, whole: bool) -> None:
        decoder = framing.FrameDecoder(True, [Recorder()], whole_messages=whole, max_message_size=3)
        assert decoder.message_room == 3
        assert joined(take(decoder, [server_frame(0x82, b"ab")])) == [("BytesMessage", b"AB!")]
        assert [event.code for event in take(decoder, [server_frame(0x82, b"abc")])] == [1009]

    def test_whole_messages(self, framing: ModuleType) -> None:
        decoder = framing.FrameDecoder(True, [Recorder()], whole_messages=True)
        stream = server_frame(0x01, b"ab") + server_frame(0x80, b"c")
        assert take(decoder, bytes_of(stream)) == [framing.TextMessage("ABC!")]


@st.composite
def streams(draw: st.DrawFn) -> tuple[bool, list[tuple[int, bytes]]]:
    """Which end reads, and the valid frames it gets, as (first byte, payload)."""
    frames: list[tuple[int, bytes]] = []
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            payload, opcode = draw(st.text(max_size=40)).encode(), 1
        else:
            payload, opcode = draw(st.binary(max_size=150)), 2
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True):
            last = end == len(payload) and (start, end) == ([0, *cuts][-1], len(payload))
            frames.append((opcode | (0x80 if last else 0), payload[start:end]))
            opcode = 0
            if last:
                break
            if draw(st.booleans()):
                frames.append((draw(st.sampled_from([0x89, 0x8A])), draw(st.binary(max_size=125))))
        if not frames[-1][0] & 0x80:
            frames.append((0x80, b""))
    return draw(st.booleans()), frames


class TestAnySplit:
    @given(streams(), st.data(), st.booleans())
    def test_same_events(
        self,
        framing: ModuleType,
        stream: tuple[bool, list[tuple[int, bytes]]],
        draw: st.DataObject,
        whole: bool,
    ) -> None:
        client, frames = stream
        key = None if client else KEY
        data = b"".join(framing.encode_frame(first, payload, key) for first, payload in frames)
        cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
        pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        once = take(framing.FrameDecoder(client, whole_messages=whole), [data])
        split = take(framing.FrameDecoder(client, whole_messages=whole), pieces)
        assert joined(once) == joined(split)
        if whole:
            assert once == split
        assert [d for kind, d in joined(once) if kind.endswith("Message")] == expected_data(frames)

    @given(st.binary(max_size=60), st.booleans(), st.booleans())
    def test_any_bytes(self, framing: ModuleType, data: bytes, client: bool, whole: bool) -> None:
        """Random bytes never raise, and end in at most one close, whole or byte by byte."""
        once = take(framing.FrameDecoder(client, whole_messages=whole), [data])
        split = take(framing.FrameDecoder(client, whole_messages=whole), bytes_of(data))
        for events in (once, split):
            closes = [event for event in events if isinstance(event, framing.CloseConnection)]
            assert len(closes) <= 1
            assert not closes or events[-1] is closes[0]
        assert joined(once) == joined(split)


def expected_data(frames: list[tuple[int, bytes]]) -> list[Any]:
    result: list[Any] = []
    pending, is_text = b"", False
    for first, payload in frames:
        opcode = first & 0x0F
        if opcode >= 8:
            continue
        if opcode:
            pending, is_text = b"", opcode == 1
        pending += payload
        if first & 0x80:
            result.append(pending.decode() if is_text else pending)
    return result
