"""Flask with gevent-websocket, as the classic tutorials have it."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import flask  # noqa: E402 - after gevent's patches
from gevent.pywsgi import WSGIServer  # noqa: E402
from geventwebsocket.exceptions import WebSocketError  # noqa: E402
from geventwebsocket.handler import WebSocketHandler  # noqa: E402
from geventwebsocket.websocket import WebSocket  # noqa: E402

from benchmarks.servers._program import HOST, announce, options  # noqa: E402

application = flask.Flask(__name__)
members: set[WebSocket] = set()


def connection() -> WebSocket:
    return flask.request.environ["wsgi.websocket"]


@application.route("/", websocket=True)
def echo() -> str:
    ws = connection()
    while (message := ws.receive()) is not None:
        ws.send(message)
    return ""


@application.route("/members", websocket=True)
def member() -> str:
    ws = connection()
    members.add(ws)
    while ws.receive() is not None:
        pass
    members.discard(ws)
    return ""


@application.route("/publish", websocket=True)
def publish() -> str:
    ws = connection()
    while (message := ws.receive()) is not None:
        for one in list(members):
            try:
                one.send(message)
            except WebSocketError:
                members.discard(one)
    return ""


if __name__ == "__main__":
    options()
    server = WSGIServer(
        (HOST, 0), application, handler_class=WebSocketHandler, log=None, backlog=5000
    )
    server.start()
    announce(server.server_port)
    server.serve_forever()
