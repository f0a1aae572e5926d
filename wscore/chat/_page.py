"""Plain HTTP answers of the chat: the page's files and `/healthz`; imports wscore.trio only."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from urllib.parse import urlsplit

from wscore.trio import HTTPRequest, HTTPResponse

_CONTENT_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
    ".ico": b"image/x-icon",
}
# `connect-src 'self'` covers the WebSocket of the same origin as well. No script may turn a string
# into markup or code (Trusted Types, without a policy that could make an exception).
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    b" base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    b" require-trusted-types-for 'script'; trusted-types 'none'"
)
_SAFE_HEADERS = [
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Cache-Control", b"no-cache"),
    (b"Content-Security-Policy", _POLICY),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
]
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Site:
    """The server's plain HTTP side: a fixed table of files, and a report of its health.

    Only what lay in the package's folder when the server started is ever served.

    Args:
        health: the members of the JSON object at ``/healthz``.
    """

    def __init__(self, health: Callable[[], dict[str, object]]) -> None:
        self._health = health
        self._files: dict[str, HTTPResponse] = {}
        folder = resources.files("wscore.chat").joinpath("web")
        for file in folder.iterdir() if folder.is_dir() else ():
            kind = _CONTENT_TYPES.get("." + file.name.rpartition(".")[2])
            if kind is not None and file.is_file():
                headers = [(b"Content-Type", kind), *_SAFE_HEADERS]
                self._files[f"/{file.name}"] = HTTPResponse(200, headers, file.read_bytes())
        if "/index.html" in self._files:
            self._files["/"] = self._files["/index.html"]

    async def respond(self, request: HTTPRequest) -> HTTPResponse | None:
        """Answer a request; None lets the WebSocket handshake at ``/ws`` go on."""
        if request.path == "/ws":
            return _check_socket(request)
        if request.path == "/healthz":
            body = json.dumps(self._health()).encode() + b"\n"
            found = HTTPResponse(
                200, [(b"Content-Type", b"application/json"), *_SAFE_HEADERS], body
            )
        elif request.path in self._files:
            found = self._files[request.path]
        else:
            return _refuse(404, "not found")
        if request.method not in ("GET", "HEAD"):
            return _refuse(405, "only GET and HEAD", (b"Allow", b"GET, HEAD"))
        if request.is_upgrade:
            return _refuse(404, "the WebSocket is at /ws")
        return found


def _check_socket(request: HTTPRequest) -> HTTPResponse | None:
    if request.method not in ("GET", "HEAD"):
        return _refuse(405, "only GET", (b"Allow", b"GET"))
    if not request.is_upgrade:
        return _refuse(
            426,
            "this is a WebSocket",
            (b"Upgrade", b"websocket"),
            (b"Sec-WebSocket-Version", b"13"),
        )
    if not _is_same_origin(request):
        return _refuse(403, "pages of other origins may not connect")
    return None


def _is_same_origin(request: HTTPRequest) -> bool:
    """Whether the page that connects came from here; a client that is no page sends no Origin.

    Browsers let any page open a WebSocket to any host and only say where it comes from
    (RFC 6455 section 10.2), so that the check is the server's.
    """
    origins = [value for name, value in request.headers if name == b"origin"]
    if not origins:
        return True
    host = request.header(b"host")
    if len(origins) > 1 or host is None:
        return False
    try:
        origin = urlsplit(origins[0].decode("ascii"))
    except ValueError:
        return False
    port = _DEFAULT_PORTS.get(origin.scheme)
    if port is None:
        return False
    own = host.decode("latin-1").lower()
    return origin.netloc.lower().removesuffix(port) == own.removesuffix(port)


def _refuse(status: int, text: str, *headers: tuple[bytes, bytes]) -> HTTPResponse:
    plain = (b"Content-Type", b"text/plain; charset=utf-8")
    return HTTPResponse(status, [plain, *_SAFE_HEADERS, *headers], f"{text}\n".encode())
