"""Pictures of a run, as SVG and PNG: masking, messages a second, fan-out; imports matplotlib.

Their background is transparent, and all colours stand out from white and from black alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmarks import fanout, masking, receiving, sending
from benchmarks._harness import US, Outcome
from benchmarks._results import Run, fingerprint
from benchmarks.goals import COPY
from benchmarks.payloads import size_name

#: Text, axes, grids.
INK = "#7a7f87"
OURS, LIMIT = "#d9622b", "#7a7f87"
#: Each other contender's, in the order of appearance.
COLOURS = ["#3c82c4", "#2c9a6a", "#a5782a", "#9a6cc9", "#c4568c", "#4f9196", "#8a8f3c"]
MARKERS = "sD^vPXd"
#: Where text stays text, and what a picture's own names in the file are made of.
SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": US, "font.size": 9.5, "text.color": INK}
#: What limits a copy in place, and one into new bytes.
LIMITS = (masking.MEMCPY, COPY)


@dataclass(frozen=True)
class Bars:
    """A row as bars: one for each library, by what it does in a second.

    Attributes:
        title: Above them.
        table: The title of the row's table.
        label: The row's.
    """

    title: str
    table: str
    label: str


RECEIVING, SENDING = (next(iter(suite.TABLES)) for suite in (receiving, sending))
MESSAGES = [
    Bars("received, one frame a call", RECEIVING, "server receives text 32 B, frame a call"),
    Bars("received, 64 KiB at once", RECEIVING, "server receives text 32 B, 64 KiB chunks"),
    Bars("sent", SENDING, "server sends text 32 B"),
]
FAN_OUT = [
    Bars(f"{members:,} members", fanout.CLOCK, f"{fanout.label(members)}, time")
    for members in fanout.MEMBERS
]


def draw(run: Run, folder: Path) -> list[tuple[str, Path]]:
    """Draw all pictures for which something was measured.

    Returns:
        Their titles, and the paths of the SVG files; the PNG files lie beside them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    with matplotlib.rc_context(SETTINGS):
        for name, title, figure in figures(run):
            figure.text(0.995, 0.01, source(run), ha="right", va="bottom", fontsize=7)
            about = {"Title": title, "Description": fingerprint(run)}
            path = folder / f"{name}.svg"
            figure.savefig(path, transparent=True, metadata={**about, "Date": None})
            figure.savefig(path.with_suffix(".png"), transparent=True, dpi=144, metadata=about)
            drawn.append((title, path))
    return drawn


def figures(run: Run) -> Iterator[tuple[str, str, Figure]]:
    """Make the pictures: name, title, picture."""
    if figure := masking_figure(run):
        yield "masking", "Masking: bytes a second by size", figure
    title = "Text messages of 32 B a second on a server's connection, one core"
    if figure := bars_figure(run, MESSAGES, title):
        yield "messages", title, figure
    title = f"Deliveries a second of a message of {fanout.SIZE} B to all members, one core"
    if figure := bars_figure(run, FAN_OUT, title):
        yield "fanout", title, figure


def source(run: Run) -> str:
    """Say where the figures are from."""
    return " · ".join(run.surroundings.get(name, "") for name in ("machine", "python"))


def found(run: Run, table: str, label: str) -> Outcome | None:
    """Find a row."""
    rows = (outcome for outcome, _ in run.tables.get(table, []))
    return next((outcome for outcome in rows if outcome.label == label), None)


def masking_figure(run: Run) -> Figure | None:
    """Draw throughput against size, in place and copying, with the limit of a plain copy."""
    kinds = {"in place": masking.IN_PLACE, "copying": masking.INTO_NEW}
    measured = {
        kind: {
            size: outcome
            for size in masking.SIZES
            if (outcome := found(run, table, f"{kind}, {size_name(size)}")) is not None
        }
        for kind, table in kinds.items()
    }
    measured = {kind: rows for kind, rows in measured.items() if rows}
    if not measured:
        return None
    names = list(
        dict.fromkeys(
            name
            for rows in measured.values()
            for outcome in rows.values()
            for name in (US, *outcome.peers, masking.PURE)
        )
    )
    colours = dict(zip([name for name in names if name != US], COLOURS * 2, strict=False))
    figure = Figure(figsize=(9, 4.2), layout=layout(0.04))
    axes: Any = figure.subplots(1, len(measured), sharey=True, squeeze=False)
    for at, (kind, rows) in zip(axes[0], measured.items(), strict=True):
        for number, name in enumerate(names):
            line(at, rows, name, colours.get(name, OURS), MARKERS[number % len(MARKERS)])
        for name in LIMITS:
            line(at, rows, name, LIMIT, "")
        at.set(xscale="log", yscale="log", title=f"masking {kind}")
        at.set_xticks(masking.SIZES, [size_name(size) for size in masking.SIZES])
        at.tick_params(axis="x", labelrotation=35)
        at.xaxis.set_minor_locator(NullLocator())
        plain(at)
        at.grid(alpha=0.25, color=INK)
        at.legend(frameon=False, labelcolor=INK, fontsize=8, ncols=2)
    axes[0, 0].set_ylabel("GB a second", color=INK)
    axes[0, 0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return figure


def line(at: Axes, rows: dict[int, Outcome], name: str, colour: str, marker: str) -> None:
    """Draw a contender's throughput; a limit is dashed, and we are on top."""
    points = [(size, size / o.values[name]) for size, o in rows.items() if name in o.values]
    if not points:
        return
    style: dict[str, Any] = {"linewidth": 1.3, "zorder": 3}
    if name == US:
        style = {"linewidth": 2.6, "zorder": 5}
    if name in LIMITS:
        style = {"linewidth": 1.3, "linestyle": "--"}
        name = f"memcpy limit: {name}"
    at.plot(
        [size for size, _ in points],
        [speed for _, speed in points],
        label=name,
        color=colour,
        marker=marker,
        markersize=4,
        **style,
    )


def bars_figure(run: Run, bars: Sequence[Bars], title: str) -> Figure | None:
    """Draw rows as panels of bars, ours first."""
    panels = [
        (f"{one.title} (noise {outcome.noise:.0%})", outcome)
        for one in bars
        if (outcome := found(run, one.table, one.label)) is not None
    ]
    if not panels:
        return None
    most = max(len(outcome.peers) for _, outcome in panels) + 1
    size = (9, 1.1 + 0.3 * most)
    figure = Figure(figsize=size, layout=layout(0.08))
    figure.suptitle(title, color=INK, fontsize=10.5)
    axes: Any = figure.subplots(1, len(panels), squeeze=False)
    for at, (heading, outcome) in zip(axes[0], panels, strict=True):
        names = sorted((US, *outcome.peers), key=lambda name: outcome.values[name])
        speeds = [1e9 / outcome.values[name] for name in names]
        colours = [OURS if name == US else COLOURS[0] for name in names]
        drawn = at.barh(names, speeds, color=colours, height=0.66)
        at.bar_label(drawn, [f" {short(speed)}" for speed in speeds], color=INK, fontsize=8.5)
        at.invert_yaxis()
        at.set_title(heading)
        at.set_xlim(0, max(speeds) * 1.25)
        at.set_xticks([])
        plain(at)
        at.spines["bottom"].set_visible(False)
    return figure


def layout(below: float) -> ConstrainedLayoutEngine:
    """Lay a picture out with that part of its height free below, for where it is from."""
    return ConstrainedLayoutEngine(rect=(0, below, 1, 1 - below))


def plain(at: Axes) -> None:
    """Give a panel no frame, and axes in the colour that all have."""
    at.title.set_color(INK)
    at.title.set_fontsize(9.5)
    at.tick_params(colors=INK, which="both")
    for side, spine in at.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)


def short(speed: float) -> str:
    """Write a number of messages a second."""
    for unit, scale in (("M", 1e6), ("k", 1e3)):
        if speed >= scale:
            return f"{speed / scale:.3g} {unit}"
    return f"{speed:.3g}"
