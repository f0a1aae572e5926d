"""A headless Chromium for tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

PATIENCE = 90_000
"""Milliseconds until something awaited counts as missing: machines are slow, and stand still.

More than the longest pause before a page connects again."""

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """The system's Chromium; used by the thread that started it alone."""
    chromium = os.environ.get("WSCORE_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.fail(
            "no chromium: install it (Debian: apt-get install chromium), or set WSCORE_CHROMIUM to"
            " the path of a Chromium or Chrome"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=ARGUMENTS, timeout=PATIENCE
        )
        yield browser
        browser.close()
