"""Servers written for wsproto, run on wscore unmodified, with clients of other makes.

Each is run on wsproto too, and nothing that a client or the application sees may be different.
"""

from __future__ import annotations

import pytest
from embedding.servers import SERVERS, check, observe


@pytest.mark.parametrize("name", SERVERS)
def test_server(name: str) -> None:
    server = SERVERS[name]
    ours = observe(server, "wscore")
    assert ours == observe(server, "wsproto")
    check(server, ours)
