"""HTTP requests and responses as `process_request` has them; imports the leaves beside it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass, field

from wscore.typing import Headers

from ._stream import Endpoint

#: What a response may have for its body.
Body = bytes | os.PathLike[str] | AsyncIterable[bytes]


@dataclass(frozen=True)
class HTTPRequest:
    """The head of an HTTP request.

    Attributes:
        method: like ``"GET"``, as sent.
        target: the request target as sent: path and query, ASCII.
        headers: pairs of bytes in the order sent, names in lower case.
        remote: the client's address; a description, if the stream is not TCP.
        local: the server's address, likewise.
        http_version: ``"1.1"`` or ``"1.0"``.
    """

    method: str
    target: str
    headers: Headers
    remote: Endpoint | str
    local: Endpoint | str
    http_version: str = "1.1"

    @property
    def path(self) -> str:
        """The target's path, without the query; percent-encoding stays."""
        path = self.target.partition("?")[0]
        if not path.startswith("/") and "://" in path:
            # RFC 9112 section 3.2.2: a server also accepts ``GET http://host/path``. Whatever the
            # client has put for the host, the path can be told.
            path = "/" + path.partition("://")[2].partition("/")[2]
        return path

    def header(self, name: bytes) -> bytes | None:
        """The value of a header, or None; values of a repeated one are joined with commas."""
        name = name.lower()
        values = [value for key, value in self.headers if key == name]
        return b", ".join(values) if values else None

    @property
    def is_upgrade(self) -> bool:
        """Whether the client asks for a WebSocket (it may still do so in a wrong way)."""
        # RFC 9110 section 7.8: an Upgrade field in an HTTP/1.0 request must be ignored.
        upgrade = self.header(b"upgrade") or b""
        protocols = (protocol.strip().lower() for protocol in upgrade.split(b","))
        return self.http_version != "1.0" and b"websocket" in protocols


@dataclass(frozen=True)
class HTTPResponse:
    """An answer to an HTTP request; the connection is closed after it.

    Attributes:
        status: 200 to 599.
        headers: pairs of bytes. ``Content-Length``, ``Transfer-Encoding`` and ``Connection`` are
            the server's business: values for them are dropped. It adds a ``Date`` to them.
        body: all of it as bytes; or the path of a file, which is sent piece by piece; or an
            asynchronous iterable of bytes, sent as they come, and closed at the end if it has an
            ``aclose``. Not sent in answer to HEAD, nor with the statuses 204 and 304.

    Raises:
        ValueError: the status is out of range.
        TypeError: the body is none of these.
    """

    status: int
    headers: Headers = field(default_factory=list)
    body: Body = b""

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError(f"the status of a response is 200 to 599, not {self.status}")
        body: object = self.body
        if not isinstance(body, (bytes, os.PathLike, AsyncIterable)):
            kind = type(body).__name__
            raise TypeError(f"a body is bytes, a path or an asynchronous iterable, not {kind}")


ProcessRequest = Callable[[HTTPRequest], Awaitable[HTTPResponse | None]]


def text_response(status: int, text: str, headers: Headers | None = None) -> HTTPResponse:
    """A response that is one line of text."""
    content_type = (b"Content-Type", b"text/plain; charset=utf-8")
    return HTTPResponse(status, [content_type, *(headers or [])], f"{text}\n".encode())
