"""Keeps a dialogue connected: opens one connection after the other, with waits between them;
imports the dialogue and wscore.trio.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable

import trio

from wscore.chat.protocol import ChatError
from wscore.trio import ConnectionClosed, ConnectionRejected, HandshakeError, WebSocketConnection
from wscore.trio._reconnect import BackOff

from .dialogue import Dialogue
from .errors import ProtocolError
from .events import Disconnected
from .following import Delivery
from .queue import EventQueue

logger = logging.getLogger("wscore.chat.client")

Connect = Callable[[], Awaitable[WebSocketConnection]]
Token = str | Callable[[], str | Awaitable[str]]

# Close codes that blame the client (RFC 6455 section 7.4.1): it would be closed so again.
_LASTING_CODES = frozenset({1002, 1003, 1007, 1008, 1009, 1010})
_TOKEN_EXPIRED = 4003
# Answers to a hello after which the same one may be accepted later.
_TRANSIENT_REFUSALS = frozenset({"rate_limited", "unavailable", "internal"})
_CLOSE_SECONDS = 2.0


class _End(Exception):
    """A connection ended, and another one may help."""

    def __init__(self, reason: str, code: int | None = None, delay: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.delay = delay
        """Seconds to wait at least; None leaves it to the back-off."""


class Link:
    """The connections of one client.

    Args:
        dialogue: what is said on them.
        queue: where the events go.
        connect: opens one.
        token: says who we are, in place of the session; a callable is asked for a new one.
        back_off: the waits.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        queue: EventQueue,
        connect: Connect,
        token: Token | None,
        back_off: BackOff,
    ) -> None:
        self._dialogue = dialogue
        self._queue = queue
        self._connect = connect
        self._token_source = token
        self._token: str | None = None
        self._is_token_fresh = False
        self._back_off = back_off
        self._connection: WebSocketConnection | None = None
        self._something_to_send = trio.Event()
        self._serving = trio.CancelScope()
        self._is_stopping = False
        self._stopped = trio.Event()
        self.error: Exception | None = None
        """What ended it for good."""

    def wake(self) -> None:
        """There may be something to send, or more space for events."""
        self._something_to_send.set()
        self._queue.touch()
        if self._dialogue.is_lagging and self._queue.is_empty:
            self._serving.cancel()

    async def run(self) -> None:
        """Stay connected until that makes no sense any more."""
        try:
            while True:
                end = await self._live_once()
                if self._is_stopping:
                    self._stopped.set()
                    return
                delay = end.delay
                if delay is None or delay > 0:
                    delay = (delay or 0) + self._back_off.next_delay()
                logger.info("%s; connecting again in %.1f s", end.reason, delay)
                if not self._queue.is_full:
                    self._queue.put([Delivery(Disconnected(delay, end.reason, end.code))])
                await trio.sleep(delay)
        except Exception as error:
            self._end(error)

    def close(self) -> None:
        """Let nobody wait for what will not come, once `run` has ended."""
        if self.error is None:
            self._end(trio.ClosedResourceError("the chat was left"))

    def _end(self, error: Exception) -> None:
        self.error = error
        self._dialogue.fail(error)
        self._queue.end(error)
        self._stopped.set()

    async def stop(self) -> None:
        """Take leave of the server, if it is there; `run` may have to be cancelled then."""
        self._is_stopping = True
        if self._connection is not None:
            self._serving.cancel()
            await self._stopped.wait()

    async def _live_once(self) -> _End:
        """One connection, from its opening to its end."""
        token = await self._get_token()
        try:
            self._connection = connection = await self._connect()
        except OSError as error:
            return _End(f"cannot connect: {error}")
        except HandshakeError as error:
            if not error.transient:
                raise
            wait = error.retry_after if isinstance(error, ConnectionRejected) else None
            return _End(str(error), delay=wait)
        opened_at = trio.current_time()
        self._dialogue.open(token)
        try:
            end = await self._serve(connection)
        finally:
            self._dialogue.close()
            with trio.move_on_after(_CLOSE_SECONDS):
                await connection.aclose()
            self._connection = None
        if trio.current_time() - opened_at > self._back_off.limit:
            self._back_off.reset()
        if isinstance(end, _End):
            return end
        raise end

    async def _get_token(self) -> str | None:
        self._is_token_fresh = False
        if self._token is None and self._token_source is not None:
            if isinstance(self._token_source, str):
                self._token = self._token_source
            else:
                token = self._token_source()
                self._token = await token if inspect.isawaitable(token) else token
            self._is_token_fresh = True
        return self._token

    async def _serve(self, connection: WebSocketConnection) -> Exception:
        """Send and receive until the end of the connection; returns what it was."""
        end: Exception = _End("catching up with what there was no space for", delay=0)
        async with trio.open_nursery() as nursery:
            self._serving = nursery.cancel_scope
            nursery.start_soon(self._send, connection)
            end = await self._receive(connection)
            nursery.cancel_scope.cancel()
        return end

    async def _send(self, connection: WebSocketConnection) -> None:
        try:
            while True:
                text = self._dialogue.next_message(trio.current_time())
                if text is not None:
                    await connection.send_message(text)
                    continue
                self._something_to_send = trio.Event()
                with trio.move_on_at(self._dialogue.next_time):
                    await self._something_to_send.wait()
        except ConnectionClosed:
            pass  # the receiver sees it too, after what came before

    async def _receive(self, connection: WebSocketConnection) -> Exception:
        dialogue, queue = self._dialogue, self._queue
        try:
            while dialogue.refused is None:
                # Who waits for a reply must get it, even if he takes no events meanwhile.
                while queue.is_full and not dialogue.is_busy:
                    await queue.changed()
                message = await connection.get_message()
                now = trio.current_time()
                queue.put(dialogue.receive(message, now, has_space=not queue.is_full))
                self.wake()
        except ConnectionClosed as error:
            return self._judge_close(error)
        except ProtocolError as error:
            return error
        return self._judge_refusal(dialogue.refused)

    def _judge_close(self, error: ConnectionClosed) -> Exception:
        code, reason = error.reason.code, error.reason.reason
        if code in _LASTING_CODES:
            return error
        if code == _TOKEN_EXPIRED:
            if not callable(self._token_source):
                return error
            self._token = None
            return _End("the token ran out", code)
        return _End(reason or f"closed with {code} ({error.reason.name})", code)

    def _judge_refusal(self, error: ChatError) -> Exception:
        if error.code in _TRANSIENT_REFUSALS:
            return _End(str(error), delay=error.retry_after)
        is_stale = callable(self._token_source) and not self._is_token_fresh
        if error.code == "unauthorized" and is_stale:
            self._token = None
            return _End(error.reason, delay=0)
        return error
