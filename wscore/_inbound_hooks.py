"""How extensions see the frames that come in; a leaf, which both decoders use.

A hook refuses a frame by returning a ``CloseReason`` (wsproto's ``Extension`` says what else). No
speed is lost by this being Python: so are the extensions. ``PerMessageDeflate`` alone does not pass
here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._codes import CloseReason
from .errors import ParseFailed

if TYPE_CHECKING:  # extensions and decoders are above this module: it only passes them on
    from ._codes import Opcode, RsvBits
    from ._decoder_py import FrameDecoder
    from .extensions import Extension

    Buffer = bytes | bytearray | memoryview


def offer_header(
    decoder: FrameDecoder,
    extensions: Sequence[Extension],
    opcode: Opcode,
    rsv: RsvBits,
    length: int,
) -> None:
    """Shows a frame's header to the extensions.

    Args:
        decoder: what the hooks ask for the room that the message has left.
        extensions: those that are enabled.
        opcode: the frame's.
        rsv: its reserved bits.
        length: bytes of its payload.

    Raises:
        ParseFailed: one of them refuses it, or a reserved bit is set that none of them claims (RFC
            6455, section 5.2).
    """
    claimed = [False, False, False]
    for extension in extensions:
        answer = extension.frame_inbound_header(decoder, opcode, rsv, length)
        if isinstance(answer, CloseReason):
            raise ParseFailed("frame header refused by an extension", answer)
        claimed = [a or b for a, b in zip(claimed, answer, strict=True)]
    if any(found and not known for found, known in zip(rsv, claimed, strict=True)):
        raise ParseFailed("reserved bit set that no extension uses")


def run_payload(
    decoder: FrameDecoder, extensions: Sequence[Extension], piece: bytes, ends: bool, fin: bool
) -> bytes:
    """Returns what the extensions make of a piece of payload.

    Args:
        decoder: as above.
        extensions: those that are enabled.
        piece: unmasked.
        ends: it is the last of its frame.
        fin: the frame is the last of its message.

    Raises:
        ParseFailed: one of them refuses it.
    """
    for extension in extensions:
        piece = _accepted(extension.frame_inbound_payload_data(decoder, piece))
    if ends:
        for extension in extensions:
            final = extension.frame_inbound_complete(decoder, fin)
            if final is not None:
                piece += _accepted(final)
    return piece


def _accepted(result: Buffer | CloseReason) -> bytes:
    if isinstance(result, CloseReason):
        raise ParseFailed("payload refused by an extension", result)
    return result if type(result) is bytes else bytes(memoryview(result))
