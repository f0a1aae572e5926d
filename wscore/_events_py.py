"""The events that frames become, in plain Python: the reference for the compiled ones; a leaf.

Public as :mod:`wscore.events`. They are frozen dataclasses; the compiled twin behaves as one and
takes its fields from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T", bytes | bytearray, str)


class Event:
    """Base of everything that a connection reports or is asked to send."""


@dataclass(frozen=True)
class Message(Event, Generic[T]):
    """A piece of a data message, or the whole of it (RFC 6455, section 5.6).

    Sent, a ``str`` makes a text message and bytes a binary one, whichever of the three message
    classes carries it.

    Attributes:
        data: the payload of this piece.
        frame_finished: this piece ends its frame. Says how the peer cut the stream, nothing about
            meaning.
        message_finished: this piece ends its message.
    """

    data: T
    frame_finished: bool = True
    message_finished: bool = True


@dataclass(frozen=True)
class TextMessage(Message[str]):
    """A text message, or a piece of one; ``data`` is a str whose UTF-8 was checked."""


@dataclass(frozen=True)
class BytesMessage(Message[bytes | bytearray]):
    """A binary message, or a piece of one; ``data`` is bytes."""


@dataclass(frozen=True)
class PreparedMessage(Message[Any]):
    """A whole message to be sent on many connections, encoded once for all that can share its
    bytes.

    Those of a server without extensions share one frame, those with permessage-deflate as their
    only extension one for each setting of it. A client, and a connection with other extensions,
    sends it as any other message. The frames are kept for as long as this object is.

    Args:
        data: text as str, binary as bytes-like, which is copied where it is not bytes.

    Raises:
        TypeError: data is neither.
    """

    data: str | bytes
    frame_finished: bool = field(default=True, init=False, repr=False)
    message_finished: bool = field(default=True, init=False, repr=False)

    def __post_init__(self) -> None:
        data = self.data
        if not isinstance(data, str):
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"a message is str or bytes-like, not {type(data).__name__}")
            object.__setattr__(self, "data", bytes(data))
        object.__setattr__(self, "_frames", {})  # by what deflated them; no field: nobody's matter

    def __reduce__(self) -> tuple[type[PreparedMessage], tuple[str | bytes]]:
        return type(self), (self.data,)


@dataclass(frozen=True)
class Ping(Event):
    """A ping (RFC 6455, section 5.5.2). Answer a received one by sending :meth:`response`.

    Attributes:
        payload: at most 125 bytes, which the pong returns.
    """

    payload: bytes = b""

    def response(self) -> Pong:
        """Returns the pong that answers this ping."""
        return Pong(self.payload)


@dataclass(frozen=True)
class Pong(Event):
    """A pong (RFC 6455, section 5.5.3), solicited or not.

    Attributes:
        payload: that of the ping it answers, at most 125 bytes.
    """

    payload: bytes = b""


@dataclass(frozen=True)
class CloseConnection(Event):
    """A close frame (RFC 6455, section 5.5.1), or the end of a connection without one.

    A received one wants an answer while the connection's state is ``REMOTE_CLOSING``: send
    :meth:`response`.

    Attributes:
        code: the close code; 1005 where the frame had none, 1006 where no frame came, and where the
            peer broke the protocol the code to tell it.
        reason: text for people, at most 123 bytes of UTF-8, or None.
    """

    code: int
    reason: str | None = None

    def response(self) -> CloseConnection:
        """Returns the close frame that answers this one."""
        return CloseConnection(self.code, self.reason)
