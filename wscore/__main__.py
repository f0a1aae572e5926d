"""The command `wscore`: says what is installed and starts the programs of the package.

Imports the core only; a program's own modules are imported when it is asked for.
"""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import NamedTuple

from wscore._framing import IMPLEMENTATION, KERNEL
from wscore._version import __version__


class Command(NamedTuple):
    """A program of the package: where it lives, the extra it needs, what it does."""

    module: str
    extra: str
    summary: str


COMMANDS = {
    "chat": Command("wscore.chat.__main__", "chat", "serve the chat and its page"),
    "chat join": Command("wscore.chat.terminal", "chat", "join a room of a chat in the terminal"),
    "chat token": Command("wscore.chat.token_command", "jwt", "print a token for a user"),
    "connect": Command("wscore.connect", "trio", "talk to any WebSocket server"),
}


def report() -> str:
    """Describe the installation: versions, the live framing twin and its mask kernel."""
    lines = [
        f"wscore {__version__}",
        f"framing: {IMPLEMENTATION} (mask kernel: {KERNEL})",
        f"python: {platform.python_implementation()} {platform.python_version()}"
        f" on {platform.system()} {platform.machine()}",
    ]
    for distribution in ("h11", "trio", "msgspec"):
        try:
            version = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            version = "not installed"
        lines.append(f"{distribution}: {version}")
    return "\n".join(lines)


def usage() -> str:
    """Return the text of `wscore --help`."""
    commands = "\n".join(f"  {name:<12}{command.summary}" for name, command in COMMANDS.items())
    return (
        "usage: wscore [--help | --version | COMMAND ...]\n\n"
        "Without arguments: versions, the live framing twin and its mask kernel.\n\n"
        f"commands (each has its own --help):\n{commands}\n\n"
        "options:\n"
        "  -h, --help     show this text\n"
        "  -V, --version  show the version of wscore\n\n"
        "environment:\n"
        "  WSCORE_PURE_PYTHON=1  use the Python twin where the compiled one is installed too"
    )


def run(name: str, argv: list[str]) -> int:
    """Run the command `name` with the arguments `argv` and return its exit status."""
    command = COMMANDS[name]
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as exc:
        missing = (exc.name or "").partition(".")[0]
        if missing in ("", "wscore"):
            raise
        print(
            f"wscore {name} needs {missing}, which is not installed:"
            f" pip install 'wscore[{command.extra}]'",
            file=sys.stderr,
        )
        return 1
    status: int = module.main(argv)
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments after the program's name; those of the process when None.

    Returns:
        The exit status: 0 done, 1 failed, 2 not understood; a command's own otherwise.
    """
    match list(sys.argv[1:] if argv is None else argv):
        case []:
            print(report())
        case ["-V" | "--version"]:
            print(f"wscore {__version__}")
        case ["-h" | "--help"]:
            print(usage())
        case [first, second, *rest] if f"{first} {second}" in COMMANDS:
            return run(f"{first} {second}", rest)
        case [name, *rest] if name in COMMANDS:
            return run(name, rest)
        case [word, *_]:
            kind = "option" if word.startswith("-") else "command"
            print(f"wscore: cannot take {kind} {word!r}; see wscore --help", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
