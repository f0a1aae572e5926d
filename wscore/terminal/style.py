"""Colours, where a terminal shows them and nobody said no; imports nothing.

``NO_COLOR`` is obeyed as https://no-color.org says: set and not empty, it turns colours off.
"""

from __future__ import annotations

import os
import zlib
from typing import TextIO

BOLD = "1"
DIM = "2"
RED = "31"
GREEN = "32"
YELLOW = "33"
# Readable on light and on dark; neither red, which is for errors, nor black and white.
_NAMES = ("32", "33", "34", "35", "36", "92", "93", "94", "95", "96")


class Style:
    """Paints text, or leaves it as it is.

    Args:
        is_on: whether to paint.
    """

    def __init__(self, is_on: bool) -> None:
        self.is_on = is_on

    def paint(self, text: str, *codes: str) -> str:
        """A text with the parameters of an SGR sequence (ECMA-48 section 8.3.117)."""
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if self.is_on else text

    def name(self, name: str) -> str:
        """A name in a colour of its own."""
        code = zlib.crc32(name.casefold().encode("utf-8", "replace")) % len(_NAMES)
        return self.paint(name, BOLD, _NAMES[code])


def has_colours(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that shows colours; None for one that is closed."""
    if stream is None or not stream.isatty():
        return False
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
