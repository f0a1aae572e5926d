"""One connection after the other to the same server, with waits between them; imports
``_connection`` and ``_errors``.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType

import trio

from ._connection import WebSocketConnection
from ._errors import ConnectionClosed, ConnectionRejected, HandshakeError

logger = logging.getLogger("wscore.trio")

# Seconds. The first wait is the one that RFC 6455 section 7.2.3 proposes.
FIRST_DELAY = 5.0
MAX_DELAY = 60.0


class BackOff:
    """How long to wait before the next attempt: a random time, from a range that doubles.

    A wait from the whole range, and not around its end, spreads many clients most evenly.

    Args:
        first: seconds, the end of the first range.
        maximum: seconds, the end of the last one.
    """

    def __init__(self, first: float, maximum: float) -> None:
        if not 0 <= first <= maximum:
            raise ValueError(f"delays must be 0 <= first <= maximum, not {first} and {maximum}")
        self._first = first
        self._maximum = maximum
        self._limit = first

    @property
    def limit(self) -> float:
        """The end of the range for the next wait, in seconds."""
        return self._limit

    def next_delay(self) -> float:
        """A wait in seconds; the range for the one after it is twice as long."""
        delay = random.uniform(0, self._limit)
        self._limit = min(2 * self._limit, self._maximum)
        return delay

    def reset(self) -> None:
        """Start with the first range again."""
        self._limit = self._first


class WebSocketConnections:
    """The connections to one server, each opened when the one before it is done.

    `reconnect_websocket_url` makes it, and says how it is used: an async context manager around
    an async iterator. A plain ``async for`` could not close a connection when its body breaks.

    Resource handling:
        It holds one connection at most, and closes it before it opens the next, and on leaving the
        block.

    Error handling:
        The iterator raises what `reconnect_websocket_url` says, and `RuntimeError` outside of the
        block.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[WebSocketConnection]],
        name: str,
        back_off: BackOff,
        should_retry: Callable[[HandshakeError | ConnectionClosed], bool],
    ) -> None:
        self._connect = connect
        self._name = name
        self._back_off = back_off
        self._should_retry = should_retry
        self._entered = False
        self._connection: WebSocketConnection | None = None
        self._opened_at = 0.0

    async def __aenter__(self) -> WebSocketConnections:
        self._entered = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered = False
        if self._connection is None:
            return
        if error is None:
            await self._connection.aclose()
        else:
            with suppress(trio.Cancelled):  # it must not replace what the block raised
                await self._connection.aclose()

    def __aiter__(self) -> WebSocketConnections:
        return self

    async def __anext__(self) -> WebSocketConnection:
        if not self._entered:
            raise RuntimeError(
                "use it so: async with reconnect_websocket_url(…) as connections:"
                " async for connection in connections: …"
            )
        if self._connection is not None:
            await trio.sleep(await self._end(self._connection))
        while True:
            try:
                self._connection = await self._open()
            except HandshakeError as error:
                await trio.sleep(self._wait_after(error))
            else:
                self._opened_at = trio.current_time()
                return self._connection

    async def _open(self) -> WebSocketConnection:
        try:
            return await self._connect()
        except OSError as error:
            raise HandshakeError(f"cannot connect: {error}", transient=True) from error

    async def _end(self, connection: WebSocketConnection) -> float:
        """Close a connection that its user is done with; return the seconds to wait."""
        reason = connection.closed
        self._connection = None
        if trio.current_time() - self._opened_at > self._back_off.limit:
            self._back_off.reset()
        await connection.aclose()
        if reason is None:  # its user went on to the next one
            return self._back_off.next_delay()
        return self._wait_after(ConnectionClosed(reason))

    def _wait_after(self, error: HandshakeError | ConnectionClosed) -> float:
        """The seconds to wait after a failure, or the failure itself."""
        if not self._should_retry(error):
            raise error
        delay = self._back_off.next_delay()
        if isinstance(error, ConnectionRejected) and error.retry_after is not None:
            delay += error.retry_after
        text = str(error)
        if isinstance(error, ConnectionClosed):
            text = f"closed with {error.reason.code} ({error.reason.name})"
        logger.info("%s: %s; connecting again in %.1f s", self._name, text, delay)
        return delay


def is_transient(error: HandshakeError | ConnectionClosed) -> bool:
    """Whether connecting again may help, as far as the error itself knows."""
    return error.transient
