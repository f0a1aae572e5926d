"""Threads: what connections share is shared safely, with the GIL and without.

On a free-threaded interpreter these run in parallel in earnest; with the GIL, threads are at least
made to change often.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
from packages import frame, unmasked
from vectors import GOOD_UTF8, KEY

THREADS = 6


@pytest.fixture(autouse=True)
def _change_often() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def together(work: Callable[[int], Any]) -> list[Any]:
    """Runs the work in several threads that begin at the same time; gives what each returns."""
    begin = threading.Barrier(THREADS)

    def run(number: int) -> Any:
        begin.wait(30)
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


@pytest.mark.skipif(
    not hasattr(sys, "_is_gil_enabled"), reason="this interpreter cannot run without the GIL"
)
def test_the_compiled_twin_needs_no_gil(framing_c: ModuleType) -> None:
    """Importing a module that does not say so switches the GIL on."""
    import sysconfig

    free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    assert sys._is_gil_enabled() == (not free)  # type: ignore[attr-defined]


def test_a_decoder_for_each_thread(framing: ModuleType) -> None:
    def work(number: int) -> None:
        for turn in range(40):
            whole = bool((turn + number) % 2)
            decoder = framing.FrameDecoder(False, whole_messages=whole)
            texts = [text.decode() + f"{number}.{turn}" for text in GOOD_UTF8]
            stream = b"".join(frame(0x81, text.encode(), KEY) for text in texts)
            heard = []
            for start in range(0, len(stream), 7):
                decoder.receive_data(stream[start : start + 7])
                heard += [event.data for event in decoder]
            assert "".join(heard) == "".join(texts)

    together(work)


def test_one_event_for_all(framing: ModuleType) -> None:
    """A broadcast: the same object is sent, compared, hashed and shown everywhere."""
    text = framing.TextMessage("h\xe9llo")
    data = framing.BytesMessage(bytes(range(200)))
    close = framing.CloseConnection(1000, "bye")
    before = [sys.getrefcount(event) for event in (text, data, close)]

    def work(number: int) -> None:
        client = framing.OpenConnection(framing.FrameDecoder(True), True)
        for _ in range(300):
            assert unmasked(client.send(text))[0][1] == "h\xe9llo".encode()
            assert unmasked(client.send(data))[0][1] == data.data
            assert hash(close) == hash(close.response())
            assert close == close.response()
            assert (
                repr(text)
                == "TextMessage(data='h\xe9llo', frame_finished=True, message_finished=True)"
            )

    together(work)
    assert [sys.getrefcount(event) for event in (text, data, close)] == before


def test_the_pool_of_keys(framing: ModuleType) -> None:
    drawn = together(lambda _: [framing.new_mask_key() for _ in range(3000)])
    keys = [key for part in drawn for key in part]
    assert len(keys) - len(set(keys)) < 10  # 18,000 of 2**32: a repeat is rare, ten are none


def test_one_decoder_for_all(framing_c: ModuleType) -> None:
    """Nobody should; but then each event is taken once, and no memory is misused."""
    decoder = framing_c.FrameDecoder(True)
    numbers = range(30_000)
    stream = b"".join(frame(0x82, number.to_bytes(4, "big")) for number in numbers)
    step = 6 * 50

    def work(number: int) -> list[bytes]:
        if number == 0:
            for start in range(0, len(stream), step):
                decoder.receive_data(stream[start : start + step])
            return []
        taken: list[bytes] = []
        for _ in range(200):
            taken += [event.data for event in decoder]
        return taken

    taken = [data for part in together(work) for data in part]
    taken += [event.data for event in decoder]
    assert sorted(taken) == [number.to_bytes(4, "big") for number in numbers]


def test_one_buffer_for_all(framing_c: ModuleType) -> None:
    """Masking in place an even number of times changes nothing, if no thread's write is lost."""
    room = bytearray(range(256)) * 8

    def work(number: int) -> None:
        for _ in range(500):
            framing_c.apply_mask_inplace(room, KEY)

    together(work)
    assert room == bytearray(range(256)) * 8
