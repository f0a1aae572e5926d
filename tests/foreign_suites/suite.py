"""Runs another library's own tests, from its source distribution, on what takes its place here.

The modules beside this one, one for each library, say which tests must fail, and why: a difference
that is not in their tables is a failure, and so is one that is and does not show.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Suite:
    """The tests of one version of a library.

    Attributes:
        distribution: its name on PyPI; an environment variable like WSPROTO_SDIST names a file to
            take in the place of what pip downloads.
        version: the version of it.
        module: the module beside this one that has a function `alias`, called before the tests are
            imported, and perhaps fixtures; a pytest plugin.
        intended: the tests that must fail, and why.
        passing: at least so many others must pass, lest an empty run looks well.
        pip_options: for the download.
        pytest_options: for the run.
    """

    distribution: str
    version: str
    module: str
    intended: dict[str, str]
    passing: int
    pip_options: tuple[str, ...] = ()
    pytest_options: tuple[str, ...] = ()

    def run(self) -> int:
        """Run the suite, tell its differences, and return the exit status."""
        with tempfile.TemporaryDirectory() as scratch:
            output = self._run_pytest(self._fetch(Path(scratch)))
        print(output)
        failed = {match.split("::", 1)[1] for match in re.findall(r"^FAILED (\S+)", output, re.M)}
        passed = re.search(r"(\d+) passed", output)
        for name in sorted(failed - self.intended.keys()):
            print(f"fails, but should pass: {name}")
        for name in sorted(self.intended.keys() - failed):
            print(f"passes, but is listed as an intended difference: {name}")
        for name in sorted(self.intended.keys() & failed):
            print(f"intended difference: {name}: {self.intended[name]}")
        enough = passed is not None and int(passed[1]) >= self.passing
        return int(failed != self.intended.keys() or not enough)

    def _fetch(self, folder: Path) -> Path:
        """Unpack the distribution and return the folder that holds its tests."""
        name = self.distribution.replace("-", "_")
        given = os.environ.get(f"{name.upper()}_SDIST")
        if given is None:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--no-binary", ":all:", *self.pip_options, "--dest", str(folder)]
            subprocess.run([*command, f"{self.distribution}=={self.version}"], check=True)
            given = str(next(folder.glob(f"{name}-*.tar.gz")))
        with tarfile.open(given) as archive:
            archive.extractall(folder, filter="data")
        return next(folder.glob(f"{name}-*/tests")).parent

    def _run_pytest(self, root: Path) -> str:
        program = (
            f"import pytest, {self.module} as plugin; plugin.alias();"
            " raise SystemExit(pytest.main(plugins=[plugin]))"
        )
        options = ["-q", "-rf", "--tb=line", "-p", "no:cacheprovider", "-c", "/dev/null"]
        options += ["--rootdir", ".", *self.pytest_options, "tests"]
        path = [str(HERE), str(Path.cwd())]
        ran = subprocess.run(
            [sys.executable, "-c", program],
            cwd=root,
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(path), "PYTEST_ADDOPTS": " ".join(options)},
            text=True,
            capture_output=True,
            check=False,
        )
        return ran.stdout + ran.stderr
