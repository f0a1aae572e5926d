"""What every message passes through in the transport, in plain Python: from the wire to the task
that takes it, and from the task that sends it to the wire; imports the core's events only.

Two classes have here what is hot of them; what they do else is in the classes derived from them,
which also give what belongs to trio:

- `MessageChannel`, of `WebSocketConnection`: its two coroutines;
- `Inbox`, of the session: what the peer's bytes become.

``src_cython/wscore/_flow_c.pyx`` is the compiled twin; the same tests hold both.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from wscore.connection import Connection
from wscore.events import Event

#: From so many unsent bytes on nothing more is accepted to be sent, nor a server's peer read.
MAX_UNSENT: Final = 65536
#: Sent or received without waiting, before others have their turn.
MESSAGES_PER_CHECKPOINT: Final = 64

# What was read is taken apart this far ahead, however few messages may be read ahead: both are
# needed, as a small compressed message may be a large one, and messages cost more than their bytes.
_MESSAGES_PER_PARSE = 64
_BYTES_PER_PARSE = 65536
# From this size on, in bytes, a message has other ways.
_LARGE = 16384


class Inbox:
    """What the peer's bytes become: messages that wait, and wake-ups for tasks that wait for them.

    Args:
        core: of a connection that reports whole messages.
        queue_size: messages to read ahead; beyond, the peer is not read.

    Attributes:
        wire: what carries the connection's bytes; set before anything is received.
        open: neither side has begun to close.
        closed: why the connection is closed, or being closed; None while it is open.
        messages: those that wait to be taken.
        getters: the tasks that wait for one, while there is none.
        more: the core may hold more events.
        discarding: nobody wants messages any more.
        run: stands for the run of the event loop that it belongs to.
        due_pong: the payload of the last ping, if its pong waits until less is unsent; else None.
        last_received: when the peer's last bytes came, on trio's clock.
    """

    __slots__ = (
        "closed",
        "core",
        "discarding",
        "due_pong",
        "getters",
        "last_received",
        "messages",
        "more",
        "open",
        "queue_size",
        "run",
        "wire",
    )

    wire: Any

    def __init__(self, core: Connection, queue_size: int) -> None:
        self.core = core
        self.queue_size = queue_size
        self.open = True
        self.closed: Any = None
        self.messages: list[str | bytes] = []
        self.getters: list[Any] = []
        self.more = False
        self.discarding = False
        self.due_pong: bytes | None = None
        self.run: object = None
        self.last_received = 0.0

    def received(self, data: bytes, now: float) -> None:
        """Take bytes of the peer."""
        self.last_received = now
        if self.open or self._awaits_close():
            self.core.receive_data(data)
            self.proceed()
            # What is answered without the user's tasks; with messages left, it goes along with
            # their replies, at the scheduler's next turn at the latest.
            if self.wire.unsent and not self.messages:
                self.flush()

    def proceed(self) -> None:
        """Take events from the core until enough messages wait, and answer what wants an answer."""
        self._parse()
        wire = self.wire
        full = self.more or len(self.messages) > self.queue_size
        if not self.open or wire.unsent > MAX_UNSENT or self.due_pong is not None:
            self._react()
        elif full is wire.reading:
            wire.set_reading(not full)

    def _parse(self) -> None:
        core = self.core
        count = size = pings = 0
        while True:
            taken = core.take_messages(_MESSAGES_PER_PARSE)
            if taken:
                count += len(taken)
                if count < _MESSAGES_PER_PARSE:
                    size += sum(map(len, taken))
                self._take_messages(taken)
                if count >= _MESSAGES_PER_PARSE or size >= _BYTES_PER_PARSE:
                    if len(self.messages) > self.queue_size:
                        self.more = True
                        return
                    self._count_kept(taken)
                continue
            if core.violated and self._awaits_replies(count > 0):
                self.more = True
                return
            event = next(core.events(), None)
            if event is None:
                self.more = False
                return
            pings = self._take_event(event, pings)

    def _take_messages(self, taken: list[str | bytes]) -> None:
        """Give messages to those who wait for one, and keep the rest."""
        getters = self.getters
        while getters and taken:
            getters.pop(0).deliver(taken.pop(0))
        if not self.discarding:
            self.messages += taken

    # What a session has besides

    def _awaits_close(self) -> bool:
        """Whether the peer's bytes are still taken apart, once the connection is being closed."""
        raise NotImplementedError

    def _take_event(self, event: Event, pings: int) -> int:
        """Take an event that is no message; count the pings that came at once."""
        raise NotImplementedError

    def _awaits_replies(self, delivered: bool) -> bool:
        """Whether a violation is to be left unread, so that the messages before it are answered.

        Args:
            delivered: there were messages directly before it.
        """
        raise NotImplementedError

    def _count_kept(self, taken: list[str | bytes]) -> None:
        """Take note of messages that are kept although many wait already."""
        raise NotImplementedError

    def _react(self) -> None:
        """Do what may have become due by what came."""
        raise NotImplementedError

    def flush(self) -> None:
        """Send what was queued, as far as the system takes it."""
        raise NotImplementedError

    def watch_sending(self) -> None:
        """Have the peer cut, in time, if it takes nothing of what is unsent."""
        raise NotImplementedError

    def next_message(self) -> Coroutine[Any, Any, str | bytes]:
        """Wait for a message, while there is none; or raise, as none comes any more."""
        raise NotImplementedError


class MessageChannel:
    """Messages, taken from an inbox and sent to its wire.

    Args:
        session: has both.
    """

    __slots__ = ("_received", "_sent", "_session", "_turns")

    def __init__(self, session: Any) -> None:
        self._session = session
        # Messages since a task last waited, each way.
        self._received = 0
        self._sent = 1
        self._turns: Any = None  # of senders, once one had to wait

    async def get_message(self) -> str | bytes:
        """Return the next message, a str for a text message and bytes for a binary one.

        Messages that were received before the peer's Close, or before the connection was lost, are
        still returned after it. A violation directly behind messages ends the connection when they
        were taken and the next is asked for, or after a second. A cancelled call loses no message.
        The call is a checkpoint whenever it has to wait, and at least once in 64 messages received.

        Raises:
            ConnectionClosed: the connection is closed and its last message was returned, or
                this end closed it.
        """
        message = self._take()
        return await self._wait() if message is None else message

    def __aiter__(self) -> MessageChannel:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.get_message()
        except Exception as error:
            if self._is_end(error):
                raise StopAsyncIteration from None
            raise

    async def send_message(self, message: str | bytes | bytearray | memoryview) -> None:
        """Send one message, a str as text and bytes as binary.

        Waits while more than 64 KiB are unsent, before and after, so that a slow peer slows the
        caller down. Cancelled before, it has sent nothing. Cancelled after, the message is
        sent later, unless the connection is lost. The call is a checkpoint whenever it has to wait,
        and at least once in 64 messages sent.

        Args:
            message: bytes may also be a bytearray or a memoryview, and may be changed after the
                call.

        Raises:
            ConnectionClosed: the connection is closed, being closed, or was lost while sending.
            ValueError: ``message`` is neither str nor bytes.
        """
        rest = self._send(message)
        if rest is not None:
            await rest

    def _take(self) -> str | bytes | None:
        """Take a message, if there is one and no checkpoint due."""
        session: Inbox = self._session
        messages = session.messages
        if self._received >= MESSAGES_PER_CHECKPOINT or not messages:
            return None
        self._received += 1
        message = messages.pop(0)
        if len(messages) == session.queue_size:  # with one more, nothing was read
            session.proceed()
        return message

    def _send(
        self, message: str | bytes | bytearray | memoryview
    ) -> Coroutine[Any, Any, None] | None:
        """Send a message, if that can be done at once; return what else has to be awaited."""
        session: Inbox = self._session
        wire = session.wire
        replies = bool(session.messages)  # to one of many messages that are not all taken
        if (
            self._sent >= MESSAGES_PER_CHECKPOINT
            or wire.unsent > MAX_UNSENT
            or self._turns is not None
            or session.closed is not None
            or (type(message) is not str and type(message) is not bytes)
            or len(message) >= _LARGE
            or not (replies or self._sent <= self._received)  # nor to one that was
        ):
            return self._send_any(message)
        self._sent += 1
        data = session.core.send_message(message)
        if not replies:
            wire.send(data)
            if wire.unsent:
                session.watch_sending()
        elif wire.pieces:
            wire.pieces.append(data)
            wire.unsent += len(data)
        else:
            wire.append(data)
        if wire.unsent > MAX_UNSENT or wire.broken:
            return self._wait_sent()
        return None

    def _wait(self) -> Coroutine[Any, Any, str | bytes]:
        """Do what `get_message` does, where `_take` cannot."""
        session: Inbox = self._session
        if (
            session.messages
            or session.more
            or session.wire.unsent
            or self._received >= MESSAGES_PER_CHECKPOINT
        ):
            return self._get_any()
        # Not in a coroutine of its own: most connections wait here most of the time.
        self._received = self._sent = 0
        return session.next_message()

    # What a connection has besides

    def _get_any(self) -> Coroutine[Any, Any, str | bytes]:
        """Do what `get_message` does, in whatever state."""
        raise NotImplementedError

    def _is_end(self, error: Exception) -> bool:
        """Whether an error says that the peer has finished, or leaves."""
        raise NotImplementedError

    def _send_any(self, message: str | bytes | bytearray | memoryview) -> Coroutine[Any, Any, None]:
        """Do what `send_message` does, in whatever state and for whatever message."""
        raise NotImplementedError

    def _wait_sent(self) -> Coroutine[Any, Any, None]:
        """Wait until so little is unsent that a message may count as sent."""
        raise NotImplementedError


def own_methods(kind: type, *names: str) -> None:
    """Give a class methods of its base class as its own.

    The interpreter calls a compiled method faster where the object is of the very class that the
    method is of.

    Args:
        kind: the class.
        names: methods that it has inherited.
    """
    for name in names:
        setattr(kind, name, getattr(kind, name))


__all__ = ["MAX_UNSENT", "MESSAGES_PER_CHECKPOINT", "Inbox", "MessageChannel", "own_methods"]
