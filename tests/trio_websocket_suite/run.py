"""Runs trio-websocket's own tests, from its source distribution, with `wscore.trio` in its place.

The distribution comes through pip; set TRIO_WEBSOCKET_SDIST to a file to take that one. Exit status
0 only if exactly the tests listed below fail: each is an intended difference, with its reason.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

VERSION = "0.12.2"
LIMIT = 15  # seconds for a test; some wait for ever where they fail
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


def fetch(folder: Path) -> Path:
    """Unpacks the distribution and returns the folder that holds its tests."""
    given = os.environ.get("TRIO_WEBSOCKET_SDIST")
    if given is None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", ":all:", "--no-build-isolation", "--dest", str(folder)]
        subprocess.run([*command, f"trio-websocket=={VERSION}"], check=True)
        given = str(next(folder.glob("trio_websocket-*.tar.gz")))
    with tarfile.open(given) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.glob("trio_websocket-*/tests")).parent


def alias() -> None:
    """Makes `import trio_websocket` mean `wscore.trio`."""
    import wscore.trio

    private = types.ModuleType("trio_websocket._impl")
    vars(private).update(vars(wscore.trio), _TRIO_EXC_GROUP_TYPE=BaseExceptionGroup)
    vars(wscore.trio)["_impl"] = private
    sys.modules["trio_websocket"] = wscore.trio
    sys.modules["trio_websocket._impl"] = private


@pytest.fixture(autouse=True)
def _limit_of_real_time() -> Iterator[None]:
    def give_up(signum: int, frame: types.FrameType | None) -> None:
        raise TimeoutError(f"the test took more than {LIMIT} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)


def main() -> int:
    """Runs the suite and compares its failures with the table."""
    with tempfile.TemporaryDirectory() as scratch:
        root = fetch(Path(scratch))
        command = [
            sys.executable,
            "-c",
            "import run, pytest; run.alias(); raise SystemExit(pytest.main(plugins=[run]))",
        ]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path.cwd())]),
            "PYTEST_ADDOPTS": (
                "-q -rf --tb=line -p no:cacheprovider -c /dev/null --rootdir ."
                " -o trio_mode=true tests"
            ),
        }
        ran = subprocess.run(
            command, cwd=root, env=environment, text=True, capture_output=True, check=False
        )
    print(ran.stdout, ran.stderr, sep="")
    failed = {match.split("::", 1)[1] for match in re.findall(r"^FAILED (\S+)", ran.stdout, re.M)}
    passed = re.search(r"(\d+) passed", ran.stdout)
    for name in sorted(failed - INTENDED.keys()):
        print(f"fails, but should pass: {name}")
    for name in sorted(INTENDED.keys() - failed):
        print(f"passes, but is listed as an intended difference: {name}")
    for name in sorted(INTENDED.keys() & failed):
        print(f"intended difference: {name}: {INTENDED[name]}")
    return int(failed != INTENDED.keys() or passed is None or int(passed[1]) < 45)


if __name__ == "__main__":
    sys.exit(main())
