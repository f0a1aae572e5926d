"""wsproto's parts of the receiving side, frame by frame; imports ``_framing``, the Python
twin and leaves.

A connection does not use them: its decoder goes from bytes to events in one step. They are for
those who took wsproto's parser apart, and share the Python twin's header parsing and checks, and
the live twin's unmasking.
"""

from __future__ import annotations

from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ._codes import CloseReason, Opcode, RsvBits
from ._decoder_py import FrameDecoder as _FrameDecoder
from ._framing import apply_mask, apply_mask_inplace
from .errors import ParseFailed

if TYPE_CHECKING:  # extensions are above this module: it only calls their hooks
    from .extensions import Extension


class Header(NamedTuple):
    """A parsed frame header (RFC 6455, section 5.2)."""

    fin: bool
    rsv: RsvBits
    opcode: Opcode
    payload_len: int
    masking_key: bytes | None


class Frame(NamedTuple):
    """A frame, or a piece of one; the payload of a decoded Close is ``(code, reason)``."""

    opcode: Opcode
    payload: bytes | str | tuple[int, str]
    frame_finished: bool
    message_finished: bool


class XorMaskerSimple:
    """Masks a payload piece by piece (RFC 6455, section 5.3)."""

    def __init__(self, masking_key: bytes | bytearray) -> None:
        self._masking_key = bytes(masking_key)
        self._phase = 0

    def process(self, data: bytes | bytearray) -> bytearray:
        """Returns the next piece, masked or unmasked."""
        phase, self._phase = self._phase, (self._phase + len(data)) & 3
        return bytearray(apply_mask(data, self._masking_key, phase))


class XorMaskerNull:
    """Leaves a payload as it is."""

    def process(self, data: bytearray) -> bytearray:
        """Returns the piece itself."""
        return data


class Buffer:
    """Bytes that are read first and then kept (``rollback``) or dropped (``commit``)."""

    def __init__(self, initial_bytes: bytes | None = None) -> None:
        self.buffer = bytearray(initial_bytes or b"")
        self.bytes_used = 0

    def feed(self, new_bytes: bytes) -> None:
        """Appends bytes."""
        self.buffer += new_bytes

    def consume_at_most(self, nbytes: int) -> bytearray:
        """Reads up to that many bytes."""
        data = self.buffer[self.bytes_used : self.bytes_used + nbytes]
        self.bytes_used += len(data)
        return data

    def consume_exactly(self, nbytes: int) -> bytearray | None:
        """Reads that many bytes, or returns None where there are fewer."""
        enough = len(self.buffer) - self.bytes_used >= nbytes
        return self.consume_at_most(nbytes) if enough else None

    def commit(self) -> None:
        """Drops what was read."""
        del self.buffer[: self.bytes_used]
        self.bytes_used = 0

    def rollback(self) -> None:
        """Forgets that anything was read."""
        self.bytes_used = 0

    def __len__(self) -> int:
        return len(self.buffer)


class MessageDecoder:
    """Turns the data frames of one message into its text or bytes (RFC 6455, section 5.4)."""

    def __init__(self) -> None:
        self.opcode: Opcode | None = None
        self.decoder: IncrementalDecoder | None = None

    def process_frame(self, frame: Frame) -> Frame:
        """Returns the frame with its message's opcode, and text decoded.

        Raises:
            ParseFailed: it does not continue the message, or its text is not UTF-8.
        """
        if self.opcode is None:
            if frame.opcode is Opcode.CONTINUATION:
                raise ParseFailed("continuation frame without a message to continue")
            self.opcode = frame.opcode
        elif frame.opcode is not Opcode.CONTINUATION:
            raise ParseFailed("new message inside a fragmented one")
        if frame.opcode is Opcode.TEXT:
            self.decoder = getincrementaldecoder("utf-8")()
        opcode = self.opcode
        finished = frame.frame_finished and frame.message_finished
        data = frame.payload
        if self.decoder is not None:
            assert isinstance(data, (bytes, bytearray))
            try:
                data = self.decoder.decode(data, finished)
            except UnicodeDecodeError as exc:
                raise ParseFailed(str(exc), CloseReason.INVALID_FRAME_PAYLOAD_DATA) from None
        if finished:
            self.opcode = self.decoder = None
        return Frame(opcode, data, frame.frame_finished, finished)


class FrameDecoder(_FrameDecoder):
    """Turns the bytes of a peer into frames, data frames in pieces as they come.

    Args:
        client: this end is the client.
        extensions: the enabled extensions.
    """

    _unmask = staticmethod(apply_mask_inplace)

    def __init__(self, client: bool, extensions: Sequence[Extension] | None = None) -> None:
        super().__init__(client, extensions or ())

    @property
    def extensions(self) -> list[Extension]:
        """The extensions whose hooks see each frame."""
        return list(self._extensions)

    def receive_bytes(self, data: bytes) -> None:
        """Takes bytes from the peer."""
        self.receive_data(data)

    def process_buffer(self) -> Frame | None:
        """Returns the next frame or piece, or None where more bytes are needed.

        Raises:
            ParseFailed: the bytes break the protocol.
        """
        while self._opcode is not None or self._read_header():
            opcode = self._opcode
            assert opcode is not None
            if opcode.iscontrol() and len(self._buffer) < self._remaining:
                return None
            if self._remaining and not self._buffer:
                return None
            payload = self._take()
            finished = self._remaining == 0
            self._opcode = None if finished else Opcode.CONTINUATION
            if finished and self._fin and not opcode.iscontrol():
                self._message = None
            return Frame(opcode, payload, finished, self._fin)
        return None
