"""The fuzzed properties hold for the inputs that fuzzing begins with; planted bugs break them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def fuzz(framing_c: ModuleType) -> Any:
    """The modules beside this file, which compare the twins and so need both."""
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        import seeds
        import targets
    finally:
        sys.path.pop(0)

    def run(target: str) -> int:
        inputs = seeds.seeds(target)
        for data in inputs:
            targets.run(target, data)
        return len(inputs)

    return run


@pytest.mark.parametrize("target", ["frames", "handshake", "negotiation"])
def test_the_seeds_hold(fuzz: Callable[[str], int], target: str) -> None:
    assert fuzz(target) > 50


def drop_the_phase(decoder: Any, real: Any) -> bytes:
    decoder._phase = 0
    return bytes(real(decoder))


def go_on_behind_a_close(decoder: Any, real: Any) -> Any:
    event = real(decoder)
    decoder._closed = False
    return event


def hoard(decoder: Any, real: Any) -> Any:
    decoder.__dict__.setdefault("hoard", []).append(bytes(5000))
    return real(decoder)


@pytest.mark.parametrize(
    ("method", "bug", "found"),
    [
        ("_take", drop_the_phase, "1: the twins differ"),
        ("__next__", go_on_behind_a_close, "1: the twins differ"),
        ("__next__", hoard, "5: .* bytes held"),
    ],
)
def test_a_planted_bug_is_found(
    fuzz: Callable[[str], int],
    method: str,
    bug: Callable[[Any, Any], Any],
    found: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from wscore import _framing_py

    real = getattr(_framing_py.FrameDecoder, method)
    monkeypatch.setattr(_framing_py.FrameDecoder, method, lambda decoder: bug(decoder, real))
    with pytest.raises(AssertionError, match=found):
        fuzz("frames")
