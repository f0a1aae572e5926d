"""`python -m benchmarks show FILE`: what was measured, as tables, Markdown and pictures."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks._report import document, show_goals, show_run
from benchmarks._results import ResultsError, Run, read


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the options for what is made of a run."""
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there")
    parser.add_argument(
        "--plot", type=Path, metavar="DIR", help="draw pictures there, as SVG and PNG"
    )


def check_outputs(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with an error where pictures cannot be drawn: before measuring, not after."""
    if options.plot and find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install 'wscore[bench]'")


def write_outputs(options: argparse.Namespace, run: Run) -> None:
    """Write what was asked for."""
    pictures: list[tuple[str, str]] = []
    if options.plot:
        from benchmarks import _plots

        drawn = _plots.draw(run, options.plot)
        page = options.markdown.parent if options.markdown else Path()
        pictures = [(title, os.path.relpath(path, page)) for title, path in drawn]
    if options.markdown:
        options.markdown.write_text(document(run, pictures), encoding="utf-8")


def main(argv: Sequence[str]) -> int:
    """Show a run that was written with `--json`; the exit status is 2 if the file is none."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks show", description=__doc__)
    parser.add_argument("file", type=Path)
    add_outputs(parser)
    options = parser.parse_args(argv)
    check_outputs(parser, options)
    try:
        run = read(options.file)
    except ResultsError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    print("\n".join(f"{name}: {fact}" for name, fact in run.surroundings.items()))
    show_run(run)
    show_goals(run)
    write_outputs(options, run)
    return 0
