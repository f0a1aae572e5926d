"""Runs the own tests of libraries that use wsproto, on wsproto and on `wscore` in its place.

Each library's newest source distribution, and what its tests need, come through pip into an
environment of its own under build/dependants. Exit status 0 only if what passes on wsproto passes
on wscore. Some of these tests fail now and then on either, so they get a second try.

    python tests/dependants_suites/run.py [LIBRARY ...]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRATCH = ROOT / "build" / "dependants"


@dataclass(frozen=True)
class Library:
    """How a library's tests are run.

    Attributes:
        needs: What pip installs for them, beside the library with its extras.
        extras: Of the library.
        arguments: For pytest.
        least: How many tests must pass, so that a suite which is not found is no success.
    """

    needs: list[str]
    least: int
    extras: str = ""
    arguments: list[str] = field(default_factory=list)


LIBRARIES = {
    "hypercorn": Library(
        ["httpx", "hypothesis", "mock", "pytest", "pytest-asyncio", "pytest-cov", "pytest-trio"],
        least=190,
        extras="[trio]",
    ),
    "uvicorn": Library(
        [
            "pytest",
            "pytest-mock",
            "trustme",
            "cryptography",
            "httpx2",
            "a2wsgi",
            "wsproto",
            "anyio",
        ],
        least=1000,
        extras="[standard]",
        # Their options are for pytest-xdist and benchmarks, and the warnings of newer packages.
        arguments=["-o", "addopts=", "-o", "filterwarnings=", "--ignore=tests/benchmarks"],
    ),
    "trio-websocket": Library(
        ["pytest", "pytest-trio", "trustme"],
        least=60,
        # Of newer trio, by the tests' imports; and sockets that they leave open.
        arguments=[
            *("-W", "ignore::DeprecationWarning"),
            *("-W", "ignore::pytest.PytestUnraisableExceptionWarning"),
        ],
    ),
    "httpx-ws": Library(
        ["pytest", "pytest-cov", "starlette", "uvicorn[standard]", "trio"], least=140
    ),
    "simple-websocket": Library(
        ["pytest"],
        least=45,
        arguments=[
            *("-c", os.devnull, "--rootdir", "."),  # it has no configuration, we have one
            *("-p", "any_name_is_here"),
        ],
    ),
}


def fetch(name: str) -> Path:
    """Unpack a library's source distribution and return its folder."""
    folder = SCRATCH / name
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    if not list(folder.glob("*.tar.gz")):
        run([*pip, "--no-binary", ":all:", "--dest", str(folder), name])
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def environment(name: str, library: Library, version: str) -> Path:
    """Make the environment for a library's tests and return its Python."""
    python = SCRATCH / name / "venv" / "bin" / "python"
    if not python.exists():
        run([sys.executable, "-m", "venv", str(python.parents[1])])
    wanted = f"{name}{library.extras}=={version}"
    run([str(python), "-m", "pip", "install", "--quiet", wanted, "wsproto", "h11", *library.needs])
    return python


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"})


def outcomes(library: Library, source: Path, python: Path, package: str) -> dict[str, str]:
    """Run the tests on one package; return how each ended."""
    report = source / f"{package}.xml"
    alias = ["-m", "wscore.as_wsproto"] if package == "wscore" else []
    options = ["-q", "--tb=short", "-p", "no:cacheprovider", f"--junit-xml={report}"]
    with (source / f"{package}.log").open("w") as log:
        subprocess.run(
            [str(python), *alias, "-m", "pytest", *options, *library.arguments, "tests"],
            cwd=source,
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])},
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=900,
            check=False,
        )
    if not report.exists():
        sys.exit((source / f"{package}.log").read_text())
    ended = {}
    for case in ElementTree.parse(report).iter("testcase"):
        children = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        name = f"{case.get('classname')}::{case.get('name')}"
        ended[name] = children[0] if children else "passed"
    return ended


def check(name: str) -> bool:
    """Run one library's tests both ways; say how they compare, and return whether they may."""
    library = LIBRARIES[name]
    source = fetch(name)
    print(f"== {source.name}", flush=True)
    python = environment(name, library, source.name.rpartition("-")[2])
    theirs = outcomes(library, source, python, "wsproto")
    ours = outcomes(library, source, python, "wscore")
    worse = {test for test, how in theirs.items() if how == "passed" != ours.get(test)}
    if worse:
        again = outcomes(library, source, python, "wscore")
        worse = {test for test in worse if again.get(test) != "passed"}
    for package, ended in (("wsproto", theirs), ("wscore", ours)):
        tally = ", ".join(
            f"{count} {how}" for how, count in sorted(Counter(ended.values()).items())
        )
        print(f"on {package}: {tally}")
    for test in sorted(worse):
        print(f"passes on wsproto, fails on wscore: {test}")
    enough = Counter(ours.values())["passed"] >= library.least
    if not enough:
        print(f"fewer than {library.least} tests passed; see {source / 'wscore.log'}")
    return enough and not worse


def main() -> int:
    """Check the libraries that are named, or all."""
    names = sys.argv[1:] or list(LIBRARIES)
    unknown = [name for name in names if name not in LIBRARIES]
    if unknown:
        print(f"not one of {', '.join(LIBRARIES)}: {', '.join(unknown)}", file=sys.stderr)
        return 2
    results = [check(name) for name in names]
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main())
