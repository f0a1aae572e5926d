"""A program of ours as a process: on a pseudo-terminal, or between pipes."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio

import wscore

if sys.platform != "win32":
    import fcntl
    import pty
    import termios

_SECONDS = 90
_CURSOR_QUESTION, _CURSOR_ANSWER = b"\x1b[6n", b"\x1b[1;1R"
_WINDOW = struct.pack("HHHH", 30, 120, 0, 0)
# What prompt_toolkit and our own colours send: CSI and OSC sequences, and two-character escapes.
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[=>78]")


def environment(state: Path, **more: str) -> dict[str, str]:
    """Ours, with the package under test on the path and a folder for what is to be kept."""
    place = str(Path(wscore.__file__).parent.parent)
    inherited = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    return {
        **inherited,
        "PYTHONPATH": place,
        "XDG_STATE_HOME": str(state),
        "TERM": "xterm",
        "PYTHONWARNINGS": "error",
        "TZ": "UTC",
        **more,
    }


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.raw = b""
        self._master = master
        self._seen = 0

    @property
    def text(self) -> str:
        """All that was shown so far, without the sequences that move and colour."""
        return _SEQUENCE.sub("", self.raw.decode("utf-8", "replace"))

    @property
    def takes_keys(self) -> bool:
        """Whether the program gets each key as it is typed, Ctrl-D and Ctrl-C too."""
        modes = termios.tcgetattr(self._master)[3]
        return not modes & (termios.ICANON | termios.ISIG)

    def type(self, text: str) -> None:
        """Type; a line ends with a carriage return."""
        os.write(self._master, text.encode())

    async def shows(self, text: str) -> None:
        """Wait until a text is shown, behind the last one that was waited for."""
        with trio.fail_after(_SECONDS):
            while (found := self.text.find(text, self._seen)) < 0:
                if not await self.read():
                    raise AssertionError(f"the program ended without {text!r}: {self.text!r}")
        self._seen = found + len(text)

    async def ends(self) -> int:
        """Wait for the end; returns the exit status."""
        with trio.fail_after(_SECONDS):
            while await self.read():
                pass
            return await trio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)

    async def read(self) -> bytes:
        """Wait for what is shown next; nothing at the end."""
        await trio.lowlevel.wait_readable(self._master)
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other side is closed
            data = b""
        self.raw += data
        for _ in range(data.count(_CURSOR_QUESTION)):
            os.write(self._master, _CURSOR_ANSWER)
        return data


def _start(
    module: str, arguments: tuple[str, ...], variables: dict[str, str]
) -> tuple[subprocess.Popen[bytes], int]:
    master, slave = pty.openpty()

    fcntl.ioctl(master, termios.TIOCSWINSZ, _WINDOW)

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=variables,
        preexec_fn=take_terminal,
    )
    os.close(slave)
    return process, master


@asynccontextmanager
async def on_terminal(
    module: str, *arguments: str, state: Path, **variables: str
) -> AsyncIterator[Terminal]:
    """Start a program on a terminal of its own; killed at the end, if it still runs."""
    process, master = _start(module, arguments, environment(state, **variables))
    terminal = Terminal(process, master)
    try:
        with trio.fail_after(2 * _SECONDS):
            yield terminal
    except BaseException:
        print(terminal.text)
        raise
    finally:
        process.kill()
        process.wait()
        os.close(master)


class Result:
    """What a program between pipes did."""

    def __init__(self, status: int, out: bytes | bytearray, err: bytes | bytearray) -> None:
        self.status = status
        self.out = out.decode()
        self.err = err.decode()


async def in_pipe(
    module: str,
    *arguments: str,
    state: Path,
    input: bytes = b"",
    until: str = "",
    then: bytes = b"",
    **variables: str,
) -> Result:
    """Run a program between pipes, to its end.

    Its input goes on when it has written the text ``until``, with ``then``, and ends behind that.
    """
    out, err = bytearray(), bytearray()
    written = trio.Event()

    async def collect(stream: trio.abc.ReceiveStream, found: bytearray) -> None:
        async for data in stream:
            found += data
            if until.encode() in out:
                written.set()
        written.set()  # it has ended without

    async def type(stream: trio.abc.SendStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError):  # it may have heard enough
                await stream.send_all(input)
                if until:
                    await written.wait()
                await stream.send_all(then)

    with trio.fail_after(_SECONDS):
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                partial(
                    trio.run_process,
                    [sys.executable, "-m", module, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    check=False,
                    env=environment(state, **variables),
                )
            )
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            nursery.start_soon(type, process.stdin)
            nursery.start_soon(collect, process.stdout, out)
            nursery.start_soon(collect, process.stderr, err)
    assert process.returncode is not None
    return Result(process.returncode, out, err)
