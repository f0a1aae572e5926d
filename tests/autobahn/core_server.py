"""An echo server on the bare core: blocking sockets, a thread for each connection, no transport.

Prints `listening on PORT` once it does. For conformance runs on the loopback, not for a network.
"""

from __future__ import annotations

import socket
import threading

from wscore import ConnectionType, WSConnection
from wscore.events import AcceptConnection, CloseConnection, Message, Ping, Request
from wscore.extensions import PerMessageDeflate
from wscore.utilities import RemoteProtocolError


def answer(ws: WSConnection, data: bytes | None) -> tuple[bytes, bool]:
    """Feed received bytes (None: the end) and return what to send, and whether all is said."""
    out = bytearray()
    try:
        ws.receive_data(data)
        for event in ws.events():
            match event:
                case Request():
                    out += ws.send(AcceptConnection(extensions=[PerMessageDeflate()]))
                case Message():
                    # Echoed piece by piece as it comes; the pieces are frames of one message.
                    out += ws.send(Message(event.data, message_finished=event.message_finished))
                case Ping():
                    out += ws.send(event.response())
                case CloseConnection():
                    if data is not None:
                        out += ws.send(event.response())
                    return bytes(out), True
    except RemoteProtocolError as exc:
        if exc.event_hint is not None:
            out += ws.send(exc.event_hint)
        return bytes(out), True
    return bytes(out), data is None


def serve(sock: socket.socket) -> None:
    """Answer one connection until it ends."""
    ws = WSConnection(ConnectionType.SERVER)
    with sock:
        try:
            done = False
            while not done:
                reply, done = answer(ws, sock.recv(65536) or None)
                sock.sendall(reply)
            # Unread bytes at close() would reset the connection and could lose the close frame.
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(5)
            while sock.recv(65536):
                pass
        except OSError:
            pass  # the peer went away


def main() -> None:
    """Accept for ever."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(f"listening on {listener.getsockname()[1]}", flush=True)
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    main()
