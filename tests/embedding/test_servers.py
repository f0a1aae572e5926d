"""Servers written for wsproto, run on wscore unmodified, with clients of other makes.

Each is run on wsproto too, and nothing that a client or the application sees may be different,
but that a peer's violation is answered with a Close.
"""

from __future__ import annotations

import pytest
from embedding.servers import SERVERS, check, observe


@pytest.mark.parametrize("name", SERVERS)
def test_server(name: str) -> None:
    server = SERVERS[name]
    ours, theirs = observe(server, "wscore"), observe(server, "wsproto")
    check(server, ours)
    if not server.blunt:
        del ours["faults"]
    assert ours == theirs
