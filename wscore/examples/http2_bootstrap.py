"""WebSockets over HTTP/2 (RFC 8441): the core's open connection on a stream of `h2`.

HTTP/2 has its own handshake, an extended CONNECT, and frames of its own; what goes through the
stream after it are the bytes of a `Connection`. So an HTTP/2 server needs the core without its
handshake. Here both ends run in one process, back to back:
``python -m wscore.examples.http2_bootstrap TEXT ...``
"""

import sys
from collections.abc import Iterator

import h2.config
import h2.connection
import h2.events
import h2.settings

from wscore import Connection, ConnectionType
from wscore.events import CloseConnection, Message, TextMessage
from wscore.extensions import PerMessageDeflate
from wscore.handshake import client_extensions_handshake, server_extensions_handshake
from wscore.utilities import split_comma_header

PROTOCOL = (b":protocol", b"websocket")


class Server:
    """An HTTP/2 server that sends back every message of every WebSocket."""

    def __init__(self) -> None:
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._h2.initiate_connection()
        self._h2.update_settings({h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
        self._websockets: dict[int, Connection] = {}

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the client; returns those for it."""
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self._open(event)
            elif isinstance(event, h2.events.DataReceived):
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self._talk(event.stream_id, event.data)
        return self._h2.data_to_send()

    def _open(self, request: h2.events.RequestReceived) -> None:
        fields = dict(request.headers)
        if PROTOCOL not in request.headers or fields[b":method"] != b"CONNECT":
            self._h2.send_headers(request.stream_id, [(b":status", b"404")], end_stream=True)
            return
        deflate = PerMessageDeflate()
        offers = split_comma_header(fields.get(b"sec-websocket-extensions", b""))
        agreed = server_extensions_handshake(offers, [deflate])
        answer = [(b":status", b"200")]
        if agreed:
            answer.append((b"sec-websocket-extensions", agreed))
        self._h2.send_headers(request.stream_id, answer)
        self._websockets[request.stream_id] = Connection(
            ConnectionType.SERVER, [deflate] if agreed else [], whole_messages=True
        )

    def _talk(self, stream: int, data: bytes) -> None:
        ws = self._websockets[stream]
        ws.receive_data(data)
        for event in ws.events():
            if isinstance(event, Message):
                self._h2.send_data(stream, ws.send(Message(data=event.data)))
            elif isinstance(event, CloseConnection):
                self._h2.send_data(stream, ws.send(event.response()), end_stream=True)
                del self._websockets[stream]


class Client:
    """An HTTP/2 client with one WebSocket."""

    def __init__(self, path: str) -> None:
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._h2.initiate_connection()
        self._path = path
        self._deflate = PerMessageDeflate()
        self._ws: Connection | None = None
        self._stream = 0

    def bytes_to_send(self) -> bytes:
        """What is to be given to the server."""
        return self._h2.data_to_send()

    def receive(self, data: bytes) -> Iterator[str | bytes]:
        """Take bytes of the server; yields messages."""
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.RemoteSettingsChanged):
                if self._h2.remote_settings.enable_connect_protocol and not self._stream:
                    self._request()
            elif isinstance(event, h2.events.ResponseReceived):
                fields = dict(event.headers)
                offers = split_comma_header(fields.get(b"sec-websocket-extensions", b""))
                agreed = client_extensions_handshake(offers, [self._deflate])
                self._ws = Connection(ConnectionType.CLIENT, agreed, whole_messages=True)
            elif isinstance(event, h2.events.DataReceived) and self._ws is not None:
                self._ws.receive_data(event.data)
                for received in self._ws.events():
                    if isinstance(received, Message):
                        yield received.data

    def _request(self) -> None:
        self._stream = self._h2.get_next_available_stream_id()
        fields = [
            (b":method", b"CONNECT"),
            PROTOCOL,
            (b":scheme", b"https"),
            (b":path", self._path.encode()),
            (b":authority", b"example.com"),
            (b"sec-websocket-version", b"13"),
            (b"sec-websocket-extensions", b"permessage-deflate; " + self._deflate.offer().encode()),
        ]
        self._h2.send_headers(self._stream, fields)

    def send(self, event: Message[str] | CloseConnection) -> None:
        """Say something; to be called once the server has answered."""
        assert self._ws is not None, "the WebSocket is not open yet"
        self._h2.send_data(self._stream, self._ws.send(event))


def exchange(client: Client, server: Server) -> list[str | bytes]:
    """Carry bytes from one end to the other until there are none; returns messages."""
    messages: list[str | bytes] = []
    while data := client.bytes_to_send():
        messages += client.receive(server.receive(data))
    return messages


if __name__ == "__main__":
    client, server = Client("/chat"), Server()
    exchange(client, server)
    for text in sys.argv[1:] or ["hello over HTTP/2"]:
        client.send(TextMessage(text))
        print(*exchange(client, server))
    client.send(CloseConnection(1000))
    exchange(client, server)
