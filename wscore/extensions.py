"""WebSocket extensions: the hooks, and permessage-deflate (RFC 7692); imports ``frame_protocol``
and what is below it.
"""

from __future__ import annotations

import zlib as stdlib_zlib
from abc import ABC, abstractmethod
from types import ModuleType
from typing import TYPE_CHECKING, Final

from ._deflate import MAX_ROOM, TAIL, Deflater, deflater
from ._deflate_parameters import BadParameter, checked_bits, parse_parameters
from .errors import RemoteProtocolError
from .frame_protocol import CloseReason, FrameProtocol, Opcode, RsvBits

if TYPE_CHECKING:
    from zlib import _Compress as Compressor
    from zlib import _Decompress as Decompressor

    from ._framing import FrameDecoder

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


def _room(proto: FrameDecoder | FrameProtocol) -> int:
    # The hooks may be called with any object that has ``client``: only a connection has a limit.
    return min(getattr(proto, "message_room", MAX_ROOM), MAX_ROOM)


class PerMessageDeflate(Extension):
    """Compresses messages (RFC 7692); offered by a client, accepted by a server, one object for one
    connection.

    Compressor and decompressor are made when the first compressed message needs them. Without
    context takeover, all connections with the same settings share one compressor.

    Args:
        client_no_context_takeover: the client starts each message with an empty window.
        client_max_window_bits: log2 of the client's window in bytes, 9 to 15 (default 15).
        server_no_context_takeover: the server starts each message with an empty window.
        server_max_window_bits: log2 of the server's window in bytes, 9 to 15 (default 15).
        level: how hard to compress, as the implementation counts; None for its default.
        mem_level: memory for the compressor's state, 1 to 9: ``2 ** (mem_level + 9)`` bytes in
            zlib.
        zlib: the implementation, a module with the interface of the standard library's: ``zlib``
            itself, ``zlib_ng.zlib_ng`` or ``isal.isal_zlib`` (levels 0 to 3).

    Raises:
        ValueError: window bits out of range, or a level that the implementation does not have.
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
        *,
        level: int | None = None,
        mem_level: int = 8,
        zlib: ModuleType = stdlib_zlib,
    ) -> None:
        self.client_no_context_takeover = client_no_context_takeover
        self.server_no_context_takeover = server_no_context_takeover
        self._client_max_window_bits = self.DEFAULT_CLIENT_MAX_WINDOW_BITS
        self._server_max_window_bits = self.DEFAULT_SERVER_MAX_WINDOW_BITS
        if client_max_window_bits is not None:
            self.client_max_window_bits = client_max_window_bits
        if server_max_window_bits is not None:
            self.server_max_window_bits = server_max_window_bits
        deflater(zlib, level, self.DEFAULT_CLIENT_MAX_WINDOW_BITS, mem_level)  # refuses bad ones
        self._level = level
        self._mem_level = mem_level
        self._zlib = zlib
        self._deflater: Deflater | None = None
        self._compressor: Compressor | None = None
        self._decompressor: Decompressor | None = None
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
        self._client_max_window_bits = checked_bits(value)

    @property
    def server_max_window_bits(self) -> int:
        """log2 of the server's window in bytes; ValueError outside 9 to 15."""
        return self._server_max_window_bits

    @server_max_window_bits.setter
    def server_max_window_bits(self, value: int) -> None:
        self._server_max_window_bits = checked_bits(value)

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
            asked = parse_parameters(offer)
        except BadParameter:
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
            answer = parse_parameters(offer)
            for name in ("client_max_window_bits", "server_max_window_bits"):
                if name in answer and answer[name] is None:
                    raise BadParameter(f"{name} lacks its value")
            client_bits = answer.get("client_max_window_bits") or self._client_max_window_bits
            server_bits = answer.get("server_max_window_bits") or 15
            if client_bits < 9:
                raise BadParameter("client_max_window_bits=8 is more than zlib can do")
            # A server accepts what asks something of itself by repeating it (RFC 7692, section
            # 7.1); a missing server_max_window_bits stands for 15.
            if server_bits > self._server_max_window_bits:
                raise BadParameter("server_max_window_bits is larger than offered")
            if self.server_no_context_takeover and "server_no_context_takeover" not in answer:
                raise BadParameter("server_no_context_takeover is missing")
        except BadParameter as exc:
            raise RemoteProtocolError(
                f"bad answer to the permessage-deflate offer: {exc}"
            ) from None
        self._client_max_window_bits = min(client_bits, self._client_max_window_bits)
        self._server_max_window_bits = max(server_bits, 9)
        self.client_no_context_takeover |= "client_no_context_takeover" in answer
        self.server_no_context_takeover |= "server_no_context_takeover" in answer
        self._enabled = True

    # The hooks. A connection that has no other extension calls what is below them instead.

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
        if not self._frame_compressed:
            return data
        return self.inflate(proto.client, data, _room(proto), False)

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        """Inflates what a message's end still held back."""
        if not fin or not self._frame_compressed:
            return None
        return self.inflate(proto.client, TAIL, _room(proto), True)

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
        return rsv, self._deflate(proto.client, data, fin)

    # Below the hooks

    def deflate(self, client: bool, message: bytes) -> bytes:
        """Returns the payload of a frame that is a whole message, for this end to send."""
        if self.client_no_context_takeover if client else self.server_no_context_takeover:
            return self._outbound(client).deflate_alone(message)
        return self._deflate(client, message, True)

    def deflater_alone(self, client: bool) -> Deflater:
        """Returns what compresses messages that this end can send although other connections send
        the same bytes.

        Such a message refers to nothing before it, so that it inflates whatever the peer has had:
        that a message refers to those before it is never more than allowed (RFC 7692, section
        7.2.3.2). But the peer's window then goes on with it, and our own compressor has not seen
        it. That one is given up, and our next message starts afresh.
        """
        self._compressor = None
        return self._deflater or self._outbound(client)

    def inflate(self, client: bool, data: bytes, room: int, ends: bool) -> bytes | CloseReason:
        """Inflates a piece of a compressed message to this end.

        Args:
            client: this end is the client.
            data: the piece; the last one with ``TAIL`` behind it.
            room: bytes that it may become, up to ``MAX_ROOM``.
            ends: this is the last piece.

        Returns:
            What it became, or the code to close with: 1009 for more than there is room for, 1007
            for what is no compressed data.
        """
        inflater = self._decompressor
        if inflater is None:
            inflater = self._decompressor = self._new_decompressor(client)
        try:
            piece = inflater.decompress(data, room + 1)
            if inflater.eof:
                piece = self._inflate_behind(client, data, piece, room, ends)
        except self._zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        if len(piece) > room:
            return CloseReason.MESSAGE_TOO_BIG
        if ends and (
            self.server_no_context_takeover if client else self.client_no_context_takeover
        ):
            self._decompressor = None
        return piece

    def _inflate_behind(
        self, client: bool, data: bytes, inflated: bytes, room: int, ends: bool
    ) -> bytes:
        """Inflates what follows a final block: another stream in the same message (RFC 7692,
        section 7.2.3.4), or the tail that needs no inflating then.
        """
        inflater = self._decompressor
        assert inflater is not None
        pieces = [inflated]
        room -= len(inflated)
        at = len(data) - len(inflater.unused_data)
        end = len(data) - len(TAIL) if ends else len(data)
        while room >= 0 and at < len(data) and not (inflater.eof and at == end):
            if inflater.eof:
                inflater = self._decompressor = self._new_decompressor(client)
            # zlib copies what it is given behind the end: it is given little at once.
            given = data[at : at + _RESTART_STEP]
            piece = inflater.decompress(given, room + 1)
            pieces.append(piece)
            room -= len(piece)
            at += len(given) - len(inflater.unused_data)
        if ends and inflater.eof:
            self._decompressor = None
        return b"".join(pieces)

    def _deflate(self, client: bool, data: bytes, fin: bool) -> bytes:
        compressor = self._compressor
        if compressor is None:
            compressor = self._compressor = self._outbound(client).new_compressor()
        # Also what is empty has to be given: a second flush without does nothing.
        data = compressor.compress(data)
        if fin:
            data = (data + compressor.flush(self._zlib.Z_SYNC_FLUSH))[: -len(TAIL)]
            if self.client_no_context_takeover if client else self.server_no_context_takeover:
                self._compressor = None
        return data

    def _outbound(self, client: bool) -> Deflater:
        if self._deflater is None:
            bits = self._client_max_window_bits if client else self._server_max_window_bits
            self._deflater = deflater(self._zlib, self._level, bits, self._mem_level)
        return self._deflater

    def _new_decompressor(self, client: bool) -> Decompressor:
        bits = self._server_max_window_bits if client else self._client_max_window_bits
        inflater: Decompressor = self._zlib.decompressobj(wbits=-bits)
        return inflater

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
