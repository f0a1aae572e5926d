"""The server's doors, each with its arguments, and the server's life: listening, stopping; imports
``_service`` and what is below it.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable, Sequence
from typing import Any

import h11
import trio

from wscore.typing import Headers

from ._accept import Acceptor
from ._compression import Compression, new_extensions
from ._counters import ServerCounters
from ._http import ProcessRequest
from ._options import (
    CONNECT_TIMEOUT,
    DISCONNECT_TIMEOUT,
    MAX_MESSAGE_SIZE,
    MESSAGE_QUEUE_SIZE,
    PING_INTERVAL,
    PING_TIMEOUT,
    RECEIVE_BUFFER_SIZE,
    SEND_TIMEOUT,
    Options,
)
from ._origins import AllowedOrigins, OriginPolicy
from ._request import HandshakePolicy
from ._service import Handler, Service
from ._stream import Endpoint, socket_endpoint
from ._unix import UnixListener

logger = logging.getLogger("wscore.trio")

# What clients and handlers are given when the server stops, in seconds.
GRACE = 10.0


class WebSocketServer(trio.abc.AsyncResource):
    """Serves WebSockets on listeners; `serve_websocket` makes one.

    Args:
        handler: called with a `WebSocketRequest` for each client; see `serve_websocket`.
        listeners: at least one, of any kind of trio stream; the server closes them.

    The other arguments are those of `serve_websocket`.

    Attributes:
        counters: what the server counted so far, a `ServerCounters`.

    Resource handling:
        The listeners are open from the beginning; `run` and `aclose` close them.

    Error handling:
        That of `serve_websocket`, in `run`.

    Raises:
        ValueError: there is no listener, or an argument cannot be what it is.
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
        ping_interval: float | None = PING_INTERVAL,
        ping_timeout: float | None = PING_TIMEOUT,
        send_timeout: float = SEND_TIMEOUT,
        grace: float = GRACE,
        process_request: ProcessRequest | None = None,
        origins: AllowedOrigins | None = None,
        subprotocols: Iterable[str] = (),
        extra_headers: Headers | None = None,
        compression: bool | Compression = False,
    ) -> None:
        if not listeners:
            raise ValueError("a server needs at least one listener")
        new_extensions(compression)  # what cannot be is found now, and not with the first client
        self.counters = ServerCounters()
        self._listeners = list(listeners)
        self._endpoints = [_listener_endpoint(listener) for listener in listeners]
        self._handler_nursery = handler_nursery
        self._grace = grace
        options = Options(
            message_queue_size=message_queue_size,
            max_message_size=max_message_size,
            receive_buffer_size=receive_buffer_size,
            disconnect_timeout=disconnect_timeout,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            send_timeout=send_timeout,
        )
        policy = HandshakePolicy(
            subprotocols=_checked_subprotocols(subprotocols),
            extra_headers=_checked_headers(extra_headers),
            compression=compression,
            origins=None if origins is None else OriginPolicy(origins),
        )
        self._scope = trio.CancelScope()  # around all of run(); its deadline ends the grace
        self._service = Service(
            handler,
            process_request,
            options,
            policy,
            self.counters,
            connect_timeout=connect_timeout,
            grace=grace,
            scope=self._scope,
        )
        self._started = False
        self._ended = trio.Event()

    @property
    def port(self) -> int:
        """The TCP port, also where the system chose it; only if there is exactly one listener.

        Raises:
            RuntimeError: there are several listeners, or the one does not listen on TCP.
        """
        if len(self._endpoints) > 1:
            raise RuntimeError("the server has several listeners; see the property listeners")
        endpoint = self._endpoints[0]
        if not isinstance(endpoint, Endpoint):
            raise RuntimeError(f"this listener has no port: {endpoint}")
        return endpoint.port

    @property
    def listeners(self) -> list[Endpoint | str]:
        """Where the server listens, or did: an `Endpoint` for TCP, else a description."""
        return list(self._endpoints)

    async def run(
        self, *, task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled, or closed with `aclose`; once.

        ``await nursery.start(server.run)`` means ready. Resource handling and error handling are
        those of `serve_websocket`.

        Raises:
            RuntimeError: it was run or closed already.
        """
        if self._started or self._service.stopping.is_set():
            raise RuntimeError("a server runs once")
        self._started = True
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    await self._accept_until_stopped(nursery, task_status)
                    self._service.tell_everybody(nursery)
                    await self._service.wait_idle()
        finally:
            self._ended.set()

    async def aclose(self, grace: float | None = None) -> None:
        """Stop serving: close the listeners, send 1001 to all connections at once, and wait.

        Requests that wait for their answer get status 503, or are cut if they are not complete.
        Handlers see `ConnectionClosed` from their connections, and may finish what they do. When
        the grace is over, the connections that are left are cut, and their handlers cancelled,
        unless they run in the ``handler_nursery``. Calling it again can only shorten the grace:
        ``aclose(0)`` ends it.

        Args:
            grace: seconds to wait at most; by default the ``grace`` that the server was made with.

        Resource handling:
            When it returns, `run` is about to. Cancelled, it cuts everything at once.

        Error handling:
            None of its own. From within a handler it waits for that handler too, which it cancels
            at the end of the grace.
        """
        seconds = self._grace if grace is None else grace
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + seconds)
        self._service.stopping.set()
        try:
            if self._started:
                await self._ended.wait()
            else:
                await self._close_listeners()
                self._ended.set()
        except trio.Cancelled:
            self._scope.cancel()
            raise

    async def _accept_until_stopped(
        self, own: trio.Nursery, task_status: trio.TaskStatus[WebSocketServer]
    ) -> None:
        handlers = self._handler_nursery or own

        def start(stream: trio.abc.Stream) -> None:
            try:
                handlers.start_soon(self._service.serve, stream, name="wscore.trio connection")
            except RuntimeError:
                # It takes no tasks any more. Shows with a connection: trio tells nobody before.
                if not self._service.stopping.is_set():
                    logger.warning("the nursery of the handlers is closed: the server stops")
                self._service.stopping.set()
                own.start_soon(trio.aclose_forcefully, stream)

        acceptor = Acceptor(start, self.counters)
        try:
            async with trio.open_nursery() as nursery:
                for listener in self._listeners:
                    nursery.start_soon(acceptor.run, listener)
                task_status.started(self)
                await self._service.stopping.wait()
                nursery.cancel_scope.cancel()
        finally:
            await self._close_listeners()

    async def _close_listeners(self) -> None:
        with trio.CancelScope(shield=True):  # or the first one would be the only one
            for listener in self._listeners:
                await trio.aclose_forcefully(listener)


def _listener_endpoint(listener: trio.abc.Listener[Any]) -> Endpoint | str:
    is_ssl = isinstance(listener, trio.SSLListener)
    transport = listener.transport_listener if isinstance(listener, trio.SSLListener) else listener
    if isinstance(transport, (trio.SocketListener, UnixListener)):
        return socket_endpoint(transport.socket, is_ssl=is_ssl, local=True)
    return repr(listener)


def _checked_subprotocols(subprotocols: Iterable[str]) -> tuple[str, ...]:
    if isinstance(subprotocols, str):
        raise ValueError("subprotocols are several strings, not one")
    return tuple(subprotocols)


def _checked_headers(headers: Headers | None) -> tuple[tuple[bytes, bytes], ...]:
    checked = list(headers or [])
    try:
        h11.InformationalResponse(status_code=101, headers=checked)
    except h11.LocalProtocolError as error:
        raise ValueError(f"extra_headers cannot be sent: {error}") from None
    return tuple(checked)


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
    ping_interval: float | None = PING_INTERVAL,
    ping_timeout: float | None = PING_TIMEOUT,
    send_timeout: float = SEND_TIMEOUT,
    grace: float = GRACE,
    process_request: ProcessRequest | None = None,
    origins: AllowedOrigins | None = None,
    subprotocols: Iterable[str] = (),
    extra_headers: Headers | None = None,
    compression: bool | Compression = False,
    task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve WebSockets over TCP, or over TLS, until cancelled, or closed with `aclose`.

    ``server = await nursery.start(serve_websocket, handler, host, port, None)`` returns when the
    server listens; ``server.port`` tells the port. With ``host=None`` and ``port=0`` there may be
    several listeners with different ports. `serve_until_signal` makes a program of it. For other
    listeners, those of `open_unix_listener` among them, use `WebSocketServer`.

    Args:
        handler: an async function, called in a task of its own with the `WebSocketRequest` of each
            client. When it returns, its connection is closed with code 1000. One that returns
            without answering is a mistake: the client gets status 500, the log one line.
        host: address or name to listen on; None for all interfaces.
        port: TCP port; 0 for one that the system chooses.
        ssl_context: context for TLS, or None for plain TCP.
        handler_nursery: the nursery for the connections' tasks; by default the server's own. Keep
            it open for as long as the server runs.
        message_queue_size: messages to read ahead; beyond, the client is slowed down by TCP.
        max_message_size: bytes; a larger message closes its connection with 1009.
        receive_buffer_size: bytes to ask the system for at once; None lets trio choose.
        connect_timeout: seconds for TLS, the request and `process_request` together.
        disconnect_timeout: seconds to wait for a client's part of the closing handshake.
        ping_interval: seconds without a byte from a client after which it is pinged; None: never.
        ping_timeout: seconds that it then has for sending anything; None: any time.
        send_timeout: seconds after which a client that takes nothing of what is sent is cut.
        grace: seconds that clients and handlers are given when the server stops.
        process_request: an async function, awaited with the `HTTPRequest` of every client before
            anything else looks at it. If it returns an `HTTPResponse`, that is the answer;
            if it returns None, the WebSocket handshake goes on, and a request that is none gets
            status 426.
        origins: the pages that may open a WebSocket, by their origin (RFC 6454): strings like
            ``"https://example.com"`` that are compared exactly, ``"same-host"`` for that of the
            Host header, ``"null"``, and None for clients that send no Origin, as others than
            browsers do. ``"same-host"`` may stand alone. All others get status 403. By default
            everybody may.
        subprotocols: those the server speaks, the best first; see `WebSocketRequest.accept`.
        extra_headers: sent with each response of status 101, pairs of bytes.
        compression: use permessage-deflate (RFC 7692) with the clients that offer it; a
            `Compression` says how.
        task_status: for ``nursery.start``, which gets the `WebSocketServer`.

    Resource handling:
        Every connection is closed when its handler ends, however it ends. When the server is
        cancelled, it stops listening, and all open connections are closed at the same time, with
        code 1001 and at most ``disconnect_timeout`` or ``grace`` seconds for the clients to
        answer, whichever is less. `WebSocketServer.aclose` does the same without cancelling the
        handlers before the end of the grace, and then this function returns. It does so too when
        a client comes and the ``handler_nursery`` is closed: the log gets one line then.

    Error handling:
        An exception of a handler closes that connection with 1011 (before `accept`: status 500),
        is logged once with its traceback, and is noticed by nobody else; `ConnectionClosed` of the
        handler's own connection counts as a normal end, also inside exception groups.
        An exception of ``process_request`` gives status 500 and is logged in the same way.
        Malformed requests get a 4xx answer, malformed frames a close code, and the log one line at
        INFO, as it does for clients that vanish or fail in TLS.
        When the process is out of file descriptors, accepting pauses, with one line a minute.
        `OSError` when the address cannot be listened on; `ValueError` for arguments that cannot be.
    """
    listeners: Sequence[trio.abc.Listener[Any]]
    if ssl_context is None:
        listeners = await trio.open_tcp_listeners(port, host=host)
    else:
        listeners = await trio.open_ssl_over_tcp_listeners(
            port, ssl_context, host=host, https_compatible=True
        )
    try:
        server = WebSocketServer(
            handler,
            listeners,
            handler_nursery=handler_nursery,
            message_queue_size=message_queue_size,
            max_message_size=max_message_size,
            receive_buffer_size=receive_buffer_size,
            connect_timeout=connect_timeout,
            disconnect_timeout=disconnect_timeout,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            send_timeout=send_timeout,
            grace=grace,
            process_request=process_request,
            origins=origins,
            subprotocols=subprotocols,
            extra_headers=extra_headers,
            compression=compression,
        )
    except BaseException:
        for listener in listeners:
            await trio.aclose_forcefully(listener)
        raise
    await server.run(task_status=task_status)
