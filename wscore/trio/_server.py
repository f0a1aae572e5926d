"""The server: listeners, and one isolated task for each connection; imports the modules beside it.

Nothing that one client sends and nothing that one handler raises reaches another connection. The
client's faults are one line at INFO each, the handler's errors one traceback each, both on the
logger ``wscore.trio``.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

import h11
import trio

from ._errors import ConnectionClosed, HandshakeError
from ._http import (
    Exchange,
    HTTPRequest,
    HTTPResponse,
    ProcessRequest,
    RequestError,
    RequestLost,
    text_response,
)
from ._options import (
    CONNECT_TIMEOUT,
    DISCONNECT_TIMEOUT,
    MAX_MESSAGE_SIZE,
    MESSAGE_QUEUE_SIZE,
    RECEIVE_BUFFER_SIZE,
    Options,
)
from ._request import WebSocketRequest, propose
from ._stream import Endpoint, abort, socket_endpoint, stream_endpoint

logger = logging.getLogger("wscore.trio")

Handler = Callable[[WebSocketRequest], Awaitable[object]]

# A cancelled server gives its clients this long to take the Close, in seconds.
_CANCELLED_GRACE = 2.0
_NORMAL_CLOSURE = 1000
_GOING_AWAY = 1001
_INTERNAL_ERROR = 1011
# Codes with which a connection ends because the peer did something wrong, or vanished.
_PEER_FAULTS = frozenset({1002, 1006, 1007, 1009})


class WebSocketServer:
    """Serves WebSockets on listeners; `serve_websocket` makes one.

    Args:
        handler: called with a `WebSocketRequest` for each client; see `serve_websocket`.
        listeners: at least one; the server closes them.

    The other arguments are those of `serve_websocket`.
    """

    def __init__(
        self,
        handler: Handler,
        listeners: Sequence[trio.abc.Listener[Any]],
        *,
        handler_nursery: trio.Nursery | None = None,
        message_queue_size: int = MESSAGE_QUEUE_SIZE,
        max_message_size: int = MAX_MESSAGE_SIZE,
        receive_buffer_size: int | None = RECEIVE_BUFFER_SIZE,
        connect_timeout: float = CONNECT_TIMEOUT,
        disconnect_timeout: float = DISCONNECT_TIMEOUT,
        process_request: ProcessRequest | None = None,
    ) -> None:
        if not listeners:
            raise ValueError("a server needs at least one listener")
        self._handler = handler
        self._listeners = list(listeners)
        self._handler_nursery = handler_nursery
        self._connect_timeout = connect_timeout
        self._process_request = process_request
        self._options = Options(
            message_queue_size, max_message_size, receive_buffer_size, disconnect_timeout
        )

    @property
    def port(self) -> int:
        """The TCP port, also where the system chose it; only if there is exactly one listener.

        Raises:
            RuntimeError: there are several listeners, or the one does not listen on TCP.
        """
        if len(self._listeners) > 1:
            raise RuntimeError("the server has several listeners; see the property listeners")
        endpoint = self.listeners[0]
        if not isinstance(endpoint, Endpoint):
            raise RuntimeError(f"this listener has no port: {endpoint}")
        return endpoint.port

    @property
    def listeners(self) -> list[Endpoint | str]:
        """Where the server listens: an `Endpoint` for TCP, else a description."""
        return [_listener_endpoint(listener) for listener in self._listeners]

    async def run(
        self, *, task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Serve until cancelled; ``await nursery.start(server.run)`` means ready.

        Resource handling and error handling are those of `serve_websocket`.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(
                    trio.serve_listeners,
                    self._serve_stream,
                    self._listeners,
                    handler_nursery=self._handler_nursery,
                )
            )
            task_status.started(self)
        raise AssertionError("serve_listeners never returns")  # pragma: no cover

    async def _serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection from its first byte to its last; trio closes the stream."""
        remote = stream_endpoint(stream, local=False)
        exchange = Exchange(stream, self._options.receive_buffer_size)
        try:
            request = await self._receive_request(exchange, remote)
            if request is not None:
                await self._run_handler(request)
        except RequestLost as error:
            logger.info("%s: lost during the opening handshake: %s", remote, error)
        except Exception:
            logger.exception("%s: internal error", remote)

    async def _receive_request(
        self, exchange: Exchange, remote: Endpoint | str
    ) -> WebSocketRequest | None:
        """Return the request for the handler; None if it was answered here."""
        response: HTTPResponse | None = None
        with trio.move_on_after(self._connect_timeout):
            try:
                head = await exchange.receive_request()
                response = await self._ask_hook(head)
                if response is None:
                    return propose(exchange, head, self._options)
            except RequestError as error:
                logger.info("%s: refused with %d: %s", remote, error.response.status, error)
                response = error.response
        if response is None:
            logger.info("%s: no complete request in %g s", remote, self._connect_timeout)
            return None
        with trio.move_on_after(self._connect_timeout):
            try:
                await exchange.respond(response)
            except h11.LocalProtocolError:
                logger.exception("%s: the response of process_request cannot be sent", remote)
                await exchange.respond(text_response(500, "Internal server error"))
        return None

    async def _ask_hook(self, head: HTTPRequest) -> HTTPResponse | None:
        if self._process_request is None:
            return None
        try:
            return await self._process_request(head)
        except Exception:
            logger.exception("%s: process_request failed for %s", head.remote, head.path)
            return text_response(500, "Internal server error")

    async def _run_handler(self, request: WebSocketRequest) -> None:
        """Run the handler, and end the connection in the way that tells the client how it went."""
        try:
            await self._handler(request)
        except BaseException as error:
            fault = _leaves(error, lambda leaf: _is_fault(leaf, request))
            passing = _leaves(error, lambda leaf: not isinstance(leaf, Exception))
            if fault is not None:
                logger.error("%s: the handler failed", request.remote, exc_info=fault)
            code = _INTERNAL_ERROR if fault is not None else _NORMAL_CLOSURE
            if passing is None:
                await self._end(request, code)
            else:
                with trio.CancelScope(shield=True) as scope:
                    scope.deadline = trio.current_time() + _CANCELLED_GRACE
                    await self._end(request, _GOING_AWAY if fault is None else code)
                raise passing from None
        else:
            if not request.answered:
                logger.error("%s: the handler did not answer the request", request.remote)
            await self._end(request, _NORMAL_CLOSURE)

    async def _end(self, request: WebSocketRequest, code: int) -> None:
        connection = request.connection
        if connection is not None:
            await connection.aclose(code)
            reason = connection.closed
            if reason is not None and reason.code in _PEER_FAULTS:
                logger.info("%s: closed with %d (%s)", request.remote, reason.code, reason.name)
        elif not request.answered:
            with trio.move_on_after(self._options.disconnect_timeout):
                with suppress(ConnectionClosed):  # it went away first
                    await request.reject(503 if code == _GOING_AWAY else 500)


def _is_fault(error: BaseException, request: WebSocketRequest) -> bool:
    """Whether an exception of a handler is a mistake, and not just the end of its connection."""
    if isinstance(error, ConnectionClosed) and request.answered:
        connection = request.connection
        # Of an open connection's handler it must be another connection that was closed.
        return connection is not None and connection.closed is None
    return isinstance(error, Exception)


def _leaves(
    error: BaseException, condition: Callable[[BaseException], bool]
) -> BaseException | None:
    """The exception, or the part of its group, whose leaves meet a condition; None if none does."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(
            lambda leaf: not isinstance(leaf, BaseExceptionGroup) and condition(leaf)
        )
    return error if condition(error) else None


def _listener_endpoint(listener: trio.abc.Listener[Any]) -> Endpoint | str:
    is_ssl = isinstance(listener, trio.SSLListener)
    transport = listener.transport_listener if isinstance(listener, trio.SSLListener) else listener
    if isinstance(transport, trio.SocketListener):
        return socket_endpoint(transport.socket, is_ssl=is_ssl, local=True)
    return repr(listener)


async def serve_websocket(
    handler: Handler,
    host: str | bytes | None,
    port: int,
    ssl_context: ssl.SSLContext | None,
    *,
    handler_nursery: trio.Nursery | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BUFFER_SIZE,
    connect_timeout: float = CONNECT_TIMEOUT,
    disconnect_timeout: float = DISCONNECT_TIMEOUT,
    process_request: ProcessRequest | None = None,
    task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Serve WebSockets over TCP, or over TLS, until cancelled.

    ``server = await nursery.start(serve_websocket, handler, host, port, None)`` returns when the
    server listens; ``server.port`` tells the port. With ``host=None`` and ``port=0`` there may be
    several listeners with different ports.

    Args:
        handler: an async function, called in a task of its own with the `WebSocketRequest` of each
            client. When it returns, its connection is closed with code 1000. One that returns
            without answering is a mistake: the client gets status 500, the log one line.
        host: address or name to listen on; None for all interfaces.
        port: TCP port; 0 for one that the system chooses.
        ssl_context: context for TLS, or None for plain TCP.
        handler_nursery: the nursery for the connections' tasks; by default the server's own.
        message_queue_size: messages kept while a ping waits for its pong.
        max_message_size: bytes; a larger message closes its connection with 1009.
        receive_buffer_size: bytes to ask the system for at once; None lets trio choose.
        connect_timeout: seconds for TLS, the request and `process_request` together, and again
            for sending a response other than 101.
        disconnect_timeout: seconds to wait for a client's part of the closing handshake.
        process_request: an async function, awaited with the `HTTPRequest` of every client before
            anything else looks at it. If it returns an `HTTPResponse`, that is the answer;
            if it returns None, the WebSocket handshake goes on, and a request that is none gets
            status 426.
        task_status: for ``nursery.start``.

    Resource handling:
        Every connection is closed when its handler ends, however it ends. When the server is
        cancelled, it stops listening, and all open connections are closed at the same time, with
        code 1001 and at most 2 seconds for the clients to answer.

    Error handling:
        An exception of a handler closes that connection with 1011 (before `accept`: status 500),
        is logged once with its traceback, and is noticed by nobody else; `ConnectionClosed` of the
        handler's own connection counts as a normal end, also inside exception groups.
        An exception of ``process_request`` gives status 500 and is logged in the same way.
        Malformed requests get a 4xx answer, malformed frames a close code, and the log one line at
        INFO. `OSError` when the address cannot be listened on.
    """
    listeners: Sequence[trio.abc.Listener[Any]]
    if ssl_context is None:
        listeners = await trio.open_tcp_listeners(port, host=host)
    else:
        listeners = await trio.open_ssl_over_tcp_listeners(
            port, ssl_context, host=host, https_compatible=True
        )
    server = WebSocketServer(
        handler,
        listeners,
        handler_nursery=handler_nursery,
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        connect_timeout=connect_timeout,
        disconnect_timeout=disconnect_timeout,
        process_request=process_request,
    )
    await server.run(task_status=task_status)


async def wrap_server_stream(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BUFFER_SIZE,
    disconnect_timeout: float = DISCONNECT_TIMEOUT,
) -> WebSocketRequest:
    """Read the opening handshake of a WebSocket from any stream, as its server.

    Args:
        nursery: not used; taken for compatibility with trio-websocket.
        stream: any trio stream that carries bytes both ways.
        message_queue_size: messages kept while a ping waits for its pong.
        max_message_size: bytes; a larger message closes the connection with 1009.
        receive_buffer_size: bytes to ask the stream for at once; None lets it choose.
        disconnect_timeout: seconds to wait for the client when closing.

    Resource handling:
        After an error the stream is closed. Otherwise the caller answers the request, and closes
        the connection that it accepts.

    Error handling:
        `HandshakeError` if the client sent no proper handshake (it was answered with a 4xx status)
        or went away. There is no timeout: use `trio.fail_after`.
    """
    del nursery
    options = Options(message_queue_size, max_message_size, receive_buffer_size, disconnect_timeout)
    exchange = Exchange(stream, receive_buffer_size)
    try:
        try:
            return propose(exchange, await exchange.receive_request(), options)
        except RequestError as error:
            await exchange.respond(error.response)
            raise HandshakeError(str(error)) from None
    except RequestLost as error:
        await abort(stream)
        raise HandshakeError(str(error)) from None
    except BaseException:
        await abort(stream)
        raise
