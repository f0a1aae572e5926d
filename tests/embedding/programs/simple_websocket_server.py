"""A server on simple-websocket, in a Flask application."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import flask
import simple_websocket
import wsproto
from werkzeug.serving import make_server

app = flask.Flask(__name__)

# A route that returns before the library's thread has read the peer's Close shares the socket with
# it: Flask's server reads what is left, too, and whoever of the two gets nothing waits for ever.
#: Why each connection ended, as the application was told.
ENDED: list[tuple[int, str]] = []


def accept(**options: Any) -> simple_websocket.Server:
    return simple_websocket.Server.accept(
        flask.request.environ, subprotocols=["b"], max_message_size=2**21, **options
    )


@app.route("/echo", websocket=True)
def echo() -> str:
    ws = accept()
    try:
        while True:
            ws.send(ws.receive())
    except simple_websocket.ConnectionClosed as error:
        ENDED.append((error.reason, error.message or ""))
        ws.thread.join()  # sends the Close, which the response's end would otherwise overtake
    return ""


@app.route("/close", websocket=True)
def close() -> str:
    ws = accept()
    ws.receive()
    ws.close(4001, "enough")
    ws.thread.join()
    return ""


@app.route("/ping", websocket=True)
def ping() -> str:
    """Pings every second, and closes once one is not answered."""
    ws = accept(ping_interval=1)
    with suppress(simple_websocket.ConnectionClosed):
        ws.receive()
    ws.thread.join()
    return ""


@app.route("/refuse", websocket=True)
def refuse() -> flask.Response:
    """The library itself refuses only what is no handshake; applications answer in its place."""
    return flask.Response(status=403)


@app.route("/deny", websocket=True)
def deny() -> flask.Response:
    return flask.Response("no\n", 401, {"X-Why": "because"})


@app.route("/ended", websocket=True)
def ended() -> str:
    ws = accept()
    ws.send(json.dumps(ENDED))
    ws.close()
    ws.thread.join()
    return ""


server = make_server("127.0.0.1", 0, app, threaded=True)
print(f"on {wsproto.__name__}: http://127.0.0.1:{server.port}", flush=True)
server.serve_forever()
