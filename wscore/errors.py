"""Every exception of the core; a leaf.

::

    Exception
     └── ProtocolError
          ├── LocalProtocolError     you asked for what the protocol or the state does not allow
          ├── RemoteProtocolError    the peer broke the handshake; ``event_hint`` is the answer
          └── ParseFailed            the peer broke the framing; ``code`` is the close code

``ParseFailed`` stays inside the core, which turns it into one ``CloseConnection`` event, except
where a user drives the parts of :mod:`wscore.frame_protocol` directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._codes import CloseReason

if TYPE_CHECKING:  # the hint is an event, and events are above this leaf
    from .events import Event


class ProtocolError(Exception):
    """Base of everything that the core raises about the WebSocket protocol."""


class LocalProtocolError(ProtocolError):
    """This end asked for something that the connection's state or the protocol does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol does not allow.

    Attributes:
        event_hint: the event to send in answer, as a :class:`~wscore.events.RejectConnection`, or
            None. A client cannot send one: it closes the transport.
    """

    def __init__(self, message: str, event_hint: Event | None = None) -> None:
        super().__init__(message)
        self.event_hint = event_hint

    def __reduce__(self) -> tuple[type[RemoteProtocolError], tuple[object, ...]]:
        return type(self), (*self.args, self.event_hint)


class ParseFailed(ProtocolError):
    """A frame from the peer breaks RFC 6455 or a limit.

    Attributes:
        code: the close code that tells the peer.
    """

    def __init__(self, msg: str, code: CloseReason = CloseReason.PROTOCOL_ERROR) -> None:
        super().__init__(msg)
        self.code = code

    def __reduce__(self) -> tuple[type[ParseFailed], tuple[object, ...]]:
        return type(self), (*self.args, self.code)
