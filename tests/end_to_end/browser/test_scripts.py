"""The page's scripts without a browser: node runs their own tests."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from end_to_end.chat_page import ROOT


def test_logic_of_the_page_under_node() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.fail("no node: install it (Debian: apt-get install nodejs) to test the page's logic")
    files = sorted(str(path) for path in (ROOT / "tests" / "web").glob("*.test.mjs"))
    assert files, "tests/web holds no tests"
    done = subprocess.run([node, "--test", *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
