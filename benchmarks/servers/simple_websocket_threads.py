"""simple-websocket in werkzeug's threads, as Flask's development server has it, without Flask."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

from simple_websocket import ConnectionClosed, Server
from werkzeug.serving import make_server

from benchmarks.servers._program import HOST, announce, options

#: Members, each with the lock that keeps two publishers from writing at once.
members: dict[Server, threading.Lock] = {}


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    ws = Server.accept(environ)
    # Else each reply waits for the acknowledgement of the one before, 40 ms.
    environ["werkzeug.socket"].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        match environ["PATH_INFO"]:
            case "/members":
                members[ws] = threading.Lock()
                while True:
                    ws.receive()
            case "/publish":
                while True:
                    publish(ws.receive())
            case _:
                while True:
                    ws.send(ws.receive())
    except ConnectionClosed:
        members.pop(ws, None)
    start_response("200 OK", [])  # which nobody reads
    return []


def publish(message: str) -> None:
    for member, lock in list(members.items()):
        try:
            with lock:
                member.send(message)
        except ConnectionClosed:
            members.pop(member, None)


if __name__ == "__main__":
    options()
    server = make_server(HOST, 0, application, threaded=True)
    announce(server.port)
    server.serve_forever()
