"""What each request of one connection does; imports the layers below.

Requests take effect in the order sent. Posts and direct messages do not wait for each other, see
`commands`; every other request that could see their effect waits for them.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable

import trio
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from wscore.trio import ConnectionClosed, HTTPRequest, WebSocketConnection

from . import protocol
from .auth import Action, Identity
from .backends.base import Claim, Claimed, Opened, OpenRoom, PostTo, SendTo
from .commands import Commands
from .exchange import Exchange
from .follower import Follower
from .model import Name, inbox_log, parse_name, room_log
from .outbox import Outbox
from .protocol import ChatError, CloseCode, Request, encode
from .rate import Bucket

logger = logging.getLogger("wscore.chat")

_MALFORMED_IN_A_ROW = 10
_OTHER_REQUESTS = 5
"""How many times the rate of posts the other requests have."""
_LISTED_ROOMS = 100
_EXAMINED_ROOMS = 1000
"""Where a user may not join every room: how many are looked at to find those to list."""


class Conversation:
    """The server's side of one connection, from texts to replies in the outbox.

    Args:
        exchange: what all connections share.
        outbox: of this connection.
    """

    __slots__ = (
        "_commands",
        "_exchange",
        "_follower",
        "_hub",
        "_identity",
        "_lease",
        "_limits",
        "_malformed",
        "_number",
        "_others",
        "_outbox",
        "_posts",
        "_user",
    )

    def __init__(self, exchange: Exchange, outbox: Outbox) -> None:
        self._exchange = exchange
        self._hub = exchange.hub
        self._limits = exchange.limits
        self._outbox = outbox
        self._number = exchange.connect(outbox)
        self._follower = Follower(exchange, outbox, self._number)
        self._commands = Commands(exchange.journal, outbox, self._number)
        self._user: Name | None = None
        self._identity: Identity | None = None
        self._lease: trio.CancelScope | None = None  # around what waits for the end of a token
        self._malformed = 0
        now = trio.current_time()
        rate, burst = self._limits.rate, self._limits.burst
        self._posts = Bucket(rate, burst, now)
        self._others = Bucket(_OTHER_REQUESTS * rate, _OTHER_REQUESTS * burst, now)

    @property
    def has_greeted(self) -> bool:
        """Whether a hello was accepted."""
        return self._user is not None

    def close(self) -> None:
        """The connection is gone, or will be: leave everything."""
        if self._lease is not None:
            self._lease.cancel()
        self._follower.stop_all()
        self._exchange.disconnect(self._number)

    def dismiss(self, code: int, reason: str) -> None:
        """Take no more requests, and close as soon as every post is answered."""
        self._commands.end(code, reason)

    async def receive(self, text: str) -> None:
        """Take one text message from the client.

        Raises:
            ConnectionClosed: the connection was closed meanwhile.
        """
        if self._commands.are_ending:
            return
        request_id: str | None = None
        fault: ChatError | None = None
        try:
            request = protocol.decode_request(text)
            request_id = getattr(request, "id", None)
            await self._handle(request)
        except ChatError as error:
            fault = error
        except ConnectionClosed:
            raise
        except Exception:
            logger.exception("a request failed")
            fault = ChatError("internal", "the server made a mistake")
        if fault is None:
            self._malformed = 0
            return
        self._outbox.put(protocol.encode_error(fault, fault.id or request_id).text)
        if fault.code not in ("malformed", "unknown_type"):
            self._malformed = 0
            return
        self._malformed += 1
        if self._malformed >= _MALFORMED_IN_A_ROW:
            self._outbox.close(CloseCode.POLICY, "too many malformed requests")

    async def _handle(self, request: Request) -> None:
        now = trio.current_time()
        is_post = isinstance(request, protocol.Post | protocol.Direct)
        wait = (self._posts if is_post else self._others).take(now)
        if isinstance(request, protocol.Typing):
            if not wait:
                self._typing(request, now)
            return
        if wait:
            seconds = max(0.001, math.ceil(wait * 1000) / 1000)
            raise ChatError("rate_limited", "too many requests", retry_after=seconds)
        if self._user is None:
            if not isinstance(request, protocol.Hello):
                raise ChatError("hello_required", "say hello first")
            await self._hello(request)
            return
        match request:
            case protocol.Ping():
                self._reply(protocol.Ok(id=request.id))
            case protocol.Post():
                await self._post(request)
            case protocol.Direct():
                await self._direct(request)
            case _:
                await self._commands.settled()
                await self._handle_settled(request)

    async def _handle_settled(self, request: Request) -> None:
        match request:
            case protocol.Join():
                await self._join(request)
            case protocol.Leave():
                self._leave(request)
            case protocol.History():
                await self._history(request)
            case protocol.Rooms():
                await self._rooms(request)
            case _:
                raise ChatError("malformed", "this connection has said hello")

    def _reply(self, reply: protocol.Ok) -> None:
        self._outbox.put(encode(reply).text)

    # --- Hello ------------------------------------------------------------------------------

    async def _hello(self, request: protocol.Hello) -> None:
        admission = await self._exchange.gate.admit(request, _opening(self._outbox.connection))
        log = inbox_log(admission.user.key)
        self._hub.connect(self._number, admission.user)
        self._follower.hold(log)
        try:
            claimed = await self._commands.ask(Claim(admission.user, admission.secret), Claimed)
            self._hub.opened(log, claimed.user, claimed.inbox)
            found = await self._follower.read_slice(log, request.position)
        except BaseException:
            self._exchange.deliver(self._hub.disconnect(self._number))
            raise
        user = Name(admission.user.key, claimed.user)
        self._hub.rename(self._number, user)
        self._user = user
        self._identity = admission.identity
        reply = protocol.HelloOk(
            id=request.id,
            user=user.text,
            session=admission.session,
            inbox=protocol.Inbox(
                epoch=found.head.epoch, offset=found.head.offset, gap=found.gap, more=True
            ),
            limits=self._limits,
        )
        messages, cursor = self._follower.cut(log, found, encode(reply).size)
        inbox = replace(reply.inbox, messages=messages, more=cursor < found.head.offset)
        self._reply(replace(reply, inbox=inbox))
        self._follower.settle(log, cursor)
        if admission.identity.expires is not None:
            self._lease = trio.CancelScope()
            self._exchange.spawn(self._expire, admission.identity, self._lease)

    async def _expire(self, identity: Identity, lease: trio.CancelScope) -> None:
        with lease:
            await self._exchange.gate.expiry(identity)
            self._outbox.close(CloseCode.EXPIRED, "the token expired")

    async def _require(self, action: Action, target: Name) -> None:
        assert self._identity is not None
        await self._exchange.gate.require(self._identity, action, target)

    # --- Rooms ------------------------------------------------------------------------------

    async def _join(self, request: protocol.Join) -> None:
        room = _name(request.room)
        await self._require("join", room)
        log = room_log(room.key)
        self._follower.hold(log)
        try:
            if self._hub.head(log) is None:
                opened = await self._commands.ask(OpenRoom(room), Opened)
                self._hub.opened(log, opened.room, opened.head)
            found = await self._follower.read_slice(log, request.position)
        except BaseException:
            self._follower.give_up(log)
            raise
        presence = self._hub.enter(self._number, log)
        count, members = self._hub.present(log)
        reply = protocol.JoinOk(
            id=request.id,
            room=self._hub.name(log),
            epoch=found.head.epoch,
            offset=found.head.offset,
            gap=found.gap,
            more=True,
            count=count,
            members=members,
        )
        messages, cursor = self._follower.cut(log, found, encode(reply).size)
        more = cursor < found.head.offset
        self._reply(replace(reply, messages=messages, more=more))
        self._exchange.deliver(presence)
        self._follower.settle(log, cursor)

    def _leave(self, request: protocol.Leave) -> None:
        room = _name(request.room)
        deliveries = self._hub.leave(self._number, room.key)
        self._follower.stop(room_log(room.key))
        self._reply(protocol.Ok(id=request.id))
        self._exchange.deliver(deliveries)

    async def _rooms(self, request: protocol.Rooms) -> None:
        """List the rooms with most present, then others, that this user may join."""
        look = _LISTED_ROOMS if self._exchange.gate.is_open else _EXAMINED_ROOMS
        known = await self._follower.read(self._exchange.backend.rooms(look))
        rooms = {room.room: room for room in self._hub.rooms(look)}
        for head in known:
            name = head.room.text
            rooms.setdefault(name, protocol.RoomInfo(name, head.present, head.offset))
        found = sorted(rooms.values(), key=lambda room: -room.count)[:look]
        listed = found if self._exchange.gate.is_open else await self._joinable(found)
        self._reply(protocol.RoomsOk(id=request.id, rooms=listed[:_LISTED_ROOMS]))

    async def _joinable(self, rooms: Iterable[protocol.RoomInfo]) -> list[protocol.RoomInfo]:
        """Those that the user may join, as many as are listed."""
        assert self._identity is not None
        found: list[protocol.RoomInfo] = []
        for room in rooms:
            if await self._exchange.gate.allows(self._identity, "join", _name(room.room)):
                found.append(room)
                if len(found) == _LISTED_ROOMS:
                    break
        self._outbox.require_open()
        return found

    def _typing(self, request: protocol.Typing, now: float) -> None:
        if self._user is None:
            return
        raw = request.to if request.room is UNSET else request.room
        name = None if isinstance(raw, UnsetType) else parse_name(raw)
        if name is not None:
            say = self._hub.typing_to if request.room is UNSET else self._hub.typing_in
            self._exchange.deliver(say(self._number, name.key, now))

    # --- Messages ---------------------------------------------------------------------------

    async def _post(self, request: protocol.Post) -> None:
        room = _name(request.room)
        self._hub.require_joined(self._number, room.key)
        self._check_text(request.text)
        await self._require("post", room)
        assert self._user is not None
        command = PostTo(self._user.key, room.key, request.text, request.id, _now())
        await self._commands.submit(request.id, command)

    async def _direct(self, request: protocol.Direct) -> None:
        to = _name(request.to)
        self._check_text(request.text)
        await self._require("direct", to)
        assert self._user is not None
        command = SendTo(self._user.key, to.key, request.text, request.id, _now())
        await self._commands.submit(request.id, command)

    def _check_text(self, text: str) -> None:
        if len(text) > self._limits.text:
            raise ChatError("too_long", f"a text has at most {self._limits.text} characters")

    async def _history(self, request: protocol.History) -> None:
        if isinstance(request.room, UnsetType):
            assert self._user is not None
            log = inbox_log(self._user.key)
        else:
            log = self._hub.require_joined(self._number, _name(request.room).key)
        head = self._hub.head(log)
        assert head is not None, "a log that is followed was opened"
        limit = self._limits.page if isinstance(request.limit, UnsetType) else request.limit
        before = head.offset + 1
        if not isinstance(request.before, UnsetType):
            before = min(before, request.before)
        page = await self._follower.read(
            self._exchange.backend.read_before(log, before, min(limit, self._limits.history))
        )
        reply = protocol.HistoryOk(id=request.id, more=True)
        encoded = [self._follower.encode(log, entry) for entry in page.entries]
        messages = protocol.fit(reversed(encoded), self._limits.message - encode(reply).size)[::-1]
        first = page.entries[-len(messages)].offset if messages else page.start
        self._reply(replace(reply, messages=messages, more=first > page.start))


def _opening(connection: WebSocketConnection) -> HTTPRequest:
    """The request by which a connection was opened, made anew, as it is not kept."""
    headers = list(connection.handshake_headers)
    return HTTPRequest("GET", connection.path, headers, connection.remote, connection.local)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _name(raw: str) -> Name:
    name = parse_name(raw)
    if name is None:
        raise ChatError("invalid_name", "a name has 1-64 letters, digits, marks or - _ .")
    return name
