"""WebSocket extensions: the hooks, and permessage-deflate (RFC 7692); imports ``frame_protocol``
and what is below it.
"""

from __future__ import annotations

import sys
import zlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from .errors import RemoteProtocolError
from .frame_protocol import CloseReason, FrameProtocol, Opcode, RsvBits

if TYPE_CHECKING:
    from ._framing import FrameDecoder

#: What a sender cuts off a compressed message and a receiver puts back (RFC 7692, section 7.2).
_TAIL: Final = b"\x00\x00\xff\xff"
#: Bytes given to zlib at once after a final block; its end may lie in any of them.
_RESTART_STEP: Final = 256
_DATA_OPCODES: Final = (Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION)


class Extension(ABC):
    """What an extension implements; the hooks and their meaning are wsproto's.

    ``offer`` and ``finalize`` negotiate for a client, ``accept`` for a server. Then each frame
    passes through the ``frame_inbound`` hooks (header, payload in pieces, completion), or through
    ``frame_outbound``. Their ``proto`` has an attribute ``client``.
    """

    #: The token of the ``Sec-WebSocket-Extensions`` header.
    name: str

    def enabled(self) -> bool:
        """Whether it was negotiated; only then are the frame hooks called."""
        return False

    @abstractmethod
    def offer(self) -> bool | str:
        """Returns what a client offers: parameters, True for none, False for no offer at all."""

    def accept(self, offer: str) -> bool | str | None:
        """Takes or declines a client's offer (name and parameters).

        Returns:
            The response's parameters, True for a response without any, False or None to decline.
        """
        return None

    def finalize(self, offer: str) -> None:  # noqa: B027 - an extension without parameters needs none
        """Takes the server's response (name and parameters) to this client's offer."""

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Sees a header; returns the reserved bits that this extension uses, or a close code to
        fail with.
        """
        return RsvBits(False, False, False)

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        """Transforms a piece of unmasked payload, or returns a close code to fail with."""
        return data

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        """Sees the end of a frame's payload; returns what is to be appended to it, or a close code
        to fail with.
        """
        return None

    def frame_outbound(
        self,
        proto: FrameDecoder | FrameProtocol,
        opcode: Opcode,
        rsv: RsvBits,
        data: bytes,
        fin: bool,
    ) -> tuple[RsvBits, bytes]:
        """Transforms a frame to be sent; returns its reserved bits and payload."""
        return rsv, data


class _BadParameter(Exception):
    """A parameter list of permessage-deflate breaks RFC 7692, section 7.1."""


def _parse_parameters(text: str) -> dict[str, int | None]:
    """Reads the parameters behind the extension's name; flags and a bare window size have the value
    None.
    """
    found: dict[str, int | None] = {}
    for parameter in text.split(";")[1:]:
        name, equals, value = (part.strip() for part in parameter.partition("="))
        if name in found:
            raise _BadParameter(f"{name} is repeated")
        if name in ("client_no_context_takeover", "server_no_context_takeover"):
            if equals:
                raise _BadParameter(f"{name} takes no value")
            found[name] = None
        elif name in ("client_max_window_bits", "server_max_window_bits"):
            found[name] = _window_bits(name, value) if equals else None
        else:
            raise _BadParameter(f"unknown parameter {name}")
    return found


def _window_bits(name: str, value: str) -> int:
    if (
        len(value) > 1 and value[0] == value[-1] == '"'
    ):  # a quoted value is allowed (RFC 6455, section 9.1)
        value = value[1:-1]
    if value not in ("8", "9", "10", "11", "12", "13", "14", "15"):
        raise _BadParameter(f"{name} must be 8 to 15")
    return int(value)


def _checked_bits(value: int) -> int:
    if not 9 <= value <= 15:
        raise ValueError(f"window bits must be 9 to 15 (zlib cannot do 8), not {value}")
    return value


class PerMessageDeflate(Extension):
    """Compresses messages (RFC 7692); offered by a client, accepted by a server, one object for one
    connection.

    Compressor and decompressor are made when the first compressed message needs them.

    Args:
        client_no_context_takeover: the client starts each message with an empty window.
        client_max_window_bits: log2 of the client's window in bytes, 9 to 15 (default 15).
        server_no_context_takeover: the server starts each message with an empty window.
        server_max_window_bits: log2 of the server's window in bytes, 9 to 15 (default 15).

    Raises:
        ValueError: window bits out of range.
    """

    name = "permessage-deflate"

    DEFAULT_CLIENT_MAX_WINDOW_BITS = 15
    DEFAULT_SERVER_MAX_WINDOW_BITS = 15

    def __init__(
        self,
        client_no_context_takeover: bool = False,
        client_max_window_bits: int | None = None,
        server_no_context_takeover: bool = False,
        server_max_window_bits: int | None = None,
    ) -> None:
        self.client_no_context_takeover = client_no_context_takeover
        self.server_no_context_takeover = server_no_context_takeover
        self._client_max_window_bits = self.DEFAULT_CLIENT_MAX_WINDOW_BITS
        self._server_max_window_bits = self.DEFAULT_SERVER_MAX_WINDOW_BITS
        if client_max_window_bits is not None:
            self.client_max_window_bits = client_max_window_bits
        if server_max_window_bits is not None:
            self.server_max_window_bits = server_max_window_bits
        self._compressor: zlib._Compress | None = None
        self._decompressor: zlib._Decompress | None = None
        # Only a message's first frame says that it is compressed; a control frame between its
        # fragments never is.
        self._message_compressed = False
        self._frame_compressed = False
        self._enabled = False

    @property
    def client_max_window_bits(self) -> int:
        """log2 of the client's window in bytes; ValueError outside 9 to 15."""
        return self._client_max_window_bits

    @client_max_window_bits.setter
    def client_max_window_bits(self, value: int) -> None:
        self._client_max_window_bits = _checked_bits(value)

    @property
    def server_max_window_bits(self) -> int:
        """log2 of the server's window in bytes; ValueError outside 9 to 15."""
        return self._server_max_window_bits

    @server_max_window_bits.setter
    def server_max_window_bits(self, value: int) -> None:
        self._server_max_window_bits = _checked_bits(value)

    def enabled(self) -> bool:
        """Whether it was negotiated."""
        return self._enabled

    def offer(self) -> str:
        """Returns the parameters that a client offers."""
        parameters = [
            f"client_max_window_bits={self.client_max_window_bits}",
            f"server_max_window_bits={self.server_max_window_bits}",
        ]
        if self.client_no_context_takeover:
            parameters.append("client_no_context_takeover")
        if self.server_no_context_takeover:
            parameters.append("server_no_context_takeover")
        return "; ".join(parameters)

    def accept(self, offer: str) -> str | None:
        """Takes a client's offer, or declines it (None) without a trace (RFC 7692, section 7.1)."""
        try:
            asked = _parse_parameters(offer)
        except _BadParameter:
            return None
        if "server_max_window_bits" in asked:
            limit = asked["server_max_window_bits"]
            if limit is None or limit < 9:  # no value, or a window that zlib cannot keep to
                return None
            self._server_max_window_bits = min(self._server_max_window_bits, limit)
        self.client_no_context_takeover |= "client_no_context_takeover" in asked
        self.server_no_context_takeover |= "server_no_context_takeover" in asked
        parameters = []
        if self.client_no_context_takeover:
            parameters.append("client_no_context_takeover")
        if self.server_no_context_takeover:
            parameters.append("server_no_context_takeover")
        if "client_max_window_bits" in asked:
            own = self._client_max_window_bits
            answer = min(own, asked["client_max_window_bits"] or own)
            parameters.append(f"client_max_window_bits={answer}")
            self._client_max_window_bits = max(
                answer, 9
            )  # a larger window inflates what a smaller one deflated
        else:
            self._client_max_window_bits = (
                15  # a client that did not offer it cannot be told a smaller one
            )
        if "server_max_window_bits" in asked:
            parameters.append(f"server_max_window_bits={self._server_max_window_bits}")
        self._enabled = True
        return "; ".join(parameters)

    def finalize(self, offer: str) -> None:
        """Takes the server's response to this client's offer.

        Raises:
            RemoteProtocolError: the response has a parameter that is unknown, repeated, out of
                range or larger than offered.
        """
        try:
            answer = _parse_parameters(offer)
            for name in ("client_max_window_bits", "server_max_window_bits"):
                if name in answer and answer[name] is None:
                    raise _BadParameter(f"{name} lacks its value")
            client_bits = answer.get("client_max_window_bits") or self._client_max_window_bits
            server_bits = answer.get("server_max_window_bits") or 15
            if client_bits < 9:
                raise _BadParameter("client_max_window_bits=8 is more than zlib can do")
            # A server accepts what asks something of itself by repeating it (RFC 7692, section
            # 7.1); a missing server_max_window_bits stands for 15.
            if server_bits > self._server_max_window_bits:
                raise _BadParameter("server_max_window_bits is larger than offered")
            if self.server_no_context_takeover and "server_no_context_takeover" not in answer:
                raise _BadParameter("server_no_context_takeover is missing")
        except _BadParameter as exc:
            raise RemoteProtocolError(
                f"bad answer to the permessage-deflate offer: {exc}"
            ) from None
        self._client_max_window_bits = min(client_bits, self._client_max_window_bits)
        self._server_max_window_bits = max(server_bits, 9)
        self.client_no_context_takeover |= "client_no_context_takeover" in answer
        self.server_no_context_takeover |= "server_no_context_takeover" in answer
        self._enabled = True

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Notes whether the frame is compressed; RSV1 belongs on a message's first frame only (RFC
        7692, section 6).
        """
        if rsv.rsv1 and (opcode.iscontrol() or opcode is Opcode.CONTINUATION):
            return CloseReason.PROTOCOL_ERROR
        if opcode.iscontrol():
            self._frame_compressed = False
        else:
            if opcode is not Opcode.CONTINUATION:
                self._message_compressed = rsv.rsv1
                if rsv.rsv1 and self._decompressor is None:
                    self._decompressor = self._new_decompressor(proto.client)
            self._frame_compressed = self._message_compressed
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        """Inflates a piece, to no more than the message may still take."""
        return self._inflate(proto, data) if self._frame_compressed else data

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        """Inflates what a message's end still held back."""
        if not fin or not self._frame_compressed:
            return None
        ended = self._decompressor is not None and self._decompressor.eof
        data = b"" if ended else self._inflate(proto, _TAIL)
        if ended or (
            self.server_no_context_takeover if proto.client else self.client_no_context_takeover
        ):
            self._decompressor = None
        return data

    def _new_decompressor(self, client: bool) -> zlib._Decompress:
        bits = self._server_max_window_bits if client else self._client_max_window_bits
        return zlib.decompressobj(-bits)

    def _inflate(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        # Outside a connection there is no such limit: the hooks may be called with any object that
        # has ``client``.
        room = min(getattr(proto, "message_room", sys.maxsize), sys.maxsize - 1)
        pieces = []
        at, step = 0, len(data)
        try:
            while True:
                assert self._decompressor is not None
                given = data[at : at + step]
                piece = self._decompressor.decompress(given, room + 1)
                if len(piece) > room:
                    return CloseReason.MESSAGE_TOO_BIG
                pieces.append(piece)
                room -= len(piece)
                at += len(given) - len(self._decompressor.unused_data)
                if at == len(data):
                    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
                if self._decompressor.eof:
                    # A final block may be followed by another stream in the same message (RFC 7692,
                    # section 7.2.3.4). zlib copies what it is given behind the end, so from here on
                    # it is given little at once.
                    self._decompressor = self._new_decompressor(proto.client)
                    step = _RESTART_STEP
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA

    def frame_outbound(
        self,
        proto: FrameDecoder | FrameProtocol,
        opcode: Opcode,
        rsv: RsvBits,
        data: bytes,
        fin: bool,
    ) -> tuple[RsvBits, bytes]:
        """Deflates a data frame; RSV1 marks a message's first one."""
        if opcode not in _DATA_OPCODES:
            return rsv, data
        if opcode is not Opcode.CONTINUATION:
            rsv = RsvBits(True, rsv[1], rsv[2])
        if self._compressor is None:
            bits = self._client_max_window_bits if proto.client else self._server_max_window_bits
            self._compressor = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -bits)
        data = self._compressor.compress(data)
        if fin:
            data = (data + self._compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
            if self.client_no_context_takeover if proto.client else self.server_no_context_takeover:
                self._compressor = None
        return rsv, data

    def __repr__(self) -> str:
        described = [f"client_max_window_bits={self.client_max_window_bits}"]
        if self.client_no_context_takeover:
            described.append("client_no_context_takeover")
        described.append(f"server_max_window_bits={self.server_max_window_bits}")
        if self.server_no_context_takeover:
            described.append("server_no_context_takeover")
        return f"<{type(self).__name__} {'; '.join(described)}>"


#: The extensions of this package by their token.
SUPPORTED_EXTENSIONS: Final = {PerMessageDeflate.name: PerMessageDeflate}
