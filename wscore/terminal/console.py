"""A terminal or a pipe: lines come in, lines go out; imports the modules beside it.

On a terminal with prompt_toolkit there is an input line with editing and history, and what is
printed goes above it; else lines are read as they come. Results go to standard output, remarks to
standard error, so that a pipe gets results only.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

import trio

from .lines import BadLine, LineReader
from .style import Style, has_colours

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

_LEAVE_SECONDS = 2.0


class Leave(Exception):
    """The program is to end: somebody typed Ctrl-C, or nobody reads the output any more.

    Attributes:
        status: the exit status.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Console:
    """Lines from standard input; results and remarks to the standard outputs.

    An async iterator over what is typed; it raises `Leave` for a Ctrl-C that is no signal.

    Attributes:
        style: for what is shown.
        is_terminal: whether somebody types.
        shows_on_terminal: whether somebody reads along.
    """

    def __init__(self) -> None:
        self.style = Style(has_colours(sys.stdout))
        self._remarks = Style(has_colours(sys.stderr))
        self.is_terminal = _is_terminal(sys.stdin)
        self.shows_on_terminal = _is_terminal(sys.stdout)
        self._lines = LineReader(-1 if _is_closed(sys.stdin) else sys.stdin.fileno())

    def show(self, line: str) -> None:
        """Print a result, which is safe text.

        Raises:
            Leave: nobody reads it.
        """
        try:
            print(line, flush=True)
        except BrokenPipeError:
            # Python itself would try again at the end, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Leave(1) from None

    def note(self, line: str, *codes: str) -> None:
        """Print a remark, which is safe text, with parameters for `Style.paint`."""
        with suppress(BrokenPipeError):
            print(self._remarks.paint(line, *codes), file=sys.stderr, flush=True)

    def set_status(self, status: str) -> None:
        """Say how things are, in a line that is replaced by the next one; only where it can be."""

    def __aiter__(self) -> Console:
        return self

    async def __anext__(self) -> str | BadLine:
        return await anext(self._lines)


class PromptConsole(Console):
    """A terminal with an input line at its bottom.

    prompt_toolkit runs on asyncio, in a thread; only it touches the terminal meanwhile.

    Args:
        prompt: what stands before the input.
    """

    def __init__(self, prompt: Callable[[], str]) -> None:
        super().__init__()
        from prompt_toolkit import PromptSession

        self._status = ""
        self._is_over = False
        self._session: PromptSession[str] = PromptSession(
            message=prompt, bottom_toolbar=lambda: self._status or None
        )

    def note(self, line: str, *codes: str) -> None:
        """Print a remark above the input."""
        self.show(self.style.paint(line, *codes))

    def set_status(self, status: str) -> None:
        """Say how things are, below the input."""
        if status != self._status:
            self._status = status
            self._session.app.invalidate()

    async def __anext__(self) -> str | BadLine:
        done = threading.Event()
        try:
            return await trio.to_thread.run_sync(self._ask, done, abandon_on_cancel=True)
        except trio.Cancelled:
            self._leave()
            done.wait(_LEAVE_SECONDS)  # until the terminal is as it was
            raise
        except EOFError:
            raise StopAsyncIteration from None
        except KeyboardInterrupt:
            raise Leave(128 + signal.SIGINT) from None

    def _ask(self, done: threading.Event) -> str:
        try:
            return self._session.prompt(pre_run=self._check, handle_sigint=False)
        finally:
            done.set()

    def _check(self) -> None:
        if self._is_over:
            self._session.app.exit(exception=EOFError)

    def _leave(self) -> None:
        self._is_over = True
        loop = self._session.app.loop
        if loop is not None:
            loop.call_soon_threadsafe(self._exit)

    def _exit(self) -> None:
        if self._session.app.is_running and not self._session.app.is_done:
            self._session.app.exit(exception=EOFError)


@contextmanager
def open_console(prompt: Callable[[], str]) -> Iterator[Console]:
    """The console of this process, for as long as the block runs.

    Args:
        prompt: what stands before the input, where there is an input line.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # what it cannot encode must not end the program
        sys.stdout.reconfigure(errors="backslashreplace")
    patch: Any = _patch_stdout()
    if patch is None:
        yield Console()
    else:
        with patch(raw=True):  # what is printed is safe, and the colours are ours
            yield PromptConsole(prompt)


def _patch_stdout() -> Any:
    """What keeps the input line below the output; None where there is no input line."""
    if not (_is_terminal(sys.stdin) and _is_terminal(sys.stdout)):
        return None
    try:
        from prompt_toolkit.patch_stdout import patch_stdout
    except ModuleNotFoundError:
        return None
    return patch_stdout


def _is_closed(stream: TextIO | None) -> bool:
    """Whether the process was started without this stream."""
    return stream is None


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()
