"""The command `wscore`, started as a user starts it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import h11
import pytest

import wscore
from wscore import __main__ as command

# An interpreter that lacks a distribution, as an installation without the extra would.
WITHOUT = """
import sys
sys.modules.update(dict.fromkeys({missing!r}))
from wscore.__main__ import main
sys.exit(main({argv!r}))
"""


def run(*argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *argv],
        env={k: v for k, v in os.environ.items() if not k.startswith("WSCORE_")} | env,
        cwd=Path(wscore.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_without_arguments_it_says_what_is_installed_and_which_twin_is_live() -> None:
    done = run("-m", "wscore", WSCORE_PURE_PYTHON="1")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"wscore {wscore.__version__}"
    assert lines[1] == "framing: python (mask kernel: python)"
    assert platform.python_version() in lines[2]
    assert f"h11: {h11.__version__}" in lines


def test_it_names_the_twin_of_this_process(capsys: pytest.CaptureFixture[str]) -> None:
    from wscore._framing import IMPLEMENTATION, KERNEL

    assert command.main([]) == 0
    assert f"framing: {IMPLEMENTATION} (mask kernel: {KERNEL})\n" in capsys.readouterr().out


def test_a_missing_distribution_is_named_as_such(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name == "msgspec":
            raise command.metadata.PackageNotFoundError(name)
        return "7.8.9"

    monkeypatch.setattr(command.metadata, "version", version)
    assert command.main([]) == 0
    out = capsys.readouterr().out
    assert "h11: 7.8.9\n" in out
    assert "msgspec: not installed\n" in out


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([option]) == 0
    assert capsys.readouterr().out == f"wscore {wscore.__version__}\n"


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_the_commands(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([option]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: wscore ")
    assert all(f"  {name} " in out for name in command.COMMANDS)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["chta"], "command 'chta'"),
        (["--verison"], "option '--verison'"),
        (["--version", "chat"], "option '--version'"),
        ([""], "command ''"),
    ],
)
def test_what_it_does_not_know_gets_one_clear_line_and_status_2(
    argv: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert named in err
    assert err.count("\n") == 1


def test_a_missing_extra_is_named_with_the_way_to_get_it() -> None:
    for missing in ("trio", "msgspec"):
        done = run("-c", WITHOUT.format(missing=[missing], argv=["chat", "--port", "0"]))
        assert done.returncode == 1, done
        assert done.stdout == ""
        assert done.stderr == (
            f"wscore chat needs {missing}, which is not installed: pip install 'wscore[chat]'\n"
        )


@pytest.mark.parametrize("name", command.COMMANDS)
def test_each_command_has_its_own_help(name: str) -> None:
    done = run("-m", "wscore", *name.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: wscore {name} ")


@pytest.mark.parametrize(
    ("name", "missing"), [("chat token", "jwt"), ("chat join", "msgspec"), ("connect", "trio")]
)
def test_each_command_names_the_extra_that_it_lacks(name: str, missing: str) -> None:
    extra = command.COMMANDS[name].extra
    done = run("-c", WITHOUT.format(missing=[missing], argv=[*name.split(), "x"]))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"wscore {name} needs {missing}, which is not installed: pip install 'wscore[{extra}]'\n"
    )


@pytest.mark.parametrize("missing", ["jwt", "cryptography"])
def test_a_setting_that_needs_an_extra_names_it(missing: str) -> None:
    argv = ["chat", "--port=0", "--data=:memory:", "--jwt-algorithm=RS256"]
    done = run("-c", WITHOUT.format(missing=[missing], argv=argv), WSCORE_JWT_KEY="k")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("wscore chat: ")
    assert "pip install 'wscore[jwt]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_module_of_ours_that_is_missing_is_a_bug_and_not_an_extra() -> None:
    done = run("-c", WITHOUT.format(missing=["wscore.chat.__main__"], argv=["chat"]))
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr
    assert "pip install" not in done.stderr


def test_arguments_after_the_command_reach_it_untouched() -> None:
    done = run("-m", "wscore", "chat", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--data" in done.stdout
    unknown = run("-m", "wscore", "chat", "--no-such-option")
    assert unknown.returncode == 2
    assert "--no-such-option" in unknown.stderr
    assert "Traceback" not in unknown.stderr
