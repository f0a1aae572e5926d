"""What figures depend on: machine, interpreter, revision, twin, load; imports nothing here."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

from wscore import __version__
from wscore._framing import IMPLEMENTATION, KERNEL


def surroundings(peers: Mapping[str, str]) -> dict[str, str]:
    """Describe what the figures depend on: machine, interpreter, revision, twin, peers."""
    return {
        "machine": f"{cpu_name()}, {os.cpu_count()} cores, {platform.system()}",
        "load": load(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "wscore": f"{__version__} ({revision()}), {IMPLEMENTATION} twin, mask kernel {KERNEL}",
        **peers,
    }


def load() -> str:
    """Say how busy the machine is, over 1, 5 and 15 minutes."""
    if not hasattr(os, "getloadavg"):
        return "unknown"
    return ", ".join(f"{average:.2f}" for average in os.getloadavg())


def cpu_name() -> str:
    """Name the processor as the system does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def revision() -> str:
    """Name the commit that is measured, `+` where files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no revision"
