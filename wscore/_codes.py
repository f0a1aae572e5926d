"""Opcodes, reserved bits and close codes as the RFC and the IANA registry number them; a leaf.

Public under their wsproto names in :mod:`wscore.frame_protocol`; they live below it because both
framing twins need them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple


class Opcode(IntEnum):
    """What a frame carries (RFC 6455, section 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA

    def iscontrol(self) -> bool:
        """Whether this is a control frame, never fragmented (RFC 6455, section 5.5)."""
        return bool(self & 0x08)


class RsvBits(NamedTuple):
    """The three reserved bits of a frame header (RFC 6455, section 5.2)."""

    rsv1: bool
    rsv2: bool
    rsv3: bool


class CloseReason(IntEnum):
    """Why a connection was closed (RFC 6455, section 7.4.1, and IANA's registry)."""

    #: The purpose of the connection is fulfilled.
    NORMAL_CLOSURE = 1000
    #: The server stops, or the browser leaves the page.
    GOING_AWAY = 1001
    #: The peer broke the protocol.
    PROTOCOL_ERROR = 1002
    #: The peer sent a kind of data that this end does not take.
    UNSUPPORTED_DATA = 1003
    #: Never on the wire: the close frame had no code.
    NO_STATUS_RCVD = 1005
    #: Never on the wire: the connection ended without a close frame.
    ABNORMAL_CLOSURE = 1006
    #: The payload does not fit its type, as text that is not UTF-8.
    INVALID_FRAME_PAYLOAD_DATA = 1007
    #: The peer broke a rule of the application, and no other code says which.
    POLICY_VIOLATION = 1008
    #: The message is larger than this end accepts.
    MESSAGE_TOO_BIG = 1009
    #: The client needs an extension that the server did not negotiate.
    MANDATORY_EXT = 1010
    #: The server met a condition that it did not expect.
    INTERNAL_ERROR = 1011
    #: The server restarts; come back (IANA registry).
    SERVICE_RESTART = 1012
    #: The server is overloaded; come back later (IANA registry).
    TRY_AGAIN_LATER = 1013
    #: A gateway had a bad answer from the server behind it (IANA registry).
    BAD_GATEWAY = 1014
    #: Never on the wire: the TLS handshake failed.
    TLS_HANDSHAKE_FAILED = 1015


#: Codes that describe a close frame that was never sent, so that none may carry them.
LOCAL_ONLY_CLOSE_REASONS: Final = (
    CloseReason.NO_STATUS_RCVD,
    CloseReason.ABNORMAL_CLOSURE,
    CloseReason.TLS_HANDSHAKE_FAILED,
)

# RFC 6455, section 7.4.2: 1000-2999 belong to the protocol, 3000-3999 to libraries, 4000-4999 to
# applications.
MIN_CLOSE_REASON: Final = 1000
MIN_PROTOCOL_CLOSE_REASON: Final = 1000
MAX_PROTOCOL_CLOSE_REASON: Final = 2999
MIN_LIBRARY_CLOSE_REASON: Final = 3000
MAX_LIBRARY_CLOSE_REASON: Final = 3999
MIN_PRIVATE_CLOSE_REASON: Final = 4000
MAX_PRIVATE_CLOSE_REASON: Final = 4999
MAX_CLOSE_REASON: Final = 4999
