"""What is made of benchmark runs: files, comparisons, pictures; and how a run is ended."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # at the end: wscore itself stays the installed one

from benchmarks import (  # noqa: E402
    _compare,
    _harness,
    _plots,
    _report,
    _results,
    _suites,
    embedding,
    masking,
    operations,
    regression,
)
from benchmarks._harness import Outcome, compared  # noqa: E402
from benchmarks._progress import Progress  # noqa: E402
from benchmarks._results import ResultsError, Run  # noqa: E402
from benchmarks.goals import COPY, Goal, judge  # noqa: E402

REFERENCE = ROOT / "benchmarks" / "results" / "reference.json"
PICTURES = ROOT / "docs" / "speed"


def outcome(label: str = "row", noise: float = 0.0, **values: float) -> Outcome:
    """A row; names with underscores stand for those with hyphens."""
    return Outcome(
        label,
        "ns",
        values=values,
        ratios={
            name: value / values["wscore"] for name, value in values.items() if name != "wscore"
        },
        noise=noise,
        peers=[name for name in values if name != "wscore"],
    )


def run(*outcomes: Outcome, **facts: str) -> Run:
    return Run({"machine": "m", "python": "p", **facts}, {"title": [(one, []) for one in outcomes]})


def command(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


# Repeats


def test_repeats_are_summed_up_by_their_medians_and_how_far_they_are_apart() -> None:
    found = [outcome(wscore=10, peer=peer, noise=0.01) for peer in (20.0, 22.0, 30.0)]
    summed = _harness.combined(found)
    assert summed.ratios == {"peer": pytest.approx(2.2)}
    assert summed.noise == pytest.approx((3.0 - 2.0) / 2 / 2.2)
    assert _harness.combined(found[:1]) is found[0]


def test_the_noise_within_a_repeat_is_not_lost() -> None:
    assert _harness.combined([outcome(wscore=10, peer=20, noise=0.3)] * 2).noise == 0.3


def test_figures_without_turns_have_the_noise_of_a_second_look() -> None:
    assert compared("row", "B", {"wscore": 100, "peer": 104}, ["peer"], 105).noise == pytest.approx(
        0.05
    )


@pytest.mark.parametrize(("value", "shown"), [(1.04, "=1.04"), (1.06, "1.06"), (0.96, "=0.96")])
def test_a_ratio_within_the_noise_is_a_tie(value: float, shown: str) -> None:
    assert _report.ratio(outcome(wscore=1.0, peer=value, noise=0.05), "peer") == shown


# Files


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    row = outcome(wscore=1.23456, peer=2.5)
    written = Run({"machine": "m"}, {"title": [(row, [judge(Goal("faster", 2, "peer"), row)])]})
    _results.write(tmp_path / "run.json", written)
    read = _results.read(tmp_path / "run.json")
    assert read.surroundings == written.surroundings
    assert read.tables["title"][0][0].values == {"wscore": 1.2346, "peer": 2.5}
    assert [str(verdict) for verdict in read.tables["title"][0][1]] == ["met"]
    assert _results.fingerprint(read) != _results.fingerprint(run(row))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"surroundings": {}, "tables": {"t": [{}]}}'])
def test_what_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.json"
    file.write_text(text)
    with pytest.raises(ResultsError, match="is not the JSON of a run"):
        _results.read(file)
    done = command("show", str(file))
    assert (done.returncode, done.stderr[:7]) == (2, "error: ")


def test_parts_of_a_run_are_put_together_and_the_newer_row_counts() -> None:
    first, second, again = outcome("a", wscore=1), outcome("b", wscore=2), outcome("a", wscore=3)
    old = run(first, second, load="1", x="not asked for, left out")
    merged = _results.merged(old, run(again, load="2", x="1.0"))
    assert [row for row, _ in merged.tables["title"]] == [second, again]
    assert merged.surroundings["x"] == "1.0"


def test_runs_of_two_machines_are_not_put_together(tmp_path: Path) -> None:
    old = run(outcome(wscore=1), wscore="another revision")
    with pytest.raises(ResultsError, match="wscore: another revision / this"):
        _results.merged(old, run(wscore="this"))
    _results.write(tmp_path / "run.json", old)
    few = ["--suite", "masking", "--match", "copying, 16 B"]
    done = command(*few, "--append", "--json", str(tmp_path / "run.json"))
    assert done.returncode == 2
    assert "not parts of one run" in done.stderr
    assert _results.read(tmp_path / "run.json") == old


def test_slower_than_a_peer_stands_out_and_slower_than_a_limit_does_not() -> None:
    rows = [(outcome(wscore=1.0, peer=0.5), [])]
    (heading, *_), *_ = [_report.table(rows)]
    assert _report.rivals(rows) == {"peer ÷"} < set(heading)
    assert [_report.style(True, cell) for cell in ("0.50", "=0.99", "2.0")] == [
        "red",
        "dim",
        "green",
    ]
    assert _report.style(False, "0.50") == ""


# Comparing


SAME = {"peer": "1.0", "other": "1.0"}


def compare(old: Outcome, new: Outcome, **facts: str) -> int:
    return _compare.report(run(old, **SAME), run(new, **(SAME | facts)), 0.1)


@pytest.mark.parametrize(
    ("new", "status"),
    [
        (outcome(wscore=13, peer=20, other=30), 1),
        (outcome(wscore=13, peer=26, other=39), 0),  # everybody is: the machine
        (outcome(wscore=13, peer=20, other=30, noise=0.4), 0),  # the noise may have done it
        (outcome(wscore=10.9, peer=20, other=30), 0),  # within the limit
        (outcome(wscore=10, peer=14, other=21), 1),  # all others were faster
        (outcome(wscore=5, peer=20, other=30), 0),
        (outcome(wscore=13, peer=20, other=50), 0),  # the others do not agree
    ],
)
def test_slower_is_what_neither_noise_nor_machine_explain(new: Outcome, status: int) -> None:
    assert compare(outcome(wscore=10, peer=20, other=30), new) == status


def test_a_peer_of_another_version_is_not_compared_with() -> None:
    old, new = outcome(wscore=10, peer=20, other=30), outcome(wscore=10, peer=20, other=15)
    changed = list(_compare.changes(run(old, **SAME), run(new, **(SAME | {"other": "2.0"}))))
    assert [(one.factor, one.by) for one in changed] == [(1.0, 1)]


def test_without_anything_beside_it_nothing_is_said() -> None:
    (change,) = _compare.changes(run(outcome(wscore=10)), run(outcome(wscore=30)))
    assert change.verdict(0.1).startswith("cannot tell")


def test_the_command_compares_files(tmp_path: Path) -> None:
    for name, ours in (("old", 10.0), ("new", 20.0)):
        _results.write(tmp_path / name, run(outcome(wscore=ours, peer=20)))
    old, new = (str(tmp_path / name) for name in ("old", "new"))
    slower = command("compare", old, new)
    assert slower.returncode == 1
    assert "SLOWER" in slower.stdout
    assert command("compare", new, old).returncode == 0
    assert command("compare", old, str(tmp_path / "missing")).returncode == 2


# Pictures and pages


def test_the_committed_run_is_of_a_real_machine_and_of_everything() -> None:
    committed = _results.read(REFERENCE)
    assert committed.surroundings["machine"]
    measured = {outcome.label for _, (outcome, _) in _results.rows_of(committed.tables)}
    assert measured >= {f"copying, {size}" for size in ("16 B", "1 MiB", "16 MiB")}


def test_the_gains_in_the_guide_to_embedding_are_of_the_committed_run() -> None:
    run = _results.read(ROOT / "benchmarks" / "results" / "embedding.json")
    (rows,) = run.tables.values()
    assert [outcome.label for outcome, _ in rows] == embedding.labels()
    guide = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    assert _report.markdown(_report.table(rows)) in guide


def test_pictures_are_drawn_of_the_committed_run(tmp_path: Path) -> None:
    committed = _results.read(REFERENCE)
    drawn = dict(_plots.draw(committed, tmp_path))
    assert {path.name for path in drawn.values()} == {"masking.svg", "messages.svg", "fanout.svg"}
    words = {path.stem: texts(path) for path in drawn.values()}
    assert {"wscore", "websockets", "tornado", f"memcpy limit: {COPY}"} <= words["masking"]
    assert {"wscore", "wsproto", "picows"} <= words["messages"]
    assert {"wscore", "socketify"} <= words["fanout"]
    assert any(text.startswith("5,000 members (noise ") for text in words["fanout"])
    for path in drawn.values():
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def texts(svg: Path) -> set[str]:
    tree = ElementTree.parse(svg)
    return {
        (element.text or "").strip() for element in tree.iter("{http://www.w3.org/2000/svg}text")
    }


def test_a_reader_may_leave_before_the_end() -> None:
    shown = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "show", str(REFERENCE)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert shown.stdout is not None
    shown.stdout.close()
    assert (shown.communicate(timeout=60)[1], shown.returncode) == (b"", 0)


@pytest.mark.parametrize("name", ["masking", "messages", "fanout"])
def test_the_pictures_shown_are_of_the_committed_run(name: str) -> None:
    committed = _results.fingerprint(_results.read(REFERENCE))
    assert committed in (PICTURES / f"{name}.svg").read_text(encoding="utf-8")
    assert committed.encode() in (PICTURES / f"{name}.png").read_bytes()
    assert f"docs/speed/{name}.svg" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_picture_is_of_what_was_measured_only(tmp_path: Path) -> None:
    assert _plots.draw(run(outcome(wscore=1)), tmp_path) == []
    found = outcome(f"copying, {masking.size_name(16)}", wscore=4, **{COPY: 8})
    ((_, path),) = _plots.draw(Run({}, {masking.INTO_NEW: [(found, [])]}), tmp_path)
    assert "wscore" in texts(path)


@pytest.mark.parametrize("colour", [_plots.INK, _plots.OURS, _plots.LIMIT, *_plots.COLOURS])
@pytest.mark.parametrize("background", ["#ffffff", "#0d1117"])
def test_colours_can_be_told_from_light_and_dark(colour: str, background: str) -> None:
    light, dark = sorted((luminance(colour), luminance(background)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3  # as WCAG 2 has it for graphics


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_a_page_has_the_tables_and_the_goals(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    done = command("show", str(REFERENCE), "--markdown", str(page))
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert "| copying, 16 B | " in text
    assert "goals met." in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)


# Running


def test_the_rows_can_be_listed() -> None:
    done = command("--list", "--suite", "masking,echo", "--match", "16 B")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        *("masking:", "  in place, 16 B", "  copying, 16 B", "echo:", "about 1 min")
    ]


@pytest.mark.parametrize("wrong", [["--repeats", "0"], ["--append"], ["compare", "one"]])
def test_a_wrong_option_is_refused(wrong: Sequence[str]) -> None:
    assert command(*wrong).returncode == 2


def test_repeats_and_appended_suites_are_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    fast = ["--peers", "wsproto", "--turns", "1", "--seconds", "0.0001", "--json", str(file)]
    for suite, match in (("masking", "copying, 16 B"), ("framing", "client encodes a header")):
        more = ["--suite", suite, "--match", match, "--repeats", "2", "--append"]
        done = command(*fast, *more)
        assert done.returncode == 0, done.stderr
    read = _results.read(file)
    assert list(read.tables) == [masking.INTO_NEW, "framing, a frame"]
    assert read.surroundings["measured"].endswith("repeated 2 times")


def test_the_time_left_follows_from_the_time_taken() -> None:
    with Progress({"a": 1, "b, CPU": 2, "b, time": 1}) as progress:
        assert progress.left(5) is None
        progress.next("a")
        progress.next("b")
        assert progress.left(5) == 15
        progress.reach(4)
        assert progress.left(9) == 0


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    options = ["--suite", "masking", "--match", "copying, 1", "--peers", "wsproto"]
    options += ["--turns", "3", "--seconds", "0.1", "--json", str(file)]
    terminal, other = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=other,
        text=True,
        env=os.environ | {"COLUMNS": "120", "TERM": "xterm"},
    ) as process:
        os.close(other)
        seen = b""
        while b"copying, 1 KiB" not in seen:  # the bar shows the third row
            seen += os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        shown, _ = process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 130
    assert "left" in seen.decode(errors="replace")
    (rows,) = _results.read(file).tables.values()
    assert [row.label for row, _ in rows] == ["copying, 16 B", "copying, 125 B"]
    assert "copying, 125 B" in shown
    assert "goals met" in shown


@pytest.mark.skipif(_suites.IMPLEMENTATION == "python", reason="it is the other twin's run")
def test_ctrl_c_keeps_what_the_python_twin_has_measured(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    options = ["--suite", "twin", "--match", "copying, 1", "--turns", "2", "--seconds", "0.2"]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *options, "--json", str(file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while (twin := twin_of(process.pid)) is None:
            assert process.poll() is None
            time.sleep(0.05)
        while cpu(twin) < 4:  # it has begun; all rows take it three times as long and more
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    (rows,) = _results.read(file).tables.values()
    assert rows[0][0].label == "copying, 16 B"


def twin_of(pid: int) -> int | None:
    """The child of a run that is a run too; one just forked, for git say, has its parent's line."""
    parent = Path(f"/proc/{pid}")
    for one in (parent / f"task/{pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            line = Path(f"/proc/{one}/cmdline").read_bytes()
            if b"--suite" in line and line != (parent / "cmdline").read_bytes():
                return int(one)
    return None


def cpu(pid: int) -> float:
    """CPU time of a process, in seconds."""
    return time.clock_gettime((~pid << 3) | 2)


# Counting instructions


@pytest.mark.skipif(_suites.IMPLEMENTATION == "python", reason="of the compiled twin")
def test_all_operations_run_and_are_recorded() -> None:
    done = subprocess.run([sys.executable, operations.__file__], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    recorded = json.loads(regression.RECORD.read_text(encoding="utf-8"))["instructions"]
    assert json.loads(done.stdout)["names"] == list(recorded)
    assert len(recorded) >= 12


@pytest.mark.parametrize(
    ("now", "status"),
    [
        ({"a": 103.0, "b": 200.0}, 0),
        ({"a": 103.1, "b": 200.0}, 1),
        ({"a": 50.0, "b": 200.0, "new": 7.0}, 0),
        ({"b": 200.0}, 1),
    ],
)
def test_the_gate_fails_beyond_three_percent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, now: dict[str, float], status: int
) -> None:
    record = tmp_path / "instructions.json"
    record.write_text('{"environment": {"here": "yes"}, "instructions": {"a": 100, "b": 200}}')
    monkeypatch.setattr(regression, "RECORD", record)
    monkeypatch.setattr(regression, "environment", lambda: {"here": "yes"})
    monkeypatch.setattr(regression, "counted", lambda tree, shift=0: now)
    assert regression.main([]) == status


def test_elsewhere_the_gate_compares_with_the_commit_that_recorded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(regression, "environment", lambda: {"compiler": "another"})
    monkeypatch.setattr(regression, "recording_commit", lambda: "0123456789abcdef")
    monkeypatch.setattr(regression, "base", lambda commit: {"a": 10.0})
    monkeypatch.setattr(regression, "counted", lambda tree, shift=0: {"a": 12.0 - (shift > 0)})
    assert regression.main([]) == 1
    said = capsys.readouterr().out
    assert "here another" in said
    assert "+10.0%" in said


def test_a_history_that_is_cut_off_is_no_excuse(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clone = ["git", "clone", "-q", "--depth", "1", f"file://{ROOT}", str(tmp_path / "clone")]
    subprocess.run(clone, check=True)
    monkeypatch.setattr(regression, "ROOT", tmp_path / "clone")
    monkeypatch.setattr(regression, "environment", lambda: {"compiler": "another"})
    assert regression.main([]) == 2
    assert "the history is cut off" in capsys.readouterr().err
