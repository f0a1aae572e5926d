"""The open connection as a state machine without I/O; imports ``events``, ``frame_protocol`` and
what is below them.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Final

from ._framing import FrameDecoder, encode_message
from .errors import LocalProtocolError
from .events import CloseConnection, Event, Message, Ping, Pong
from .frame_protocol import CloseReason, FrameProtocol

if TYPE_CHECKING:
    from .extensions import Extension


class ConnectionState(Enum):
    """Where a connection stands (RFC 6455, sections 4 and 7)."""

    #: The opening handshake is under way.
    CONNECTING = 0
    #: Messages flow.
    OPEN = 1
    #: The peer has closed, or broken the protocol; our close frame is due.
    REMOTE_CLOSING = 2
    #: We have closed; the peer's close frame is due, and messages may still come.
    LOCAL_CLOSING = 3
    #: Both have closed, or the transport has ended.
    CLOSED = 4
    #: The opening handshake was refused; the body of the refusal is under way.
    REJECTING = 5


class ConnectionType(Enum):
    """Which end of a connection this is."""

    CLIENT = 1
    SERVER = 2


CLIENT: Final = ConnectionType.CLIENT
SERVER: Final = ConnectionType.SERVER

_OPEN: Final = ConnectionState.OPEN

# What closing does, as (state, who closes) -> state; whatever is absent is not allowed.
_CLOSED_BY: Final = {
    (ConnectionState.OPEN, "us"): ConnectionState.LOCAL_CLOSING,
    (ConnectionState.OPEN, "peer"): ConnectionState.REMOTE_CLOSING,
    (ConnectionState.REMOTE_CLOSING, "us"): ConnectionState.CLOSED,
    (ConnectionState.LOCAL_CLOSING, "peer"): ConnectionState.CLOSED,
}


class Connection:
    """A WebSocket connection after its opening handshake.

    Give it what the network brings with :meth:`receive_data` and take what that means from
    :meth:`events`; put what you want to say into :meth:`send` and give the bytes to the network.
    Events are parsed as they are taken, and so does :attr:`state` change.

    Args:
        connection_type: which end this is.
        extensions: those negotiated; ones that are not enabled are left out.
        trailing_data: bytes of the peer that came behind the handshake.
        whole_messages: report each message as one event, with ``frame_finished`` and
            ``message_finished`` true.
        max_message_size: bytes that a received message may have, after inflation (None: no limit);
        above: close code 1009.
        max_frame_size: bytes of payload that a received data frame may announce (None: no limit);
        above: 1009.
        max_fragments: frames that a received message may have (None: no limit); above: 1009.
    """

    def __init__(
        self,
        connection_type: ConnectionType,
        extensions: list[Extension] | None = None,
        trailing_data: bytes = b"",
        *,
        whole_messages: bool = False,
        max_message_size: int | None = None,
        max_frame_size: int | None = None,
        max_fragments: int | None = None,
    ) -> None:
        self.client = connection_type is CLIENT
        self._events: list[Event] = []
        self._proto = FrameProtocol(self.client, extensions or [])
        self._decoder = FrameDecoder(
            self.client,
            self._proto.extensions,
            whole_messages=whole_messages,
            max_message_size=max_message_size,
            max_frame_size=max_frame_size,
            max_fragments=max_fragments,
        )
        self._state = _OPEN
        self.receive_data(trailing_data)

    @property
    def state(self) -> ConnectionState:
        """The state after the events taken and sent so far."""
        # The decoder knows first that the peer has closed: at the moment when that event is taken.
        if self._decoder.closed:
            self._state = _CLOSED_BY.get((self._state, "peer"), self._state)
        return self._state

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
        proto = self._proto
        if self._state is _OPEN and proto.is_plain and not self._decoder.closed:
            frame = encode_message(event, self.client)
            if frame is not None:
                return frame
        state = self.state
        if isinstance(event, CloseConnection):
            after = _CLOSED_BY.get((state, "us"))
            if after is not None:
                data = proto.close(event.code, event.reason)
                self._state = after
                return data
        elif state is _OPEN:
            if isinstance(event, Message):
                return proto.send_data(event.data, event.message_finished)
            if isinstance(event, Ping):
                return proto.ping(event.payload)
            if isinstance(event, Pong):
                return proto.pong(event.payload)
        raise LocalProtocolError(f"{type(event).__name__} cannot be sent in state {state.name}")

    def receive_data(self, data: bytes | None) -> None:
        """Takes bytes that the peer sent, or None when the transport has ended.

        Bytes behind the peer's close frame, or behind a violation, are dropped.

        Raises:
            LocalProtocolError: the connection is closed already.
        """
        if data is None:
            # RFC 6455, section 7.1.5: without a close frame, "_The WebSocket Connection Close
            # Code_ is considered to be 1006".
            self._events.append(CloseConnection(code=CloseReason.ABNORMAL_CLOSURE))
            self._state = ConnectionState.CLOSED
        elif self._state is _OPEN or self.state is not ConnectionState.CLOSED:
            self._decoder.receive_data(data)
        else:
            raise LocalProtocolError("the connection is closed already")

    def events(self) -> Iterator[Event]:
        """Returns the events that are due, each parsed when it is taken."""
        return self._queued_events() if self._events else self._decoder

    def _queued_events(self) -> Iterator[Event]:
        while self._events:
            yield self._events.pop(0)
        yield from self._decoder


__all__ = ["CLIENT", "SERVER", "Connection", "ConnectionState", "ConnectionType"]
