"""A chat on Flask with gevent-websocket, as the classic tutorials have it; nothing is stored.

It speaks the messages of our protocol that the load generator sends: hello, join and post. There is
no answer to a message in what it stands on: the ok to a post is its handler's.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 - after gevent's patches
import socket  # noqa: E402
from collections import Counter, defaultdict  # noqa: E402
from typing import Any  # noqa: E402

import flask  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402
from geventwebsocket.exceptions import WebSocketError  # noqa: E402
from geventwebsocket.handler import WebSocketHandler  # noqa: E402
from geventwebsocket.websocket import WebSocket  # noqa: E402

from benchmarks.servers._program import HOST, announce, options  # noqa: E402

application = flask.Flask(__name__)
rooms: defaultdict[str, set[WebSocket]] = defaultdict(set)
offsets: Counter[str] = Counter()


@application.route("/ws", websocket=True)
def chat() -> str:
    ws = flask.request.environ["wsgi.websocket"]
    while (message := ws.receive()) is not None:
        request = json.loads(message)
        reply: dict[str, Any] = {"type": "ok", "id": request["id"]}
        match request["type"]:
            case "join":
                rooms[request["room"]].add(ws)
                reply["messages"] = []
            case "post":
                reply["offset"] = publish(request["room"], request["text"])
        ws.send(json.dumps(reply, separators=(",", ":")))
    for members in rooms.values():
        members.discard(ws)
    return ""


def publish(room: str, text: str) -> int:
    offsets[room] += 1
    push = {"type": "message", "room": room, "text": text, "offset": offsets[room]}
    shown = json.dumps(push, separators=(",", ":"))
    for one in list(rooms[room]):
        try:
            one.send(shown)
        except WebSocketError:
            rooms[room].discard(one)
    return offsets[room]


if __name__ == "__main__":
    options()
    listener = socket.create_server((HOST, 0), backlog=5000)
    # For the connections too: message and ok are two writes, and the second would wait for the
    # client's system to acknowledge the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = WSGIServer(listener, application, handler_class=WebSocketHandler, log=None)
    server.start()
    announce(server.server_port)
    server.serve_forever()
