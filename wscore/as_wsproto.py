"""Runs a program that uses wsproto on this package instead: ``python -m wscore.as_wsproto``.

The program, and every Python process it starts, gets `wscore` where it imports ``wsproto``; nothing
in it is changed.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from wscore import install_as_wsproto

USAGE = """\
usage: python -m wscore.as_wsproto -m MODULE [ARGUMENT ...]
       python -m wscore.as_wsproto SCRIPT [ARGUMENT ...]

Runs a module or a script, as python does, with wscore in the place of wsproto: in this process, and
in the Python processes that it starts, unless they ignore PYTHONPATH.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a program.

    Args:
        argv: ``-m`` and a module's name, or a script's path, then the program's own arguments;
            those of the process when None.

    Returns:
        The exit status: 0, or 2 where there was nothing to run, or wsproto was imported already; a
        program that exits by itself does so here too.
    """
    match list(sys.argv[1:] if argv is None else argv):
        case ["-h" | "--help"]:
            print(USAGE, end="")
        case ["-m", name, *arguments]:
            if (reason := _replace(name, arguments)) is not None:
                return _refuse(reason)
            # Looking for a part of a package imports the package, which may import wsproto.
            if not _exists(name):
                return _refuse(f"there is no module {name}")
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        case [path, *arguments] if not path.startswith("-"):
            if not Path(path).exists():
                return _refuse(f"there is no file {path}")
            if (reason := _replace(path, arguments)) is not None:
                return _refuse(reason)
            sys.path[0] = str(Path(path).resolve().parent)
            runpy.run_path(path, run_name="__main__")
        case _:
            print(USAGE, end="", file=sys.stderr)
            return 2
    return 0


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package it would be in
        return False


def _replace(program: str, arguments: list[str]) -> str | None:
    """Put wscore in wsproto's place, here and in processes to come; or say why that cannot be."""
    try:
        install_as_wsproto()
    except RuntimeError:
        return "wsproto is imported already, by something that Python does at its start"
    stand_in = str(Path(__file__).parent / "_stand_in")
    found = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([stand_in, *(p for p in found if p != stand_in)])
    # multiprocessing gives its processes this path, whatever their environment says.
    if stand_in not in sys.path:
        sys.path.insert(1, stand_in)
    sys.argv[:] = [program, *arguments]
    return None


def _refuse(reason: str) -> int:
    print(f"wscore.as_wsproto: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
