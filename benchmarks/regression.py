"""A check for speed that noise cannot fool: instructions counted by valgrind's callgrind.

    python -m benchmarks.regression            # compare; exit status 1 where more than 3 % came on
    python -m benchmarks.regression --record   # what is counted now is right from now on

Counts are the same in each run, but depend on Python's build, compiler and libraries. Where these
are as when `instructions.json` was written, its counts are compared with; elsewhere the commit that
wrote it is built and counted on this machine. Each operation is done some times and then many times
more, and the difference counts, so that starting and first times are not in it. What is left from
build to build is about 1 %, from where objects happen to lie: CPython finds methods in a table by
the addresses of their names. So what seems to be more is counted once more, shifted in memory.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from benchmarks import operations
from benchmarks._report import aligned

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).with_name("instructions.json")
#: How many more instructions are too many.
TOLERANCE = 0.03
#: Masking loops that every processor of a kind has, valgrind's too.
KERNELS = {"x86_64": "sse2", "AMD64": "sse2", "aarch64": "neon", "arm64": "neon"}
#: Objects before all others when counting once more.
SHIFT = 250
#: The exit statuses, beside 0.
SLOWER, UNUSABLE = 1, 2


class CannotCount(Exception):
    """Something that counting needs is not there."""


def environment() -> dict[str, str]:
    """Say what the counts depend on beside wscore."""
    compiler = [*(sysconfig.get_config_var("CC") or "cc").split(), "--version"]
    flags = Path("/proc/cpuinfo")
    return {
        "machine": platform.machine(),
        "libraries' kernels": "avx2" if flags.exists() and "avx2" in flags.read_text() else "none",
        "python": " ".join([platform.python_version(), *platform.python_build()]),
        "python's compiler": platform.python_compiler(),
        "compiler": first_line(compiler),
        "libc": " ".join(platform.libc_ver()),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "valgrind": first_line(["valgrind", "--version"]),
        **{name: metadata.version(name) for name in ("Cython", "h11")},
    }


def first_line(command: Sequence[str]) -> str:
    """Return the first line that a program prints.

    Raises:
        CannotCount: It is not there.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise CannotCount(f"{command[0]} is needed: {exc}") from exc
    return done.stdout.partition("\n")[0]


def counted(tree: Path, shift: int = 0) -> dict[str, float]:
    """Count the instructions of each operation.

    Args:
        tree: The folder that the wscore lies in.
        shift: Objects that are in memory before all others.

    Raises:
        CannotCount: It does not run.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        command = [
            *(shutil.which("valgrind") or "valgrind", "--tool=callgrind"),
            *("--dump-before=getppid", f"--callgrind-out-file={out}"),
            *(sys.executable, "-P", "-s", "-B", operations.__file__),
        ]
        # Nothing else, as the environment lies on the stack.
        variables = {
            "PYTHONPATH": str(tree),
            "PYTHONHASHSEED": "0",
            "WSCORE_MASK_KERNEL": KERNELS.get(platform.machine(), "word"),
            "LC_ALL": "C.UTF-8",
            **{f"SHIFT_{number}": "x" * number for number in range(shift)},
        }
        try:
            done = subprocess.run(
                command, env=variables, capture_output=True, text=True, cwd=folder
            )
        except OSError as exc:
            raise CannotCount(f"valgrind is needed: {exc}") from exc
        if done.returncode != 0:
            raise CannotCount(f"the operations fail: {done.stderr.strip()[-800:]}")
        said = json.loads(done.stdout)
        if not Path(said["from"]).is_relative_to(tree) or said["kernel"] == "python":
            raise CannotCount(f"the compiled twin in {tree} was to run, not {said['from']}")
        dumps = [summary(Path(f"{out}.{part + 1}")) for part in range(3 * len(said["names"]))]
    times = operations.MANY - operations.FEW
    return {
        name: (dumps[3 * at + 2] - dumps[3 * at + 1]) / times
        for at, name in enumerate(said["names"])
    }


def summary(dump: Path) -> int:
    """Read how many instructions a part took."""
    found = re.search(r"^summary: (\d+)", dump.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise CannotCount(f"callgrind wrote no summary into {dump.name}")
    return int(found[1])


def base(commit: str) -> dict[str, float]:
    """Build a commit and count its instructions.

    Raises:
        CannotCount: It cannot be had, or not be built.
    """
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder).resolve()
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True)
        if archive.returncode != 0:
            raise CannotCount(archive.stderr.decode(errors="replace").strip())
        subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)
        build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        done = subprocess.run(build, cwd=tree, capture_output=True, text=True)
        if done.returncode != 0:
            raise CannotCount(f"{commit} cannot be built: {done.stderr.strip()[-800:]}")
        return counted(tree)


def recording_commit() -> str:
    """Return the commit that wrote the record last.

    Raises:
        CannotCount: There is no such commit here.
    """
    git = ["git", "-C", str(ROOT)]
    if first_line([*git, "rev-parse", "--is-shallow-repository"]) == "true":
        raise CannotCount("the history is cut off before the record: git fetch --unshallow")
    commit = first_line([*git, "log", "-1", "--format=%H", "--", str(RECORD)])
    if not commit:
        raise CannotCount(f"no commit wrote {RECORD.name} yet")
    return commit


def slower(before: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    """Name the operations that need too many instructions, or are no more."""
    return [name for name in before if now.get(name, math.inf) > before[name] * (1 + TOLERANCE)]


def fewest(*counts: Mapping[str, float]) -> dict[str, float]:
    """Take the smaller count of each operation."""
    return {name: min(one[name] for one in counts) for name in counts[0]}


def report(before: Mapping[str, float], now: Mapping[str, float]) -> None:
    """Print what changed."""
    lines = [["", "before", "now", "change", ""]]
    too_many = slower(before, now)
    for name in {**before, **now}:
        was, count = before.get(name), now.get(name)
        cells = ["" if one is None else f"{one:,.0f}" for one in (was, count)]
        change = "" if was is None or count is None else f"{count / was - 1:+.1%}"
        said = "GONE" if count is None else "MORE" if name in too_many else ""
        if was is None:
            said = "new: record it"
        elif count is not None and count < was * (1 - TOLERANCE):
            said = "fewer: record it"
        lines.append([name, *cells, change, said])
    print(aligned(lines))


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, or record; returns the exit status: 0, 1 with too many instructions, 2 if it cannot
    be told.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regression")
    parser.add_argument("--record", action="store_true", help="write what is counted now")
    options = parser.parse_args(argv)
    try:
        return record() if options.record else check()
    except CannotCount as exc:
        print(f"error: {exc}", file=sys.stderr)
        return UNUSABLE


def record() -> int:
    """Write down what is counted."""
    found = {"environment": environment(), "instructions": counted(ROOT)}
    RECORD.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"written to {RECORD}: commit it with what changed the counts")
    return 0


def check() -> int:
    """Compare with what is right."""
    found = json.loads(RECORD.read_text(encoding="utf-8"))
    here = environment()
    before: dict[str, float] = found["instructions"]
    if here == found["environment"]:
        print("compared with what is recorded")
    else:
        commit = recording_commit()
        for name, fact in here.items():
            if fact != found["environment"].get(name):
                print(f"{name}: recorded with {found['environment'].get(name)}, here {fact}")
        print(f"so compared with {commit[:10]}, which recorded, built here")
        before = base(commit)
    now = counted(ROOT)
    if slower(before, now):
        now = fewest(now, counted(ROOT, SHIFT))
    report(before, now)
    if too_many := slower(before, now):
        print(
            f"\nmore than {TOLERANCE:.0%} more instructions, or none: {', '.join(too_many)}."
            "\nIf it has to be: python -m benchmarks.regression --record, and say why in the commit"
        )
        return SLOWER
    return 0


if __name__ == "__main__":
    sys.exit(main())
