"""The protocol on a bare socket: by hand (``--by hand``), and the same with `WSConnection`.

For learners: a server that answers each text. No Origin is checked.
"""

import base64
import hashlib
import re
import socket
import sys

import wscore
from wscore.events import AcceptConnection, CloseConnection, Ping, Request, TextMessage
from wscore.examples import _blocking

ANSWER = "接收数据: {}"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # the same for everybody: RFC 6455, section 1.3


def by_hand(sock: socket.socket, head: bytes) -> None:
    """The opening handshake (section 4.2.2), then a frame at a time (section 5.2)."""
    _, key, *_ = re.split(rb"(?i)sec-websocket-key: *([^\r]+)", head)  # shows that we know how
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    sock.sendall(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    with sock.makefile("rb") as stream:
        while start := stream.read(2):  # FIN and opcode; a bit for the mask, 7 for the length
            size = start[1] & 0x7F
            if size > 125:  # then the length follows, in 2 bytes or in 8
                size = min(int.from_bytes(stream.read(2 if size == 126 else 8)), 2**20)
            mask = stream.read(4)  # clients mask, so that no proxy mistakes the bytes for HTTP
            payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(stream.read(size)))
            if start[0] == 0x81:  # a text in one frame
                payload = ANSWER.format(payload.decode()).encode()
            # Servers do not mask. A ping (0x89) goes back as a pong (0x8A), a close as a close.
            size, first = len(payload), b"\x8a" if start[0] == 0x89 else start[:1]
            mark = b"" if size < 126 else b"\x7e" if size < 2**16 else b"\x7f"
            length = size.to_bytes({b"": 1, b"\x7e": 2, b"\x7f": 8}[mark])
            sock.sendall(first + mark + length + payload)
            if first == b"\x88":
                return


def with_wsconnection(sock: socket.socket, data: bytes) -> None:
    """The same, and what is missing there: fragments, limits, errors, close codes."""
    ws = wscore.WSConnection(wscore.ConnectionType.SERVER, whole_messages=True)
    while ws.state is not wscore.ConnectionState.CLOSED:
        ws.receive_data(data or _blocking.receive(sock))
        for event in ws.events():
            if isinstance(event, Request):
                sock.sendall(ws.send(AcceptConnection()))
            elif isinstance(event, TextMessage):
                sock.sendall(ws.send(TextMessage(ANSWER.format(event.data))))
            elif isinstance(event, Ping | CloseConnection):
                sock.sendall(ws.send(event.response()))
        data = b""


if __name__ == "__main__":
    sys.exit(_blocking.main(__doc__, "By hand", {"library": with_wsconnection, "hand": by_hand}))
