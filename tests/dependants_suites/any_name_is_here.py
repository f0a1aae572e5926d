"""A plugin for pytest: a host name that is not known is this machine.

Tests that look a name up and then connect to a stand-in can be run without a network with it.
"""

from __future__ import annotations

import socket
from typing import Any

_look_up = socket.getaddrinfo


def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
    """Look up this machine in place of what is not known."""
    try:
        return _look_up(host, *arguments, **options)
    except socket.gaierror:
        return _look_up("127.0.0.1", *arguments, **options)


socket.getaddrinfo = getaddrinfo
