"""The chat server: transport, exchange, back-end and page wired together; imports all layers."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from wscore.trio import (
    Endpoint,
    HTTPRequest,
    HTTPResponse,
    ServerCounters,
    WebSocketRequest,
    WebSocketServer,
)
from wscore.trio._origins import OriginPolicy

from ._page import Report, Site
from .auth import Authenticate, Authorize, Gate, authenticate_session
from .backends.base import Backend
from .exchange import Exchange
from .metrics import Figures, WatchedBackend
from .peer import Peer
from .protocol import SUBPROTOCOL, CloseCode, Limits

_STOP_SECONDS = 7
"""How long stopping may take; a peer's own close takes at most five."""
_PLAIN = b"text/plain; charset=utf-8"
_PING_SECONDS = 20
"""Of silence until a ping, and then until the end; who takes nothing of what is sent has both."""


class ChatServer(trio.abc.AsyncResource):
    """A chat with its page, on one port.

    Runs inside anybody's nursery, beside others of its kind::

        chat = ChatServer(SQLiteBackend("chat.db"))
        await nursery.start(chat.serve, "127.0.0.1", 8765)

    or as a program of its own: ``trio.run(serve_until_signal, partial(chat.serve, host, port))``.

    Args:
        backend: where logs and names are kept; opened while it serves.
        limits: what clients are told and held to.
        authenticate: says who somebody is; by default a name is whose session it is.
            `wscore.chat.tokens.TokenAuthentication` takes tokens.
        authorize: says what they may do; by default everything. Asked at each join, post and
            direct message, and for each room to be listed whether it may be joined.
        origins: pages of other origins than the server's own that may connect, like
            ``"https://example.com"``. Programs that send no Origin always may.
        clock: the time of day, in seconds since 1970, by which identities expire.

    An exception of one of these callables answers the request with ``internal`` and is logged with
    its traceback; the connection lives on.

    Raises:
        ValueError: one of the ``origins`` is none.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        limits: Limits | None = None,
        authenticate: Authenticate = authenticate_session,
        authorize: Authorize | None = None,
        origins: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = WatchedBackend(backend)
        self._limits = limits or Limits()
        self._origins = ["same-host", None, *origins]
        OriginPolicy(self._origins)  # what is no origin is found now
        self._clock = clock
        gate = Gate(authenticate, authorize, clock)
        self._exchange = Exchange(self._store, self._limits, gate)
        self._site = Site({"/healthz": self._health, "/metrics": self._metrics})
        self._peers: set[Peer] = set()
        self._server: WebSocketServer | None = None
        self._started = 0.0  # seconds since 1970, and the same moment on trio's clock
        self._since = 0.0
        self._is_used = False
        self._stopping = trio.Event()
        self._goodbye = trio.CancelScope()
        self._empty = trio.Event()
        self._ended = trio.Event()

    @property
    def port(self) -> int:
        """The TCP port, where there is one listener and it has one; see `WebSocketServer.port`."""
        return self._listening().port

    @property
    def listeners(self) -> list[Endpoint | str]:
        """Where the server listens, or did: an `Endpoint` for TCP, else a description."""
        return self._listening().listeners

    @property
    def counters(self) -> ServerCounters:
        """What the transport counted so far."""
        return self._listening().counters

    def _listening(self) -> WebSocketServer:
        if self._server is None:
            raise RuntimeError("the chat server does not serve yet")
        return self._server

    # --- Life -------------------------------------------------------------------------------

    async def serve(
        self,
        host: str | None,
        port: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[ChatServer] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve over TCP until `stop` or `aclose` is called; once.

        Resource handling:
            The back-end is open meanwhile. Cancelling cuts the connections; `stop` tells them.

        Args:
            host: the address or name to listen at; None: all interfaces.
            port: the TCP port; 0 for a free one.
            ssl_context: of the server, for TLS.
            task_status: gets this object, once it listens.

        Raises:
            CannotOpen: the back-end cannot be used.
            OSError: the address cannot be listened at.
            RuntimeError: it has served before.
        """
        listeners: Sequence[trio.abc.Listener[Any]]
        async with self._opened():
            if ssl_context is None:
                listeners = await trio.open_tcp_listeners(port, host=host)
            else:
                listeners = await trio.open_ssl_over_tcp_listeners(
                    port, ssl_context, host=host, https_compatible=True
                )
            await self._serve(listeners, task_status)

    async def serve_listeners(
        self,
        listeners: Sequence[trio.abc.Listener[Any]],
        *,
        task_status: trio.TaskStatus[ChatServer] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve on somebody's listeners, which are closed at the end; else like `serve`.

        Args:
            listeners: at least one, of any kind of trio stream.
            task_status: gets this object, once it listens.
        """
        async with self._opened():
            await self._serve(listeners, task_status)

    def stop(self) -> None:
        """Make `serve` return within seconds: nobody new gets in, those who are in get 1012."""
        self._stop(_STOP_SECONDS)

    async def aclose(self, grace: float | None = None) -> None:
        """Stop as `stop` does, and wait until `serve` is about to return.

        Args:
            grace: seconds that clients are given to take what waits for them and their leave, by
                default 7; those that are left are cut. Calling it again can only shorten it:
                ``aclose(0)`` ends it.
        """
        self._stop(_STOP_SECONDS if grace is None else grace)
        if self._is_used:
            await self._ended.wait()

    def _stop(self, grace: float) -> None:
        self._stopping.set()
        deadline = trio.current_time() + grace
        self._goodbye.deadline = min(self._goodbye.deadline, deadline)

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[None]:
        if self._is_used:
            raise RuntimeError("a chat server serves once")
        self._is_used = True
        try:
            async with self._store.open(self._exchange):
                yield
        finally:
            self._ended.set()

    async def _serve(
        self,
        listeners: Sequence[trio.abc.Listener[Any]],
        task_status: trio.TaskStatus[ChatServer],
    ) -> None:
        async with trio.open_nursery() as store, trio.open_nursery() as handlers:
            await store.start(self._exchange.run)
            server = self._server = WebSocketServer(
                self._handle,
                listeners,
                handler_nursery=handlers,
                max_message_size=self._limits.message,
                process_request=self._process,
                origins=self._origins,
                ping_interval=_PING_SECONDS,
                ping_timeout=_PING_SECONDS,
                send_timeout=2 * _PING_SECONDS,
            )
            self._started, self._since = self._clock(), trio.current_time()
            async with trio.open_nursery() as listening:
                await listening.start(server.run)
                task_status.started(self)
                await self._stopping.wait()
                listening.cancel_scope.cancel()
            with self._goodbye:
                await self._say_goodbye()
            await server.aclose(0)  # it has ended; its connections get no further grace
            handlers.cancel_scope.cancel()
            store.cancel_scope.cancel()

    async def _say_goodbye(self) -> None:
        while self._peers:
            for peer in self._peers:
                peer.dismiss(CloseCode.RESTART, "the server stops")
            self._empty = trio.Event()
            await self._empty.wait()

    # --- Requests ---------------------------------------------------------------------------

    async def _process(self, request: HTTPRequest) -> HTTPResponse | None:
        if self._stopping.is_set():
            return HTTPResponse(503, [(b"Retry-After", b"1")], b"the server stops\n")
        return await self._site.respond(request)

    async def _handle(self, request: WebSocketRequest) -> None:
        offered = request.proposed_subprotocols
        if offered and SUBPROTOCOL not in offered:
            await request.reject(400, body=f"the subprotocol is {SUBPROTOCOL}\n".encode())
            return
        connection = await request.accept(subprotocol=SUBPROTOCOL if offered else None)
        peer = Peer(connection, self._exchange)
        self._peers.add(peer)
        try:
            await peer.run()
        finally:
            self._peers.remove(peer)
            if not self._peers:
                self._empty.set()

    # --- Reports ----------------------------------------------------------------------------

    def _health(self) -> Report:
        state = "ok" if self._store.is_available else "unavailable"
        health = {
            "status": state,
            "uptime": round(trio.current_time() - self._since, 3),
            "connections": len(self._peers),
            "store": state,
            "engine": self._store.health().engine,
        }
        status = 200 if self._store.is_available else 503
        return Report(status, b"application/json", json.dumps(health).encode() + b"\n")

    def _metrics(self) -> Report:
        try:
            from .exposition import exposition
        except ModuleNotFoundError:
            hint = b"no metrics: pip install 'wscore[metrics]', and start the server again\n"
            return Report(404, _PLAIN, hint)
        kind, body = exposition(self._figures())
        return Report(200, kind, body)

    def _figures(self) -> Figures:
        return Figures(
            counters=self.counters,
            store=self._store,
            rooms=self._exchange.hub.occupied,
            queued=sum(peer.bytes_unsent for peer in self._peers),
            started=self._started,
        )
