"""The head of one HTTP/1.1 message, collected within limits before anything parses it; a leaf."""

from __future__ import annotations

import re
from typing import Final

#: Limits: bytes in a line, fields, bytes in all.
MAX_LINE: Final = 8192
MAX_FIELDS: Final = 100
MAX_HEAD: Final = 32768

_END: Final = b"\r\n\r\n"

# What two parsers read in two ways, so that a request could be smuggled past one of them (RFC 9112,
# sections 2.2 and 5.2; RFC 9110, section 5.5). A carriage return may be the last byte so far.
# Each alternative begins with a byte, so that all other bytes are passed over at once.
_FORBIDDEN: Final = re.compile(rb"\0|\n(?<!\r\n)|\r(?!\n|\Z)|\n[ \t]")
_REASONS: Final = {
    b"\0": "a NUL byte",
    b"\n": "a line feed without a carriage return",
    b"\r": "a carriage return without a line feed",
    b"\n ": "a folded header line",
    b"\n\t": "a folded header line",
}


class BadHead(Exception):
    """The bytes are no head, or exceed a limit.

    Attributes:
        status: the HTTP status that tells the peer: 400, 414 or 431.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class HeadReader:
    """Collects a head piece by piece, and looks at each byte a bounded number of times.

    A violation shows at its first byte, so that nothing waits for the end of a head that never
    comes.
    """

    def __init__(self) -> None:
        self._head = bytearray()
        self._line_start = 0
        self._lines = 0

    @property
    def begun(self) -> bool:
        """Whether any byte has come."""
        return bool(self._head)

    def receive(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Takes the next bytes.

        Returns:
            The head with the empty line that ends it, and the bytes behind it; None where more is
            needed.

        Raises:
            BadHead: it can be no head any more.
        """
        head = self._head
        before = len(head)
        head += data[: MAX_HEAD + 1 - before]
        end = head.find(_END, max(0, before - len(_END) + 1))
        if end >= 0:
            del head[end + len(_END) :]
        self._check(before)
        if end < 0:
            return None
        return bytes(head), bytes(data[len(head) - before :])

    def _check(self, before: int) -> None:
        head = self._head
        if head and head[0] <= 0x20:  # also the first byte of TLS
            raise BadHead("it does not begin with a letter")
        found = _FORBIDDEN.search(head, max(0, before - 1))
        if found is not None:
            raise BadHead(_REASONS[bytes(found.group())])
        searched = before
        while (newline := head.find(b"\n", searched)) >= 0:
            self._check_line(newline - 1 - self._line_start)
            self._lines += 1
            self._line_start = searched = newline + 1
        self._check_line(len(head) - self._line_start - 1)  # there may be a carriage return
        if len(head) > MAX_HEAD:
            raise BadHead(f"more than {MAX_HEAD} bytes", 431)

    def _check_line(self, length: int) -> None:
        if length > MAX_LINE:
            # RFC 9110, section 15.5.15: a target that is too long has a status of its own.
            raise BadHead(f"a line of more than {MAX_LINE} bytes", 431 if self._lines else 414)
        if length > 0 and self._lines > MAX_FIELDS:
            raise BadHead(f"more than {MAX_FIELDS} fields", 431)
