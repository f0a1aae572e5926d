"""The command `python -m benchmarks`: measure; show, compare or reckon from what was measured."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    match list(sys.argv[1:] if argv is None else argv):
        case ["compare", *rest]:
            from benchmarks import _compare

            return _compare.main(rest)
        case ["show", *rest]:
            from benchmarks import _shown

            return _shown.main(rest)
        case ["model", *rest]:
            from benchmarks import _modelled

            return _modelled.main(rest)
        case rest:
            from benchmarks import _measuring

            return _measuring.main(rest)


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)
