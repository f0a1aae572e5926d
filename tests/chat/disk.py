"""Disks that are small, full, and read-only: real ones where we may mount, else by a limit."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something at a folder; skips where that is not allowed."""
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting needs more rights than we have: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class SmallDisk:
    """A file system of its own that can be filled to the brim."""

    SIZE = 1024 * 1024

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, pid: int) -> None:
        """Leave no room for the process."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in 4096, 1:
                try:
                    while ballast.write(b"x" * size) == size:
                        pass
                except OSError:
                    pass

    def free(self, pid: int) -> None:
        """Make room."""
        self._ballast.unlink()

    def forbid_writing(self) -> None:
        """Make it read-only; nobody may have a file open for writing."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.folder)], check=True)


class LimitedFiles:
    """Not a disk, but a process whose files must not grow; works without any rights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, pid: int) -> None:
        """Let no file of the process grow beyond the smallest."""
        self._limit(pid, 4096)

    def free(self, pid: int) -> None:
        """Take back the limit."""
        self._limit(pid, resource.prlimit(pid, resource.RLIMIT_FSIZE)[1])

    def _limit(self, pid: int, size: int) -> None:
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """A small disk mounted at a new folder."""
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", f"size={SmallDisk.SIZE}", "tmpfs"):
        yield SmallDisk(folder)
