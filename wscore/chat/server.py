"""The chat server: transport, exchange, back-end and page wired together; imports all layers."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

import trio

from wscore.trio import (
    HTTPRequest,
    HTTPResponse,
    WebSocketRequest,
    WebSocketServer,
)

from ._page import Site
from .backends.base import Backend
from .exchange import Exchange
from .peer import Peer
from .protocol import SUBPROTOCOL, CloseCode, Limits

_STOP_SECONDS = 7
"""How long stopping may take; a peer's own close takes at most five."""
_PING_SECONDS = 20
"""Of silence until a ping, and then until the end; who takes nothing of what is sent has both."""


class ChatServer:
    """A chat with its page, on one port.

    Runs inside anybody's nursery::

        chat = ChatServer(SQLiteBackend("chat.db"))
        server = await nursery.start(chat.serve, "127.0.0.1", 8765)

    Args:
        backend: where logs and names are kept; opened by `serve`.
        limits: what clients are told and held to.
    """

    def __init__(self, backend: Backend, *, limits: Limits | None = None) -> None:
        self._backend = backend
        self._limits = limits or Limits()
        self._exchange = Exchange(backend, self._limits)
        self._site = Site(self._health)
        self._peers: set[Peer] = set()
        self._stopping = trio.Event()
        self._empty = trio.Event()

    def _health(self) -> dict[str, object]:
        return {"status": "ok", "connections": len(self._peers)}

    async def serve(
        self,
        host: str,
        port: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `stop` is called; to be called once.

        Resource handling:
            The back-end is open meanwhile. Cancelling cuts the connections; `stop` tells them.

        Args:
            host: the address to listen at.
            port: the TCP port; 0 for a free one.
            ssl_context: of the server, for TLS.
            task_status: gets the `WebSocketServer`, once it listens.

        Raises:
            CannotOpen: the back-end cannot be used.
            OSError: the address cannot be listened at.
        """
        listeners: Sequence[trio.abc.Listener[Any]]
        async with self._backend.open(self._exchange):
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
        task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve on somebody's trio listeners, which are closed at the end; else like `serve`."""
        async with self._backend.open(self._exchange):
            await self._serve(listeners, task_status)

    async def _serve(
        self,
        listeners: Sequence[trio.abc.Listener[Any]],
        task_status: trio.TaskStatus[WebSocketServer],
    ) -> None:
        async with trio.open_nursery() as store, trio.open_nursery() as handlers:
            await store.start(self._exchange.run)
            server = WebSocketServer(
                self._handle,
                listeners,
                handler_nursery=handlers,
                max_message_size=self._limits.message,
                process_request=self._process,
                ping_interval=_PING_SECONDS,
                ping_timeout=_PING_SECONDS,
                send_timeout=2 * _PING_SECONDS,
            )
            async with trio.open_nursery() as listening:
                await listening.start(server.run)
                task_status.started(server)
                await self._stopping.wait()
                listening.cancel_scope.cancel()
            await self._say_goodbye()
            handlers.cancel_scope.cancel()
            store.cancel_scope.cancel()

    def stop(self) -> None:
        """Make `serve` return within seconds: nobody new gets in, those who are in get 1012."""
        self._stopping.set()

    async def _say_goodbye(self) -> None:
        with trio.move_on_after(_STOP_SECONDS):
            while self._peers:
                for peer in self._peers:
                    peer.dismiss(CloseCode.RESTART, "the server stops")
                self._empty = trio.Event()
                await self._empty.wait()

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
