"""The open connection as a state machine without I/O; imports ``events``, ``frame_protocol`` and
what is below them.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from ._framing import FrameDecoder, OpenConnection
from .errors import LocalProtocolError
from .events import CloseConnection, Event, Message, Ping, Pong
from .extensions import PerMessageDeflate
from .frame_protocol import FrameProtocol

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


class Connection(OpenConnection):
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

    # The dictionary is for attributes that users add; without one an idle connection is smaller.
    __slots__ = ("__dict__", "__weakref__", "_last_state", "_proto")

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
        client = connection_type is CLIENT
        self._proto = FrameProtocol(client, extensions or [])
        enabled = self._proto.extensions
        # One that is ours alone is asked directly: its hooks see a frame in three steps or more.
        # A subclass may have changed them.
        deflate = None
        if len(enabled) == 1 and type(enabled[0]) is PerMessageDeflate:
            deflate = enabled[0]
        decoder = FrameDecoder(
            client,
            enabled,
            whole_messages=whole_messages,
            max_message_size=max_message_size,
            max_frame_size=max_frame_size,
            max_fragments=max_fragments,
            deflate=deflate,
        )
        super().__init__(decoder, not enabled or deflate is not None, deflate)
        self._state = _OPEN
        self.receive_data(trailing_data)

    @property
    def state(self) -> ConnectionState:
        """The state after the events taken and sent so far."""
        # The decoder knows first that the peer has closed: at the moment when that event is taken.
        if self._decoder.closed:
            self._state = _CLOSED_BY.get((self._state, "peer"), self._state)
        return self._state

    @property
    def _state(self) -> ConnectionState:
        return self._last_state

    @_state.setter
    def _state(self, state: ConnectionState) -> None:
        self._last_state = state
        self._open = state is _OPEN

    def _send_other(self, event: Event) -> bytes:
        state = self.state
        proto = self._proto
        if isinstance(event, CloseConnection):
            after = _CLOSED_BY.get((state, "us"))
            if after is not None:
                data = proto.close(event.code, event.reason)
                self._state = after
                return data
        elif state is _OPEN:
            if isinstance(event, Message):
                data = proto.send_data(event.data, event.message_finished)
                self._plain = proto.is_between_messages and (
                    not proto.extensions or self._deflate is not None
                )
                return data
            if isinstance(event, Ping):
                return proto.ping(event.payload)
            if isinstance(event, Pong):
                return proto.pong(event.payload)
        raise LocalProtocolError(f"{type(event).__name__} cannot be sent in state {state.name}")

    def _receive_other(self, data: bytes | None) -> None:
        if data is None:
            self._decoder.receive_eof()
            self._state = ConnectionState.CLOSED
        elif self.state is ConnectionState.CLOSED:
            raise LocalProtocolError("the connection is closed already")
        else:
            self._decoder.receive_data(data)


__all__ = ["CLIENT", "SERVER", "Connection", "ConnectionState", "ConnectionType"]
