"""The compiled twin stays inside its buffers, holds what it uses, gives back what it took."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest
from vectors import BAD_UTF8, KEY, VIOLATIONS, server_frame

from wscore.errors import LocalProtocolError
from wscore.frame_protocol import CloseReason

PAGE_END = """
import ctypes, mmap, sys
from wscore import _framing_c as framing
libc = ctypes.CDLL(None, use_errno=True)
page = mmap.PAGESIZE
room = mmap.mmap(-1, 3 * page)
start = ctypes.addressof(ctypes.c_char.from_buffer(room))
for guard in (0, 2):
    if libc.mprotect(ctypes.c_void_p(start + guard * page), page, mmap.PROT_READ * 0):
        sys.exit(f"mprotect: {ctypes.get_errno()}")
middle = memoryview((ctypes.c_ubyte * page).from_address(start + page)).cast("B")
kernels = []
for name in ("word", "sse2", "neon", "avx2", "avx512"):
    try:
        kernels.append(framing._choose_kernel(name))
    except ValueError:
        continue
    for length in range(301):
        for phase in range(4):
            for piece in (middle[:length], middle[page - length:]):
                piece[:] = bytes(i & 255 for i in range(length))
                key = b"abcd"
                masked = framing.apply_mask(piece, key, phase)
                framing.encode_frame(0x82, piece, key)
                framing.encode_frame(0x82, piece)
                framing.apply_mask_inplace(piece, key, phase)
                assert piece == masked
    decoder = framing.FrameDecoder(True)
    for length in range(126):
        frame = bytes((0x81, length)) + b"x" * length
        middle[page - len(frame):] = frame
        decoder.receive_data(middle[page - len(frame):])
        assert [event.data for event in decoder] == ["x" * length]
    for text in ("世" * 40, "é" * 40, "😀" * 30, "世a" * 30):
        for size in range(len(text)):
            data = text[:size].encode()
            frame = framing.encode_frame(0x81, data)
            middle[page - len(frame):] = frame
            decoder.receive_data(middle[page - len(frame):])
            assert [event.data for event in decoder] == [text[:size]]
assert "word" in kernels
print("ok", *kernels)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="mprotect is POSIX")
def test_beside_pages_that_cannot_be_read(framing_c: ModuleType) -> None:
    """A read or write one byte outside of its buffer ends the child process by a signal."""
    ran = subprocess.run(
        [sys.executable, "-c", PAGE_END], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr or f"signal {-ran.returncode}"
    assert ran.stdout.startswith("ok")
    assert framing_c.KERNEL in ran.stdout.split()


@pytest.mark.skipif(sys.platform == "win32", reason="mprotect is POSIX")
def test_that_test_can_fail() -> None:
    """Touching the guard page does end a process."""
    touch = PAGE_END.split("middle =")[0] + "ctypes.string_at(start + 2 * page, 1)"
    ran = subprocess.run([sys.executable, "-c", touch], capture_output=True, check=False)
    assert ran.returncode < 0


class Odd:
    """An extension whose hooks misbehave in the given way."""

    def __init__(self, hook: str, answer: Callable[[Any], Any]) -> None:
        self.hook, self.answer = hook, answer

    def frame_inbound_header(self, proto: Any, opcode: Any, rsv: Any, length: int) -> Any:
        return self.answer(proto) if self.hook == "header" else (True, True, True)

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> Any:
        return self.answer(proto) if self.hook == "data" else data

    def frame_inbound_complete(self, proto: Any, fin: bool) -> Any:
        return self.answer(proto) if self.hook == "complete" else None


@pytest.mark.parametrize("hook", ["header", "data", "complete"])
@pytest.mark.parametrize("answer", [5, "text", ("a", "b"), object()])
def test_hooks_that_answer_nonsense(framing: ModuleType, hook: str, answer: Any) -> None:
    decoder = framing.FrameDecoder(True, [Odd(hook, lambda _: answer)])
    decoder.receive_data(server_frame(0x82, b"abc"))
    with pytest.raises((TypeError, ValueError)):
        list(decoder)


@pytest.mark.parametrize("hook", ["header", "data", "complete"])
def test_hooks_that_feed_the_decoder(framing: ModuleType, hook: str) -> None:
    """What a hook feeds comes after what was there; the memory being read stays where it is."""

    def feed(proto: Any) -> Any:
        if len(fed) < 40:
            fed.append(server_frame(0x82, bytes((len(fed),)) * 100))
            proto.receive_data(fed[-1])
        return {"header": (False, False, False), "data": b"x", "complete": None}[hook]

    fed: list[bytes] = []
    decoder = framing.FrameDecoder(True, [Odd(hook, feed)])
    decoder.receive_data(server_frame(0x82, b"abc") * 3)
    events = list(decoder)
    assert len(events) == 3 + len(fed) == 43


def paths(framing: ModuleType) -> Iterator[Callable[[], object]]:
    """Calls over every path of the twin: good input, errors, ends in the middle."""
    decode = framing.FrameDecoder
    client = framing.OpenConnection(decode(True), True)

    def run(client: bool, *pieces: bytes, **options: Any) -> Callable[[], object]:
        def call() -> None:
            decoder = decode(client, **options)
            for piece in pieces:
                decoder.receive_data(piece)
                list(decoder)

        return call

    errors = (TypeError, ValueError, BufferError, AttributeError, LocalProtocolError)

    def failing(call: Callable[[], object]) -> Callable[[], object]:
        def caught() -> None:
            with pytest.raises(errors):
                call()

        return caught

    def failing_or_not(call: Callable[[], object]) -> Callable[[], object]:
        def caught() -> None:
            with suppress(TypeError, ValueError, LocalProtocolError):
                call()

        return caught

    def backlog(kind: Any, *payloads: bytes) -> Callable[[], object]:
        def call() -> None:
            decoder = decode(True)
            for payload in payloads:
                decoder.receive_data(kind(server_frame(0x82, payload)))
            next(decoder)
            decoder.receive_data(kind(server_frame(0x88)))
            decoder.receive_eof()
            list(decoder)
            decoder.receive_data(kind(b"more"))

        return call

    frames = server_frame(0x01, b"ab\xc3") + server_frame(0x89, b"p") + server_frame(0x80, b"\xa9")
    for whole in (False, True):
        yield run(True, frames, server_frame(0x82, b"x"), server_frame(0x88), whole_messages=whole)
        yield run(True, *(frames[i : i + 1] for i in range(len(frames))), whole_messages=whole)
        yield run(True, frames, whole_messages=whole, max_message_size=2)
        yield run(True, frames[:-1], whole_messages=whole)
        yield run(True, frames, whole_messages=whole, extensions=[Odd("", lambda _: None)])
        for data, _ in BAD_UTF8:
            yield run(True, server_frame(0x81, data), whole_messages=whole)
    for violation in VIOLATIONS:
        yield run(not violation.from_client, violation.data)
    for size in (0, 100, 70_000):
        yield lambda size=size: framing.encode_frame(0x82, bytes(size), KEY)
        yield lambda size=size: framing.apply_mask(bytearray(size), KEY)
        yield lambda size=size: framing.apply_mask_inplace(bytearray(size), KEY)
        yield lambda size=size: client.send(framing.TextMessage("é" * size))
        yield lambda size=size: framing.encode_frame(0x81, "a" * size, bytearray(KEY))
        yield lambda size=size: framing.encode_frame(0x82, memoryview(bytearray(size)))
        yield lambda size=size: framing.encode_frame_header(0x82, size, KEY)
        yield lambda size=size: framing.apply_mask(memoryview(bytes(size)), memoryview(KEY), 3)
    for kind in (bytes, bytearray, memoryview):
        yield run(True, kind(frames))
        yield backlog(kind, b"ab", b"cd")
        yield backlog(kind, *(bytes((i,)) for i in range(60)))
    for text in ("caf\xe9", "\u4e16\u754c" * 20, "\U0001f600a" * 9):
        yield run(True, server_frame(0x81, text.encode()))
        yield run(True, *(server_frame(0x81, text.encode())[i : i + 3] for i in range(0, 125, 3)))
    for hook in ("header", "data", "complete"):
        for answer in (CloseReason.POLICY_VIOLATION, 5, None, b"x", bytearray(b"x"), (True, 0, 1)):
            yield failing_or_not(run(True, frames, extensions=[Odd(hook, lambda _, a=answer: a)]))
    yield lambda: queued(framing)
    yield lambda: taken(framing)
    for event in (
        framing.Message("x"),
        framing.TextMessage("x", False),
        framing.BytesMessage(b"x"),
        framing.Ping(b"x"),
        framing.Pong(b"x"),
        framing.CloseConnection(1000, "x"),
    ):
        yield lambda event=event: pickle.loads(pickle.dumps(event))
        yield lambda event=event: copy.deepcopy(dataclasses.replace(event))
        yield lambda event=event: (event == event, hash(event), repr(event), event != 5)
        yield failing(lambda event=event: delattr(event, "payload"))
        yield failing(lambda event=event: type(event)(1, 2, 3, 4))
        yield failing_or_not(lambda event=event: client.send(event))
    yield failing(lambda: hash(framing.BytesMessage(bytearray(b"x"))))
    yield failing(lambda: decode(True, max_frame_size=-1))
    yield failing(lambda: decode(True).receive_data("x"))
    yield failing(lambda: decode(True).receive_data(memoryview(b"abcd")[::2]))
    yield failing(lambda: framing.encode_frame("x", b""))
    yield failing(lambda: framing.apply_mask(b"x", KEY, 9))
    yield framing.new_mask_key
    server = framing.OpenConnection(decode(False), True)
    for data in (b"x", bytearray(b"x"), memoryview(b"x"), "x"):
        yield lambda data=data: server.send_parts(framing.Message(data))
    yield failing(lambda: server.send_parts(framing.Message(memoryview(b"abcd")[::2])))
    message = framing.TextMessage
    yield lambda: message(message_finished=1, data=str(1000), frame_finished=object())
    yield lambda: message(str(1000), False, message_finished=[])
    yield failing(lambda: message(str(1000), data=str(1001)))
    yield failing(lambda: message(str(1000), frame_finished=[], unknown=object()))
    yield failing(lambda: message(object(), object(), object(), object()))
    yield failing(lambda: message(frame_finished=object()))
    yield lambda: hash(framing.CloseConnection(1000, "x").response())
    yield lambda: repr(framing.TextMessage("x")) + repr(framing.Ping(b"x").response())
    yield failing(lambda: framing.apply_mask("x", KEY))
    yield failing(lambda: framing.apply_mask(b"x", b"ab"))
    yield failing(lambda: framing.apply_mask_inplace(b"x", KEY))
    yield failing(lambda: framing.encode_frame(0x81, "\ud800", KEY))
    yield failing(lambda: framing.encode_frame_header(0x81, -1))
    yield failing(lambda: setattr(framing.Ping(), "payload", b""))


def queued(framing: ModuleType) -> None:
    """An open connection with events of its user, of the peer and of the end."""
    connection = framing.OpenConnection(framing.FrameDecoder(True), True)
    connection.receive_data(server_frame(0x89) + server_frame(0x82, b"x"))
    connection._events.append(framing.Pong())
    assert len(list(connection.events())) == 3
    connection._decoder.receive_eof()
    assert len(list(connection.events())) == 1


def taken(framing: ModuleType) -> None:
    """Messages taken, with a ping or a violation behind them."""
    for last in (server_frame(0x89), server_frame(0x83), server_frame(0x81, b"\xff")):
        decoder = framing.FrameDecoder(True, whole_messages=True)
        connection = framing.OpenConnection(decoder, True)
        connection.receive_data(server_frame(0x82, b"x" * 9) * 3 + last)
        assert len(connection.take_messages(9)) == 3
        assert len(list(connection.events())) == 1


@pytest.mark.parametrize("take", [True, False])
@pytest.mark.parametrize("backlog", [True, False])
def test_what_was_read_is_not_kept(framing: ModuleType, *, take: bool, backlog: bool) -> None:
    """Most connections are silent most of the time, and the last that came may have been long."""
    connection = framing.OpenConnection(framing.FrameDecoder(True, whole_messages=True), True)
    data = framing.encode_frame(0x82, bytes(30000)) * 2
    cut = 100 if backlog else 0
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        if backlog:
            connection.receive_data(bytes(data[:cut]))
        connection.receive_data(bytes(bytearray(data[cut:])))
        for _ in range(2):
            if take:
                assert len(connection.take_messages(1)) == 1
            else:
                assert len(next(connection.events()).data) == 30000
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 10_000


COUNTED = pytest.mark.skipif(
    sys.getallocatedblocks() == 0, reason="malloc, which sanitizers need, counts no blocks"
)


def growth(call: Callable[[], object]) -> int:
    """How many objects more there are for a hundred calls."""
    for _ in range(10):
        call()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(100):
        call()
    gc.collect()
    return sys.getallocatedblocks() - before


@pytest.fixture
def _little_to_collect() -> Iterator[None]:
    """What is there already need not be looked at again and again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@COUNTED
@pytest.mark.usefixtures("_little_to_collect")
def test_no_path_leaks(framing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference that is lost at each call shows as an object more for each."""
    if framing.IMPLEMENTATION == "python":  # its pool of keys grows and shrinks meanwhile
        monkeypatch.setattr(framing, "new_mask_key", lambda: KEY)
    # What the interpreter keeps for itself now and then does not show twice.
    leaks = [
        number
        for number, call in enumerate(paths(framing))
        if growth(call) >= 90 and growth(call) >= 90
    ]
    assert not leaks


@COUNTED
@pytest.mark.usefixtures("_little_to_collect")
def test_a_leak_would_show() -> None:
    kept: list[object] = []
    assert growth(lambda: kept.append(object())) >= 90


def test_a_held_buffer_is_let_go_after_an_error(framing: ModuleType) -> None:
    room = bytearray(8)
    for call in (
        lambda: framing.apply_mask(room, b"ab"),
        lambda: framing.apply_mask_inplace(room, KEY, 9),
        lambda: framing.encode_frame(0x82, room, b"ab"),
        lambda: framing.encode_frame(300, room),
    ):
        with pytest.raises(ValueError):
            call()
    framing.FrameDecoder(True).receive_data(room)
    room.append(0)  # BufferError while anything holds it
