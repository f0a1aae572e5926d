"""The core in an `asyncio.Protocol`: a server that sends every message back.

What to copy is the class: bytes in, events out, and what to do on each of them. The event loop's
flow control is passed on: while the client does not read, nothing more is read from it.
"""

import argparse
import asyncio
import signal
import sys
from typing import cast

from wscore import ConnectionState, ConnectionType, WSConnection
from wscore.errors import RemoteProtocolError
from wscore.events import AcceptConnection, CloseConnection, Event, Message, Ping, Request
from wscore.extensions import PerMessageDeflate

HANDSHAKE_SECONDS = 10
CLOSE_SECONDS = 5
MAX_MESSAGE_SIZE = 2**20


class EchoProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._ws = WSConnection(
            ConnectionType.SERVER, whole_messages=True, max_message_size=MAX_MESSAGE_SIZE
        )
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(HANDSHAKE_SECONDS, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever wanted it."""
        self._deadline.cancel()
        self.lost.set_result(None)

    def pause_writing(self) -> None:
        """The client reads too slowly: read nothing more from it."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Give the bytes to the core, and do what its events ask for."""
        try:
            self._ws.receive_data(data)
            for event in self._ws.events():
                self._handle(event)
        except RemoteProtocolError as error:  # no acceptable handshake
            if error.event_hint is not None:
                self._send(error.event_hint)
            self._transport.close()

    def _handle(self, event: Event) -> None:
        if isinstance(event, Request):
            self._deadline.cancel()
            self._send(AcceptConnection(extensions=[PerMessageDeflate()]))
        elif isinstance(event, Message):
            self._send(Message(data=event.data))
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, CloseConnection):
            # The client's wish, or the core's verdict on what it sent; both are answered.
            if self._ws.state is ConnectionState.REMOTE_CLOSING:
                self._send(event.response())
            self._transport.close()

    def _send(self, event: Event) -> None:
        self._transport.write(self._ws.send(event))

    def close(self, code: int, reason: str) -> None:
        """Close from this side; the client has some seconds to agree."""
        if self._ws.state is ConnectionState.OPEN:
            self._send(CloseConnection(code, reason))
            self._deadline.cancel()
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(CLOSE_SECONDS, self._transport.abort)
        elif self._ws.state is ConnectionState.CONNECTING:
            self._transport.abort()


async def serve(host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    connections: set[EchoProtocol] = set()

    def connect() -> EchoProtocol:
        protocol = EchoProtocol()
        connections.add(protocol)
        protocol.lost.add_done_callback(lambda _: connections.remove(protocol))
        return protocol

    server = await loop.create_server(connect, host, port)
    print("http://{}:{}/".format(*server.sockets[0].getsockname()[:2]), flush=True)
    await stopped.wait()
    server.close()
    for protocol in connections:
        protocol.close(1001, "the server stops")
    await asyncio.gather(*(protocol.lost for protocol in connections))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    sys.exit(asyncio.run(serve(arguments.host, arguments.port)))
