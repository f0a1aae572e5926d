"""What happens to each connection of a server, in a task of its own; imports the modules beside it.

Nothing that one client sends and nothing that one handler raises reaches another connection. The
client's faults are one line at INFO each, the handler's errors one traceback each, both on the
logger ``wscore.trio``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from ._counters import ServerCounters
from ._errors import CloseReason, ConnectionClosed
from ._exchange import Exchange, RequestError, RequestLost
from ._http import HTTPRequest, HTTPResponse, ProcessRequest, text_response
from ._options import Options
from ._request import HandshakePolicy, WebSocketRequest, propose
from ._stream import abort

logger = logging.getLogger("wscore.trio")

Handler = Callable[[WebSocketRequest], Awaitable[object]]

_NORMAL_CLOSURE = 1000
_GOING_AWAY = 1001
_ABNORMAL_CLOSURE = 1006
_INTERNAL_ERROR = 1011
# Codes with which a connection ends because the peer did something wrong, or vanished.
_PEER_FAULTS = frozenset({1002, 1006, 1007, 1009})


class Service:
    """Serves the connections of one server, and tells them when it stops.

    Args:
        handler: called with each request that nobody else answered.
        process_request: asked first; None for nobody.
        options: for the connections.
        policy: for the opening handshakes.
        counters: told of everything.
        connect_timeout: seconds for TLS, the request and ``process_request`` together.
        grace: seconds for a connection to close when its handler is cancelled.
        scope: what is around all tasks; its deadline, if there is one, ends that grace too.

    Attributes:
        options: as given.
        stopping: set as soon as no new connections are wanted.
    """

    def __init__(
        self,
        handler: Handler,
        process_request: ProcessRequest | None,
        options: Options,
        policy: HandshakePolicy,
        counters: ServerCounters,
        *,
        connect_timeout: float,
        grace: float,
        scope: trio.CancelScope,
    ) -> None:
        self.stopping = trio.Event()
        self._handler = handler
        self._process_request = process_request
        self.options = options
        self._policy = policy
        self._counters = counters
        self._connect_timeout = connect_timeout
        self._grace = grace
        self._scope = scope
        # Who has to hear that the server stops, and how many tasks there are with what they do.
        self._handshakes: set[trio.CancelScope] = set()
        self._requests: set[WebSocketRequest] = set()
        self._tasks = 0
        self._idle = trio.lowlevel.ParkingLot()

    def tell_everybody(self, nursery: trio.Nursery) -> None:
        """Have every connection closed, and every request answered that waits for its answer."""
        for handshake in self._handshakes:
            handshake.cancel()
        for request in self._requests:
            nursery.start_soon(self._withdraw, request)

    async def _withdraw(self, request: WebSocketRequest) -> None:
        try:
            with suppress(ConnectionClosed):  # it went away first
                await request.withdraw()
        except Exception:
            logger.exception("%s: internal error", request.remote)

    async def wait_idle(self) -> None:
        """Wait until no connection is served."""
        while self._tasks:
            await self._idle.park()

    # While a handler runs, the one frame of ours that is left is that of serve,
    # and it holds the request alone: what opening a connection takes must not burden thousands of
    # idle ones. Even the stream goes, as a connection takes the socket out of it.

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection from its first byte to its last."""
        self._tasks += 1
        try:
            request = await self._receive_request(stream)
            del stream
            if request is not None:
                self._requests.add(request)
                try:
                    await self._handler(request)
                except BaseException as error:
                    await self._conclude(request, error)
                else:
                    await self._conclude(request, None)
        except Exception:
            logger.exception("internal error")
        finally:
            self._tasks -= 1
            if not self._tasks:
                self._idle.unpark_all()

    async def _receive_request(self, stream: trio.abc.Stream) -> WebSocketRequest | None:
        """Return the request for the handler; else answer it if there is one, and close."""
        exchange = Exchange(stream, self.options, self._counters)
        request: WebSocketRequest | None = None
        try:
            outcome = await self._negotiate(exchange)
            if isinstance(outcome, HTTPResponse):
                await self._answer(exchange, outcome)
            else:
                request = outcome
        except RequestLost as error:
            if not exchange.answered:
                self._counters.handshakes_lost += 1
            # Connecting without a word is how load balancers look every few seconds whether
            # somebody listens: nothing that anybody wants to read about.
            level = logging.DEBUG if error.silent else logging.INFO
            logger.log(level, "%s: lost during the opening handshake: %s", exchange.remote, error)
        finally:
            if request is None:
                await abort(stream)
        return request

    async def _negotiate(self, exchange: Exchange) -> WebSocketRequest | HTTPResponse | None:
        """Read the request and decide who answers it, in time; None: nobody, cut it."""
        head: HTTPRequest | None = None
        with trio.move_on_after(self._connect_timeout) as scope:
            self._handshakes.add(scope)
            if self.stopping.is_set():
                scope.cancel()
            try:
                head = await exchange.receive_request()
                response = await self._ask_hook(head)
                if response is not None:
                    return response
                if self.stopping.is_set():  # maybe everybody was told already
                    return text_response(503, "The server is stopping")
                return propose(exchange, head, self.options, self._policy)
            except RequestError as error:
                status = error.response.status
                logger.info("%s: refused with %d: %s", exchange.remote, status, error)
                return error.response
            finally:
                self._handshakes.discard(scope)
        if not self.stopping.is_set():
            what = "no complete request" if head is None else "no answer of process_request"
            logger.info("%s: %s in %g s", exchange.remote, what, self._connect_timeout)
        if head is not None:
            return text_response(503, "Not now")
        if not self.stopping.is_set():
            self._counters.handshake_timeouts += 1
        return None

    async def _ask_hook(self, head: HTTPRequest) -> HTTPResponse | None:
        if self._process_request is None:
            return None
        try:
            response: object = await self._process_request(head)
            if response is None or isinstance(response, HTTPResponse):
                return response
            kind = type(response).__name__
            raise TypeError(f"process_request returns an HTTPResponse or None, not {kind}")
        except Exception:
            self._counters.handler_errors += 1
            logger.exception("%s: process_request failed", head.remote)
            return text_response(500, "Internal server error")

    async def _answer(self, exchange: Exchange, response: HTTPResponse) -> None:
        try:
            await exchange.respond(response)
        except RequestLost:
            raise
        except Exception:
            self._counters.handler_errors += 1
            logger.exception("%s: the response of process_request cannot be sent", exchange.remote)
            if not exchange.answered:
                await exchange.respond(text_response(500, "Internal server error"))

    async def _conclude(self, request: WebSocketRequest, error: BaseException | None) -> None:
        """End the connection of a handler in the way that tells the client how it went."""
        fault = passing = None
        if error is not None:
            fault = _leaves(error, lambda leaf: _is_fault(leaf, request))
            passing = _leaves(error, lambda leaf: not isinstance(leaf, Exception))
        if fault is not None:
            self._counters.handler_errors += 1
            logger.error("%s: the handler failed", request.remote, exc_info=fault)
        elif error is None and not request.answered:
            self._counters.handler_errors += 1
            logger.error("%s: the handler did not answer the request", request.remote)
        try:
            if passing is None:
                await self._end(request, _NORMAL_CLOSURE if fault is None else _INTERNAL_ERROR)
            else:
                # Cancelled: the grace counts from now, or from when the server was closed.
                with trio.CancelScope(shield=True) as scope:
                    deadline = trio.current_time() + self._grace
                    scope.deadline = min(deadline, self._scope.deadline)
                    await self._end(request, _GOING_AWAY if fault is None else _INTERNAL_ERROR)
                raise passing from None
        finally:
            self._requests.discard(request)
            self._count_end(request)
            await request.release()

    async def _end(self, request: WebSocketRequest, code: int) -> None:
        if request.connection is not None:
            await request.connection.aclose(code)
        elif not request.answered:
            with trio.move_on_after(self.options.disconnect_timeout):
                with suppress(ConnectionClosed):  # it went away first
                    await request.reject(503 if code == _GOING_AWAY else 500)

    def _count_end(self, request: WebSocketRequest) -> None:
        connection = request.connection
        if connection is None:
            return
        reason = connection.closed or CloseReason(_ABNORMAL_CLOSURE)
        self._counters.count_ended(reason, connection.cut_reason)
        if connection.cut_reason is not None:
            logger.info("%s: cut: %s", connection.remote, connection.cut_reason)
        elif reason.code in _PEER_FAULTS:
            logger.info("%s: closed with %d (%s)", connection.remote, reason.code, reason.name)


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
