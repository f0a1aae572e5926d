"""The exceptions of the transport and the reason of a close; imports only the core's close codes.

The tree::

    Exception
    ├── ConnectionClosed           .reason: CloseReason, .transient
    └── HandshakeError             not opened (or, see below, closed); .transient
        ├── ConnectionRejected     .status_code, .headers, .body, .retry_after
        ├── ConnectionTimeout
        ├── DisconnectionTimeout
        └── ProxyError             .status_code
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from wscore import frame_protocol

# Statuses below 500 after which the same request may succeed: a timeout and a rate limit (RFC 9110
# section 15.5.9, RFC 6585 section 4); and those from 500 on after which it cannot: not implemented,
# HTTP version not supported.
_TRANSIENT_STATUSES = frozenset({408, 429})
_LASTING_STATUSES = frozenset({501, 505})
# Codes with which a server ends one connection, and not what the client does: done, going away, no
# code, lost, internal error, restart, try again later, bad gateway (RFC 6455 section 7.4.1 and
# IANA's registry), timeout.
_TRANSIENT_CODES = frozenset({1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014, 3008})
_SECONDS = re.compile(rb"[0-9]{1,9}")


@dataclass(frozen=True, slots=True, repr=False)
class CloseReason:
    """Why a connection was closed.

    Attributes:
        code: the close code (RFC 6455 section 7.4); 1006 means that the connection
            ended without a Close frame, 1005 that the Close frame carried no code.
        reason: the text sent with the code, or None.
    """

    code: int
    reason: str | None = None

    @property
    def name(self) -> str:
        """The code's registered name, or the name of the range it lies in."""
        try:
            return frame_protocol.CloseReason(self.code).name
        except ValueError:
            pass
        # RFC 6455 section 7.4.2 divides the codes into these ranges.
        if 1000 <= self.code <= 2999:
            return "RFC_RESERVED"
        if 3000 <= self.code <= 3999:
            return "IANA_RESERVED"
        if 4000 <= self.code <= 4999:
            return "PRIVATE_RESERVED"
        return "INVALID_CODE"

    def __repr__(self) -> str:
        return f"CloseReason<code={self.code}, name={self.name}, reason={self.reason}>"


class ConnectionClosed(Exception):
    """The operation is impossible: the connection is closed, or is being closed.

    Attributes:
        reason: the `CloseReason`, the same as the connection's ``closed``.
    """

    def __init__(self, reason: CloseReason) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def transient(self) -> bool:
        """Whether connecting again makes sense.

        True for the codes 1000, 1001, 1005, 1006, 1011 to 1014 and 3008; not for those that blame
        the client, like 1008, nor for those that only the application understands.
        """
        return self.reason.code in _TRANSIENT_CODES

    def __repr__(self) -> str:
        return f"{type(self).__name__}<{self.reason}>"


class HandshakeError(Exception):
    """The opening handshake failed; the message says why.

    Attributes:
        transient: whether the same attempt may succeed later. True if the network or a busy server
            is the reason, False if it is a certificate, a permission, or a server of another kind.
    """

    def __init__(self, *args: object, transient: bool = False) -> None:
        super().__init__(*args)
        self.transient = transient


class ConnectionRejected(HandshakeError):
    """The server answered the opening handshake with something else than 101.

    Redirects are not followed, as browsers do not follow them either: the other server would get
    the headers, and perhaps the cookies and the password, that were meant for this one.

    Attributes:
        status_code: the HTTP status.
        headers: the response's headers, pairs of bytes with lower-case names.
        body: the beginning of the response's body (at most 64 KiB), or None without one.
        transient: True for 408, 429 and from 500 on, except 501 and 505.
    """

    def __init__(
        self, status_code: int, headers: tuple[tuple[bytes, bytes], ...], body: bytes | None
    ) -> None:
        super().__init__(status_code, headers, body, transient=is_transient_status(status_code))
        self.status_code = status_code
        self.headers = headers
        self.body = body

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the server wants to be asked again (``Retry-After``), or None.

        A date in the header is compared with the system's clock (RFC 9110 section 10.2.3).
        """
        value = self._header(b"retry-after")
        if value is None:
            return None
        if _SECONDS.fullmatch(value):
            return float(value)
        try:
            date = parsedate_to_datetime(value.decode("latin-1")).timestamp()
        except (ValueError, OverflowError):  # no date, or none that there can be
            return None
        return max(0.0, date - time.time())

    def _header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    def __str__(self) -> str:
        text = f"the server rejected the WebSocket handshake with status {self.status_code}"
        location = self._header(b"location")
        if location is not None and 300 <= self.status_code <= 399:
            text += f" and names another place, {location.decode('latin-1')}"
        return text

    def __repr__(self) -> str:
        return f"{type(self).__name__}<status_code={self.status_code}>"


class ConnectionTimeout(HandshakeError):
    """The opening handshake, proxy, TCP and TLS included, took too long."""

    def __init__(self, *args: object, transient: bool = True) -> None:
        super().__init__(*args, transient=transient)


class DisconnectionTimeout(HandshakeError):
    """The peer did not finish the closing handshake in time; the transport was cut."""

    def __init__(self, *args: object, transient: bool = True) -> None:
        super().__init__(*args, transient=transient)


class ProxyError(HandshakeError):
    """The proxy did not open a way to the server, or gave no proper answer.

    Attributes:
        status_code: the status that an HTTP proxy answered with, or None.
    """

    def __init__(
        self, *args: object, transient: bool = False, status_code: int | None = None
    ) -> None:
        super().__init__(*args, transient=transient)
        self.status_code = status_code


def is_transient_status(status_code: int) -> bool:
    """Whether an HTTP status says that the same request may succeed later."""
    if status_code < 500:
        return status_code in _TRANSIENT_STATUSES
    return status_code not in _LASTING_STATUSES
