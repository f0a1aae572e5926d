"""Text from strangers made safe for a terminal, and bounded; imports nothing.

A terminal obeys control characters, and bidirectional overrides and invisible characters let a text
look like another one. So no character of the categories Cc and Cf, no line or paragraph separator
and no surrogate leaves this module: they are shown as escapes. A line break is ours or none.
"""

from __future__ import annotations

import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\e"}
_DUMP_WIDTH = 16


def safe(text: str) -> str:
    """One line that shows a text, with escapes for what could act on the terminal."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) if _is_unsafe(char) else char for char in text)


def safe_lines(text: str) -> list[str]:
    """The lines of a text, each made `safe`; at least one."""
    return [safe(line) for line in text.replace("\r\n", "\n").split("\n")]


def shorten(text: str, limit: int) -> str:
    """The beginning of a text, with a note where that is not all.

    Args:
        text: the text, of any length; to be made `safe` afterwards, as the note is.
        limit: code points; 0 for all.
    """
    if limit <= 0 or len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit:,} more characters)"


def hex_dump(data: bytes, limit: int) -> list[str]:
    """Lines of sixteen bytes, each with its offset, in hexadecimal and as ASCII.

    Args:
        data: bytes, any number.
        limit: bytes to show; 0 for all.
    """
    shown = data[:limit] if limit > 0 else data
    lines = []
    for start in range(0, len(shown), _DUMP_WIDTH):
        row = shown[start : start + _DUMP_WIDTH]
        ascii_row = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start:08x}  {row.hex(' '):<{3 * _DUMP_WIDTH - 1}}  {ascii_row}")
    if len(shown) < len(data):
        lines.append(f"… ({len(data) - len(shown):,} more bytes)")
    return lines


def _is_unsafe(char: str) -> bool:
    return unicodedata.category(char) in _UNSAFE


def _escape(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
