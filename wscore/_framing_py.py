"""The framing twin in plain Python: reference, fallback, and the source of the types; imports
leaves only.

Masking and frame headers come from ``_primitives_py``, events from ``_events_py``; here is
``FrameDecoder``, which turns the bytes of a peer into events. ``src_cython/wscore`` has the
compiled twin; the same tests hold both.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ._close_payload import decode_close_payload
from ._codes import CloseReason, Opcode, RsvBits
from ._events_py import (
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    TextMessage,
)
from ._mask_keys import new_mask_key
from ._primitives_py import (
    MAX_LENGTH,
    apply_mask,
    apply_mask_inplace,
    bytes_view,
    encode_frame,
    encode_frame_header,
)
from .errors import LocalProtocolError, ParseFailed

if TYPE_CHECKING:  # extensions are above this module: the decoder only calls their hooks
    from .extensions import Extension

    Buffer = bytes | bytearray | memoryview

IMPLEMENTATION: Final = "python"
KERNEL: Final = "python"

#: Bytes of a payload that extensions are given at once where a message comes in pieces. What they
#: make of it is one event, and deflated data may grow by a factor of 1,032: to 8 MiB, not 64.
_EXTENSION_STEP: Final = 8192

_NOT_UTF8: Final = "text that is not UTF-8"


class FrameDecoder:
    """Turns the bytes of a peer into events, as far as they have come, and never further than
    asked.

    Feed it with :meth:`receive_data`; iterate over it for the events that are due. It is one
    iterator for the connection's whole life: it ends when more bytes are needed and goes on when
    they have come. A violation or a broken limit gives one ``CloseConnection`` with the code to
    answer; after that, as after the peer's close frame, all further bytes are dropped.

    Args:
        client: this end is the client, so that the peer's frames must be unmasked; else they must
            be masked.
        extensions: the enabled extensions, whose inbound hooks see each frame.
        whole_messages: give each message as one event, not in pieces as they come.
        max_frame_size: bytes of payload that a data frame may announce (None: no limit).
        max_message_size: bytes that a message may have, after extensions (None: no limit).
        max_fragments: frames that a message may have, empty ones counted (None: no limit).
    """

    def __init__(
        self,
        client: bool,
        extensions: Sequence[Extension] = (),
        *,
        whole_messages: bool = False,
        max_frame_size: int | None = None,
        max_message_size: int | None = None,
        max_fragments: int | None = None,
    ) -> None:
        for name, limit in (
            ("max_frame_size", max_frame_size),
            ("max_message_size", max_message_size),
            ("max_fragments", max_fragments),
        ):
            if limit is not None and not 0 <= limit <= MAX_LENGTH:
                raise ValueError(f"{name} must be 0 to 2**63 - 1, not {limit}")
        self._client = bool(client)
        self._extensions = tuple(extensions)
        self._whole = whole_messages
        self._max_frame = MAX_LENGTH if max_frame_size is None else max_frame_size
        self._max_message = MAX_LENGTH if max_message_size is None else max_message_size
        self._max_fragments = MAX_LENGTH if max_fragments is None else max_fragments
        self._closed = False
        self._buffer = bytearray()
        # The frame under way: its opcode is None between frames.
        self._opcode: Opcode | None = None
        self._fin = False
        self._key: bytes | None = None
        self._phase = 0
        self._remaining = 0
        # The message under way: its opcode is None between messages.
        self._message: Opcode | None = None
        self._fragments = 0
        self._size = 0
        self._utf8 = getincrementaldecoder("utf-8")()
        self._held = bytearray()

    @property
    def client(self) -> bool:
        """Whether this end is the client."""
        return self._client

    @property
    def closed(self) -> bool:
        """Whether the peer's close frame, or a violation, has been given out as an event."""
        return self._closed

    @property
    def message_room(self) -> int:
        """Bytes that the message under way may still take; a decompressing extension must not
        exceed it.
        """
        return self._max_message - self._size

    def receive_data(self, data: Buffer) -> None:
        """Takes bytes from the peer; dropped once :attr:`closed`.

        Raises:
            TypeError: data is not bytes-like.
            BufferError: it is not contiguous.
        """
        view = bytes_view(data)
        if not self._closed:
            self._buffer += view

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = None
        if not self._closed:
            try:
                event = self._next_event()
            except ParseFailed as exc:
                event = CloseConnection(exc.code, str(exc))
            if type(event) is CloseConnection:
                self._closed = True
                self._buffer = self._held = bytearray()
        if event is None:
            raise StopIteration
        return event

    def _next_event(self) -> Event | None:
        while self._opcode is not None or self._read_header():
            if self._opcode is not None and self._opcode.iscontrol():
                return self._read_control() if len(self._buffer) >= self._remaining else None
            if self._remaining and not self._buffer:
                return None
            event = self._read_data()
            if event is not None:
                return event
        return None

    def _read_header(self) -> bool:
        """Reads the header at the front of the buffer, each part checked as soon as it is there."""
        buffer = self._buffer
        have = len(buffer)
        if have == 0:
            return False
        opcode, rsv = self._check_first_byte(buffer[0])
        if have == 1:
            return False
        masked = bool(buffer[1] & 0x80)
        if masked is self._client:
            raise ParseFailed(
                "masked frame from a server" if masked else "unmasked frame from a client"
            )
        length = buffer[1] & 0x7F
        end = 2
        if length > 125:
            if opcode.iscontrol():
                raise ParseFailed("control frame with more than 125 bytes")
            width = 2 if length == 126 else 8
            end += width
            if width == 8 and have > 2 and buffer[2] & 0x80:
                raise ParseFailed("frame length with the top bit set")
            if have < end:
                return False
            length = int.from_bytes(buffer[2:end], "big")
            if length <= (125 if width == 2 else 0xFFFF):
                raise ParseFailed("frame length not in its shortest form")
        self._check_limits(opcode, length)
        if masked:
            if have < end + 4:
                return False
            self._key = bytes(buffer[end : end + 4])
            end += 4
        if self._extensions:
            self._offer_header(opcode, rsv, length)
        self._begin_frame(opcode, bool(buffer[0] & 0x80), length)
        del buffer[:end]
        return True

    def _check_first_byte(self, first: int) -> tuple[Opcode, RsvBits]:
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise ParseFailed(f"frame with the reserved opcode {first & 0x0F:#x}") from None
        rsv = RsvBits(bool(first & 0x40), bool(first & 0x20), bool(first & 0x10))
        if first & 0x70 and not self._extensions:
            raise ParseFailed("reserved bit set without an extension")
        if opcode.iscontrol():
            if not first & 0x80:
                raise ParseFailed("fragmented control frame")
        elif opcode is Opcode.CONTINUATION:
            if self._message is None:
                raise ParseFailed("continuation frame without a message to continue")
        elif self._message is not None:
            raise ParseFailed("new message inside a fragmented one")
        return opcode, rsv

    def _check_limits(self, opcode: Opcode, length: int) -> None:
        if opcode.iscontrol():
            return
        too_big = CloseReason.MESSAGE_TOO_BIG
        if length > self._max_frame:
            raise ParseFailed(f"frame of {length} bytes, limit {self._max_frame}", too_big)
        if not self._extensions and length > self._max_message - self._size:
            raise ParseFailed(f"message of more than {self._max_message} bytes", too_big)
        if self._fragments >= self._max_fragments:
            raise ParseFailed(f"message of more than {self._max_fragments} frames", too_big)

    def _offer_header(self, opcode: Opcode, rsv: RsvBits, length: int) -> None:
        """Shows the header to the extensions; a reserved bit that none of them claims is a
        violation.
        """
        claimed = [False, False, False]
        for extension in self._extensions:
            answer = extension.frame_inbound_header(self, opcode, rsv, length)
            if isinstance(answer, CloseReason):
                raise ParseFailed("frame header refused by an extension", answer)
            claimed = [a or b for a, b in zip(claimed, answer, strict=True)]
        if any(found and not known for found, known in zip(rsv, claimed, strict=True)):
            raise ParseFailed("reserved bit set that no extension uses")

    def _begin_frame(self, opcode: Opcode, fin: bool, length: int) -> None:
        self._opcode = opcode
        self._fin = fin
        self._phase = 0
        self._remaining = length
        if not opcode.iscontrol():
            self._fragments += 1
            if self._message is None:
                self._message = opcode

    def _take(self) -> bytes:
        """Takes what is there of the frame's payload, unmasked and through the extensions."""
        most = self._remaining
        if self._extensions and not self._whole:
            most = min(most, _EXTENSION_STEP)
        with memoryview(self._buffer) as buffer, buffer[:most] as there:
            key = self._key
            piece = bytes(there) if key is None else apply_mask(there, key, self._phase)
        size = len(piece)
        del self._buffer[:size]
        self._remaining -= size
        self._phase = (self._phase + size) & 3
        if self._extensions:
            piece = self._run_extensions(piece)
        return piece

    def _run_extensions(self, piece: bytes) -> bytes:
        for extension in self._extensions:
            result = extension.frame_inbound_payload_data(self, piece)
            if isinstance(result, CloseReason):
                raise ParseFailed("payload refused by an extension", result)
            piece = bytes(memoryview(result))
        if self._remaining == 0:
            for extension in self._extensions:
                final = extension.frame_inbound_complete(self, self._fin)
                if isinstance(final, CloseReason):
                    raise ParseFailed("payload refused by an extension", final)
                if final is not None:
                    piece += final
        return piece

    def _read_control(self) -> Event:
        opcode = self._opcode
        payload = self._take()
        self._opcode = None
        if opcode is Opcode.PING:
            return Ping(payload)
        if opcode is Opcode.PONG:
            return Pong(payload)
        return CloseConnection(*decode_close_payload(payload))

    def _read_data(self) -> Event | None:
        piece = self._take()
        frame_finished = self._remaining == 0
        message_finished = frame_finished and self._fin
        self._size += len(piece)
        if self._size > self._max_message:  # only an extension can exceed what the header announced
            raise ParseFailed(
                f"message of more than {self._max_message} bytes", CloseReason.MESSAGE_TOO_BIG
            )
        is_text = self._message is Opcode.TEXT
        text = self._decode(piece, message_finished) if is_text else ""
        if frame_finished:
            self._opcode = None
        if message_finished:
            self._message = None
            self._size = self._fragments = 0
        if not self._whole:
            if is_text:
                return TextMessage(text, frame_finished, message_finished)
            return BytesMessage(piece, frame_finished, message_finished)
        return self._hold(piece, text, is_text, message_finished)

    def _decode(self, piece: bytes, final: bool) -> str:
        try:
            text = self._utf8.decode(piece, final)
            # CPython waits for the third byte of a surrogate, which strict UTF-8 never has.
            if not final and b"\xed\xa0" <= self._utf8.getstate()[0] < b"\xee":
                raise ParseFailed(_NOT_UTF8, CloseReason.INVALID_FRAME_PAYLOAD_DATA)
        except UnicodeDecodeError:
            raise ParseFailed(_NOT_UTF8, CloseReason.INVALID_FRAME_PAYLOAD_DATA) from None
        return text

    def _hold(self, piece: bytes, text: str, is_text: bool, finished: bool) -> Event | None:
        """Keeps a piece until its message is whole; kept as bytes, since many small str would take
        50 times the room.
        """
        if not finished:
            self._held += piece
            return None
        if not self._held:
            return TextMessage(text) if is_text else BytesMessage(piece)
        self._held += piece
        whole, self._held = self._held, bytearray()
        return TextMessage(whole.decode()) if is_text else BytesMessage(bytes(whole))


class OpenConnection:
    """What every message passes through in an open connection, sent or received; the connection
    above it knows all else.

    Args:
        decoder: gets what is received.
        plain: no extension sees what is sent.

    Attributes:
        _events: events that come before what the decoder has.
        _open: this end has not begun to close, and the transport has not ended.
        _plain: no extension sees what is sent, and no fragmented message is being sent.
    """

    __slots__ = ("_decoder", "_events", "_open", "_plain")

    def __init__(self, decoder: FrameDecoder, plain: bool) -> None:
        self._decoder = decoder
        self._events: list[Event] = []
        self._open = True
        self._plain = plain

    @property
    def client(self) -> bool:
        """Whether this end is the client."""
        return self._decoder.client

    def send(self, event: Event) -> bytes:
        """Returns the bytes that tell the peer.

        Args:
            event: a ``Message``, ``TextMessage`` or ``BytesMessage`` while open; a ``Ping`` or
                ``Pong`` while open; a ``CloseConnection`` while open, or to answer the peer's.

        Raises:
            LocalProtocolError: the event, or its close code, is not allowed in this state.
            TypeError: the message is neither str nor bytes-like, or changes its type between
                fragments.
            ValueError: a ping or pong payload above 125 bytes, or text with a lone surrogate.
        """
        if (
            self._open
            and self._plain
            and isinstance(event, Message)
            and event.message_finished
            and not self._decoder.closed
        ):
            data = event.data
            if type(data) is str:
                return encode_frame(0x81, data, new_mask_key() if self.client else None)
            if type(data) is bytes:
                return encode_frame(0x82, data, new_mask_key() if self.client else None)
        return self._send_other(event)

    def send_parts(self, event: Event) -> tuple[bytes, Buffer]:
        """Returns the bytes that tell the peer in two parts, to be sent one behind the other.

        Where no byte has to change, in whole binary messages of a server without extensions, the
        second part is the message's own ``data``: a large one is not copied. Otherwise the first
        part is what :meth:`send` returns, and the second is empty. Raises as :meth:`send` does.
        """
        if (
            self._open
            and self._plain
            and not self.client
            and isinstance(event, Message)
            and event.message_finished
            and isinstance(event.data, (bytes, bytearray, memoryview))
            and not self._decoder.closed
            and (view := memoryview(event.data)).c_contiguous
        ):
            return encode_frame_header(0x82, view.nbytes), event.data
        return self.send(event), b""

    def receive_data(self, data: bytes | None) -> None:
        """Takes bytes that the peer sent, or None when the transport has ended.

        Bytes behind the peer's close frame, or behind a violation, are dropped.

        Raises:
            LocalProtocolError: the connection is closed already.
        """
        if self._open and data is not None:
            self._decoder.receive_data(data)
        else:
            self._receive_other(data)

    def events(self) -> Iterator[Event]:
        """Returns the events that are due, each parsed when it is taken."""
        return self._queued_events() if self._events else self._decoder

    def _queued_events(self) -> Iterator[Event]:
        while self._events:
            yield self._events.pop(0)
        yield from self._decoder

    def _send_other(self, event: Event) -> bytes:
        """Sends what is no whole message of an open connection."""
        raise LocalProtocolError(f"{type(event).__name__} cannot be sent")

    def _receive_other(self, data: bytes | None) -> None:
        """Receives the end of the transport, and anything when not open."""
        raise LocalProtocolError("the connection is closed already")


__all__ = [
    "IMPLEMENTATION",
    "KERNEL",
    "BytesMessage",
    "CloseConnection",
    "Event",
    "FrameDecoder",
    "Message",
    "OpenConnection",
    "Ping",
    "Pong",
    "TextMessage",
    "apply_mask",
    "apply_mask_inplace",
    "encode_frame",
    "encode_frame_header",
    "new_mask_key",
]
