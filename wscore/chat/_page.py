"""Plain HTTP answers of the chat: the page's files, reports; imports wscore.trio only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources
from typing import NamedTuple

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


class Report(NamedTuple):
    """A page that is made when it is asked for: its status, content type and body."""

    status: int
    kind: bytes
    body: bytes


class Site:
    """The server's plain HTTP side: a fixed table of files, and reports of the server.

    Only what lay in the package's folder when the server started is ever served.

    Args:
        reports: what to answer at other paths.
    """

    def __init__(self, reports: Mapping[str, Callable[[], Report]]) -> None:
        self._reports = reports
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
        if request.path in self._reports:
            status, kind, body = self._reports[request.path]()
            found = HTTPResponse(status, [(b"Content-Type", kind), *_SAFE_HEADERS], body)
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
    return None


def _refuse(status: int, text: str, *headers: tuple[bytes, bytes]) -> HTTPResponse:
    plain = (b"Content-Type", b"text/plain; charset=utf-8")
    return HTTPResponse(status, [plain, *_SAFE_HEADERS, *headers], f"{text}\n".encode())
