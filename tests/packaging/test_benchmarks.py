"""The benchmarks stay runnable and honest; no time is asserted here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # at the end: wscore itself stays the installed one

from benchmarks import (  # noqa: E402
    _harness,
    _report,
    _results,
    _suites,
    deflate,
    framing,
    goals,
    growth,
    masking,
    peers,
    receiving,
    sending,
)
from benchmarks._harness import US, Contender, Outcome, Row, Timing, UnequalWork  # noqa: E402
from benchmarks.goals import Goal  # noqa: E402
from benchmarks.payloads import BINARY_1M, JSON_1K, TEXT_32, frames, raw  # noqa: E402

PEERS, VERSIONS = peers.find()
TABLES = {
    title: rows
    for suite in (masking, framing, receiving, sending, deflate)
    for title, rows in suite.TABLES.items()
}
#: What every row of a table has a contender from, besides us.
CONNECTED = {name for name, module in peers.MODULES.items() if module != peers.MASKS}
WITH = {
    "receiving, a message": CONNECTED,
    "sending, a message": CONNECTED,
    "framing, a frame": {"wsproto", "websockets"},
    masking.IN_PLACE: {"aiohttp", "numpy"},
    masking.INTO_NEW: {"wsproto", "websockets", "wsaccel", "tornado", "numpy"},
}
BLINK = Timing(turns=1, seconds=1e-6)


def test_all_peers_of_the_extra_are_there() -> None:
    assert [peer.name for peer in PEERS] == list(peers.MODULES), VERSIONS


@pytest.mark.parametrize("title", TABLES)
def test_every_contender_of_every_row_does_the_work(title: str) -> None:
    for row in TABLES[title](PEERS):
        _harness.check_work(row)
        assert sum(contender.result is not None for contender in row.contenders) >= 2
        assert {contender.name for contender in row.contenders} >= WITH.get(title, set()), row.label


def test_growth_is_measured_on_the_message_that_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    small = [replace(work, size=work.size >> 10, peer_size=256) for work in growth.WORKS]
    monkeypatch.setattr(growth, "WORKS", small)
    monkeypatch.setattr(growth, "CONNECTIONS", 20)
    monkeypatch.setattr(growth, "PEER_CONNECTIONS", 20)
    for row in growth.rows(PEERS):
        _harness.check_work(row)
        assert [contender.name for contender in row.contenders][-1] == "wsproto"
    memory = {outcome.label: outcome for outcome in growth.memory(PEERS, lambda label: True)}
    assert len(memory) == len(growth.WORKS) + 2
    for outcome in memory.values():
        assert set(outcome.values) == {"wscore", "wsproto"}
        assert all(value > 0 for value in outcome.values.values())


def all_labels() -> Iterator[str]:
    for name in _suites.NAMES:
        yield from _suites.labels(name, PEERS)


@pytest.mark.skipif(growth.SCALE != 1, reason="these are the compiled twin's goals")
def test_every_goal_is_of_a_row_and_every_row_has_its_own_label() -> None:
    labels = list(all_labels())
    assert len(labels) == len(set(labels))
    assert set(goals.GOALS) <= set(labels)


def contender(name: str, result: object) -> Contender:
    return Contender(name, "pass", {}, result=None if result is None else lambda: result)


def test_a_contender_that_does_not_do_the_work_is_an_error() -> None:
    honest, limit = contender("wscore", b"\x05\x06"), contender("copy", None)
    _harness.check_work(Row("mask", [honest, limit], b"\x05\x06"))
    for lazy in (contender("peer", b"\x01\x02"), contender("peer", "")):
        with pytest.raises(UnequalWork, match="mask: peer does not do the work"):
            _harness.measure(Row("mask", [honest, lazy], b"\x05\x06"), BLINK)


def test_a_receiver_that_loses_a_message_is_found() -> None:
    row = next(receiving.rows(PEERS))
    short = replace(row, expected=list(TEXT_32.messages[:-1]))
    with pytest.raises(UnequalWork):
        _harness.check_work(short)


@pytest.mark.parametrize("last", [None, b"", raw(TEXT_32.messages[0]), "another"])
def test_a_receiver_whose_timed_way_does_other_work_is_found(last: object) -> None:
    chunks = frames(TEXT_32, "server")
    whole = list(TEXT_32.messages)
    fake = peers.Receiver(take=lambda chunks: last, messages=lambda chunks: whole)
    cheat = receiving.contender("peer", fake, chunks, TEXT_32.messages)
    with pytest.raises(UnequalWork, match="peer"):
        _harness.check_work(Row("receive", [cheat], whole))


def test_chat_messages_for_deflate_are_json_of_the_size_and_differ() -> None:
    assert {len(raw(message)) for message in JSON_1K.messages} == {1024}
    assert len({str(json.loads(message)) for message in JSON_1K.messages}) == len(JSON_1K.messages)


def test_a_copy_is_the_limit_of_large_rows_only() -> None:
    assert [c.name for c in receiving.limits(BINARY_1M)] == [goals.COPY]
    assert receiving.limits(TEXT_32) == []


def outcome(ratio: float = 1.0, *, noise: float = 0.0, excess: float = 0.0) -> Outcome:
    return Outcome(
        label="row",
        unit="ns",
        values={"wscore": 10.0},
        ratios={"peer": ratio, "slow": ratio * 2, "limit": 0.1},
        noise=noise,
        peers=["slow", "peer"],
        excess={"peer": excess},
    )


@pytest.mark.parametrize(
    ("goal", "reached", "missed"),
    [
        (Goal("faster", 50, "peer"), outcome(50), outcome(49.9, noise=0.1)),
        (Goal("faster", 1, goals.BEST_PEER), outcome(1.01), outcome(0.99)),
        (Goal("faster", 1, "peer"), outcome(0.97, noise=0.03), outcome(0.96, noise=0.03)),
        (Goal("faster", 1, "peer"), outcome(0.95, noise=0.5), outcome(0.94, noise=0.5)),
        (Goal("of", 1.25, "peer"), outcome(0.8), outcome(0.79)),
        (Goal("over", 5, "peer"), outcome(excess=5.0), outcome(excess=5.1)),
    ],
)
def test_a_goal_can_be_met_and_missed(goal: Goal, reached: Outcome, missed: Outcome) -> None:
    assert goals.judge(goal, reached).met
    verdict = goals.judge(goal, missed)
    assert not verdict.met
    assert str(verdict) == "NOT MET"


def test_a_limit_of_our_own_figure_can_be_met_and_missed() -> None:
    assert goals.judge(Goal("at most", 10), outcome()).met
    assert not goals.judge(Goal("at most", 9.9), outcome()).met


def test_a_goal_within_the_noise_is_said_to_be_a_tie() -> None:
    assert str(goals.judge(Goal("faster", 1, "peer"), outcome(0.99, noise=0.02))) == "met (a tie)"


def test_a_goal_against_a_missing_peer_is_neither_met_nor_counted() -> None:
    verdict = goals.judge(Goal("faster", 1, "absent"), outcome())
    assert (verdict.met, str(verdict)) == (False, "not measured")
    _, count = _report.goals_table({"title": [(outcome(), [verdict])]})
    assert count == "0 of 0 goals met"


def test_the_noise_is_how_far_we_are_from_ourselves() -> None:
    row = Row("row", [contender("wscore", None), contender("peer", None)], None)
    measured = _harness.outcome_of(row, [[10, 10, 10], [20, 20, 20], [11, 10, 12]])
    assert measured.noise == pytest.approx(0.1)
    assert measured.ratios["peer"] == pytest.approx(20 / 10.5)


def test_the_spread_is_half_the_distance_of_the_quartiles_and_a_stray_turn_hardly_counts() -> None:
    assert _harness.spread_of([10]) == 0.0
    assert _harness.spread_of([8, 9, 10, 11, 12]) == pytest.approx(0.1)
    assert _harness.spread_of([8, 9, 10, 11, 1000]) == pytest.approx(0.1)
    contenders = [Contender(US, "", {}), Contender("peer", "", {})]
    ours, theirs = [8, 9, 10, 11, 12], [16, 18, 20, 22, 24]
    measured = _harness.outcome_of(Row("row", contenders, None), [ours, theirs, ours])
    assert measured.spread == {US: pytest.approx(0.1), "peer": pytest.approx(0.0)}
    assert _report.table([(measured, [])])[1][:4] == ["row", "10 ns", "10%", ""]


def test_the_command_prints_tables_and_goals_and_writes_the_figures(tmp_path: Path) -> None:
    figures = tmp_path / "run.json"
    suites = ["--suite", "masking,sending,twin", "--peers", "wsproto,aiohttp"]
    fast = ["--turns", "1", "--seconds", "0.0001", "--match", "16 B", "--json", str(figures)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *suites, *fast],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "goals met" in done.stdout
    assert "picows: not asked for, left out" in done.stdout
    read = _results.read(figures).tables
    judged, _ = read["masking in place, a call"][0]
    assert judged.label == "in place, 16 B"
    assert judged.values["wscore"] > 0
    if growth.SCALE == 1:
        assert f"goals of the {_results.TWIN_TITLE}" in done.stdout
        (_, verdicts), *_ = read[f"{_results.TWIN_TITLE}: masking into new bytes, a call"]
        assert [verdict.goal for verdict in verdicts] == ["≥ 1x wsproto"]


@pytest.mark.parametrize("wrong", [["--suite", "nonsense"], ["--peers", "nonsense"]])
def test_an_unknown_name_is_refused_with_the_known_ones(wrong: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *wrong], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no nonsense; known:" in done.stderr
