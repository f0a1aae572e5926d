"""The opening handshake seen from the server; imports the core and the modules beside it."""

from __future__ import annotations

import trio

from wscore import ConnectionType, WSConnection
from wscore.events import AcceptConnection, RejectConnection, Request
from wscore.extensions import Extension, PerMessageDeflate
from wscore.typing import Headers
from wscore.utilities import RemoteProtocolError

from ._connection import WebSocketConnection
from ._errors import CloseReason, ConnectionClosed
from ._http import Exchange, HTTPRequest, HTTPResponse, RequestError, RequestLost, text_response
from ._options import Options
from ._stream import Endpoint, abort


class WebSocketRequest:
    """A client's request for a WebSocket; answer it once, with `accept` or with `reject`."""

    def __init__(
        self,
        exchange: Exchange,
        head: HTTPRequest,
        ws: WSConnection,
        proposal: Request,
        options: Options,
    ) -> None:
        self._exchange = exchange
        self._head = head
        self._ws = ws
        self._proposal = proposal
        self._options = options
        #: The connection, once the request was accepted.
        self.connection: WebSocketConnection | None = None

    @property
    def answered(self) -> bool:
        """Whether `accept` or `reject` was called, and began to send."""
        return self._exchange.answered

    @property
    def headers(self) -> Headers:
        """All headers of the request, pairs of bytes, names in lower case."""
        return self._head.headers

    @property
    def path(self) -> str:
        """The request target: the path, with the query if there is one."""
        return self._head.target

    @property
    def proposed_subprotocols(self) -> tuple[str, ...]:
        """The subprotocols the client offers, the one it likes best first."""
        return tuple(self._proposal.subprotocols)

    @property
    def local(self) -> Endpoint | str:
        """The server's address; a description, if the stream is not TCP."""
        return self._head.local

    @property
    def remote(self) -> Endpoint | str:
        """The client's address; a description, if the stream is not TCP."""
        return self._head.remote

    async def accept(
        self,
        *,
        subprotocol: str | None = None,
        extra_headers: Headers | None = None,
        compression: bool = False,
    ) -> WebSocketConnection:
        """Accept the request and return the open connection.

        Args:
            subprotocol: one of `proposed_subprotocols`, or None.
            extra_headers: sent with the response, pairs of bytes.
            compression: use permessage-deflate (RFC 7692) if the client offers it.

        Raises:
            LocalProtocolError: the client did not propose the subprotocol. Nothing was sent.
            ConnectionClosed: the client went away.
            RuntimeError: the request was answered already.
        """
        self._check_unanswered()
        extensions: list[Extension] = [PerMessageDeflate()] if compression else []
        response = self._ws.send(
            AcceptConnection(
                subprotocol=subprotocol,
                extensions=extensions,
                extra_headers=list(extra_headers or []),
            )
        )
        self._exchange.answered = True
        stream = self._exchange.stream
        try:
            await stream.send_all(response)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ConnectionClosed(CloseReason(1006)) from None
        except BaseException:  # cancelled with half a response sent
            await abort(stream)
            raise
        self.connection = WebSocketConnection(
            stream,
            self._ws,
            self._options,
            path=self.path,
            subprotocol=subprotocol,
            handshake_headers=tuple(self.headers),
        )
        return self.connection

    async def reject(
        self,
        status_code: int,
        *,
        extra_headers: Headers | None = None,
        body: bytes | None = None,
    ) -> None:
        """Answer with an HTTP response instead, and end the connection.

        Args:
            status_code: 200 to 599; 400 and above make sense.
            extra_headers: pairs of bytes; the server adds ``Content-Length`` and ``Connection``.
            body: the body of the response.

        Raises:
            ValueError: the status is out of range.
            ConnectionClosed: the client went away.
            RuntimeError: the request was answered already.
        """
        self._check_unanswered()
        response = HTTPResponse(status_code, list(extra_headers or []), body or b"")
        try:
            await self._exchange.respond(response)
        except RequestLost:
            raise ConnectionClosed(CloseReason(1006)) from None
        finally:
            if self.answered:
                await abort(self._exchange.stream)

    def _check_unanswered(self) -> None:
        if self._exchange.answered:
            raise RuntimeError("the request was answered already")


def propose(exchange: Exchange, head: HTTPRequest, options: Options) -> WebSocketRequest:
    """Hand a request that nobody answered to the core.

    Raises:
        RequestError: it is no proper WebSocket handshake.
    """
    if not head.is_upgrade:
        upgrade = (b"Upgrade", b"websocket")
        answer = text_response(426, "This is a WebSocket server", [upgrade])
        raise RequestError(answer, "not a WebSocket handshake")
    ws = options.new_core(ConnectionType.SERVER)
    try:
        ws.initiate_upgrade_connection(head.headers, head.target)
        ws.receive_data(exchange.trailing_data)
    except RemoteProtocolError as error:
        hint = error.event_hint
        if isinstance(hint, RejectConnection):
            answer = text_response(hint.status_code, str(error), list(hint.headers))
        else:
            answer = text_response(400, str(error))
        raise RequestError(answer, f"bad WebSocket handshake: {error}") from None
    proposal = next(iter(ws.events()))
    assert isinstance(proposal, Request)
    return WebSocketRequest(exchange, head, ws, proposal, options)
