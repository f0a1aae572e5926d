"""An example as its users start it: in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import wscore

SECONDS = 60
"""Until something awaited counts as missing: machines are slow, and stand still."""


def environment() -> dict[str, str]:
    here = str(Path(wscore.__file__).parents[1])
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path}


@contextmanager
def started(name: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start an example's server and yield it with its host and port; it must end well by itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"wscore.examples.{name}", "--port", "0", *options],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"http://(127\.0\.0\.1:\d+)/\n", line)
        if found is None:
            process.kill()
        assert found, line + process.communicate()[1]
        yield process, found[1]
        _, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors, errors
    finally:
        process.kill()
        process.communicate()


@contextmanager
def running(name: str, *options: str) -> Iterator[str]:
    """Start an example's server and yield its host and port; it must end well at SIGTERM."""
    with started(name, *options) as (process, address):
        yield address
        process.send_signal(signal.SIGTERM)
