"""What all tests of the transport share: a limit of real time, and the two kinds of wire."""

from __future__ import annotations

import itertools
import os

import pytest
import transport.peer
from time_limit import time_limit
from transport.peer import socket_pair
from trio.testing import memory_stream_pair

LIMIT = 60


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call():
    """A test which waits in vain fails, and does not hang."""
    with time_limit(LIMIT):
        return (yield)


@pytest.fixture
def new_sockets():
    """Make pairs as `socket_pair` does, and close what the test leaves open."""
    opened = []

    def pair(**options):
        opened.append(socket_pair(**options))
        return opened[-1]

    yield pair
    for stream in itertools.chain(*opened):
        if stream.socket.fileno() >= 0:
            os.close(stream.socket.detach())


@pytest.fixture(params=["streams", "sockets"])
def any_wire(request, monkeypatch, new_sockets):
    """Run the test over memory streams and over sockets: two ways to bytes, with one behaviour."""
    pair = {"streams": memory_stream_pair, "sockets": new_sockets}[request.param]
    monkeypatch.setattr(transport.peer, "new_pair", pair)
