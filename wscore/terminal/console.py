"""A terminal or a pipe: lines come in, lines go out; imports the modules beside it.

On a terminal with prompt_toolkit there is an input line with editing and history, and what is
printed goes above it; else lines are read as they come. Results go to standard output, remarks to
standard error, so that a pipe gets results only.
"""

from __future__ import annotations

import io
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TextIO

import trio

from .lines import BadLine, LineReader
from .style import DIM, Style, has_colours
from .text import safe

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.buffer import Buffer

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
    """A terminal with an input line at its bottom, from the first line that is asked for on.

    prompt_toolkit runs on asyncio, in a thread, until `close`: between two lines nothing that is
    typed gets lost.

    Args:
        prompt: what stands before the input.
        echoes: whether what was typed stays on the screen.
    """

    def __init__(self, prompt: Callable[[], str], *, echoes: bool) -> None:
        super().__init__()
        from prompt_toolkit import PromptSession
        from prompt_toolkit.input import create_input

        # While something is printed the terminal is left as it is: else it would for that moment
        # take Ctrl-D and Ctrl-C for itself.
        keys = create_input()
        keys.cooked_mode = nullcontext  # type: ignore[method-assign]
        self._prompt = prompt
        self._echoes = echoes
        self._status = ""
        self._is_over = False
        self._session: PromptSession[str] = PromptSession(
            message=prompt, bottom_toolbar=lambda: self._status or None, input=keys
        )
        self._session.default_buffer.accept_handler = self._accept
        self._send, self._typed = trio.open_memory_channel[str | Exception](math.inf)
        self._trio = trio.lowlevel.current_trio_token()
        self._thread = threading.Thread(target=self._run, name="prompt", daemon=True)

    def note(self, line: str, *codes: str) -> None:
        """Print a remark above the input."""
        self.show(self.style.paint(line, *codes))

    def set_status(self, status: str) -> None:
        """Say how things are, below the input."""
        if status != self._status:
            self._status = status
            self._session.app.invalidate()

    async def __anext__(self) -> str | BadLine:
        if self._thread.ident is None:
            self._thread.start()
        typed = await self._typed.receive()
        if isinstance(typed, Exception):
            raise typed
        if self._echoes:
            self.note(f"{self._prompt()}{safe(typed)}", DIM)
        return typed

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._is_over = True
        loop = self._session.app.loop
        if loop is not None:
            loop.call_soon_threadsafe(self._leave)
        if self._thread.ident is not None:
            self._thread.join(_LEAVE_SECONDS)

    # --- In the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._session.prompt(pre_run=self._leave, handle_sigint=False)
        except EOFError:
            self._tell(StopAsyncIteration())
        except KeyboardInterrupt:
            self._tell(Leave(128 + signal.SIGINT))
        except Exception as error:
            self._tell(error)

    def _accept(self, buffer: Buffer) -> bool:
        """Take a line, and let the input go on empty."""
        self._tell(buffer.text)
        return False

    def _tell(self, typed: str | Exception) -> None:
        with suppress(trio.RunFinishedError):
            self._trio.run_sync_soon(self._send.send_nowait, typed)

    def _leave(self) -> None:
        app = self._session.app
        if self._is_over and app.is_running and not app.is_done:
            app.exit(exception=EOFError)


@contextmanager
def open_console(prompt: Callable[[], str], *, echoes: bool) -> Iterator[Console]:
    """The console of this process, for as long as the block runs.

    Args:
        prompt: what stands before the input, where there is an input line.
        echoes: whether what was typed there stays on the screen.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # what it cannot encode must not end the program
        sys.stdout.reconfigure(errors="backslashreplace")
    patch: Any = _patch_stdout()
    if patch is None:
        yield Console()
    else:
        with patch(raw=True):  # what is printed is safe, and the colours are ours
            console = PromptConsole(prompt, echoes=echoes)
            try:
                yield console
            finally:
                console.close()


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
