"""An echo server on simple-websocket, in a Flask application."""

from __future__ import annotations

import flask
import simple_websocket
import wsproto
from werkzeug.serving import make_server

app = flask.Flask(__name__)


@app.route("/echo", websocket=True)
def echo() -> flask.Response | str:
    ws = simple_websocket.Server.accept(
        flask.request.environ, subprotocols=["b"], max_message_size=2**21
    )
    try:
        while True:
            ws.send(ws.receive())
    except simple_websocket.ConnectionClosed:
        pass
    return ""


server = make_server("127.0.0.1", 0, app, threaded=True)
print(f"on {wsproto.__name__}: http://127.0.0.1:{server.port}", flush=True)
server.serve_forever()
