"""The proof that a test shows what wsproto does wrong: it must fail with wsproto in our place."""

from __future__ import annotations

import functools
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from packages import WSCORE, WSPROTO

MASK = b"\x01\x02\x03\x04"
BOTH = pytest.mark.parametrize("lib", [WSCORE, WSPROTO], ids=["wscore", "wsproto"])


def better(why: str, fails_with: Any = AssertionError) -> Callable[[Any], Any]:
    """Runs a test on both packages; on wsproto it has to fail, in the way that is said."""

    def decorate(test: Any) -> Any:
        @pytest.mark.parametrize("lib", [WSCORE, WSPROTO], ids=["wscore", "not wsproto"])
        @functools.wraps(test)
        def on_both(*args: Any, lib: Any, **others: Any) -> None:
            if lib is WSCORE:
                test(*args, lib=lib, **others)
                return
            try:
                test(*args, lib=lib, **others)
            except fails_with:
                return
            pytest.fail(f"wsproto passes, so this is no longer true of it: {why}")

        return on_both

    return decorate


def take(connection: Any, *pieces: bytes) -> list[Any]:
    """Feeds the pieces one by one and takes the events after each."""
    events = []
    for piece in pieces:
        connection.receive_data(piece)
        events += list(connection.events())
    return events


def receive(connection: Any, pieces: list[bytes]) -> None:
    for piece in pieces:
        connection.receive_data(piece)


def one_by_one(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def data_of(events: list[Any]) -> list[Any]:
    """The messages of a stream of pieces."""
    messages, pending = [], None
    for event in events:
        if type(event).__name__ in ("TextMessage", "BytesMessage"):
            pending = event.data if pending is None else pending + event.data
            if event.message_finished:
                messages.append(pending)
                pending = None
    return messages


def closes(events: list[Any]) -> list[int]:
    return [event.code for event in events if type(event).__name__ == "CloseConnection"]


def held(work: Callable[[], object]) -> tuple[object, int, int]:
    """What the work returns, the bytes that this keeps, and the most that it took."""
    tracemalloc.start()
    try:
        result = work()
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return result, now, peak
