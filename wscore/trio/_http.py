"""One HTTP/1.1 request read from a stream, and its answer; imports h11 and the transport's leaves.

A WebSocket server meets HTTP once a connection: in the request that asks for the upgrade, or in a
plain request on the same port. So nothing is kept alive: one request, one answer, and the end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

import h11
import trio

from wscore.typing import Headers

from ._stream import Endpoint, linger, stream_endpoint

# Limits on the head of a request: bytes, bytes, number.
MAX_HEAD_SIZE = 32768
MAX_LINE_SIZE = 8192
MAX_HEADERS = 100


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
        # RFC 9112 section 3.2.2: a server also accepts ``GET http://host/path``.
        target = self.target if self.target.startswith("/") else urlsplit(self.target).path
        return target.partition("?")[0]

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
            the server's business: values for them are dropped.
        body: the whole body; not sent in answer to HEAD.

    Raises:
        ValueError: the status is out of range.
    """

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError(f"the status of a response is 200 to 599, not {self.status}")


ProcessRequest = Callable[[HTTPRequest], Awaitable[HTTPResponse | None]]


class RequestError(Exception):
    """The request cannot be served; ``response`` tells the client, the message tells the log."""

    def __init__(self, response: HTTPResponse, message: str) -> None:
        super().__init__(message)
        self.response = response


class RequestLost(Exception):
    """The client went away before its request was complete, or before it was answered."""


def text_response(status: int, text: str, headers: Headers | None = None) -> HTTPResponse:
    """A response that is one line of text."""
    content_type = (b"Content-Type", b"text/plain; charset=utf-8")
    return HTTPResponse(status, [content_type, *(headers or [])], f"{text}\n".encode())


class Exchange:
    """One request and its answer on a stream, seen from the server.

    Attributes:
        stream: the stream; the caller closes it.
        trailing_data: what came after the head of the request: for an upgrade, the first frames.
        answered: an answer was begun.
    """

    def __init__(self, stream: trio.abc.Stream, receive_buffer_size: int | None = None) -> None:
        self.stream = stream
        self.trailing_data = b""
        self._receive_buffer_size = receive_buffer_size
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_SIZE)
        self._method: str | None = None
        self.answered = False

    async def receive_request(self) -> HTTPRequest:
        """Read the head of the request.

        Raises:
            RequestError: it is malformed or too large.
            RequestLost: the client went away.
        """
        received = 0
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                raise _bad_request(error) from None
            if isinstance(event, h11.Request):
                break
            try:
                data = await self.stream.receive_some(self._receive_buffer_size)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise RequestLost(str(error.__cause__ or error)) from None
            if not data:
                raise RequestLost(f"closed after {received} bytes of a request")
            received += len(data)
            self._h11.receive_data(bytes(data))

        self._method = event.method.decode("ascii")
        self.trailing_data = self._h11.trailing_data[0]
        _check_head(event, received - len(self.trailing_data))
        request = HTTPRequest(
            self._method,
            event.target.decode("ascii"),
            list(event.headers),
            remote=stream_endpoint(self.stream, local=False),
            local=stream_endpoint(self.stream, local=True),
            http_version=event.http_version.decode("ascii"),
        )
        if request.is_upgrade:
            self._check_upgrade(request)
        return request

    def _check_upgrade(self, request: HTTPRequest) -> None:
        """Check what the core cannot see: it is given the headers alone."""
        if request.method != "GET":
            answer = text_response(405, "A WebSocket is opened with GET", [(b"Allow", b"GET")])
            raise RequestError(answer, "WebSocket handshake with another method than GET")
        # A body would be taken for frames.
        if request.header(b"transfer-encoding") or request.header(b"content-length") not in (
            None,
            b"0",
        ):
            answer = text_response(400, "A WebSocket handshake has no body")
            raise RequestError(answer, "WebSocket handshake with a body")

    async def respond(self, response: HTTPResponse) -> None:
        """Send an answer, and wait briefly for the client to read it; the caller closes.

        Raises:
            RequestLost: the client went away.
            h11.LocalProtocolError: a header cannot be sent; nothing was.
        """
        data = encode_response(response, self._method)
        self.answered = True
        try:
            await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise RequestLost(str(error.__cause__ or error)) from None
        await linger(self.stream, half_close=True)


def encode_response(response: HTTPResponse, method: str | None) -> bytes:
    """Return the bytes of a response that ends its connection.

    Args:
        response: the response.
        method: the request's method, or None if no request could be read.

    Raises:
        h11.LocalProtocolError: a header cannot be sent, as with a line break in it.
    """
    ours = (b"content-length", b"transfer-encoding", b"connection")
    headers = [(name, value) for name, value in response.headers if name.lower() not in ours]
    # RFC 9110 sections 8.6 and 15.4.5: none in a 204, and a 304 does not say its own length.
    has_body = response.status not in (204, 304)
    if has_body:
        headers.append((b"Content-Length", b"%d" % len(response.body)))
    # RFC 9110 section 7.8: an Upgrade field needs the connection option "upgrade" beside it.
    upgrade = any(name.lower() == b"upgrade" for name, _ in headers)
    headers.append((b"Connection", b"close, upgrade" if upgrade else b"close"))
    try:
        reason = HTTPStatus(response.status).phrase.encode("ascii")
    except ValueError:
        reason = b""
    connection = h11.Connection(h11.SERVER)
    head = h11.Response(status_code=response.status, headers=headers, reason=reason)
    data = connection.send(head) or b""
    return data + response.body if has_body and method != "HEAD" else data


def _bad_request(error: h11.RemoteProtocolError) -> RequestError:
    if error.error_status_hint == 431:
        return RequestError(_too_large(), "the head of the request is too large")
    # h11 quotes the bytes it could not read, and those have no place in a log.
    message = "bad HTTP request: " + str(error).partition(": bytearray")[0]
    return RequestError(text_response(error.error_status_hint, "Bad request"), message)


def _check_head(request: h11.Request, size: int) -> None:
    """Check what h11 does not; it limits only heads that come in pieces."""
    if request.http_version not in (b"1.0", b"1.1"):
        answer = text_response(505, "The server speaks HTTP/1.1")
        raise RequestError(answer, "unsupported HTTP version")
    lines = [len(name) + len(value) for name, value in request.headers]
    if len(request.target) > MAX_LINE_SIZE:
        answer = text_response(414, "The request target is too long")
        raise RequestError(answer, "the request target is too long")
    if len(lines) > MAX_HEADERS or size > MAX_HEAD_SIZE or max(lines, default=0) > MAX_LINE_SIZE:
        raise RequestError(_too_large(), "the head of the request is too large")


def _too_large() -> HTTPResponse:
    return text_response(431, "The head of the request is too large")
