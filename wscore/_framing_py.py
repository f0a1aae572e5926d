"""The framing twin in plain Python: reference, fallback, and the source of the types; imports
leaves only.

Masking and frame headers come from ``_primitives_py``, events from ``_events_py``, the decoder from
``_decoder_py``; here is what every message of an open connection passes through.
``src_cython/wscore/_framing_c.pyx`` is the compiled twin; the same tests hold both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ._decoder_py import FrameDecoder
from ._events_py import (
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    PreparedMessage,
    TextMessage,
)
from ._mask_keys import new_mask_key
from ._primitives_py import apply_mask, apply_mask_inplace, encode_frame, encode_frame_header
from .errors import LocalProtocolError

if TYPE_CHECKING:  # extensions are above this module: it only has messages compressed
    from ._deflate import Deflater
    from .extensions import PerMessageDeflate

    Buffer = bytes | bytearray | memoryview

IMPLEMENTATION: Final = "python"
KERNEL: Final = "python"


class OpenConnection:
    """What every message passes through in an open connection, sent or received; the connection
    above it knows all else.

    Args:
        decoder: gets what is received.
        plain: no hook of an extension sees what is sent.
        deflate: what compresses messages in place of its hooks, if anything does.

    Attributes:
        client: whether this end is the client. Users may set it, so that nothing here relies on it.
        _open: this end has not begun to close, and the transport has not ended.
        _plain: no hook of an extension sees what is sent, and no fragmented message is being sent.
    """

    __slots__ = ("_decoder", "_deflate", "_open", "_plain", "_queue", "client")

    def __init__(
        self, decoder: FrameDecoder, plain: bool, deflate: PerMessageDeflate | None = None
    ) -> None:
        self._decoder = decoder
        self._deflate = deflate
        self._queue: deque[Event] | None = None
        self._open = True
        self._plain = plain
        self.client = decoder.client

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
            if type(data) is str or type(data) is bytes:
                client = self._decoder.client
                if type(event) is PreparedMessage and not client:
                    return self._prepared_frame(event)
                if self._deflate is None:
                    return _message_frame(data, client)
                payload = self._deflate.deflate(client, _raw(data))
                return _message_frame(data, client, payload)
        return self._send_other(event)

    def send_message(self, data: str | bytes) -> bytes:
        """Returns the bytes that tell the peer of a whole message, without making an event.

        Does what :meth:`send` does with such an event, and raises what it raises.
        """
        return self.send(TextMessage(data) if isinstance(data, str) else BytesMessage(data))

    def _prepared_frame(self, message: PreparedMessage) -> bytes:
        """The frame that all servers with the same way of compressing, or with none, share."""
        deflater = None if self._deflate is None else self._deflate.deflater_alone(False)
        frames: dict[Deflater | None, bytes] = vars(message)["_frames"]
        frame = frames.get(deflater)
        if frame is None:
            payload = None if deflater is None else deflater.deflate_alone(_raw(message.data))
            frame = frames.setdefault(deflater, _message_frame(message.data, False, payload))
        return frame

    def send_parts(self, event: Event) -> tuple[bytes, Buffer]:
        """Returns the bytes that tell the peer in two parts, to be sent one behind the other.

        Where no byte has to change, in whole binary messages of a server without extensions, the
        second part is the message's own ``data``: a large one is not copied. Otherwise the first
        part is what :meth:`send` returns, and the second is empty. Raises as :meth:`send` does.
        """
        if (
            self._open
            and self._plain
            and self._deflate is None
            and not self._decoder.client
            and isinstance(event, Message)
            and event.message_finished
            and type(event) is not PreparedMessage
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
        return self._queued_events(self._queue) if self._queue else self._decoder

    def take_messages(self, limit: int) -> list[str | bytes]:
        """Returns the data of the messages that are the next events, without making these events.

        For connections with ``whole_messages`` that get many short messages at once. What is behind
        the messages is left for :meth:`events`, as it would have given it: controls, the peer's
        close frame, a violation. So an empty list says that no message is the next event. No
        payload is parsed that is not returned, but for the one whose violation ends the list.

        Args:
            limit: messages to return at most; not more than one with extensions that are not
                :class:`~wscore.extensions.PerMessageDeflate`. The message that reaches 64 KiB, in
                characters and bytes together, is the last in any case.

        Raises:
            ValueError: the connection was made without ``whole_messages``.
        """
        return [] if self._queue else self._decoder.take_messages(limit)

    @property
    def violated(self) -> bool:
        """Whether :meth:`take_messages` met a violation behind what it returned. It is the next
        event then, and until that is taken, messages can be sent.
        """
        return self._decoder.violated

    def _queued_events(self, queue: deque[Event]) -> Iterator[Event]:
        while queue:
            yield queue.popleft()
        yield from self._decoder

    @property
    def _events(self) -> deque[Event]:
        """Events that come before what the decoder has: users of wsproto append to it. Made when
        first asked for, since an empty deque is larger than all else here.
        """
        if self._queue is None:
            self._queue = deque()
        return self._queue

    def _send_other(self, event: Event) -> bytes:
        """Sends what is no whole message of an open connection."""
        raise LocalProtocolError(f"{type(event).__name__} cannot be sent")

    def _receive_other(self, data: bytes | None) -> None:
        """Receives the end of the transport, and anything when not open."""
        raise LocalProtocolError("the connection is closed already")


def _raw(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _message_frame(data: str | bytes, masked: bool, deflated: bytes | None = None) -> bytes:
    """The frame that is a whole message, or its compressed form."""
    first_byte = 0x81 if isinstance(data, str) else 0x82
    key = new_mask_key() if masked else None
    if deflated is None:
        return encode_frame(first_byte, data, key)
    return encode_frame(first_byte | 0x40, deflated, key)


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
    "PreparedMessage",
    "TextMessage",
    "apply_mask",
    "apply_mask_inplace",
    "encode_frame",
    "encode_frame_header",
    "new_mask_key",
]
