"""The benchmarks of servers stay runnable and honest; no time is asserted here."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection, serve

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # at the end: wscore itself stays the installed one

from benchmarks import (  # noqa: E402
    _live,
    _suites,
    chat,
    echo,
    embedding,
    fanout,
    goals,
    idle,
    servers,
)
from benchmarks._harness import US, Outcome, Timing, UnequalWork  # noqa: E402
from benchmarks._report import percent  # noqa: E402
from benchmarks.load import Done, Load, LoadError, LoadUnavailable, build  # noqa: E402
from benchmarks.payloads import JSON_1K  # noqa: E402
from benchmarks.servers import Program, Server, ServerError  # noqa: E402
from wscore.chat.model import Entry  # noqa: E402
from wscore.chat.protocol import encode_entry  # noqa: E402

try:
    build()
except LoadUnavailable as unavailable:
    if os.environ.get("WSCORE_REQUIRE_EXT") == "1":  # there has to be a compiler
        raise
    pytest.skip(str(unavailable), allow_module_level=True)

PROGRAMS, VERSIONS = servers.find()
BLINK = Timing(turns=1, seconds=1e-3)
RAW = next(program for program in PROGRAMS if program.raw)
LABELS = [*echo.labels(), *fanout.labels(), *idle.labels(), *chat.labels()]


def test_all_servers_of_the_extra_are_there() -> None:
    assert [program.name for program in PROGRAMS] == servers.NAMES, VERSIONS


@pytest.mark.parametrize(
    "program",
    [servers.US, *(program for program in PROGRAMS if program.echoes)],
    ids=lambda program: program.name,
)
def test_every_server_does_all_the_work(program: Program) -> None:
    with Server(program) as server, Load(server.wait_ready()) as load:
        load.open(3, raw=program.raw)
        assert load.echo(30, 32).done == 30
        assert load.echo(300, 125, 50).done == 300
        assert load.close().done == 3
        if not program.raw:
            assert load.connect(5, "/", 2).done == 5
            load.open(4, "/members")
            load.open(1, "/publish")
            assert load.publish(3, 128).done == 12
            load.close()
        if program.deflate:
            load.texts(str(message) for message in JSON_1K.messages[:20])
            load.open(2, deflate=True)
            assert load.deflate(50).done == 50
        elif not program.raw:
            with pytest.raises(LoadError, match="permessage-deflate was not accepted"):
                load.open(1, deflate=True)
        assert server.cpu() > 0
        assert server.memory() > 1 << 20


def test_settings_for_alike_compression_are_taken() -> None:
    for program in (servers.US, next(p for p in PROGRAMS if p.name == "websockets")):
        with Server(program, ["--deflate-alike"]) as server, Load(server.wait_ready()) as load:
            load.texts(["text"])
            load.open(1, deflate=True)
            load.deflate(2)


def test_the_cpu_time_is_that_of_the_server() -> None:
    with ExitStack() as stack:
        busy, idler = _live.stations(stack, [servers.US, RAW])
        rest = idler.server.cpu()
        busy.load.open(2)
        before = busy.server.cpu()
        busy.load.echo(2000, 32)
        assert busy.server.cpu() > before
        assert idler.server.cpu() - rest < 0.5 * (busy.server.cpu() - before)


def test_a_server_that_polls_is_halted_between_its_turns() -> None:
    with ExitStack() as stack:
        (at,) = _live.stations(stack, [replace(RAW, polls=True)])
        assert is_halted(at.server.pid)
        with _live.its_turn(at, "row"):
            at.load.open(1, raw=True)
            assert at.load.echo(2, 32).done == 2
        assert is_halted(at.server.pid)


def is_halted(pid: int) -> bool:
    """Whether a child is stopped, which it may be a moment after the signal."""
    state = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    return state is not None and state.si_status == signal.SIGSTOP


def test_a_server_that_does_other_work_ends_the_run() -> None:
    def other(load: Load, count: int) -> Done:
        return load.echo(count, 32)

    with ExitStack() as stack:
        found = _live.stations(stack, [servers.US, RAW])
        found[0].load.open(1)
        found[1].load.open(1, raw=True)
        _live.measure("row", found, other, 1, BLINK)
        os.kill(found[1].server.pid, signal.SIGKILL)
        with pytest.raises(UnequalWork, match="row: serve_tcp does not do the work: connection 0"):
            _live.measure("row", found, other, 1, BLINK)


def test_a_server_that_does_not_start_is_named_with_its_reason() -> None:
    broken = replace(RAW, name="broken", module="nothing")
    with (
        Server(broken) as server,
        pytest.raises(ServerError, match=r"broken did not start: .*No mod"),
    ):
        server.wait_ready()


@pytest.mark.parametrize("name", embedding.ALL)
def test_what_was_written_for_wsproto_does_the_work_on_both(name: str) -> None:
    (label,) = [
        label for label in embedding.labels() if label == f"{name}: echo 32 B, 64 pipelined"
    ]
    ((_, outcome),) = embedding.outcomes((), BLINK, lambda row: row == label)
    assert list(outcome.values) == [US, "wsproto"]
    assert outcome.peers == ["wsproto"]


def test_compression_is_measured_where_it_is_negotiated() -> None:
    compressed = [label for label in embedding.labels() if "deflate" in label]
    assert {label.partition(":")[0] for label in compressed} == {
        *("hypercorn on trio", "hypercorn on asyncio", "uvicorn", "simple-websocket")
    }


def test_a_client_without_a_websocket_server_ends_the_run() -> None:
    ours, _ = embedding.pair(embedding.CLIENTS["httpx-ws, a client"])
    with Server(RAW) as server, embedding.Client(ours, server.wait_ready(), 0) as client:
        at = _live.Station(client, client)
        with (
            pytest.raises(UnequalWork, match="row: wscore does not do the work"),
            _live.its_turn(at, "row"),
        ):
            client.open(1)


def test_a_client_compares_what_comes_back(anything_but_echo: int) -> None:
    ours, _ = embedding.pair(embedding.CLIENTS["httpx-ws, a client"])
    with embedding.Client(ours, anything_but_echo, 0) as client:
        client.open(1)
        with pytest.raises(LoadError, match=r"connection 0: '0 0 x+!' came back for '0 0 x+'"):
            client.echo(1, 32)


@pytest.fixture
def anything_but_echo() -> Iterator[int]:
    """The port of a server that changes what it sends back."""

    def change(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(f"{message}!")

    with serve(change, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


def test_a_server_on_the_other_core_is_not_measured() -> None:
    wrong = replace(embedding.SERVERS["uvicorn"], arguments=("--core", US))
    with (
        Server(wrong) as server,
        pytest.raises(ServerError, match="did not start: runs on wsproto, not on wscore"),
    ):
        server.wait_ready()


def test_a_server_that_cannot_run_is_left_out_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = Program("missing", "nothing", ("nothing",))
    monkeypatch.setattr(servers, "PEERS", [RAW, missing, PROGRAMS[-1]])
    found, facts = servers.find([RAW.name, "missing"])
    assert found == [RAW]
    assert facts["missing"].startswith("not installed, left out (ModuleNotFoundError: No module")
    assert facts[PROGRAMS[-1].name] == "not asked for, left out"


def measured(suite: object, *programs: Program) -> dict[str, Outcome]:
    found = suite.outcomes(programs, BLINK, lambda label: True)  # type: ignore[attr-defined]
    return {outcome.label: outcome for _, outcome in found}


def test_every_row_of_the_echo_suite_is_measured() -> None:
    rows = measured(echo, RAW)
    assert list(rows) == echo.labels()
    for row in echo.ROWS:
        outcome = rows[row.label]
        assert list(outcome.values) == [US, RAW.name][: 1 + row.takes(RAW)]
        assert outcome.peers == []  # it is a limit
        assert all(value > 0 for value in outcome.values.values())


def test_a_row_is_done_by_those_who_can() -> None:
    plain, compressed = echo.ROWS[0], next(row for row in echo.ROWS if row.deflate)
    assert all(plain.takes(program) for program in PROGRAMS)
    assert {program.name for program in PROGRAMS if compressed.takes(program)} == {
        *("websockets", "hypercorn", "aiohttp", "socketify")
    }
    assert RAW not in [program for program in PROGRAMS if echo.ROWS[-1].takes(program)]


def test_every_row_of_the_fan_out_suite_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "MEMBERS", (3, 7))
    picows = next(program for program in PROGRAMS if program.name == "picows")
    rows = measured(fanout, RAW, picows)
    assert list(rows) == fanout.labels()
    for outcome in rows.values():
        assert set(outcome.values) == {US, "picows", "send() loop"}
        assert set(outcome.peers) == {"picows"}  # the loop is a limit, no peer


def test_the_memory_of_idle_connections_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "CONNECTIONS", 300)
    monkeypatch.setattr(idle, "WARM_UP", 5)
    trio_websocket = next(program for program in PROGRAMS if program.name == "trio-websocket")
    assert idle.held("row", servers.US, True) > 500
    assert idle.held("row", trio_websocket, False) > 5000


def test_every_row_of_the_chat_suite_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"POSTERS": (1, 3), "MEMBERS": (3, 7), "FEW": 2, "MANY": 4, "SHORT": 10, "LONG": 100}
    for name, size in {**sizes, "MISSED": 500, "TRIES": 1, "JOINERS": 2, "WARM_UP": 2}.items():
        monkeypatch.setattr(chat, name, size)
    chats = [program for program in PROGRAMS if program.chat]
    rows = measured(chat, RAW, *chats)
    assert list(rows) == chat.labels()
    limits = {US, "memory", "one sync"}
    for label, outcome in rows.items():
        if label.startswith("batch"):
            assert set(outcome.values) == {*limits, "one page"}
        if label.startswith("posts"):
            assert set(outcome.values) == {*limits, "channels", "gevent-ws", "python-socketio"}
        if label.startswith("room"):
            assert set(outcome.values) == {US, "memory", "broadcast"}
        assert all(value > 0 for value in outcome.values.values()), label


def test_pushes_of_the_chat_are_as_large_as_the_bare_messages() -> None:
    entry = Entry(1234, "u1000", None, chat.TEXT, 1_700_000_000_000, "12345")
    assert abs(len(encode_entry(entry, "r")) - chat.SIZE) < 5


def test_a_keepalive_that_does_not_ping_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "PATIENCE", 1)
    with ExitStack() as stack:
        (at,) = _live.stations(stack, [servers.US])
        at.load.open(1)
        with pytest.raises(UnequalWork, match="the keepalive of wscore does not ping"):
            idle.cpu_of_a_ping(at, 1)


def test_connections_are_as_many_as_there_may_be_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (1024, 4096))
    assert _live.affordable(1000) == 1000
    assert _live.affordable(10_000) == 3996
    assert idle.many(idle.HELD) == "3,996 idle: a connection"
    assert _live.surroundings(10_000)["descriptors"].endswith("3,996 connections, not 10,000")
    assert "descriptors" not in _live.surroundings(3996)


def test_it_is_said_where_servers_and_load_share_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3})
    assert _live.cores() == (3, 3)
    assert "servers on 3, load on 3: the same" in _live.surroundings(1)["cores"]
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {5, 2, 4})
    assert _live.surroundings(1)["cores"] == "servers on 2, load on 5"


def test_the_suites_of_servers_have_their_goals() -> None:
    assert list(_suites.SERVERS) == ["echo", "fanout", "idle", "embedding", "chat", "engine"]
    assert set(_suites.SERVERS) <= set(_suites.NAMES)
    assert len(set(goals.GOALS) & set(LABELS)) == 18


def test_a_figure_without_a_noise_has_none_printed() -> None:
    assert percent(0.0) == ""
    assert percent(0.031) == "3%"


def test_the_command_measures_servers_and_writes_the_figures(tmp_path: Path) -> None:
    figures = tmp_path / "run.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "--suite", "echo", "--peers", "serve_tcp"),
            *("--turns", "2", "--seconds", "0.001", "--match", "10 conn", "--json", str(figures)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "serve_tcp server: trio" in done.stdout
    assert "hypercorn server: not asked for, left out" in done.stdout
    assert "≤ 0.75x serve_tcp" in done.stdout
    ((row,),) = json.loads(figures.read_text(encoding="utf-8"))["tables"].values()
    assert row["label"] == "echo 32 B, 10 connections"
    assert set(row["values"]) == {"wscore", "serve_tcp"}


def test_without_a_compiler_the_suites_of_servers_are_left_out() -> None:
    code = (
        "from benchmarks import load, __main__\n"
        "from pathlib import Path\n"
        "import sys, tempfile\n"
        "load.FOLDER = Path(tempfile.mkdtemp())\n"
        "sys.exit(__main__.main(['--suite', 'idle', '--peers', 'serve_tcp']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"CC": "/bin/false", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"idle: left out: load-\w+ does not compile", done.stderr), done.stderr
