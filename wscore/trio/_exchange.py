"""One HTTP/1.1 request read from a stream, and its answer; imports h11 and the modules below it.

A WebSocket server meets HTTP once a connection: in the request that asks for the upgrade, or in a
plain request on the same port. So nothing is kept alive: one request, one answer, and the end.
"""

from __future__ import annotations

import socket
from email.utils import formatdate
from http import HTTPStatus

import h11
import trio

from wscore._http_head import BadHead, HeadReader

from ._body import PIECE, OpenBody, open_body
from ._counters import ServerCounters
from ._http import HTTPRequest, HTTPResponse, text_response
from ._options import Options
from ._stream import linger, stream_endpoint

# Header fields that say where the response ends, and where the connection does.
_FRAMING_FIELDS = (b"content-length", b"transfer-encoding", b"connection")
_WITHOUT_BODY = (204, 304)


class RequestError(Exception):
    """The request cannot be served; ``response`` tells the client, the message tells the log."""

    def __init__(self, response: HTTPResponse, message: str) -> None:
        super().__init__(message)
        self.response = response


class RequestLost(Exception):
    """The client went away before its request was complete, or before it was answered.

    Attributes:
        silent: not a single byte had come.
    """

    def __init__(self, message: str, *, silent: bool = False) -> None:
        super().__init__(message)
        self.silent = silent


class Exchange:
    """One request and its answer on a stream, seen from the server.

    Attributes:
        stream: the stream; the caller closes it.
        remote: the client's address; a description, if the stream is not TCP.
        trailing_data: what came after the head of the request: for an upgrade, the first frames.
        answered: an answer was begun.
        counters: told of every answer but that of status 101.
    """

    def __init__(self, stream: trio.abc.Stream, options: Options, counters: ServerCounters) -> None:
        self.stream = stream
        self.remote = stream_endpoint(stream, local=False)
        self.trailing_data = b""
        self.answered = False
        self.counters = counters
        self._options = options
        self._h11 = h11.Connection(h11.SERVER)
        self._method: bytes | None = None

    async def receive_request(self) -> HTTPRequest:
        """Read the head of the request, after the handshake of TLS where that is spoken.

        Raises:
            RequestError: it is malformed or too large.
            RequestLost: the client went away, or TLS failed.
        """
        if isinstance(self.stream, trio.SSLStream):
            await _shake_hands(self.stream)
        event = await self._receive_head()
        if event.http_version not in (b"1.0", b"1.1"):
            answer = text_response(505, "The server speaks HTTP/1.1")
            raise RequestError(answer, "unsupported HTTP version")
        if event.method == b"CONNECT":
            # A 2xx answer would make a tunnel of the connection (RFC 9110 section 9.3.6).
            answer = text_response(501, "This server is no proxy")
            raise RequestError(answer, "CONNECT to a server that is no proxy")
        self._method = event.method
        request = HTTPRequest(
            event.method.decode("ascii"),
            event.target.decode("ascii"),
            list(event.headers),
            remote=self.remote,
            local=stream_endpoint(self.stream, local=True),
            http_version=event.http_version.decode("ascii"),
        )
        # The core is given the headers alone.
        if request.is_upgrade and request.method != "GET":
            answer = text_response(405, "A WebSocket is opened with GET", [(b"Allow", b"GET")])
            raise RequestError(answer, "WebSocket handshake with another method than GET")
        return request

    async def _receive_head(self) -> h11.Request:
        reader = HeadReader()
        parts = None
        try:
            while parts is None:
                parts = reader.receive(await self._receive_some(silent=not reader.begun))
            head, self.trailing_data = parts
            self._h11.receive_data(head)
            event = self._h11.next_event()
        except BadHead as error:
            answer = text_response(error.status, "Bad request")
            raise RequestError(answer, f"bad HTTP request: {error}") from None
        except h11.RemoteProtocolError as error:
            answer = text_response(error.error_status_hint, "Bad request")
            # h11 quotes the bytes it could not read, and those have no place in a log.
            reason = str(error).partition(": bytearray")[0]
            raise RequestError(answer, f"bad HTTP request: {reason}") from None
        assert isinstance(event, h11.Request)  # of a whole head, h11 makes one or raises
        return event

    async def _receive_some(self, *, silent: bool) -> bytes:
        try:
            data = await self.stream.receive_some(self._options.receive_buffer_size)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise RequestLost(str(error.__cause__ or error), silent=silent) from None
        if not data:
            moment = "before" if silent else "in the middle of"
            raise RequestLost(f"closed {moment} a request", silent=silent)
        return bytes(data)

    async def respond(self, response: HTTPResponse) -> None:
        """Send an answer, and wait briefly for the client to read it; the caller closes.

        Raises:
            RequestLost: the client went away, or took nothing for ``send_timeout`` seconds.
            LocalProtocolError: of h11: a header cannot be sent; nothing was.
            OSError: the file cannot be read; nothing was sent, unless `answered` is true.
            Exception: whatever the body's iterable raises.
        """
        async with open_body(response.body) as body:
            await self._send_response(response, body)
        await linger(self.stream, half_close=True)

    async def _send_response(self, response: HTTPResponse, body: OpenBody) -> None:
        # The head goes out with the first piece: most responses fit into one packet.
        waiting = self._begin(response, body.length)
        if self._method != b"HEAD" and response.status not in _WITHOUT_BODY:
            async for piece in body.pieces:
                await self._send(waiting + (self._h11.send(h11.Data(data=piece)) or b""))
                waiting = b""
        if waiting or body.length is None:  # the end of a chunked body is a chunk too
            await self._send(waiting + (self._h11.send(h11.EndOfMessage()) or b""))

    def _begin(self, response: HTTPResponse, length: int | None) -> bytes:
        """The head of the response; from here on the request is answered."""
        names = {name.lower() for name, _ in response.headers}
        headers = [field for field in response.headers if field[0].lower() not in _FRAMING_FIELDS]
        if b"date" not in names:  # RFC 9110 section 6.6.1
            headers.append((b"Date", formatdate(usegmt=True).encode()))
        # RFC 9110 sections 8.6 and 15.4.5: none in a 204, and a 304 does not say its own length.
        if length is not None and response.status not in _WITHOUT_BODY:
            headers.append((b"Content-Length", b"%d" % length))
        # RFC 9110 section 7.8: an Upgrade field needs the connection option "upgrade" beside it.
        headers.append((b"Connection", b"close, upgrade" if b"upgrade" in names else b"close"))
        # A header that cannot be sent shows here, before h11 has taken the response for sent.
        head = h11.Response(
            status_code=response.status, headers=headers, reason=_phrase(response.status)
        )
        self.answered = True
        self.counters.refused[response.status] += 1
        return self._h11.send(head) or b""

    async def _send(self, data: bytes) -> None:
        # An iterable's piece may be of any size, and what must go on is the client's reading.
        for begin in range(0, max(1, len(data)), PIECE):
            with trio.move_on_after(self._options.send_timeout) as scope:
                try:
                    await self.stream.send_all(data[begin : begin + PIECE])
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    raise RequestLost(str(error.__cause__ or error)) from None
            if scope.cancelled_caught:
                raise RequestLost(f"it took nothing for {self._options.send_timeout:g} s")


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


async def _shake_hands(stream: trio.SSLStream[trio.abc.Stream]) -> None:
    """Do the handshake of TLS, if nobody has done it yet."""
    try:
        stream.version()
    except trio.NeedHandshakeError:
        await _wait_first_byte(stream.transport_stream)
    try:
        await stream.do_handshake()
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        cause = error.__cause__ or error
        reason = getattr(cause, "reason", None) or cause
        raise RequestLost(f"the TLS handshake failed: {reason}") from None


async def _wait_first_byte(stream: trio.abc.Stream) -> None:
    """Tell clients that want to know only whether somebody listens from those that fail."""
    if isinstance(stream, trio.SocketStream):
        try:
            first = await stream.socket.recv(1, socket.MSG_PEEK)
        except OSError as error:
            raise RequestLost(str(error), silent=True) from None
        if not first:
            raise RequestLost("closed before the TLS handshake", silent=True)
