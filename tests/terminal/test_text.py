"""Text from strangers, made safe for a terminal."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from wscore.chat.client import Direct, Gap, Joined, Left, Message, Position, Presence
from wscore.chat.terminal.screen import Screen
from wscore.terminal.lines import BadLine, LineReader
from wscore.terminal.style import Style
from wscore.terminal.text import hex_dump, safe, safe_lines, shorten
from wscore.terminal.trace import FrameTracer

# Surrogates too: a name or a reason could be made of anything.
anything = st.text(st.characters() | st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"]))


def acts(text: str) -> set[str]:
    """The characters of a text that could act on a terminal."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


@given(anything)
def test_safe_text_is_one_line_that_does_nothing(text: str) -> None:
    assert acts(safe(text)) == set()
    assert all(acts(line) == set() for line in safe_lines(text))
    if not acts(text):
        assert safe(text) == text
    safe(text).encode()  # a surrogate could not be printed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("", ""),
        ("ünï 中文 👍🏽 e\u0301", "ünï 中文 👍🏽 e\u0301"),
        ("\x1b[2J\x07\x7f", r"\e[2J\x07\x7f"),
        ("\x85\x9b", r"\x85\x9b"),
        ("a\u202eb\u2066c\u200b\ufeff", r"a\u202eb\u2066c\u200b\ufeff"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
        ("a\tb\r\nc", r"a\tb\r\nc"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_lines() -> None:
    assert safe_lines("a\r\nb\n\nc\x1b") == ["a", "b", "", r"c\e"]
    assert safe_lines("") == [""]


@given(anything, st.integers(0, 20))
def test_a_shortened_text_is_its_beginning(text: str, limit: int) -> None:
    short = shorten(text, limit)
    if limit == 0 or len(text) <= limit:
        assert short == text
    else:
        assert short.startswith(text[:limit] + "…")
        assert f"({len(text) - limit:,} more characters)" in short


@given(st.binary(max_size=100), st.integers(0, 100))
def test_a_hex_dump_shows_every_byte_up_to_its_limit(data: bytes, limit: int) -> None:
    lines = hex_dump(data, limit)
    assert all(acts(line) == set() for line in lines)
    shown = data if limit == 0 else data[:limit]
    rows = [line for line in lines if not line.startswith("…")]
    assert bytes.fromhex("".join(row[10:57] for row in rows)) == shown
    assert len(rows) < len(lines) or shown == data


@given(st.lists(st.binary(max_size=40), max_size=8), st.booleans())
def test_a_tracer_bears_anything(pieces: list[bytes], after_a_head: bool) -> None:
    lines: list[str] = []
    tracer = FrameTracer("←", lines.append)
    if after_a_head:
        tracer.feed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
    for piece in pieces:
        tracer.feed(piece)
    assert all(acts(line) == set() for line in lines)
    assert len(tracer._buffer) <= 70_000


def test_a_tracer_reads_the_same_whatever_the_pieces() -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    masked = b"\x89\x83abcd" + bytes(byte ^ key for byte, key in zip(b"hey", b"abc", strict=True))
    frames = (
        b"\x01\x03abc" + masked + b"\x80\x7e\x01\x00" + bytes(256) + b"\xc2\x01x\x88\x05\x03\xe8bye"
    )
    whole: list[str] = []
    FrameTracer("→", whole.append).feed(head + frames)
    assert whole[2:] == [
        "→ text (more follows) 3 bytes",
        "→ ping 3 bytes 'hey'",
        "→ continuation 256 bytes",
        "→ binary (compressed) 1 bytes",
        "→ close 1000 (NORMAL_CLOSURE) 'bye'",
    ]
    bytewise: list[str] = []
    tracer = FrameTracer("→", bytewise.append)
    for byte in head + frames:
        tracer.feed(bytes([byte]))
    assert bytewise == whole


@given(st.lists(anything, min_size=5, max_size=5), st.booleans())
def test_no_event_of_the_chat_acts_on_the_terminal(texts: list[str], is_terminal: bool) -> None:
    room, sender, to, text, time = texts
    screen = Screen(Style(False), is_terminal=is_terminal)
    here, there = Position("e", 1), Position("e", 5)
    events = [
        Joined(room, 2, (sender, to)),
        Joined("other", 1, ()),
        Message(room=room, offset=1, sender=sender, text=text, time=time, id="x"),
        Direct(sender=sender, to=to, offset=1, text=text, time=time, id="x"),
        Presence(room=room, user=sender, state="joined", count=3),
        Presence(room=room, user=to, state="left", count=2),
        Gap(room, here, there),
        Gap(None, here, there),
        Left(room, "forbidden", text),
    ]
    for event in events:
        assert all(acts(line) == set() for line in screen.lines(event))
    assert acts(screen.who(room)) == set()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes can be waited for on POSIX only")
async def test_standard_input_is_not_left_in_another_mode(tmp_path: Path) -> None:
    """Who shares the descriptor would suffer from O_NONBLOCK."""
    here, there = os.pipe()
    try:
        os.write(there, b"one\ntwo\r\n\xff\nlast")
        os.set_blocking(here, True)
        reader = LineReader(here)
        assert [await anext(reader) for _ in range(2)] == ["one", "two"]
        assert isinstance(await anext(reader), BadLine)
        with trio.move_on_after(0.01):
            await anext(reader)
        assert os.get_blocking(here)
        os.write(there, b" line")
        os.close(there)
        assert [line async for line in reader] == ["last line"]
    finally:
        os.close(here)
