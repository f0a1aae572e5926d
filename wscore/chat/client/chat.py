"""The client of a chat as programs use it; imports the link and all below it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import trio

from wscore.chat.protocol import SUBPROTOCOL, Limits, RoomInfo, RoomsOk
from wscore.trio import connect_websocket_url
from wscore.trio._reconnect import BackOff

from .awaited import Awaited
from .dialogue import Dialogue
from .events import Event, History, Joined, Positions, Stored
from .lane import Ticket
from .link import Connect, Link, Token
from .queue import EventQueue
from .terms import check_session, websocket_url

FIRST_DELAY = 1.0
MAX_DELAY = 30.0
EVENTS = 1000

Reply = TypeVar("Reply")


class ChatClient:
    """A user of a chat; `open_chat` makes it.

    Any number of tasks may use it. ``async for event in chat`` takes the events: what is said and
    happens in the joined rooms and the inbox, and what happens to the connection. Each event goes
    to one task.

    *What is promised.* The messages of each log come in its order, each once, whatever happens to
    the connection; what cannot be given is announced by a `Gap`. That is checked by arithmetic: a
    server that breaks it ends the client with `ContiguityError`. What is posted is stored once,
    however often it has to be sent for that.

    *Waiting.* Every method that waits goes on over the loss of connections, for as long as it
    takes; a time limit is ``trio.fail_after``. A server that says ``rate_limited`` or
    ``unavailable`` is asked again, later, so these two are never raised.

    *Taking no events.* Unread events are kept up to a bound; beyond it the connection is not read.
    Only who waits for a reply makes it be read on; events that come meanwhile are left out, and
    brought by another connection when the others were taken. So a program that posts while it
    takes events, in one task, never waits for itself.

    Error handling:
        When the client cannot go on, every method and the iteration raise the same error:
        `ContiguityError` or `ProtocolError`, `wscore.trio.ConnectionClosed` with a close code that
        blames the client, or a token that ran out and cannot be replaced,
        `wscore.trio.HandshakeError` where trying again makes no sense, `ChatError` where the
        server does not accept the user, or what asking for a token raised.
    """

    def __init__(self, dialogue: Dialogue, queue: EventQueue, link: Link) -> None:
        self._dialogue = dialogue
        self._queue = queue
        self._link = link
        self.has_told = False
        """Whether somebody got the error that ended the client."""

    @property
    def user(self) -> str | None:
        """The own name; the server's spelling once it is known."""
        return self._dialogue.user

    @property
    def session(self) -> str:
        """The secret that makes the name ours: keep it, and give it to `open_chat` again."""
        return self._dialogue.session

    @property
    def limits(self) -> Limits:
        """What the server allows; the protocol's defaults before the first connection."""
        return self._dialogue.limits

    @property
    def positions(self) -> Positions:
        """Up to where the events were taken; with it, `open_chat` goes on behind them.

        The message taken last counts: read this when the program has done with it.
        """
        return self._dialogue.positions

    def __aiter__(self) -> ChatClient:
        return self

    async def __anext__(self) -> Event:
        try:
            event, log, position = await self._queue.get()
        except Exception:
            self.has_told = True
            raise
        if log is not None:
            log.delivered = position
        self._link.wake()
        return event

    async def join(self, room: str) -> Joined:
        """Be in a room, now and after each connection.

        With a position for it, what was said since comes as events; without, the newest page.
        Who is in the room gets the last `Joined` once more. Cancelled, it is taken back.

        Raises:
            ChatError: ``invalid_name``, ``forbidden``, ``limit_reached``.
        """
        done = trio.Event()
        self._check()
        awaited = self._dialogue.join(room, done.set)
        try:
            joined = await self._reply(awaited, done)
        finally:
            self._dialogue.stop_joining(room, awaited)
            self._link.wake()
        assert isinstance(joined, Joined)
        return joined

    async def leave(self, room: str) -> None:
        """Be in a room no longer; its position is forgotten.

        Posts to it that were not sent fail with ``not_joined``. Cancelled, it is done all the same.

        Raises:
            ChatError: ``invalid_name``, ``not_joined``.
        """
        done = trio.Event()
        self._check()
        ticket = self._dialogue.leave(room, done.set)
        self._link.wake()
        if ticket is None:
            await trio.lowlevel.checkpoint()
        else:
            await self._reply(ticket.awaited, done)

    async def post(self, room: str, text: str, *, id: str | None = None) -> Stored:
        """Say something in a joined room; returns when it is stored for good.

        It is sent again under the same id until there is a reply, so it is stored once.
        Cancelled before it was sent, it is not stored; cancelled later, it may or may not be. Who
        has to know gives an ``id``: posting the same text under it again stores nothing twice
        and returns the first one's offset, also in another program, for at least 24 hours.

        Args:
            room: a joined room.
            text: 1 to 4,000 characters.
            id: 1 to 64 characters, unique among all messages of the user, see `new_id`; by default
                a new one.

        Returns:
            Its ``epoch`` and ``offset`` in the room's log, ``time``, ``id``, and ``duplicate``
            where it was stored before.

        Raises:
            ChatError: ``not_joined``, ``too_long``, ``forbidden``, ``conflict`` (another message
                has this id), ``malformed`` (an empty text), ``internal``.
            ValueError: the id is too long, or that of a post under way.
        """
        submit = partial(self._dialogue.post, room, text, id)
        return await self._ask(submit, Stored)

    async def direct(self, to: str, text: str, *, id: str | None = None) -> Stored:
        """Say something to one user; returns when it is stored for good.

        Else like `post`; the offset is that of the own inbox.

        Raises:
            ChatError: ``unknown_user``, ``too_long``, ``forbidden``, ``conflict``,
                ``malformed``, ``internal``.
            ValueError: the id is too long, or that of a message under way.
        """
        submit = partial(self._dialogue.direct, to, text, id)
        return await self._ask(submit, Stored)

    async def rooms(self) -> list[RoomInfo]:
        """Up to 100 rooms, those with most users present first."""
        return (await self._ask(self._dialogue.rooms, RoomsOk)).rooms

    async def history(
        self, room: str | None = None, *, before: int | None = None, limit: int | None = None
    ) -> History:
        """Older messages, ascending.

        Args:
            room: a joined room; None for the inbox.
            before: messages with smaller offsets; None for the newest ones.
            limit: how many at most, up to 200; None for 50.

        Raises:
            ChatError: ``not_joined``, ``internal``.
            ValueError: a number is out of range.
        """
        submit = partial(self._dialogue.history, room, before, limit)
        return await self._ask(submit, History)

    def typing(self, room: str | None = None, *, to: str | None = None) -> None:
        """Tell a room or one user that something is being written, at most once a second.

        Raises:
            ChatError: ``invalid_name``, ``not_joined``.
            ValueError: not exactly one of both is given.
        """
        if (room is None) is (to is None):
            raise ValueError("either a room or a user")
        self._dialogue.typing(room, to, trio.current_time())
        self._link.wake()

    async def _ask(
        self, submit: Callable[[Callable[[], object]], Ticket], kind: type[Reply]
    ) -> Reply:
        done = trio.Event()
        self._check()
        ticket = submit(done.set)
        self._link.wake()
        try:
            reply = await self._reply(ticket.awaited, done)
        finally:
            self._dialogue.give_up(ticket)
        assert isinstance(reply, kind)
        return reply

    async def _reply(self, awaited: Awaited, done: trio.Event) -> object:
        self._link.wake()
        await done.wait()
        if awaited.error is not None:
            self.has_told |= awaited.error is self._link.error
            raise awaited.error
        return awaited.reply

    def _check(self) -> None:
        if self._link.error is not None:
            self.has_told = True
            raise self._link.error


@asynccontextmanager
async def open_chat(
    url: str,
    user: str | None = None,
    *,
    session: str | None = None,
    token: Token | None = None,
    positions: Positions | None = None,
    ssl_context: ssl.SSLContext | None = None,
    connect: Connect | None = None,
    events: int = EVENTS,
    first_delay: float = FIRST_DELAY,
    max_delay: float = MAX_DELAY,
) -> AsyncGenerator[ChatClient, None]:
    """Be a user of a chat, connected whenever that is possible; an async context manager.

    ::

        async with open_chat("ws://127.0.0.1:8765/ws", "Anna") as chat:
            await chat.join("lobby")
            await chat.post("lobby", "hello")
            async for event in chat:
                if isinstance(event, Message):
                    print(event.sender, event.text)

    The block begins at once; the first connection is waited for where something needs it. Between
    two tries there is a random wait from 0 to ``first_delay`` seconds, and to twice as much after
    each failure, up to ``max_delay``.

    Args:
        url: of the chat's WebSocket, ``ws://host/ws``; or of its page, ``http://host/``.
        user: the name; may be left out with a token.
        session: the secret of that name, 22 to 128 characters, as read from `ChatClient.session`;
            a new one by default. Keep it before you use it, and the name stays yours whatever
            becomes of the first answer.
        token: in place of a session where the server wants one; a callable, also an async one, is
            asked for a token at first and whenever the last one ran out.
        positions: where to go on, as read from `ChatClient.positions`.
        ssl_context: for ``wss:`` and ``https:``; by default one with the system's certificates.
        connect: opens a connection, in place of what ``url`` and ``ssl_context`` say.
        events: how many may wait for the program before the connection is not read any more; one
            message of the server, of at most 128 KiB, may pass it.
        first_delay: seconds, the most that the first wait can take.
        max_delay: seconds, the most that any wait can take; a server may ask for longer ones.

    Resource handling:
        A task in the background keeps the connection; leaving the block ends both.

    Error handling:
        Exceptions of the block pass unchanged and never in an exception group. What ended the
        client is raised by its methods, see `ChatClient`, or by the block's end if nobody got it.
        After the block they raise `trio.ClosedResourceError`.

    Raises:
        ValueError: the URL is none of a chat, there is neither user nor token, or a session,
            number or delay is out of range.
        ChatError: ``invalid_name`` among the positions.
    """
    if user is None and token is None:
        raise ValueError("a chat needs a user or a token")
    session = check_session(session)
    if connect is None:
        connect = partial(
            connect_websocket_url,
            None,
            websocket_url(url),
            ssl_context,
            subprotocols=[SUBPROTOCOL],
        )
    dialogue = Dialogue(user, session, positions or Positions())
    queue = EventQueue(events)
    link = Link(dialogue, queue, connect, token, BackOff(first_delay, max_delay))
    client = ChatClient(dialogue, queue, link)
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            try:
                yield client
                await link.stop()
            except BaseException as raised:
                error = raised
            nursery.cancel_scope.cancel()
    except BaseException:
        # Only a cancellation from outside; it must not replace what the block raised.
        if error is None:
            raise
    finally:
        unheard = None if client.has_told else link.error
        link.close()
    if error is not None:
        raise error
    if unheard is not None:
        raise unheard
