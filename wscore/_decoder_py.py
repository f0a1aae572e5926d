"""The frame decoder in plain Python, the reference for the compiled one; imports leaves only.

It turns the bytes of a peer into events. Frame headers are checked here, payloads unmasked by
``_primitives_py``.
"""

from __future__ import annotations

from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, cast

from ._close_payload import decode_close_payload
from ._codes import CloseReason, Opcode, RsvBits
from ._deflate import MAX_ROOM, TAIL
from ._events_py import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from ._inbound_hooks import offer_header, run_payload
from ._primitives_py import MAX_LENGTH, apply_mask_inplace, bytes_view
from .errors import ParseFailed

if TYPE_CHECKING:  # extensions are above this module: the decoder only calls their hooks
    from .extensions import Extension, PerMessageDeflate

    Buffer = bytes | bytearray | memoryview

#: Bytes of a payload that extensions are given at once where a message comes in pieces. What they
#: make of it is one event, and deflated data may grow by a factor of 1,032: to 8 MiB, not 64.
_EXTENSION_STEP: Final = 8192

#: Taken as messages without events at once, in characters and bytes; the last may exceed it.
_TAKEN_SIZE: Final = 65536

_NOT_UTF8: Final = "text that is not UTF-8"


class FrameDecoder:
    """Turns the bytes of a peer into events, as far as they have come, and never further than
    asked.

    Feed it with :meth:`receive_data` and, in the end, :meth:`receive_eof`; iterate over it for the
    events that are due. It is one iterator for the connection's whole life: it ends when more bytes
    are needed and goes on when they have come. A violation or a broken limit gives one
    ``CloseConnection`` with the code to answer; after that, as after the peer's close frame, all
    further bytes are dropped.

    Args:
        client: this end is the client, so that the peer's frames must be unmasked; else they must
            be masked.
        extensions: the enabled extensions, whose inbound hooks see each frame.
        whole_messages: give each message as one event, not in pieces as they come.
        max_frame_size: bytes of payload that a data frame may announce (None: no limit).
        max_message_size: bytes that a message may have, after extensions (None: no limit).
        max_fragments: frames that a message may have, empty ones counted (None: no limit).
        deflate: the only extension, whose hooks are not called then: it inflates each piece at
            once.
    """

    # For those who derive from this class where the compiled twin is live.
    _unmask = staticmethod(apply_mask_inplace)

    def __init__(
        self,
        client: bool,
        extensions: Sequence[Extension] = (),
        *,
        whole_messages: bool = False,
        max_frame_size: int | None = None,
        max_message_size: int | None = None,
        max_fragments: int | None = None,
        deflate: PerMessageDeflate | None = None,
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
        self._deflate = deflate
        self._whole = whole_messages
        self._max_frame = MAX_LENGTH if max_frame_size is None else max_frame_size
        self._max_message = MAX_LENGTH if max_message_size is None else max_message_size
        self._max_fragments = MAX_LENGTH if max_fragments is None else max_fragments
        self._closed = False
        self._ended = False
        self._in_hook = False  # an extension is being called
        self._buffer = bytearray()
        # The frame under way: its opcode is None between frames.
        self._opcode: Opcode | None = None
        self._fin = False
        self._key: bytes | None = None
        self._phase = 0
        self._remaining = 0
        # The message under way: its opcode is None between messages.
        self._message: Opcode | None = None
        self._compressed = False
        self._fragments = 0
        self._size = 0
        # Made when first needed, as most connections are idle.
        self._utf8: IncrementalDecoder | None = None
        self._held: bytearray | None = None
        # Found behind messages that were taken, and not given out yet.
        self._violation: CloseConnection | None = None

    @property
    def client(self) -> bool:
        """Whether this end is the client."""
        return self._client

    @property
    def closed(self) -> bool:
        """Whether the peer's close frame, or a violation, has been given out as an event."""
        return self._closed

    @property
    def violated(self) -> bool:
        """Whether a violation was found that has not been given out yet."""
        return self._violation is not None

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

    def receive_eof(self) -> None:
        """Takes the end of the transport. Where no close is before it, the last event is one with
        the code 1006.
        """
        self._ended = True

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = None
        if not self._closed:
            if self._in_hook:
                raise ValueError("an extension asks for events while it is shown a frame")
            try:
                event = self._next_event()
            except ParseFailed as exc:
                event = CloseConnection(exc.code, str(exc))
            except BaseException:  # an extension's: what has become of the frame is not known
                self._close()
                raise
            if event is None and self._ended:
                # RFC 6455, section 7.1.5: without a close frame, "_The WebSocket Connection Close
                # Code_ is considered to be 1006".
                event = CloseConnection(CloseReason.ABNORMAL_CLOSURE)
            if type(event) is CloseConnection:
                self._close()
        if event is None:
            raise StopIteration
        return event

    def take_messages(self, limit: int) -> list[str | bytes]:
        """Returns the data of the messages that are the next events, without making these.

        See ``OpenConnection.take_messages``.

        Raises:
            ValueError: without ``whole_messages``, or called by an extension's hook.
        """
        if not self._whole:
            raise ValueError(
                "messages that come in pieces cannot be taken: whole_messages is not set"
            )
        taken: list[str | bytes] = []
        if self._closed or self._violation is not None:
            return taken
        if self._in_hook:
            raise ValueError("an extension asks for messages while it is shown a frame")
        if self._extensions and self._deflate is None:
            limit = min(limit, 1)  # what a hook raises must not cost the messages before
        try:
            self._take_into(taken, limit)
        except ParseFailed as exc:
            self._in_hook = False
            self._violation = CloseConnection(exc.code, str(exc))
        except BaseException:
            self._close()
            raise
        return taken

    def _take_into(self, taken: list[str | bytes], limit: int) -> None:
        size = 0
        while len(taken) < limit and size < _TAKEN_SIZE:
            if self._opcode is None and not self._read_header():
                break
            if self._opcode is None or self._opcode.iscontrol():
                break
            if self._remaining and not self._buffer:
                break
            event = self._read_data()
            if event is not None:
                taken.append(cast("str | bytes", event.data))
                size += len(event.data)

    def _close(self) -> None:
        self._closed = True
        self._buffer = bytearray()
        self._held = self._violation = None

    def _next_event(self) -> Event | None:
        if self._violation is not None:
            return self._violation
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
        if self._deflate is not None:
            self._note_compression(opcode, rsv)
            return
        self._in_hook = True
        offer_header(self, self._extensions, opcode, rsv, length)
        self._in_hook = False

    def _note_compression(self, opcode: Opcode, rsv: RsvBits) -> None:
        """Does what the deflating extension's hook would: RSV1 marks a message by its first frame
        (RFC 7692, section 6).
        """
        if rsv.rsv2 or rsv.rsv3:
            raise ParseFailed("reserved bit set that no extension uses")
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._compressed = rsv.rsv1
        elif rsv.rsv1:
            raise ParseFailed("compression announced by another than a message's first frame")

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
        taken = self._buffer
        if len(taken) <= most:
            self._buffer = bytearray()
        else:
            taken = taken[:most]
            del self._buffer[:most]
        size = len(taken)
        if self._key is not None:
            self._unmask(taken, self._key, self._phase)
        piece = bytes(taken)
        self._remaining -= size
        self._phase = (self._phase + size) & 3
        if self._deflate is not None:
            if self._compressed and self._opcode is not None and not self._opcode.iscontrol():
                piece = self._inflate(piece, self._fin and self._remaining == 0)
        elif self._extensions:
            self._in_hook = True
            piece = run_payload(self, self._extensions, piece, self._remaining == 0, self._fin)
            self._in_hook = False
        return piece

    def _inflate(self, piece: bytes, ends: bool) -> bytes:
        assert self._deflate is not None
        if ends:
            piece += TAIL
        room = min(self.message_room, MAX_ROOM)
        result = self._deflate.inflate(self._client, piece, room, ends)
        if isinstance(result, CloseReason):
            raise ParseFailed("payload refused by an extension", result)
        return result

    def _read_control(self) -> Event:
        opcode = self._opcode
        payload = self._take()
        self._opcode = None
        if opcode is Opcode.PING:
            return Ping(payload)
        if opcode is Opcode.PONG:
            return Pong(payload)
        return CloseConnection(*decode_close_payload(payload))

    def _read_data(self) -> TextMessage | BytesMessage | None:
        piece = self._take()
        frame_finished = self._remaining == 0
        message_finished = frame_finished and self._fin
        self._size += len(piece)
        if self._size > self._max_message:  # only an extension can exceed what the header announced
            raise ParseFailed(
                f"message of more than {self._max_message} bytes", CloseReason.MESSAGE_TOO_BIG
            )
        is_text = self._message is Opcode.TEXT
        text = ""
        if is_text and not (self._whole and not message_finished and self._is_ascii(piece)):
            text = self._decode(piece, message_finished)
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

    def _is_ascii(self, piece: bytes) -> bool:
        """Whether the piece is text without need to look closer, as no character is cut."""
        return piece.isascii() and (self._utf8 is None or not self._utf8.getstate()[0])

    def _decode(self, piece: bytes, final: bool) -> str:
        try:
            if self._utf8 is None:
                if final:
                    return piece.decode()
                self._utf8 = getincrementaldecoder("utf-8")()
            text = self._utf8.decode(piece, final)
            # CPython waits for the third byte of a surrogate, which strict UTF-8 never has.
            if not final and b"\xed\xa0" <= self._utf8.getstate()[0] < b"\xee":
                raise ParseFailed(_NOT_UTF8, CloseReason.INVALID_FRAME_PAYLOAD_DATA)
        except UnicodeDecodeError:
            raise ParseFailed(_NOT_UTF8, CloseReason.INVALID_FRAME_PAYLOAD_DATA) from None
        return text

    def _hold(
        self, piece: bytes, text: str, is_text: bool, finished: bool
    ) -> TextMessage | BytesMessage | None:
        """Keeps a piece until its message is whole; kept as bytes, since many small str would take
        many times the room.
        """
        if self._held is None:
            if finished:
                return TextMessage(text) if is_text else BytesMessage(piece)
            self._held = bytearray()
        self._held += piece
        if not finished:
            return None
        whole, self._held = self._held, None
        return TextMessage(whole.decode()) if is_text else BytesMessage(bytes(whole))


__all__ = ["FrameDecoder"]
