"""The benchmarks stay runnable and honest; no time is asserted here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # at the end: wscore itself stays the installed one

from benchmarks import _harness, connection, masking  # noqa: E402
from benchmarks._harness import Contender, Goal, Row, UnequalWork  # noqa: E402

TABLES = {**masking.TABLES, **connection.TABLES}


@pytest.mark.parametrize("title", TABLES)
def test_every_contender_of_every_row_does_the_work(title: str) -> None:
    for row in TABLES[title]():
        _harness.check_work(row)
        assert sum(contender.result is not None for contender in row.contenders) >= 2


def contender(name: str, result: Callable[[], object] | None) -> Contender:
    return Contender(name, "pass", {}, result=result)


def test_a_contender_that_does_not_do_the_work_is_an_error() -> None:
    honest, limit = contender("wscore", lambda: b"\x05\x06"), contender("copy", None)
    _harness.check_work(Row("mask", [honest, limit], b"\x05\x06"))
    for lazy in (contender("peer", lambda: b"\x01\x02"), contender("wscore", lambda: None)):
        with pytest.raises(UnequalWork, match=f"mask: {lazy.name} does not do the work"):
            _harness.measure(Row("mask", [honest, lazy], b"\x05\x06"), turns=1, seconds=1e-6)


def test_a_receiver_that_loses_a_message_is_found() -> None:
    row = connection.receive_row("server", connection.TEXT_32, "frame a call")
    short = Row(row.label, row.contenders, [connection.TEXT_32.data])
    with pytest.raises(UnequalWork):
        _harness.check_work(short)


@pytest.mark.parametrize(
    ("goal", "reached", "missed"),
    [
        (Goal("peer", "faster", 50), (50.0, 0.0), (49.9, 0.0)),
        (Goal("peer", "of", 1.25), (0.8, 0.0), (0.7, 0.0)),
        (Goal("peer", "over", 5), (1.0, 5.0), (1.0, 5.1)),
    ],
)
def test_a_goal_can_be_met_and_missed(
    goal: Goal, reached: tuple[float, float], missed: tuple[float, float]
) -> None:
    assert goal.judge(*reached).met
    assert not goal.judge(*missed).met
    assert "NOT MET" in str(goal.judge(*missed))


def test_the_command_prints_a_table_and_writes_the_figures(tmp_path: Path) -> None:
    figures = tmp_path / "run.json"
    fast = ["--turns", "1", "--seconds", "0.0001", "--match", "16 B", "--json", str(figures)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "masking", *fast],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "goals met" in done.stdout
    tables = json.loads(figures.read_text(encoding="utf-8"))["tables"]
    assert [row["label"] for row in tables["masking in place"]] == ["in place, 16 B"]
    assert tables["masking in place"][0]["nanoseconds"]["wscore"] > 0
