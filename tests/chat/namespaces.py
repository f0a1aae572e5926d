"""Network namespaces of Linux, in which programs have networks of their own that can be parted.

All of it lies around a namespace in the middle: the machine's own network stays as it is, since
browsers that other tests run ask again for everything when that changes.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import NamedTuple

import pytest

_CLONE_NEWNET = 0x40000000  # setns(2)
_numbers = count()


class Namespace:
    """A namespace with nothing in it but what 127.0.0.1 needs."""

    def __init__(self) -> None:
        self.name = f"wscore-{os.getpid()}-{next(_numbers)}"
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "set", "lo", "up")

    @property
    def within(self) -> Sequence[str]:
        """What a command has to begin with to run here."""
        return "ip", "netns", "exec", self.name

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets that this thread makes in the block are of this namespace, and remain so."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            inside = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
            try:
                _enter(inside)
            finally:
                os.close(inside)
            try:
                yield
            finally:
                _enter(outside)
        finally:
            os.close(outside)

    def delete(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)


class Link(NamedTuple):
    """Two ends of a cable: one in the middle, one in the namespace of a process."""

    middle: Namespace
    device: str
    here: str
    there: str

    def part(self) -> None:
        """Pull the plug in the middle: what is sent there goes nowhere, and nobody is told."""
        _ip("-n", self.middle.name, "link", "set", self.device, "down")

    def join(self) -> None:
        _ip("-n", self.middle.name, "link", "set", self.device, "up")


class Place(NamedTuple):
    """A namespace with a link over which it is reached, and one over which it reaches Redis."""

    namespace: Namespace
    clients: Link
    redis: Link


@contextmanager
def places(how_many: int) -> Iterator[tuple[Namespace, list[Place]]]:
    """The one in the middle and those around it; where that is forbidden, the test is skipped."""
    assert shutil.which("ip"), "ip is missing: apt-get install iproute2"
    made: list[Namespace] = []
    try:
        try:
            for _ in range(1 + how_many):
                made.append(Namespace())
            middle, *others = made
            found = [
                Place(one, *(_link(middle, one, 2 * number + end) for end in (0, 1)))
                for number, one in enumerate(others)
            ]
        except _Refused as error:
            pytest.skip(f"this machine gives us no network namespaces: {error}")
        yield middle, found
    finally:
        for namespace in made:
            namespace.delete()


def _link(middle: Namespace, other: Namespace, number: int) -> Link:
    # Of the block for tests of networks (RFC 2544).
    here, there = f"198.18.{number}.1", f"198.18.{number}.2"
    device, peer = f"m{number}", f"p{number}"
    ends = ("type", "veth", "peer", "name", peer, "netns", other.name)
    _ip("-n", middle.name, "link", "add", device, *ends)
    for namespace, end, address in (middle, device, here), (other, peer, there):
        _ip("-n", namespace.name, "addr", "add", f"{address}/30", "dev", end)
        _ip("-n", namespace.name, "link", "set", end, "up")
    return Link(middle, device, here, there)


def _enter(descriptor: int) -> None:
    # `os.setns` is there from Python 3.12 on.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class _Refused(Exception):
    """The system does not let us."""


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise _Refused(f"ip {' '.join(words)}: {done.stderr.strip()}")
