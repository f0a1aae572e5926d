"""The benchmarks of several processes on one Redis, and what is reckoned from them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # at the end: wscore itself stays the installed one

from benchmarks import _modelled, engine, model  # noqa: E402
from benchmarks.__main__ import main  # noqa: E402
from benchmarks._harness import US, Timing, UnequalWork  # noqa: E402
from benchmarks._report import amount  # noqa: E402
from benchmarks._results import Run, read, rows_of  # noqa: E402
from benchmarks.engine import KINDS, SQLITE, Fleet, Talk  # noqa: E402
from benchmarks.load import Load, LoadUnavailable, build  # noqa: E402
from benchmarks.servers.redis_server import Redis  # noqa: E402
from wscore.chat.backends import redis_news  # noqa: E402
from wscore.chat.backends.redis_script import CHAT  # noqa: E402
from wscore.chat.backends.redis_shards import Shards  # noqa: E402

try:
    build()
except LoadUnavailable as unavailable:
    if os.environ.get("WSCORE_REQUIRE_EXT") == "1":  # there has to be a compiler
        raise
    pytest.skip(str(unavailable), allow_module_level=True)

RESULTS = ROOT / "benchmarks" / "results" / "engine.json"
GUIDE = ROOT / "docs" / "several-processes.md"
BLINK = Timing(turns=1, seconds=1e-3)


@pytest.fixture(scope="module")
def run() -> Run:
    return read(RESULTS)


# --- Measuring ------------------------------------------------------------------------------


def test_every_row_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "TALKS", (Talk(1, 5), Talk(3, 9)))
    sizes = {"CROWD": 7, "IDLE": 20, "KEPT": 200, "CHANGED": 10, "ROUND": 0.1, "WATCHED": 0.5}
    for name, size in sizes.items():
        monkeypatch.setattr(engine, name, size)
    rows = {outcome.label: outcome for _, outcome in engine.outcomes([], BLINK, lambda _: True)}
    assert list(rows) == engine.labels()
    contenders = [US, "2 processes", "4 processes", SQLITE]
    for talk in engine.TALKS:
        for kind, (unit, has_sqlite) in KINDS.items():
            outcome = rows[talk.label(kind)]
            assert list(outcome.values) == contenders[: 3 + has_sqlite]
            assert outcome.unit == unit
            assert all(value > 0 for value in outcome.values.values())
    assert list(rows[engine.fast()].values) == contenders


@pytest.mark.parametrize("processes", engine.PROCESSES)
def test_one_call_stores_a_post_and_each_other_process_reads_it(processes: int) -> None:
    """And nothing else is counted: the share of what a stall adds is small in so many posts."""
    posts, talk = 200, Talk(1, 5)
    with ExitStack() as stack:
        fleet = Fleet.started(stack, processes)
        fleet.fill(talk)
        before = fleet.taken()
        fleet.talk(talk, posts)
        calls = fleet.taken().since(before).calls / posts
        # Who reads late reads several posts at once.
        assert 0.99 <= calls < processes + 0.5


def test_nothing_is_asked_where_nothing_is_said() -> None:
    """No heartbeat falls into a post, neither that of logs nor that of presence."""
    with ExitStack() as stack:
        fleet = Fleet.started(stack, 4)
        assert fleet.redis is not None
        fleet.fill(Talk(1, 5))
        for _ in range(10):  # at first there is something to be told of those who came
            before = fleet.redis._info()["cmdstat_evalsha"]
            fleet.load.wait(5)  # of what was every two seconds
            if fleet.redis._info()["cmdstat_evalsha"] == before:
                break
        else:
            pytest.fail("there is always something to be asked")


def test_a_match_leaves_the_rest_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "TALKS", (Talk(1, 5), Talk(1, 6)))
    label = Talk(1, 5).label("CPU of Redis")
    rows = [o.label for _, o in engine.outcomes([], BLINK, lambda row: row == label)]
    assert rows == [Talk(1, 5).label(kind) for kind in KINDS]


def test_what_is_not_delivered_to_all_is_found() -> None:
    with ExitStack() as stack:
        fleet = Fleet.started(stack, 2)
        impatient = stack.enter_context(Load(fleet.ports[0], stall=0.5))
        fleet = replace(fleet, load=impatient)
        fleet.fill(Talk(2, 5))
        assert fleet.talk(Talk(2, 5), 4).done == 20
        with pytest.raises(UnequalWork, match="2 processes does not do the work"):
            fleet.talk(Talk(2, 6), 4)


def test_asking_redis_is_not_counted() -> None:
    with Redis() as redis:
        redis.figures()
        first, second = redis.figures(), redis.figures()
    assert first._replace(memory=0) == second._replace(memory=0)


def test_a_redis_that_is_not_there_leaves_the_suite_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(LoadUnavailable, match="apt-get install redis-server"), Redis():
        pass


def test_a_number_has_no_unit() -> None:
    assert amount(14.0, "") == "14"


# --- Reckoning ------------------------------------------------------------------------------


def test_costs_are_found_from_what_they_make() -> None:
    features = [(1, n, n * n, n % 3) for n in range(1, 8)]
    costs = [5.0, 0.5, 2.0, 7.0]
    values = [sum(c * f for c, f in zip(costs, row, strict=True)) for row in features]
    assert model.fit(features, values) == pytest.approx(costs)


def test_no_cost_is_negative() -> None:
    features = [(1.0, float(n)) for n in range(1, 6)]
    found = model.fit(features, [10.0 - n for n in range(1, 6)])
    assert found[1] == 0
    assert found[0] > 0


def test_predictions_are_of_what_the_costs_were_not_found_from(run: Run, tmp_path: Path) -> None:
    points = model.points(run)
    assert len(points) == 12
    assert {p.processes for p in points if not p.is_fitted} == {2, 4}
    assert sum(p.is_fitted for p in points) == 6
    # Other figures there change no cost, and each prediction stays what it was.
    changed = json.loads(RESULTS.read_text())
    for rows in changed["tables"].values():
        for row in rows:
            if "4 processes" in row["values"]:
                row["values"]["4 processes"] *= 2 - ("calls" in row["label"])
    other = tmp_path / "changed.json"
    other.write_text(json.dumps(changed))
    doubled = read(other)
    before, after = (model.costs(each, all_points=False) for each in (run, doubled))
    assert before.shares == after.shares
    four = [check.error for check in model.checks(doubled) if check.point.processes == 4]
    assert all(error < -0.2 for error in four)


def test_what_was_measured_is_predicted(run: Run) -> None:
    """Within the noise of the row, or a quarter."""
    for check in model.checks(run):
        limit = max(check.noise, 0.25)
        assert abs(check.error) <= limit, (check.point.talk, check.point.processes, check.kind)


def test_a_chat_has_the_processes_that_it_needs(run: Run) -> None:
    costs = model.costs(run)
    before = 0
    for posts in (0.01, 0.1, 1, 10):
        need = model.need(costs, model.Chat(1_000_000, 10_000, posts), is_cluster=True)
        assert need.chat <= model.BUSY * need.processes
        assert need.processes >= 1_000_000 / model.CONNECTIONS
        assert need.processes > before or posts < 1
        assert 1 < need.readers < 100
        assert need.redis > need.redis_heartbeat > need.redis_inboxes
        before = need.processes
    single = model.need(costs, model.Chat(100, 1, 1))
    assert (single.processes, single.readers) == (1, 1)


def test_one_redis_is_enough_up_to_the_largest_chat(run: Run) -> None:
    costs = model.costs(run)
    most = model.largest(costs, 100, 0.1)
    for connections, is_enough in ((int(most * 0.9), True), (int(most * 1.2), False)):
        need = model.need(costs, model.Chat(connections, connections // 100, 0.1))
        assert (need.redis <= model.BUSY) is is_enough


def test_a_cluster_is_bounded_by_its_inboxes(run: Run) -> None:
    costs = model.costs(run)
    chat = model.Chat(costs.inboxes, costs.inboxes // 100, 1e-9)
    need = model.need(costs, chat, is_cluster=True)
    assert need.redis_inboxes == pytest.approx(model.BUSY, rel=0.1)
    assert need.redis_inboxes < need.redis


def test_silence_costs_little(run: Run) -> None:
    """A heartbeat does not look at what did not change."""
    costs = model.costs(run)
    one, ten = (
        model.need(costs, model.Chat(count, count // 100, 1e-9)) for count in (20_000, 200_000)
    )
    looks = (200_000 + 2_000 * ten.readers) / model.HEARTBEAT * costs.look.redis / 1e9
    assert ten.redis_heartbeat < looks / 20
    assert one.redis_heartbeat < ten.redis_heartbeat


def test_the_heartbeat_is_that_of_the_chat() -> None:
    assert model.HEARTBEAT == redis_news._HEARTBEAT
    assert model.ROUND == redis_news._ROUND
    assert f"local LOGS = {model.NOTED}\n" in CHAT
    assert len(Shards("chat", "", is_spread=True).all()) == model.SHARDS


def test_the_guide_says_what_the_program_makes(tmp_path: Path) -> None:
    page = tmp_path / "guide.md"
    page.write_text(GUIDE.read_text(encoding="utf-8"), encoding="utf-8")
    assert main(["model", str(RESULTS), "--markdown", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == GUIDE.read_text(encoding="utf-8")


def test_the_section_is_printed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", str(RESULTS)]) == 0
    assert capsys.readouterr().out == _modelled.section(run)


def test_what_cannot_be_reckoned_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    assert main(["model", str(RESULTS), "--markdown", str(page)]) == 2
    assert "lacks the lines" in capsys.readouterr().err
    assert main(["model", str(tmp_path / "none.json")]) == 2
    other = ROOT / "benchmarks" / "results" / "reference.json"
    if not any("engine" in title for title, _ in rows_of(read(other).tables)):
        assert main(["model", str(other)]) == 2
        assert "run the suite engine" in capsys.readouterr().err
