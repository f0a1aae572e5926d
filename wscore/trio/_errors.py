"""The exceptions of the transport and the reason of a close; imports only the core's close codes.

The tree::

    Exception
    ├── ConnectionClosed           .reason: CloseReason
    └── HandshakeError             the connection could not be opened (or, see below, closed)
        ├── ConnectionRejected     .status_code, .headers, .body
        ├── ConnectionTimeout
        └── DisconnectionTimeout
"""

from __future__ import annotations

from dataclasses import dataclass

from wscore import frame_protocol


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

    def __repr__(self) -> str:
        return f"{type(self).__name__}<{self.reason}>"


class HandshakeError(Exception):
    """The opening handshake failed; the message says why."""


class ConnectionRejected(HandshakeError):
    """The server answered the opening handshake with something else than 101.

    Attributes:
        status_code: the HTTP status.
        headers: the response's headers, pairs of bytes with lower-case names.
        body: the beginning of the response's body (at most 64 KiB), or None without one.
    """

    def __init__(
        self, status_code: int, headers: tuple[tuple[bytes, bytes], ...], body: bytes | None
    ) -> None:
        super().__init__(status_code, headers, body)
        self.status_code = status_code
        self.headers = headers
        self.body = body

    def __str__(self) -> str:
        return f"the server rejected the WebSocket handshake with status {self.status_code}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}<status_code={self.status_code}>"


class ConnectionTimeout(HandshakeError):
    """The opening handshake, TCP and TLS included, took too long."""


class DisconnectionTimeout(HandshakeError):
    """The peer did not finish the closing handshake in time; the transport was cut."""
