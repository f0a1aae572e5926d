"""What `make autobahn` relies on: its echo servers echo, and its verdict can be a bad one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from websockets.sync.client import connect

HERE = Path(__file__).parent


def load_runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("autobahn_run", HERE / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run = load_runner()


@pytest.mark.parametrize("name", ["core", "trio"])
def test_the_echo_server_echoes_compressed_and_survives_a_violation(
    name: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with run.echo_server(name, log) as (port, server):
        url = f"ws://127.0.0.1:{port}/"
        with connect(url, compression="deflate") as client:
            negotiated = [type(extension).__name__ for extension in client.protocol.extensions]
            assert negotiated == ["PerMessageDeflate"]
            for message in ("hello", "grüß Gott " * 9000, b"", bytes(range(256)) * 300):
                client.send(message)
                assert client.recv(timeout=20) == message
            client.send(["in ", "three ", "pieces"])
            assert client.recv(timeout=20) == "in three pieces"
        with connect(url) as client:
            client.socket.sendall(b"\xf3\x80\x00\x00\x00\x00")  # opcode 3 does not exist
            client.recv_events_thread.join(20)
            assert client.close_code == 1002
        with connect(url) as client:
            client.send("still there")
            assert client.recv(timeout=20) == "still there"
        assert server.poll() is None
    assert "Traceback" not in log.read_text()


def test_a_server_that_does_not_start_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no')")
    monkeypatch.setitem(run.SERVERS, "broken", broken)
    with (
        pytest.raises(RuntimeError, match="broken did not start"),
        run.echo_server("broken", tmp_path / "log"),
    ):
        pass


def verdicts(behavior: str = "OK", close: str = "OK") -> dict[str, str]:
    return {"behavior": behavior, "behaviorClose": close}


def test_a_clean_report_has_no_shortcomings() -> None:
    cases = {
        "1.1.1": verdicts(),
        "6.4.1": verdicts("NON-STRICT"),
        "7.1.6": verdicts(close="INFORMATIONAL"),
    }
    assert run.shortcomings({"core": cases}, ["1.*", "6.*", "7.1.6"]) == []


@pytest.mark.parametrize(
    ("index", "wanted", "named"),
    [
        ({"core": {"1.1.1": verdicts("FAILED")}}, ["1.*"], "1.1.1: FAILED, close: OK"),
        ({"core": {"1.1.1": verdicts(close="UNCLEAN")}}, ["1.*"], "1.1.1: OK, close: UNCLEAN"),
        (
            {"core": {"13.1.1": verdicts("UNIMPLEMENTED")}},
            ["13.*"],
            "13.1.1: UNIMPLEMENTED, close: OK",
        ),
        ({"core": {"1.1.1": verdicts()}}, ["1.*", "5.*"], "5.*: no case of it was run"),
        ({}, ["*"], "*: no case of it was run"),
    ],
)
def test_a_bad_report_is_one(
    index: dict[str, dict[str, dict[str, str]]], wanted: list[str], named: str
) -> None:
    assert run.shortcomings(index, wanted) == [named]


def test_without_the_suite_it_says_how_to_get_it() -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "run.py")],
        env=os.environ | {"WSTEST": str(HERE / "no-such-program")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "make autobahn WSTEST=" in done.stderr
