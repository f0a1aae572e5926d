"""A WebSocket protocol core without I/O, with wsproto's API; imports ``connection``, ``handshake``
and what is below them.

``import wscore as wsproto`` works for wsproto's users. Framing is compiled where the extension was
built, and plain Python otherwise; ``python -m wscore`` tells which.
"""

from __future__ import annotations

from collections.abc import Iterator

from ._alias import install_as_wsproto
from ._version import __version__
from .connection import Connection, ConnectionState, ConnectionType
from .events import Event
from .handshake import H11Handshake
from .typing import Headers


class WSConnection:
    """One end of a WebSocket connection from the opening handshake to the close (RFC 6455).

    Give it what the network brings with :meth:`receive_data` and take what that means from
    :meth:`events`; put what you want to say into :meth:`send` and give the bytes to the network.

    Args:
        connection_type: which end this is.
        whole_messages: report each message as one event, not in pieces as they come.
        max_message_size: bytes that a received message may have, after inflation (None: no limit);
            above: close code 1009.
        max_frame_size: bytes of payload that a received data frame may announce (None: no limit);
            above: 1009.
        max_fragments: frames that a received message may have (None: no limit); above: 1009.
    """

    def __init__(
        self,
        connection_type: ConnectionType,
        *,
        whole_messages: bool = False,
        max_message_size: int | None = None,
        max_frame_size: int | None = None,
        max_fragments: int | None = None,
    ) -> None:
        self.client = connection_type is ConnectionType.CLIENT
        self.handshake = H11Handshake(
            connection_type,
            whole_messages=whole_messages,
            max_message_size=max_message_size,
            max_frame_size=max_frame_size,
            max_fragments=max_fragments,
        )
        self.connection: Connection | None = None

    @property
    def state(self) -> ConnectionState:
        """Where the connection stands after the events taken and sent so far."""
        return self.handshake.state if self.connection is None else self.connection.state

    def initiate_upgrade_connection(self, headers: Headers, path: bytes | str) -> None:
        """Takes an upgrade request that was received and parsed elsewhere.

        Args:
            headers: its header fields.
            path: its target: path and query string.

        Raises:
            LocalProtocolError: this end is the client.
            RemoteProtocolError: the request is no acceptable handshake; ``event_hint`` is the
                answer.
        """
        self.handshake.initiate_upgrade_connection(headers, path)

    def send(self, event: Event) -> bytes:
        """Returns the bytes that tell the peer.

        Raises:
            LocalProtocolError: the event is not allowed in this state.
        """
        if self.connection is not None:
            return self.connection.send(event)
        data = self.handshake.send(event)
        self.connection = self.handshake.connection
        return data

    def send_parts(self, event: Event) -> tuple[bytes, bytes | bytearray | memoryview]:
        """Like :meth:`send`, but a server's whole binary message is not copied: header, payload.

        Raises:
            LocalProtocolError: the event is not allowed in this state.
        """
        if self.connection is not None:
            return self.connection.send_parts(event)
        return self.send(event), b""

    def receive_data(self, data: bytes | None) -> None:
        """Takes bytes that the peer sent, or None when the transport has ended; then take
        :meth:`events`.

        Raises:
            RemoteProtocolError: the opening handshake is malformed; ``event_hint`` is the answer.
            LocalProtocolError: the connection is closed already.
        """
        if self.connection is not None:
            self.connection.receive_data(data)
        else:
            self.handshake.receive_data(data)
            self.connection = self.handshake.connection

    def events(self) -> Iterator[Event]:
        """Returns the events that are due, each parsed when it is taken."""
        if self.connection is None:
            return self.handshake.events()
        if self.handshake._events:
            return self._handshake_then_connection(self.connection)
        return self.connection.events()

    def _handshake_then_connection(self, connection: Connection) -> Iterator[Event]:
        yield from self.handshake.events()
        yield from connection.events()


__all__ = [
    "Connection",
    "ConnectionState",
    "ConnectionType",
    "WSConnection",
    "__version__",
    "install_as_wsproto",
]
