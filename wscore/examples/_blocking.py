"""What the servers on plain sockets share: a thread for each client, the head of its request."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping

from wscore.errors import ProtocolError
from wscore.examples import _serving

Handler = Callable[[socket.socket, bytes], None]

_MAX_HEAD = 32 * 1024
_HEAD_SECONDS = 10


def main(doc: str | None, title: str, ways: Mapping[str, Handler]) -> int:
    """Serve until SIGINT or SIGTERM; the first way is the default.

    Args:
        doc: of the program.
        title: of its page.
        ways: each gets a client's socket, and the head of its request for a WebSocket with
            whatever came behind it. They may raise what tells of a client's trouble: OSError,
            EOFError, ValueError, ProtocolError.

    Returns:
        The exit status.
    """
    parser = _serving.parser(doc, pings=False)
    parser.add_argument("--by", choices=ways, default=next(iter(ways)), help="(%(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        listener = socket.create_server((options.host, options.port))
    except OSError as error:
        print(f"cannot serve at {options.host} port {options.port}: {error}", file=sys.stderr)
        return 1
    body = _serving.page(title, "/")
    with listener:
        listener.settimeout(1)  # a signal that another thread takes does not end a wait here
        try:
            print("http://{}:{}/".format(*listener.getsockname()), flush=True)
            while True:
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                talk = threading.Thread(target=_talk, args=(client, ways[options.by], body))
                talk.daemon = True
                talk.start()
        except KeyboardInterrupt:
            return 0


def _talk(client: socket.socket, way: Handler, body: bytes) -> None:
    try:
        with client:
            client.settimeout(_HEAD_SECONDS)
            head = b""
            while b"\r\n\r\n" not in head:
                head += receive(client)
                if len(head) > _MAX_HEAD:
                    raise ValueError("the head of the request is too long")
            if b"upgrade: websocket" in head.lower():
                client.settimeout(None)
                way(client, head)
            else:
                status = b"200 OK" if head.startswith(b"GET / ") else b"404 Not Found"
                length = len(body) if status.startswith(b"200") else 0
                client.sendall(
                    b"HTTP/1.1 %b\r\nContent-Type: text/html; charset=utf-8\r\n"
                    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b"
                    % (status, length, body[:length])
                )
    except (OSError, EOFError, ValueError, ProtocolError):
        pass  # it vanished, or spoke nonsense: nobody else's concern


def receive(client: socket.socket) -> bytes:
    """Receive what is there.

    Raises:
        EOFError: the client has ended.
    """
    data = client.recv(65536)
    if not data:
        raise EOFError("the client has ended")
    return data
