"""A bar on the terminal with the row that is measured and the time left; imports nothing here."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self


class Progress:
    """Shows how far a run is, on a terminal and with rich; elsewhere nothing.

    Args:
        weights: About how many seconds each row takes, by label.
        repeats: How often all of them are measured.
    """

    def __init__(self, weights: Mapping[str, float], repeats: int = 1) -> None:
        self._weights = weights
        self._total = sum(weights.values()) * repeats
        self._done = self._now = 0.0
        self._begun = time.monotonic()
        self._bar = _bar() if sys.stderr.isatty() else None
        self._task = (
            None if self._bar is None else self._bar.add_task("", total=self._total, left="")
        )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bar away while something else is printed."""
        if self._bar is None:
            yield
            return
        self._bar.stop()
        yield
        self._bar.start()

    def next(self, label: str) -> None:
        """Go on to this row: the one before is done."""
        self._done += self._now
        # A row may come as several, by the clock and by CPU time.
        self._now = self._weights.get(
            label, sum(weight for name, weight in self._weights.items() if name.startswith(label))
        )
        self._show(label)

    def reach(self, done: float) -> None:
        """So much of the weights is behind us, whatever was left out."""
        self._done, self._now = done, 0.0
        self._show("")

    def left(self, elapsed: float) -> float | None:
        """Return the seconds left if all goes on as in the time elapsed; None at the beginning."""
        if not self._done:
            return None
        return max(0.0, elapsed * (self._total - self._done) / self._done)

    def _show(self, label: str) -> None:
        if self._bar is None or self._task is None:
            return
        left = self.left(time.monotonic() - self._begun)
        text = "" if left is None else f"{left // 60:.0f}:{left % 60:02.0f} left"
        done = min(self._done, self._total)
        self._bar.update(self._task, description=label, completed=done, left=text)


def _bar() -> Any:
    """Make rich's bar; None without rich."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar
    except ImportError:
        return None
    return Bar(
        TextColumn("{task.percentage:>3.0f}%"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
