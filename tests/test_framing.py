"""Masking and frame headers, on both twins."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from array import array
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors import KEY, LENGTHS, RFC_EXAMPLES


def bytewise(data: bytes, key: bytes, phase: int = 0) -> bytes:
    return bytes(byte ^ key[(phase + i) & 3] for i, byte in enumerate(data))


class TestApplyMask:
    @pytest.mark.parametrize("phase", range(4))
    def test_every_short_length(self, framing: ModuleType, phase: int) -> None:
        source = random.Random(1).randbytes(300)
        for length in range(301):
            data = source[:length]
            assert framing.apply_mask(data, KEY, phase) == bytewise(data, KEY, phase)

    @pytest.mark.parametrize("phase", range(4))
    def test_every_alignment_in_place(self, framing: ModuleType, phase: int) -> None:
        source = random.Random(2).randbytes(300)
        expected = bytewise(source, KEY, phase)
        every = framing.IMPLEMENTATION == "cython"  # Python's own bytes know no alignment
        for length in range(301) if every else (*range(72), 255, 256, 257, 300):
            around = b"\xaa" * 64
            for offset in range(64) if every else (0, 1, 63):
                room = bytearray(around[:offset] + source[:length] + around)
                with memoryview(room)[offset : offset + length] as piece:
                    following = framing.apply_mask_inplace(piece, KEY, phase)
                assert following == (phase + length) & 3
                assert room == around[:offset] + expected[:length] + around

    @given(st.binary(max_size=400), st.binary(min_size=4, max_size=4), st.data())
    def test_pieces_make_the_whole(
        self, framing: ModuleType, data: bytes, key: bytes, draw: st.DataObject
    ) -> None:
        cut = draw.draw(st.integers(0, len(data)))
        first = bytearray(data[:cut])
        phase = framing.apply_mask_inplace(first, key)
        joined = bytes(first) + framing.apply_mask(data[cut:], key, phase)
        assert joined == framing.apply_mask(data, key) == bytewise(data, key)
        assert framing.apply_mask(joined, key) == data

    def test_a_large_payload(self, framing: ModuleType) -> None:
        data = random.Random(3).randbytes((1 << 20) + 3)
        assert framing.apply_mask(framing.apply_mask(data, KEY, 1), KEY, 1) == data
        assert framing.apply_mask(data, KEY)[-7:] == bytewise(data, KEY)[-7:]

    @pytest.mark.parametrize(
        "length", [4095, 4096, 4097, 4159, 5000, 8191, *range(16383, 16703, 29)]
    )
    def test_every_alignment_of_a_long_payload(self, framing: ModuleType, length: int) -> None:
        source = random.Random(5).randbytes(length)
        for offset in range(0, 65, 1 if framing.IMPLEMENTATION == "cython" else 13):
            expected = bytewise(source, KEY, offset & 3)
            room = bytearray(offset) + source + bytes(64)
            with memoryview(room)[offset : offset + length] as piece:
                assert framing.apply_mask(piece, KEY, offset & 3) == expected
                framing.apply_mask_inplace(piece, KEY, offset & 3)
            assert room == bytes(offset) + expected + bytes(64)

    @pytest.mark.parametrize(
        "data",
        [b"hello", bytearray(b"hello"), memoryview(b"hello"), memoryview(b"xhello")[1:]],
        ids=["bytes", "bytearray", "memoryview", "slice"],
    )
    def test_any_buffer(self, framing: ModuleType, data: bytes) -> None:
        masked = framing.apply_mask(data, KEY)
        assert type(masked) is bytes
        assert masked == bytewise(b"hello", KEY)
        assert framing.apply_mask(data, bytearray(KEY)) == masked
        assert framing.apply_mask(data, memoryview(KEY)) == masked

    def test_items_wider_than_a_byte(self, framing: ModuleType) -> None:
        words = array("H", [0x1234, 0x5678, 0x9ABC])
        assert framing.apply_mask(words, KEY) == bytewise(words.tobytes(), KEY)
        assert framing.apply_mask_inplace(words, KEY) == 2

    def test_keyword_arguments(self, framing: ModuleType) -> None:
        assert framing.apply_mask(data=b"ab", key=KEY, phase=2) == bytewise(b"ab", KEY, 2)
        assert framing.apply_mask_inplace(buffer=bytearray(b"ab"), key=KEY, phase=3) == 1

    @pytest.mark.parametrize("data", ["text", None, 7, ["a"]])
    def test_no_buffer(self, framing: ModuleType, data: object) -> None:
        with pytest.raises(TypeError):
            framing.apply_mask(data, KEY)
        with pytest.raises(TypeError):
            framing.apply_mask_inplace(data, KEY)

    @pytest.mark.parametrize("key", ["abcd", None, 7, [1, 2, 3, 4]])
    def test_key_of_another_type(self, framing: ModuleType, key: object) -> None:
        with pytest.raises(TypeError):
            framing.apply_mask(b"data", key)

    @pytest.mark.parametrize("key", [b"", b"abc", b"abcde"])
    def test_key_of_another_length(self, framing: ModuleType, key: bytes) -> None:
        with pytest.raises(ValueError, match="4 bytes"):
            framing.apply_mask(b"data", key)
        with pytest.raises(ValueError, match="4 bytes"):
            framing.apply_mask_inplace(bytearray(b"data"), key)

    @pytest.mark.parametrize("phase", [-1, 4, 2**31, 2**64, -(2**64)])
    def test_phase_out_of_range(self, framing: ModuleType, phase: int) -> None:
        with pytest.raises(ValueError, match="phase"):
            framing.apply_mask(b"data", KEY, phase)

    def test_read_only_and_scattered_buffers(self, framing: ModuleType) -> None:
        with pytest.raises(BufferError):
            framing.apply_mask_inplace(b"data", KEY)
        with pytest.raises(BufferError):
            framing.apply_mask_inplace(memoryview(bytearray(b"data")).toreadonly(), KEY)
        with pytest.raises(BufferError):
            framing.apply_mask_inplace(memoryview(bytearray(b"data"))[::2], KEY)
        with pytest.raises(BufferError):
            framing.apply_mask(memoryview(b"data")[::2], KEY)

    @pytest.mark.parametrize("phase", range(4))
    def test_buffers_of_no_length(self, framing: ModuleType, phase: int) -> None:
        room = memoryview(bytearray(4))
        for empty in (b"", bytearray(), memoryview(b""), room[2:2], room[4:], array("H")):
            assert framing.apply_mask(empty, KEY, phase) == b""
            assert framing.encode_frame(0x82, empty, KEY) == b"\x82\x80" + KEY
        for empty in (bytearray(), room[2:2], array("H")):
            assert framing.apply_mask_inplace(empty, KEY, phase) == phase
        for read_only in (b"", memoryview(b""), room[2:2].toreadonly()):
            with pytest.raises(BufferError):
                framing.apply_mask_inplace(read_only, KEY, phase)
        with pytest.raises(ValueError, match="4 bytes"):
            framing.apply_mask(b"data", memoryview(b""))

    def test_the_buffer_is_let_go(self, framing: ModuleType) -> None:
        room = bytearray(b"data")
        framing.apply_mask_inplace(room, KEY)
        with pytest.raises(ValueError, match="4 bytes"):
            framing.apply_mask_inplace(room, b"")
        room.append(1)  # BufferError while somebody holds the buffer


class TestKernels:
    """Every kernel that this processor can run, against the bytewise loop."""

    def test_each_kernel(self, framing_c: ModuleType) -> None:
        """Copying and in place: every length to 300, alignment to 63 and phase, and long ones."""
        source = random.Random(4).randbytes(20000)
        room = bytearray(64) + source[:300] + bytes(64)
        ran = []
        try:
            for name in ("word", "sse2", "neon", "avx2", "avx512"):
                try:
                    assert framing_c._choose_kernel(name) == name
                except ValueError:
                    continue
                ran.append(name)
                for phase in range(4):
                    expected = bytewise(source, KEY, phase)
                    for length in (1000, 1023, 1024, 1025, 4095, 4096, 16383, 16384, 16385, 20000):
                        masked = framing_c.apply_mask(source[:length], KEY, phase)
                        assert masked == expected[:length]
                    self.check_alignments(framing_c, room, expected, phase)
        finally:
            framing_c._choose_kernel(None)
        assert framing_c.KERNEL in ran
        assert "word" in ran

    def check_alignments(
        self, framing_c: ModuleType, room: bytearray, expected: bytes, phase: int
    ) -> None:
        source = bytes(room[64:364])
        for offset in range(64):
            room[offset : offset + 300] = source
            before, after = bytes(room[:offset]), bytes(room[offset + 300 :])
            with memoryview(room) as view:
                for length in range(301):
                    piece = view[offset : offset + length]
                    assert framing_c.apply_mask(piece, KEY, phase) == expected[:length]
                    framing_c.apply_mask_inplace(piece, KEY, phase)
                    assert piece == expected[:length]
                    piece[:] = source[:length]
            assert room[offset : offset + 300] == source
            assert (room[:offset], room[offset + 300 :]) == (before, after)
        room[64:364] = source

    @pytest.mark.parametrize(("name", "shown"), [("word", "word"), ("", None), ("abacus", None)])
    def test_the_environment_chooses(
        self, framing_c: ModuleType, name: str, shown: str | None
    ) -> None:
        ran = subprocess.run(
            [sys.executable, "-c", "from wscore._framing_c import KERNEL; print(KERNEL)"],
            env=os.environ | {"WSCORE_MASK_KERNEL": name},
            capture_output=True,
            text=True,
            check=False,
        )
        if name == "abacus":
            assert "no masking kernel 'abacus'" in ran.stderr
            assert ran.returncode != 0
        else:
            assert ran.stdout.strip() == (shown or framing_c.KERNEL)

    def test_an_unknown_kernel(self, framing_c: ModuleType) -> None:
        with pytest.raises(ValueError, match="no masking kernel"):
            framing_c._choose_kernel("abacus")


class TestEncode:
    @pytest.mark.parametrize(("frame", "masked", "first_byte", "payload"), RFC_EXAMPLES)
    def test_rfc_examples(
        self, framing: ModuleType, frame: bytes, masked: bool, first_byte: int, payload: bytes
    ) -> None:
        assert framing.encode_frame(first_byte, payload, KEY if masked else None) == frame

    @pytest.mark.parametrize("length", LENGTHS)
    @pytest.mark.parametrize("key", [None, KEY])
    def test_lengths(self, framing: ModuleType, length: int, key: bytes | None) -> None:
        flag = 0 if key is None else 0x80
        if length <= 125:
            expected = bytes((0x82, flag | length))
        elif length <= 0xFFFF:
            expected = bytes((0x82, flag | 126)) + length.to_bytes(2, "big")
        else:
            expected = bytes((0x82, flag | 127)) + length.to_bytes(8, "big")
        expected += key or b""
        assert framing.encode_frame_header(0x82, length, key) == expected
        payload = bytes(length)
        body = payload if key is None else bytewise(payload, key)
        assert framing.encode_frame(0x82, payload, key) == expected + body

    @pytest.mark.parametrize("length", [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1])
    def test_huge_lengths(self, framing: ModuleType, length: int) -> None:
        expected = b"\x82\x7f" + length.to_bytes(8, "big")
        assert framing.encode_frame_header(0x82, length) == expected

    @pytest.mark.parametrize("length", [-1, 2**63, 2**64 - 1, 2**64, 2**64 + 1])
    def test_impossible_lengths(self, framing: ModuleType, length: int) -> None:
        with pytest.raises(ValueError, match="length"):
            framing.encode_frame_header(0x82, length)

    @pytest.mark.parametrize("first_byte", [-1, 256, 2**32, 2**64])
    def test_impossible_first_byte(self, framing: ModuleType, first_byte: int) -> None:
        with pytest.raises(ValueError, match="first byte"):
            framing.encode_frame_header(first_byte, 0)
        with pytest.raises(ValueError, match="first byte"):
            framing.encode_frame(first_byte, b"")

    @pytest.mark.parametrize("value", ["1", None, 1.5])
    def test_other_types(self, framing: ModuleType, value: object) -> None:
        with pytest.raises(TypeError):
            framing.encode_frame_header(value, 0)
        with pytest.raises(TypeError):
            framing.encode_frame_header(0x82, value)

    @pytest.mark.parametrize("text", ["", "hello", "é", "你好", "😀", "a" * 200 + "é"])
    @pytest.mark.parametrize("key", [None, KEY])
    def test_text(self, framing: ModuleType, text: str, key: bytes | None) -> None:
        expected = framing.encode_frame(0x81, text.encode(), key)
        assert framing.encode_frame(0x81, text, key) == expected

    def test_payload_types(self, framing: ModuleType) -> None:
        expected = framing.encode_frame(0x82, b"data", KEY)
        for payload in (bytearray(b"data"), memoryview(b"data"), memoryview(b"xdata")[1:]):
            assert framing.encode_frame(0x82, payload, KEY) == expected
        for payload in (None, 7, ["a"]):
            with pytest.raises(TypeError):
                framing.encode_frame(0x82, payload)
        with pytest.raises(BufferError):
            framing.encode_frame(0x82, memoryview(b"data")[::2])
        with pytest.raises(UnicodeEncodeError):
            framing.encode_frame(0x81, "\ud800")

    def test_key_errors(self, framing: ModuleType) -> None:
        for encode in (framing.encode_frame, framing.encode_frame_header):
            with pytest.raises(ValueError, match="4 bytes"):
                encode(0x82, b"" if encode is framing.encode_frame else 0, b"abc")
            with pytest.raises(TypeError):
                encode(0x82, b"" if encode is framing.encode_frame else 0, "abcd")


class TestMaskKeys:
    def test_each_is_fresh(self, framing: ModuleType) -> None:
        keys = [framing.new_mask_key() for _ in range(5000)]
        assert {len(key) for key in keys} == {4}
        assert len(set(keys)) > 4990

    def test_threads_share_none(self, framing: ModuleType) -> None:
        with ThreadPoolExecutor(8) as pool:
            drawn = pool.map(lambda _: [framing.new_mask_key() for _ in range(2000)], range(8))
        keys = [key for part in drawn for key in part]
        assert len(keys) - len(set(keys)) < 10  # 16,000 of 2**32: a repeat is rare, ten are none

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX")
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_child_has_its_own(self, framing: ModuleType) -> None:
        framing.new_mask_key()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, b"".join(framing.new_mask_key() for _ in range(200)))
            os._exit(0)
        os.waitpid(child, 0)
        theirs = os.read(reader, 800)
        os.close(reader)
        os.close(writer)
        ours = b"".join(framing.new_mask_key() for _ in range(200))
        assert len(theirs) == 800
        assert theirs != ours
        assert theirs[:4] not in ours
