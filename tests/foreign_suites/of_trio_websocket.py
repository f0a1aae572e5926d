"""Runs trio-websocket's own tests, from its source distribution, with `wscore.trio` in its place.

Exit status 0 only if exactly the tests listed below fail: each is an intended difference, with its
reason.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from suite import Suite

sys.path.append(str(Path(__file__).parents[1]))
from time_limit import time_limit

VERSION = "0.12.2"
LIMIT = 15  # seconds for a test
_PRIVATE = "reaches into private attributes of trio-websocket"
_STR = "str() tells the address here; repr() is the same"

#: The tests that must fail, and why.
INTENDED = {
    "test_endpoint_ipv4": _STR,
    "test_listen_port_ipv6": _STR,
    "test_client_open": "str() of a connection tells the peer's address here, not a number",
    "test_serve": "counts nurseries: a connection has no background task here",
    "test_client_open_invalid_ssl": "compares the texts of error messages",
    "test_client_open_url_options": _PRIVATE,
    "test_open_websocket_internal_ki": _PRIVATE,
    "test_open_websocket_internal_exc": _PRIVATE,
    "test_open_websocket_cancellations": _PRIVATE,
    "test_server_close_client_disconnect_race": _PRIVATE,
    "test_remote_close_local_message_race": _PRIVATE,
    "test_message_after_local_close_race": _PRIVATE,
    "test_server_tcp_closed_on_close_connection_event": _PRIVATE,
    "test_remote_close_rude": _PRIVATE,
    "test_client_close_timeout": (
        "a queue of 0 counts as 1 here, and a Close behind the message in it is answered"
    ),
    "test_handshake_exception_before_accept": (
        "an exception of a handler is logged here, and does not stop the server"
    ),
}


def alias() -> None:
    """Makes `import trio_websocket` mean `wscore.trio`."""
    import wscore.trio

    private = types.ModuleType("trio_websocket._impl")
    vars(private).update(vars(wscore.trio), _TRIO_EXC_GROUP_TYPE=BaseExceptionGroup)
    vars(wscore.trio)["_impl"] = private
    sys.modules["trio_websocket"] = wscore.trio
    sys.modules["trio_websocket._impl"] = private


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Iterator[None]:
    """Some tests wait for ever where they fail."""
    with time_limit(LIMIT):
        return (yield)


SUITE = Suite(
    "trio-websocket",
    VERSION,
    "of_trio_websocket",
    INTENDED,
    passing=45,
    pip_options=("--no-build-isolation",),
    pytest_options=("-o", "trio_mode=true"),
)

if __name__ == "__main__":
    sys.exit(SUITE.run())
