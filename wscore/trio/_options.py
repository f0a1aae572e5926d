"""The settings of a connection and their defaults; imports the core only."""

from __future__ import annotations

from dataclasses import dataclass

from wscore import ConnectionType, WSConnection

# Defaults; in messages, bytes, bytes, then seconds.
MESSAGE_QUEUE_SIZE = 1
MAX_MESSAGE_SIZE = 2**20
RECEIVE_BUFFER_SIZE = 2**16
CONNECT_TIMEOUT = 10.0
DISCONNECT_TIMEOUT = 5.0
PING_INTERVAL = 20.0
PING_TIMEOUT = 20.0
SEND_TIMEOUT = 30.0
# A message of a mebibyte in pieces smaller than 8 bytes is not in good faith.
MAX_FRAGMENTS = 131072


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of a connection, the same for client and server.

    Attributes:
        message_queue_size: messages to read ahead; beyond, the peer is slowed down by TCP.
        max_message_size: bytes; a larger message closes the connection with 1009.
        receive_buffer_size: bytes to ask the stream for at once; None lets the stream choose.
        disconnect_timeout: seconds to wait for the peer when closing.
        ping_interval: seconds without a byte from the peer after which it is pinged; None: never.
        ping_timeout: seconds that it then has for sending anything; None: any time.
        send_timeout: seconds without progress after which a peer that does not read is cut.
    """

    message_queue_size: int = MESSAGE_QUEUE_SIZE
    max_message_size: int = MAX_MESSAGE_SIZE
    receive_buffer_size: int | None = RECEIVE_BUFFER_SIZE
    disconnect_timeout: float = DISCONNECT_TIMEOUT
    ping_interval: float | None = PING_INTERVAL
    ping_timeout: float | None = PING_TIMEOUT
    send_timeout: float = SEND_TIMEOUT

    def new_core(self, connection_type: ConnectionType) -> WSConnection:
        """A core that reports whole messages within the limits."""
        return WSConnection(
            connection_type,
            whole_messages=True,
            max_message_size=self.max_message_size,
            max_fragments=MAX_FRAGMENTS,
        )
