"""The core with plain sockets and threads: a server that sends every message back, and a client.

What to copy is `Connection`: it turns a blocking socket and the core into messages. Each of its
sockets belongs to one thread.
"""

import argparse
import signal
import socket
import sys
import threading
from collections.abc import Iterator

from wscore import ConnectionState, ConnectionType, WSConnection
from wscore.errors import ProtocolError, RemoteProtocolError
from wscore.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)

SILENCE_SECONDS = 60
MAX_MESSAGE_SIZE = 2**20


class Connection:
    """A WebSocket connection on a blocking socket, which it closes at the end."""

    def __init__(self, sock: socket.socket, kind: ConnectionType) -> None:
        self._sock = sock
        self._sock.settimeout(SILENCE_SECONDS)
        self._ws = WSConnection(kind, whole_messages=True, max_message_size=MAX_MESSAGE_SIZE)

    def send(self, event: Event) -> None:
        """Send an event."""
        self._sock.sendall(self._ws.send(event))

    def _is(self, state: ConnectionState) -> bool:
        return self._ws.state is state

    def open(self, request: Request) -> None:
        """Shake hands with a server; raises like `messages`."""
        self.send(request)
        while not self._is(ConnectionState.OPEN):
            self._receive()
            for event in self._ws.events():
                self._answer(event)
                if self._is(ConnectionState.OPEN):
                    break  # what came behind the answer is for `messages`

    def messages(self) -> Iterator[str | bytes]:
        """Yield messages until either side closes.

        Raises:
            OSError: the peer vanished, or said nothing for a minute.
            ConnectionRefusedError: the server does not want us.
            ProtocolError: the peer speaks something else.
        """
        with self._sock:
            while not self._is(ConnectionState.CLOSED):
                for event in self._ws.events():
                    if isinstance(event, Message):
                        yield event.data
                    else:
                        self._answer(event)
                if not self._is(ConnectionState.CLOSED):
                    self._receive()

    def _receive(self) -> None:
        try:
            self._ws.receive_data(self._sock.recv(65536) or None)
        except RemoteProtocolError as error:
            if error.event_hint is not None:
                self.send(error.event_hint)
            raise

    def _answer(self, event: Event) -> None:
        if isinstance(event, Request):
            self.send(AcceptConnection())
        elif isinstance(event, Ping):
            self.send(event.response())
        elif isinstance(event, RejectConnection):
            raise ConnectionRefusedError(f"the server answered with status {event.status_code}")
        elif self._is(ConnectionState.REMOTE_CLOSING):  # and this is the peer's Close
            assert isinstance(event, CloseConnection)
            self.send(event.response())


def reply(message: str | bytes) -> Event:
    """The same again."""
    return TextMessage(message) if isinstance(message, str) else BytesMessage(message)


def serve(host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM, a thread for each client."""

    def talk(client: socket.socket) -> None:
        connection = Connection(client, ConnectionType.SERVER)
        try:
            for message in connection.messages():
                connection.send(reply(message))
        except (OSError, ProtocolError):
            pass  # the client's trouble, and nobody else's

    with socket.create_server((host, port)) as listener:
        print("http://{}:{}/".format(*listener.getsockname()[:2]), flush=True)
        listener.settimeout(1)  # a signal that another thread takes does not end a wait here
        while True:
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=talk, args=(client,), daemon=True).start()


def say(host: str, port: int, text: str) -> None:
    """Send a text and print the answer."""
    connection = Connection(socket.create_connection((host, port)), ConnectionType.CLIENT)
    connection.open(Request(host=f"{host}:{port}", target="/"))
    connection.send(TextMessage(text))
    for message in connection.messages():
        print(message)
        connection.send(CloseConnection(1000))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--say", metavar="TEXT", help="be the client")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if arguments.say is None:
            serve(arguments.host, arguments.port)
        else:
            say(arguments.host, arguments.port, arguments.say)
    except KeyboardInterrupt:
        sys.exit(0)
