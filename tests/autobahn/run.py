"""Run the Autobahn TestSuite against the programs beside this file: `make autobahn`.

The suite is the program `wstest`, which runs on Python 2.7 only and is therefore no dependency: the
variable WSTEST names it, or it is found on PATH. Exit status: 0 all is well, 1 a case fell short, 2
there is no wstest or a server did not start.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SERVERS = {"core": HERE / "core_server.py", "trio": HERE / "trio_server.py"}
CLIENTS = {"core-client": HERE / "core_client.py", "trio-client": HERE / "trio_client.py"}

#: All but performance (9), and of compression only enough to see that it is negotiated and obeyed.
QUICK = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
QUICK += ["12.1.1", "12.1.2", "12.1.3", "12.1.4", "13.1.1", "13.1.2"]
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
#: How long the suite may take for one server, in seconds; all of it needs a quarter of an hour.
LIMIT = 3600.0

HOW_TO_GET_IT = """\
make autobahn needs `wstest`, the program of the Autobahn TestSuite, which runs on Python 2.7 only:
  python3 -m venv /tmp/v && /tmp/v/bin/pip install 'virtualenv<20.22'
  /tmp/v/bin/virtualenv -p python2.7 ~/autobahn && ~/autobahn/bin/pip install autobahntestsuite
  make autobahn WSTEST=~/autobahn/bin/wstest"""


def shortcomings(index: dict[str, dict[str, Any]], wanted: Sequence[str]) -> list[str]:
    """Judge the suite's report.

    Args:
        index: What `wstest` wrote into index.json: {agent: {case: verdicts}}.
        wanted: The patterns of the cases that were asked for.

    Returns:
        A line for each case that fell short, and for each pattern of which no case was run.
    """
    found = []
    cases = [(case, result) for results in index.values() for case, result in results.items()]
    for case, result in sorted(cases, key=lambda pair: [int(part) for part in pair[0].split(".")]):
        if result["behavior"] not in GOOD or result["behaviorClose"] not in GOOD:
            found.append(f"{case}: {result['behavior']}, close: {result['behaviorClose']}")
    for pattern in wanted:
        if not any(fnmatch.fnmatchcase(case, pattern) for case, _ in cases):
            found.append(f"{pattern}: no case of it was run")
    return found


@contextmanager
def echo_server(name: str, log: Path) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run an echo server and give its port and process.

    Raises:
        RuntimeError: It ended before it listened.
    """
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, str(SERVERS[name])], stdout=subprocess.PIPE, stderr=errors, text=True
        ) as server,
    ):
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            if not line.startswith("listening on "):
                raise RuntimeError(f"the echo server {name} did not start; see {log}")
            yield int(line.rsplit(maxsplit=1)[1]), server
        finally:
            server.kill()


def run_suite(argv: Sequence[str], out: Path) -> int:
    """Run `wstest`, showing every five seconds how far it is, and return its exit status."""
    ends = time.monotonic() + LIMIT
    with (
        (out / "wstest.log").open("w") as words,
        subprocess.Popen(argv, stdout=words, stderr=subprocess.STDOUT, cwd=out) as suite,
    ):
        while time.monotonic() < ends:
            try:
                return suite.wait(5)
            except subprocess.TimeoutExpired:
                log = (out / "wstest.log").read_text(errors="replace")
                print(f"  … {log.count('Running test case')} cases", flush=True)
        suite.kill()
    return 124


def free_port() -> int:
    """A port of the loopback that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def fuzz_server(name: str, wstest: str, cases: list[str], out: Path) -> list[str]:
    """Run the suite as a client of our server and list what went wrong with the run itself."""
    log = out / "server.log"
    with echo_server(name, log) as (port, server):
        spec = {
            "outdir": str(out),
            "servers": [{"agent": name, "url": f"ws://127.0.0.1:{port}/"}],
            "cases": cases,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        (out / "spec.json").write_text(json.dumps(spec))
        status = run_suite([wstest, "-m", "fuzzingclient", "-s", "spec.json"], out)
        alive = server.poll() is None
    found = [f"wstest ended with {status}; see {out / 'wstest.log'}"] if status else []
    if not alive:
        found.append(f"the server ended; see {log}")
    if "Traceback" in log.read_text():
        found.append(f"the server printed a traceback; see {log}")
    return found


def fuzz_client(name: str, wstest: str, cases: list[str], out: Path) -> list[str]:
    """Run the suite as a server of our client and list what went wrong with the run itself."""
    port = free_port()
    spec = {
        "outdir": str(out),
        "url": f"ws://127.0.0.1:{port}",
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (out / "spec.json").write_text(json.dumps(spec))
    with (
        (out / "wstest.log").open("w") as words,
        (out / "client.log").open("w") as said,
        subprocess.Popen(
            # Without its page about the results, which would take port 8080.
            [wstest, "-m", "fuzzingserver", "-s", "spec.json", "--webport", "0"],
            stdout=words,
            stderr=subprocess.STDOUT,
            cwd=out,
        ) as suite,
    ):
        try:
            wait_until_it_listens(port)
            ran = subprocess.run(
                [sys.executable, str(CLIENTS[name]), str(port)],
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=LIMIT,
                check=False,
            )
        finally:
            suite.kill()
    ended = f"the client ended with {ran.returncode}; see {out / 'client.log'}"
    return [ended] if ran.returncode else []


def wait_until_it_listens(port: int) -> None:
    """Wait until somebody accepts at that port.

    Raises:
        RuntimeError: Nobody did for 30 seconds.
    """
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise RuntimeError(f"wstest does not listen at port {port}")


def judge(name: str, wstest: str, cases: list[str], out: Path) -> list[str]:
    """Run the suite against one of our programs and list what fell short."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    problems = (fuzz_server if name in SERVERS else fuzz_client)(name, wstest, cases, out)
    index = out / "index.json"
    report = json.loads(index.read_text()) if index.exists() else {}
    found = shortcomings(report, cases) + problems
    tally = Counter(
        result["behavior"] for results in report.values() for result in results.values()
    )
    print(
        f"  {tally.total()} cases: " + ", ".join(f"{n} {what}" for what, n in tally.most_common())
    )
    return found


def main() -> int:
    """Run the cases asked for against the programs asked for."""
    parser = argparse.ArgumentParser(description="Run the Autobahn TestSuite.")
    subjects = [*SERVERS, *CLIENTS]
    parser.add_argument("--of", choices=subjects, action="append", help="default: each of them")
    parser.add_argument(
        "--cases", default="quick", help='"quick" (the default), "all", or patterns as 5.*,12.1.1'
    )
    parser.add_argument("--reports", type=Path, default=ROOT / "reports" / "autobahn")
    options = parser.parse_args()
    wstest = shutil.which(os.path.expanduser(os.environ.get("WSTEST") or "wstest"))
    if wstest is None:
        print(HOW_TO_GET_IT, file=sys.stderr)
        return 2
    cases = {"quick": QUICK, "all": ["*"]}.get(options.cases) or options.cases.split(",")
    failed = False
    for name in options.of or subjects:
        began = time.monotonic()
        print(f"{name}: {options.cases}", flush=True)
        try:
            found = judge(name, wstest, cases, options.reports / name)
        except RuntimeError as exc:
            print(exc, file=sys.stderr)
            return 2
        for line in found:
            print(f"  {line}")
        print(f"  {'FELL SHORT' if found else 'passed'} in {time.monotonic() - began:.0f} s")
        failed |= bool(found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
