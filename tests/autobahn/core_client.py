"""An echo client on the bare core: a blocking socket, no transport; for a fuzzing server's cases.

`core_client.py PORT` asks the server at that port of the loopback how many cases it has, runs each,
and has the report written.
"""

from __future__ import annotations

import socket
import sys

from wscore import ConnectionType, WSConnection
from wscore.connection import ConnectionState
from wscore.events import CloseConnection, Message, Ping, RejectConnection, Request
from wscore.extensions import PerMessageDeflate

AGENT = "sut"


def converse(port: int, target: str, *, echo: bool) -> str:
    """Runs one connection to its end and returns the text that it brought."""
    ws = WSConnection(ConnectionType.CLIENT)
    text = ""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        offers = [PerMessageDeflate()]
        sock.sendall(ws.send(Request(host=f"127.0.0.1:{port}", target=target, extensions=offers)))
        while ws.state is not ConnectionState.CLOSED:
            data = sock.recv(65536)
            if not data:
                break
            ws.receive_data(data)
            reply = bytearray()
            for event in ws.events():
                match event:
                    case Message() if echo:
                        again = Message(event.data, message_finished=event.message_finished)
                        reply += ws.send(again)
                    case Message():
                        text += str(event.data)
                    case Ping():
                        reply += ws.send(event.response())
                    case CloseConnection() if ws.state is ConnectionState.REMOTE_CLOSING:
                        reply += ws.send(event.response())
                    case RejectConnection():
                        raise SystemExit(f"{target}: refused with {event.status_code}")
            try:
                sock.sendall(reply)
            except OSError:
                break  # the server ended the case
        # RFC 6455, section 7.1.1: the server closes the TCP connection first.
        sock.settimeout(2)
        try:
            while sock.recv(65536):
                pass
        except OSError:
            pass
    return text


def main() -> None:
    """Runs all cases."""
    port = int(sys.argv[1])
    count = int(converse(port, "/getCaseCount", echo=False))
    for case in range(1, count + 1):
        converse(port, f"/runCase?case={case}&agent={AGENT}", echo=True)
        print(f"\rcase {case} of {count}", end="", flush=True)
    converse(port, f"/updateReports?agent={AGENT}", echo=False)
    print()


if __name__ == "__main__":
    main()
