"""wscore in wsproto's place: in a program, and in those it starts; not when it is too late."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import wsproto

import wscore

MODULES = (
    "connection",
    "events",
    "extensions",
    "frame_protocol",
    "handshake",
    "typing",
    "utilities",
)
#: Prints the package in which a few of wsproto's names are found.
LOOK = """
import wsproto, wsproto.events, sys
from wsproto.connection import Connection
from wsproto import WSConnection
home = {x.__module__.partition(".")[0] for x in (WSConnection, Connection)}
print(*sorted(home), wsproto.__name__)
"""


def python(*arguments: str, cwd: Path | None = None, **environment: str) -> tuple[int, str, str]:
    """Run Python with this wscore; returns status, output and errors."""
    here = str(Path(wscore.__file__).parents[1])
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    ran = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": path} | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.returncode, ran.stdout, ran.stderr


def program(folder: Path, text: str, name: str = "program.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_every_module_is_ours_after_the_call() -> None:
    code = "\n".join(
        [
            "import wscore; wscore.install_as_wsproto(); wscore.install_as_wsproto()",
            "import wsproto, importlib",
            "assert wsproto is wscore",
            f"for name in {MODULES!r}:",
            "    alias = importlib.import_module('wsproto.' + name)",
            "    assert alias is importlib.import_module('wscore.' + name), name",
            "    assert getattr(wsproto, name) is alias",
            "from wsproto.events import TextMessage; import wscore.events",
            "assert TextMessage is wscore.events.TextMessage",
        ]
    )
    assert python("-c", code) == (0, "", "")


def test_the_modules_are_all_that_wsproto_has() -> None:
    folder = Path(wsproto.__file__).parent
    public = {path.stem for path in folder.glob("[!_]*.py")}
    assert public == set(MODULES)


@pytest.mark.parametrize("first", ["wsproto", "wsproto.utilities", "hypercorn.asyncio"])
def test_too_late_is_an_error_that_says_what_to_do(first: str) -> None:
    code = f"import {first}, sys; import wscore; before = dict(sys.modules)\ntry:\n" + (
        "    wscore.install_as_wsproto()\nexcept RuntimeError as error:\n    print(error)\n"
        "assert all(sys.modules[n] is m for n, m in before.items())\n"
        "import wsproto; assert wsproto is not wscore"
    )
    status, out, err = python("-c", "import wsproto\n" * (first == "hypercorn.asyncio") + code)
    assert (status, err) == (0, "")
    assert "imported already: call install_as_wsproto() before" in out


def test_a_script_runs_as_python_runs_it(tmp_path: Path) -> None:
    program(tmp_path, "NAME = 'beside'", "neighbour.py")
    path = program(tmp_path, LOOK + "import neighbour\nprint(sys.argv, __name__, neighbour.NAME)")
    status, out, err = python("-m", "wscore.as_wsproto", path, "-m", "x", "--help")
    assert (status, err) == (0, "")
    assert out.splitlines() == ["wscore wscore", f"{[path, '-m', 'x', '--help']} __main__ beside"]


def test_a_module_runs_as_python_runs_it(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    program(package, "", "__init__.py")
    program(package, LOOK + "print(sys.argv[1:], __name__, __package__)", "__main__.py")
    status, out, err = python("-m", "wscore.as_wsproto", "-m", "package", "a", "-b", cwd=tmp_path)
    assert (status, err) == (0, "")
    assert out.splitlines() == ["wscore wscore", "['a', '-b'] __main__ package"]


def test_a_part_of_a_package_that_imports_wsproto_runs(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    program(package, "import wsproto.events", "__init__.py")
    program(package, LOOK, "part.py")
    ran = python("-m", "wscore.as_wsproto", "-m", "package.part", cwd=tmp_path)
    assert ran == (0, "wscore wscore\n", "")


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing_workers_get_it_too(tmp_path: Path, method: str) -> None:
    text = f"""
import multiprocessing, sys
def work():
{LOOK.replace(chr(10), chr(10) + "    ")}
if __name__ == "__main__":
    worker = multiprocessing.get_context({method!r}).Process(target=work)
    worker.start()
    worker.join()
    sys.exit(worker.exitcode)
"""
    path = program(tmp_path, text)
    assert python("-m", "wscore.as_wsproto", path) == (0, "wscore wscore\n", "")


@pytest.mark.parametrize("generations", [1, 2])
def test_processes_started_otherwise_get_it_too(tmp_path: Path, generations: int) -> None:
    text = LOOK
    for _ in range(generations):
        text = (
            f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {text!r}], check=True)"
        )
    path = program(tmp_path, text)
    assert python("-m", "wscore.as_wsproto", path) == (0, "wscore wscore\n", "")


def test_what_a_program_makes_of_itself_stays(tmp_path: Path) -> None:
    path = program(tmp_path, "import sys; sys.exit(7)")
    assert python("-m", "wscore.as_wsproto", path)[0] == 7
    path = program(tmp_path, "raise KeyError('mine')")
    status, _, err = python("-m", "wscore.as_wsproto", path)
    assert status == 1
    assert err.rstrip().endswith("KeyError: 'mine'")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "usage:"),
        (["-x"], "usage:"),
        (["-m"], "usage:"),
        (["-m", "no_such_module"], "there is no module no_such_module"),
        (["-m", "no_such.module"], "there is no module no_such.module"),
        (["no_such_file.py"], "there is no file no_such_file.py"),
    ],
)
def test_nothing_to_run_is_one_clear_line(arguments: list[str], says: str) -> None:
    status, out, err = python("-m", "wscore.as_wsproto", *arguments)
    assert (status, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize("way", [["-m", "this"], ["program.py"]])
def test_too_late_is_one_clear_line(tmp_path: Path, way: list[str]) -> None:
    program(tmp_path, "print('it ran')")
    program(tmp_path, "import wsproto", "sitecustomize.py")
    here = str(Path(wscore.__file__).parents[1])
    path = os.pathsep.join([str(tmp_path), here])
    status, out, err = python("-m", "wscore.as_wsproto", *way, cwd=tmp_path, PYTHONPATH=path)
    assert (status, out) == (2, "")
    assert err.startswith("wscore.as_wsproto: wsproto is imported already")
    assert err.count("\n") == 1


def test_help() -> None:
    status, out, err = python("-m", "wscore.as_wsproto", "--help")
    assert (status, err) == (0, "")
    assert "SCRIPT" in out
