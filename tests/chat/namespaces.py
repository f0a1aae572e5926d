"""Network namespaces of Linux, in which programs have networks of their own that can be parted."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from itertools import count
from typing import NamedTuple

import pytest

_numbers = count()


class Link(NamedTuple):
    """Two ends of a cable: one in a namespace, one here."""

    device: str
    here: str
    there: str

    def part(self) -> None:
        """Pull the plug here: what is sent there goes nowhere, and nobody is told."""
        _ip("link", "set", self.device, "down")

    def join(self) -> None:
        _ip("link", "set", self.device, "up")


class Namespace:
    """A namespace with a link over which it is reached, and one over which it reaches Redis."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.clients = self._connect()
        self.redis = self._connect()

    @property
    def within(self) -> Sequence[str]:
        """What a command has to begin with to run here."""
        return "ip", "netns", "exec", self._name

    def _connect(self) -> Link:
        number = next(_numbers)
        # Of the block for tests of networks (RFC 2544): four addresses for each link.
        place = int(IPv4Address("198.18.0.0")) + (os.getpid() * 64 + number * 4) % 2**17
        here, there = str(IPv4Address(place + 1)), str(IPv4Address(place + 2))
        device, peer = f"ws{os.getpid()}n{number}", f"p{number}"
        _ip("link", "add", device, "type", "veth", "peer", "name", peer, "netns", self._name)
        _ip("addr", "add", f"{here}/30", "dev", device)
        _ip("link", "set", device, "up")
        for words in (("addr", "add", f"{there}/30", "dev", peer), ("link", "set", peer, "up")):
            _ip("-n", self._name, *words)
        _ip("-n", self._name, "link", "set", "lo", "up")
        return Link(device, here, there)


@contextmanager
def namespaces(how_many: int) -> Iterator[list[Namespace]]:
    """Some namespaces, until the end of the block; where that is forbidden, the test is skipped."""
    assert shutil.which("ip"), "ip is missing: apt-get install iproute2"
    names = [f"wscore-{os.getpid()}-{next(_numbers)}" for _ in range(how_many)]
    try:
        try:
            for name in names:
                _ip("netns", "add", name)
            found = [Namespace(name) for name in names]
        except _Refused as error:
            pytest.skip(f"this machine gives us no network namespaces: {error}")
        yield found
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


class _Refused(Exception):
    """The system does not let us."""


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise _Refused(f"ip {' '.join(words)}: {done.stderr.strip()}")
