"""Masking and writing frames in plain Python, the reference for the compiled functions; a leaf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

#: The largest payload that the eight-byte length may announce: its top bit is reserved (RFC 6455,
#: section 5.2).
MAX_LENGTH: Final = 2**63 - 1
#: Up to this many bytes one large integer masks faster than four translations.
_SHORT: Final = 256
_IDENTITY: Final = int.from_bytes(range(256), "little")
_ONES: Final = int.from_bytes(b"\1" * 256, "little")
#: For each byte of a key, what it makes of every byte, for ``translate``.
_TABLES: Final = tuple((_IDENTITY ^ byte * _ONES).to_bytes(256, "little") for byte in range(256))


def bytes_view(data: Buffer) -> memoryview:
    """Returns the data as a view of unsigned bytes; TypeError or BufferError where it has none that
    is contiguous.
    """
    view = memoryview(data)
    if not view.c_contiguous:
        raise BufferError("the buffer is not contiguous")
    return view.cast("B")


def _key_bytes(key: Buffer) -> bytes:
    if not isinstance(key, (bytes, bytearray, memoryview)):
        raise TypeError(f"the masking key must be bytes-like, not {type(key).__name__}")
    key = bytes(key)
    if len(key) != 4:
        raise ValueError(f"the masking key must be 4 bytes, not {len(key)}")
    return key


def _rotated(key: Buffer, phase: int) -> bytes:
    if type(key) is not bytes or len(key) != 4:
        key = _key_bytes(key)
    if not 0 <= phase <= 3:
        raise ValueError(f"the phase must be 0 to 3, not {phase}")
    return key[phase:] + key[:phase] if phase else key


def _xor_short(data: Buffer, key: bytes) -> bytes:
    size = len(data)
    mask = int.from_bytes((key * (-(-size // 4)))[:size], "little")
    return (int.from_bytes(data, "little") ^ mask).to_bytes(size, "little")


def _xor_inplace(data: bytearray, key: bytes) -> None:
    a, b, c, d = key
    data[::4] = data[::4].translate(_TABLES[a])
    data[1::4] = data[1::4].translate(_TABLES[b])
    data[2::4] = data[2::4].translate(_TABLES[c])
    data[3::4] = data[3::4].translate(_TABLES[d])


def apply_mask(data: Buffer, key: Buffer, phase: int = 0) -> bytes:
    """Returns a masked (or unmasked) copy of the payload (RFC 6455, section 5.3).

    Args:
        data: contiguous bytes, any length.
        key: the four bytes of the masking key.
        phase: bytes of the payload that came before this piece, modulo 4.

    Raises:
        TypeError: data or key is not bytes-like.
        ValueError: the key is not 4 bytes long, or the phase not 0 to 3.
        BufferError: the data is not contiguous.
    """
    if type(data) is not bytes:
        data = bytes_view(data)
    key = _rotated(key, phase)
    if len(data) <= _SHORT:
        return _xor_short(data, key)
    masked = bytearray(data)
    _xor_inplace(masked, key)
    return bytes(masked)


def apply_mask_inplace(buffer: bytearray | memoryview, key: Buffer, phase: int = 0) -> int:
    """Masks (or unmasks) a writable buffer where it lies (RFC 6455, section 5.3).

    Returns:
        The phase with which the next piece of the same payload goes on.

    Raises:
        TypeError, ValueError: as :func:`apply_mask`.
        BufferError: the buffer is read-only or not contiguous.
    """
    if type(buffer) is bytearray and len(buffer) > _SHORT:
        _xor_inplace(buffer, _rotated(key, phase))
        return (phase + len(buffer)) & 3
    view = bytes_view(buffer)
    if view.readonly:
        raise BufferError("the buffer is read-only")
    view[:] = apply_mask(view, key, phase)
    return (phase + len(view)) & 3


def encode_frame_header(first_byte: int, length: int, key: Buffer | None = None) -> bytes:
    """Writes a frame's header, the masking key included (RFC 6455, section 5.2).

    Args:
        first_byte: FIN, RSV1-3 and opcode, 0 to 255.
        length: the payload's, in bytes, below 2**63; it takes the shortest of the three forms.
        key: four bytes, or None for an unmasked frame.

    Raises:
        TypeError: an argument of another type.
        ValueError: one out of range.
    """
    if not 0 <= first_byte <= 255:
        raise ValueError(f"the first byte must be 0 to 255, not {first_byte}")
    if not 0 <= length <= MAX_LENGTH:
        raise ValueError(f"the length must be 0 to 2**63 - 1, not {length}")
    masked = b""
    flag = 0
    if key is not None:
        masked = _key_bytes(key)
        flag = 0x80
    if length <= 125:
        return bytes((first_byte, flag | length)) + masked
    if length <= 0xFFFF:
        return bytes((first_byte, flag | 126)) + length.to_bytes(2, "big") + masked
    return bytes((first_byte, flag | 127)) + length.to_bytes(8, "big") + masked


def encode_frame(first_byte: int, payload: Buffer | str, key: Buffer | None = None) -> bytes:
    """Writes a whole frame: header, key, and the payload masked where there is a key.

    Args:
        first_byte: FIN, RSV1-3 and opcode, 0 to 255.
        payload: contiguous bytes, or a str to be sent as UTF-8.
        key: four bytes, or None for an unmasked frame.

    Raises:
        TypeError, ValueError: as :func:`encode_frame_header`; also for a str with a lone surrogate
            (UnicodeEncodeError).
        BufferError: the payload is not contiguous.
    """
    view = bytes_view(payload.encode() if isinstance(payload, str) else payload)
    header = encode_frame_header(first_byte, len(view), key)
    return header + (view if key is None else apply_mask(view, key))
