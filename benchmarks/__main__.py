"""The command `python -m benchmarks`: measure, or show or compare what was measured."""

from __future__ import annotations

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
        case rest:
            from benchmarks import _measuring

            return _measuring.main(rest)


if __name__ == "__main__":
    sys.exit(main())
