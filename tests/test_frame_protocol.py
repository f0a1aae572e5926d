"""The framing layer in the parts that wsproto has: frames in and out, one by one."""

from __future__ import annotations

from typing import Any

import pytest
from packages import frame, unmasked
from vectors import GOOD_CLOSE_CODES, VIOLATIONS, Violation

from wscore.errors import ParseFailed
from wscore.extensions import Extension
from wscore.frame_protocol import (
    Buffer,
    CloseReason,
    Frame,
    FrameDecoder,
    FrameProtocol,
    Header,
    MessageDecoder,
    Opcode,
    RsvBits,
    XorMaskerNull,
    XorMaskerSimple,
)

KEY = b"\x37\xfa\x21\x3d"


class Marking(Extension):
    """Marks messages by RSV3 and appends a byte to each frame."""

    name = "x-mark"

    def __init__(self, on: bool = True) -> None:
        self.on = on

    def enabled(self) -> bool:
        return self.on

    def offer(self) -> bool:
        return True

    def frame_inbound_header(self, proto: Any, opcode: Opcode, rsv: RsvBits, length: int) -> Any:
        return RsvBits(False, False, True)

    def frame_inbound_complete(self, proto: Any, fin: bool) -> bytes:
        return b"!"

    def frame_outbound(
        self, proto: Any, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        return rsv._replace(rsv3=True), data + b"?"


class TestSending:
    def test_frames(self) -> None:
        protocol = FrameProtocol(False, [])
        assert protocol.send_data("h\xe9") == frame(0x81, "h\xe9".encode())
        assert protocol.send_data(b"a", fin=False) == frame(0x02, b"a")
        assert protocol.ping(b"p") == frame(0x89, b"p")
        assert protocol.send_data(memoryview(b"b")) == frame(0x80, b"b")
        assert protocol.pong() == frame(0x8A)
        assert protocol.close() == frame(0x88)
        assert protocol.close(1000, "why") == frame(0x88, b"\x03\xe8why")

    def test_a_client_masks(self) -> None:
        assert unmasked(FrameProtocol(True, []).send_data(b"abc")) == [(b"\x82\x83", b"abc")]

    def test_extensions(self) -> None:
        protocol = FrameProtocol(False, [Marking(), Marking(on=False)])
        assert protocol.send_data("a") == frame(0x91, b"a?")
        assert protocol.send_data(bytearray(b"a")) == frame(0x92, b"a?")

    @pytest.mark.parametrize("payload", ["text", None, 5, [1]])
    def test_control_payloads_are_bytes(self, payload: Any) -> None:
        with pytest.raises(TypeError):
            FrameProtocol(False, []).ping(payload)

    @pytest.mark.parametrize("code", ["1000", 1000.0, b"1000"])
    def test_close_codes_are_numbers(self, code: Any) -> None:
        with pytest.raises(TypeError, match="int"):
            FrameProtocol(False, []).close(code)

    def test_a_reason_needs_a_code(self) -> None:
        with pytest.raises(TypeError, match="code"):
            FrameProtocol(False, []).close(None, "why")


class TestReceiving:
    def test_frames(self) -> None:
        protocol = FrameProtocol(True, [])
        assert list(protocol.received_frames()) == []
        text = "h\xe9llo".encode()
        protocol.receive_bytes(frame(0x01, text[:2]) + frame(0x89, b"p") + frame(0x80, text[2:]))
        protocol.receive_bytes(frame(0x82, b"bytes")[:4])
        assert list(protocol.received_frames()) == [
            Frame(Opcode.TEXT, "h", True, False),
            Frame(Opcode.PING, b"p", True, True),
            Frame(Opcode.TEXT, "\xe9llo", True, True),
            Frame(Opcode.BINARY, b"by", False, False),
        ]
        assert list(protocol.received_frames()) == []
        protocol.receive_bytes(frame(0x82, b"bytes")[4:] + frame(0x8A))
        assert list(protocol.received_frames()) == [
            Frame(Opcode.BINARY, b"tes", True, True),
            Frame(Opcode.PONG, b"", True, True),
        ]

    @pytest.mark.parametrize("code", GOOD_CLOSE_CODES)
    def test_nothing_comes_after_a_close(self, code: int) -> None:
        protocol = FrameProtocol(False, [])
        payload = code.to_bytes(2, "big") + b"why"
        protocol.receive_bytes(frame(0x88, payload, KEY) + frame(0x89, b"", KEY))
        assert list(protocol.received_frames()) == [Frame(Opcode.CLOSE, (code, "why"), True, True)]
        protocol.receive_bytes(frame(0x89, b"", KEY))
        assert list(protocol.received_frames()) == []

    @pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda violation: violation.name)
    def test_violations(self, violation: Violation) -> None:
        protocol = FrameProtocol(not violation.from_client, [])
        protocol.receive_bytes(violation.data)
        with pytest.raises(ParseFailed) as caught:
            list(protocol.received_frames())
        assert caught.value.code == violation.code

    def test_bad_text(self) -> None:
        protocol = FrameProtocol(True, [])
        protocol.receive_bytes(frame(0x81, b"\xff"))
        with pytest.raises(ParseFailed) as caught:
            list(protocol.received_frames())
        assert caught.value.code is CloseReason.INVALID_FRAME_PAYLOAD_DATA

    def test_extensions(self) -> None:
        protocol = FrameProtocol(True, [Marking()])
        protocol.receive_bytes(frame(0x91, b"a"))
        assert list(protocol.received_frames()) == [Frame(Opcode.TEXT, "a!", True, True)]


class TestFrameDecoder:
    def test_piece_by_piece(self) -> None:
        decoder = FrameDecoder(client=False, extensions=[Marking()])
        assert [type(extension) for extension in decoder.extensions] == [Marking]
        stream = frame(0x12, b"abc", KEY) + frame(0x89, b"xy", KEY)
        found = []
        for i in range(len(stream)):
            decoder.receive_bytes(stream[i : i + 1])
            piece = decoder.process_buffer()
            if piece is not None:
                found.append(piece)
        assert found == [
            Frame(Opcode.BINARY, b"a", False, False),
            Frame(Opcode.CONTINUATION, b"b", False, False),
            Frame(Opcode.CONTINUATION, b"c!", True, False),
            Frame(Opcode.PING, b"xy!", True, True),
        ]


class TestMessageDecoder:
    def test_continuation(self) -> None:
        decoder = MessageDecoder()
        with pytest.raises(ParseFailed, match="without a message"):
            decoder.process_frame(Frame(Opcode.CONTINUATION, b"", True, True))
        decoder.process_frame(Frame(Opcode.BINARY, b"a", True, False))
        with pytest.raises(ParseFailed, match="inside"):
            decoder.process_frame(Frame(Opcode.TEXT, b"a", True, True))
        last = decoder.process_frame(Frame(Opcode.CONTINUATION, b"b", True, True))
        assert last == Frame(Opcode.BINARY, b"b", True, True)


class TestSmallParts:
    def test_buffer(self) -> None:
        buffer = Buffer(b"abc")
        assert buffer.consume_at_most(2) == b"ab"
        assert buffer.consume_exactly(2) is None
        buffer.feed(b"de")
        assert buffer.consume_exactly(2) == b"cd"
        buffer.rollback()
        assert buffer.consume_at_most(0) == b""
        assert buffer.consume_exactly(3) == b"abc"
        buffer.commit()
        assert len(buffer) == 2
        assert buffer.consume_at_most(9) == b"de"
        assert len(Buffer()) == 0

    def test_maskers(self) -> None:
        masker, again = XorMaskerSimple(KEY), XorMaskerSimple(bytearray(KEY))
        masked = b"".join(bytes(masker.process(piece)) for piece in (b"a", b"", b"bcdef", b"gh"))
        assert unmasked(b"\x82\x88" + KEY + masked) == [(b"\x82\x88", b"abcdefgh")]
        assert again.process(masked) == b"abcdefgh"
        assert XorMaskerNull().process(bytearray(b"abc")) == b"abc"

    def test_header(self) -> None:
        header = Header(True, RsvBits(False, False, False), Opcode.TEXT, 5, None)
        assert (header.fin, header.payload_len) == (True, 5)
