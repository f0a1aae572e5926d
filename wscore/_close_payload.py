"""The payload of a close frame, in both directions (RFC 6455, section 5.5.1); imports the leaves
``_codes`` and ``errors`` only.
"""

from __future__ import annotations

from typing import Final

from ._codes import (
    LOCAL_ONLY_CLOSE_REASONS,
    MAX_CLOSE_REASON,
    MAX_PROTOCOL_CLOSE_REASON,
    CloseReason,
)
from .errors import LocalProtocolError, ParseFailed

#: What is left of a control frame's 125 bytes behind the code.
MAX_REASON_BYTES: Final = 123

#: The codes below 3000 that a close frame may carry.
_REGISTERED: Final = {
    int(code): code for code in CloseReason if code not in LOCAL_ONLY_CLOSE_REASONS
}


def _wire_code(code: int) -> int | None:
    """Returns the code, as a :class:`CloseReason` where it has a name, or None where no close frame
    may carry it.
    """
    if code <= MAX_PROTOCOL_CLOSE_REASON:
        return _REGISTERED.get(code)
    return code if code <= MAX_CLOSE_REASON else None


def decode_close_payload(payload: bytes) -> tuple[int, str]:
    """Reads code and reason from a received close frame.

    Args:
        payload: the unmasked payload, at most 125 bytes.

    Returns:
        ``(code, reason)``; an empty payload is ``(1005, "")``.

    Raises:
        ParseFailed: one byte, a code that may not be on the wire (1002), or a reason that is not
            UTF-8 (1007).
    """
    if not payload:
        return CloseReason.NO_STATUS_RCVD, ""
    if len(payload) == 1:
        raise ParseFailed("close frame with half a close code")
    number = int.from_bytes(payload[:2], "big")
    code = _wire_code(number)
    if code is None:
        raise ParseFailed(f"close frame with the reserved code {number}")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise ParseFailed(
            "close frame with a reason that is not UTF-8", CloseReason.INVALID_FRAME_PAYLOAD_DATA
        ) from None


def encode_close_payload(code: int | None, reason: str | None) -> bytes:
    """Writes the payload of a close frame to send.

    A reason is cut at a character's border to 123 bytes. 1005 (or no code) makes an empty payload;
    1006 and 1015, which only ever describe a close frame that was not sent, go out as 1000, so that
    answering any ``CloseConnection`` event is legal.

    Raises:
        LocalProtocolError: a code that no close frame may carry.
        TypeError: a reason without a code, or a code that is no int.
    """
    if code is None or code == CloseReason.NO_STATUS_RCVD:
        if code is None and reason:
            raise TypeError("a close frame cannot carry a reason without a code")
        return b""
    if not isinstance(code, int):
        raise TypeError(f"a close code is an int, not {type(code).__name__}")
    if code in LOCAL_ONLY_CLOSE_REASONS:
        code = CloseReason.NORMAL_CLOSURE
    elif _wire_code(code) is None or code < 0:
        raise LocalProtocolError(f"close code {code} may not be sent")
    text = (reason or "").encode()
    if len(text) > MAX_REASON_BYTES:
        text = text[:MAX_REASON_BYTES].decode(errors="ignore").encode()
    return code.to_bytes(2, "big") + text
