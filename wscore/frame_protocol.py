"""The framing layer as users see it: opcodes, close codes, frames; imports ``_framing``,
``_frame_parts`` and leaves.

A connection sends through ``FrameProtocol`` and receives through ``_framing.FrameDecoder``. The
names are wsproto's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ._close_payload import decode_close_payload, encode_close_payload
from ._codes import (
    LOCAL_ONLY_CLOSE_REASONS,
    MAX_CLOSE_REASON,
    MAX_LIBRARY_CLOSE_REASON,
    MAX_PRIVATE_CLOSE_REASON,
    MAX_PROTOCOL_CLOSE_REASON,
    MIN_CLOSE_REASON,
    MIN_LIBRARY_CLOSE_REASON,
    MIN_PRIVATE_CLOSE_REASON,
    MIN_PROTOCOL_CLOSE_REASON,
    CloseReason,
    Opcode,
    RsvBits,
)
from ._frame_parts import (
    Buffer,
    Frame,
    FrameDecoder,
    Header,
    MessageDecoder,
    XorMaskerNull,
    XorMaskerSimple,
)
from ._framing import encode_frame, new_mask_key
from .errors import ParseFailed

if TYPE_CHECKING:  # extensions are above this module: it only calls their hooks
    from .extensions import Extension

# The three forms of a payload length (RFC 6455, section 5.2).
PAYLOAD_LENGTH_TWO_BYTE: Final = 126
PAYLOAD_LENGTH_EIGHT_BYTE: Final = 127
MAX_PAYLOAD_NORMAL: Final = 125
MAX_PAYLOAD_TWO_BYTE: Final = 2**16 - 1
MAX_PAYLOAD_EIGHT_BYTE: Final = 2**64 - 1
MAX_FRAME_PAYLOAD: Final = MAX_PAYLOAD_EIGHT_BYTE

# The fields of the first two bytes.
MASK_MASK: Final = 0x80
PAYLOAD_LEN_MASK: Final = 0x7F
FIN_MASK: Final = 0x80
RSV1_MASK: Final = 0x40
RSV2_MASK: Final = 0x20
RSV3_MASK: Final = 0x10
OPCODE_MASK: Final = 0x0F

NULL_MASK: Final = bytes(4)

_NO_RSV: Final = RsvBits(False, False, False)


class FrameProtocol:
    """Messages and control payloads in, frames out; and, for those who want it, the other way.

    Args:
        client: this end is the client, so that its frames are masked.
        extensions: those negotiated; only enabled ones are used.
    """

    __slots__ = (
        "__dict__",
        "_frame_decoder",
        "_message_decoder",
        "_outbound_opcode",
        "client",
        "extensions",
    )

    def __init__(self, client: bool, extensions: Sequence[Extension]) -> None:
        self.client = client
        self.extensions = [extension for extension in extensions if extension.enabled()]
        self._outbound_opcode: Opcode | None = None
        self._frame_decoder: FrameDecoder | None = None
        self._message_decoder: MessageDecoder | None = None

    @property
    def is_between_messages(self) -> bool:
        """Whether the next data frame begins a message."""
        return self._outbound_opcode is None

    def send_data(
        self, payload: bytes | bytearray | memoryview | str = b"", fin: bool = True
    ) -> bytes:
        """Returns a data frame: the first or a following one of a message.

        Args:
            payload: text as str, binary as bytes-like.
            fin: this frame ends the message.

        Raises:
            TypeError: neither, or not the type with which the message began.
            ValueError: text with a lone surrogate.
        """
        if isinstance(payload, str):
            opcode, payload = Opcode.TEXT, payload.encode()
        elif isinstance(payload, (bytes, bytearray, memoryview)):
            opcode = Opcode.BINARY
        else:
            raise TypeError(f"a message is str or bytes-like, not {type(payload).__name__}")
        begun = self._outbound_opcode
        if begun is not None and begun is not opcode:
            raise TypeError(f"the message began as {begun.name}, this piece is {opcode.name}")
        frame = self._frame(opcode if begun is None else Opcode.CONTINUATION, payload, fin)
        self._outbound_opcode = None if fin else opcode
        return frame

    def ping(self, payload: bytes = b"") -> bytes:
        """Returns a ping frame. Raises ValueError for more than 125 bytes."""
        return self._control_frame(Opcode.PING, payload)

    def pong(self, payload: bytes = b"") -> bytes:
        """Returns a pong frame. Raises ValueError for more than 125 bytes."""
        return self._control_frame(Opcode.PONG, payload)

    def close(self, code: int | None = None, reason: str | None = None) -> bytes:
        """Returns a close frame. Raises LocalProtocolError for a code that may not be sent."""
        return self._control_frame(Opcode.CLOSE, encode_close_payload(code, reason))

    def receive_bytes(self, data: bytes) -> None:
        """Takes bytes from the peer, for :meth:`received_frames`."""
        if self._message_decoder is None:
            self._frame_decoder = FrameDecoder(self.client, self.extensions)
            self._message_decoder = MessageDecoder()
        if self._frame_decoder is not None:
            self._frame_decoder.receive_bytes(data)

    def received_frames(self) -> Iterator[Frame]:
        """Yields the frames that are due: text decoded, the payload of a Close as code and reason.

        Raises:
            ParseFailed: the peer broke the protocol.
        """
        while self._frame_decoder is not None and self._message_decoder is not None:
            frame = self._frame_decoder.process_buffer()
            if frame is None:
                return
            if frame.opcode is Opcode.CLOSE:
                assert isinstance(frame.payload, bytes)
                self._frame_decoder = None  # nothing follows a Close
                yield frame._replace(payload=decode_close_payload(frame.payload))
            elif frame.opcode.iscontrol():
                yield frame
            else:
                yield self._message_decoder.process_frame(frame)

    def _control_frame(self, opcode: Opcode, payload: bytes) -> bytes:
        if not isinstance(payload, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"the payload of a control frame is bytes-like, not {type(payload).__name__}"
            )
        size = memoryview(payload).nbytes
        if size > MAX_PAYLOAD_NORMAL:
            raise ValueError(f"the payload of a control frame is at most 125 bytes, not {size}")
        return self._frame(opcode, payload, True)

    def _frame(self, opcode: Opcode, payload: bytes | bytearray | memoryview, fin: bool) -> bytes:
        first_byte = int(opcode) | (FIN_MASK if fin else 0)
        if self.extensions:
            data, rsv = bytes(payload), _NO_RSV
            for extension in reversed(self.extensions):
                rsv, data = extension.frame_outbound(self, opcode, rsv, data, fin)
            first_byte |= RSV1_MASK * rsv[0] | RSV2_MASK * rsv[1] | RSV3_MASK * rsv[2]
            payload = data
        return encode_frame(first_byte, payload, new_mask_key() if self.client else None)


__all__ = [
    "FIN_MASK",
    "LOCAL_ONLY_CLOSE_REASONS",
    "MASK_MASK",
    "MAX_CLOSE_REASON",
    "MAX_FRAME_PAYLOAD",
    "MAX_LIBRARY_CLOSE_REASON",
    "MAX_PAYLOAD_EIGHT_BYTE",
    "MAX_PAYLOAD_NORMAL",
    "MAX_PAYLOAD_TWO_BYTE",
    "MAX_PRIVATE_CLOSE_REASON",
    "MAX_PROTOCOL_CLOSE_REASON",
    "MIN_CLOSE_REASON",
    "MIN_LIBRARY_CLOSE_REASON",
    "MIN_PRIVATE_CLOSE_REASON",
    "MIN_PROTOCOL_CLOSE_REASON",
    "NULL_MASK",
    "OPCODE_MASK",
    "PAYLOAD_LENGTH_EIGHT_BYTE",
    "PAYLOAD_LENGTH_TWO_BYTE",
    "PAYLOAD_LEN_MASK",
    "RSV1_MASK",
    "RSV2_MASK",
    "RSV3_MASK",
    "Buffer",
    "CloseReason",
    "Frame",
    "FrameDecoder",
    "FrameProtocol",
    "Header",
    "MessageDecoder",
    "Opcode",
    "ParseFailed",
    "RsvBits",
    "XorMaskerNull",
    "XorMaskerSimple",
]
