"""Fixtures of the whole suite; the main one runs a test once on each framing twin."""

from __future__ import annotations

import importlib
import os
import signal
from types import ModuleType

import pytest
from hypothesis import settings

# Time limits would fail tests for the machine's sake.
settings.register_profile("wscore", deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=2000)
# The same few each time: what is covered must not be chance.
settings.register_profile("coverage", deadline=None, max_examples=10, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "wscore"))

# A shell's background job ignores Ctrl-C, and so would every program that a test starts from there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REQUIRE_EXT = os.environ.get("WSCORE_REQUIRE_EXT", "") not in ("", "0")


def twin(name: str) -> ModuleType:
    """The framing twin of this name; a compiled one that is missing fails where it is required."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        if REQUIRE_EXT:
            pytest.fail("the compiled twin is missing: run `make build`")
        pytest.skip("the compiled twin was not built")


@pytest.fixture(scope="session", params=["wscore._framing_py", "wscore._framing_c"])
def framing(request: pytest.FixtureRequest) -> ModuleType:
    """Each framing twin in turn."""
    return twin(request.param)


@pytest.fixture(scope="session")
def framing_c() -> ModuleType:
    """The compiled twin."""
    return twin("wscore._framing_c")
