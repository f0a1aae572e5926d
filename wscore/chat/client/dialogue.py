"""The client's half of the protocol without I/O: what to send next, and what an arrival means.

What was not answered when a connection ends is sent again on the next one under the same id, which
stores nothing twice; positions say where the logs go on. Times are seconds of any clock.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from msgspec import UNSET

from wscore.chat import protocol
from wscore.chat.protocol import ChatError, Limits, Ok, Position

from .awaited import Awaited
from .errors import ProtocolError
from .events import Connected, History, Joined, Left, Positions
from .following import Delivery, Following
from .lane import Ticket
from .log import Room
from .requests import Requests, is_join
from .terms import message_id, message_text, name_key, new_id
from .typing_notice import TypingNotice
from .wire import decode, decode_directs, decode_messages, decode_reply, encode_request

logger = logging.getLogger("wscore.chat.client")

_UNAVAILABLE_SECONDS = 0.5
_UNAVAILABLE_LONGEST = 15.0
"""The first and the longest wait while the server's store is out of reach."""
_RETRY_AFTER = 1.0

Done = Callable[[], object]


class Dialogue:
    """One user's requests, logs and rooms, over one connection after the other.

    A connection goes `open`, then `next_message` and `receive` in any order, then `close`.

    Args:
        user: the name to say hello with; None where a token says it.
        session: the secret of that name.
        positions: where to go on.
    """

    def __init__(self, user: str | None, session: str, positions: Positions) -> None:
        self.user = user
        self.session = session
        self.limits = Limits()
        self.refused: ChatError | None = None
        """Why this connection's hello was not accepted."""
        self._logs = Following(positions)
        self._requests = Requests()
        self._hello: protocol.Hello | None = None
        self._is_hello_sent = False
        self._is_greeted = False
        self._typing = TypingNotice()
        self._pause = _UNAVAILABLE_SECONDS

    @property
    def positions(self) -> Positions:
        """Where each log goes on, after what was delivered."""
        return self._logs.positions

    @property
    def is_lagging(self) -> bool:
        """Whether events were left out, so that another connection has to bring them."""
        return self._logs.is_lagging

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for a reply."""
        joining = any(room.waiting for room in self._logs)
        return joining or any(not is_join(ticket) for ticket in self._requests)

    # --- What the program wants -------------------------------------------------------------

    def join(self, name: str, on_done: Done) -> Awaited:
        """Be in a room from now on; the reply is a `Joined`.

        Raises:
            ChatError: ``invalid_name``.
        """
        room = self._logs.room(name)
        awaited = Awaited(on_done)
        if room.is_live and room.joined is not None:
            awaited.resolve(room.joined)
            return awaited
        room.waiting.append(awaited)
        if not room.is_wanted:
            room.is_wanted = True
            if self._is_greeted:
                self._ask_to_join(room)
        return awaited

    def stop_joining(self, name: str, awaited: Awaited) -> None:
        """Nobody waits for this join any more; where nobody else does, it is taken back."""
        room = self._logs.room(name)
        if awaited in room.waiting:
            room.waiting.remove(awaited)
            if not room.waiting and room.joined is None:
                self.leave(name, lambda: None)

    def leave(self, name: str, on_done: Done) -> Ticket | None:
        """Be in a room no longer, and forget its position.

        Returns:
            The request; None where none is needed.

        Raises:
            ChatError: ``invalid_name``, ``not_joined``.
        """
        room = self._logs.joined_room(name)
        was_asked = room.is_live
        for ticket in [*self._requests]:
            if is_join(ticket) and ticket.log is room:
                was_asked = ticket.is_sent
                self._requests.drop(ticket)
        self._forget(room, ChatError("not_joined", "the room was left"))
        if not was_asked:
            return None
        request = protocol.Leave(id=new_id(), room=room.name)
        return self._requests.submit(request, Ok, None, Awaited(on_done))

    def post(self, name: str, text: str, id: str | None, on_done: Done) -> Ticket:
        """Store a message in a room; the reply is a `StoredOk`.

        Raises:
            ChatError: ``invalid_name``, ``not_joined``, or the text cannot be sent at all.
            ValueError: the id is none, or is that of a message under way.
        """
        room = self._logs.joined_room(name)
        request = protocol.Post(id=message_id(id), room=room.name, text=message_text(text))
        return self._requests.submit(request, protocol.StoredOk, room, Awaited(on_done))

    def direct(self, to: str, text: str, id: str | None, on_done: Done) -> Ticket:
        """Store a message in the inboxes of two users; the reply is a `StoredOk`.

        Raises:
            ChatError: ``invalid_name``, or the text cannot be sent at all.
            ValueError: the id is none, or is that of a message under way.
        """
        name_key(to)
        request = protocol.Direct(id=message_id(id), to=to, text=message_text(text))
        return self._requests.submit(request, protocol.StoredOk, None, Awaited(on_done))

    def rooms(self, on_done: Done) -> Ticket:
        """Ask which rooms there are; the reply is a `RoomsOk`."""
        request = protocol.Rooms(id=new_id())
        return self._requests.submit(request, protocol.RoomsOk, None, Awaited(on_done))

    def history(
        self, name: str | None, before: int | None, limit: int | None, on_done: Done
    ) -> Ticket:
        """Ask for older messages of a room, or of the inbox; the reply is a `History`.

        Raises:
            ChatError: ``invalid_name``, ``not_joined``.
            ValueError: a number is out of range.
        """
        if before is not None and not 0 <= before <= protocol.MAX_OFFSET:
            raise ValueError(f"an offset is 0 to 2**53 - 1, not {before}")
        if limit is not None and limit < 1:
            raise ValueError(f"a limit is 1 or more, not {limit}")
        room = None if name is None else self._logs.joined_room(name)
        request = protocol.History(
            id=new_id(),
            room=UNSET if room is None else room.name,
            inbox=room is None,
            before=UNSET if before is None else before,
            limit=UNSET if limit is None else limit,
        )
        return self._requests.submit(request, protocol.HistoryOk, room, Awaited(on_done))

    def typing(self, room: str | None, to: str | None, now: float) -> None:
        """Say that somebody is writing, if that can be said now; there is no reply.

        Raises:
            ChatError: ``invalid_name``, ``not_joined``.
        """
        if room is not None and not self._logs.joined_room(room).is_live:
            return
        if to is not None:
            name_key(to)
        if self._is_greeted:
            self._typing.note(room, to, now)

    def give_up(self, ticket: Ticket) -> None:
        """Nobody waits for this reply any more: an unsent request is not sent."""
        if ticket in self._requests:
            self._requests.drop(ticket)

    def fail(self, error: Exception) -> None:
        """All is over: nobody gets a reply."""
        for ticket in [*self._requests]:
            self._requests.drop(ticket)
            ticket.awaited.fail(error)
        for room in self._logs:
            for awaited in room.waiting:
                awaited.fail(error)
            room.waiting.clear()

    # --- The connection ---------------------------------------------------------------------

    def open(self, token: str | None) -> None:
        """A connection is there."""
        asked = self._logs.inbox.position
        self._hello = protocol.Hello(
            id=new_id(),
            user=self.user if token is None and self.user is not None else UNSET,
            token=UNSET if token is None else token,
            session=UNSET if token is not None else self.session,
            position=UNSET if asked is None else asked,
        )
        self._is_hello_sent = False
        self.refused = None

    def close(self) -> None:
        """The connection is gone; what it left open waits for the next one."""
        self._hello = None
        self._typing.clear()
        self._is_greeted = False
        self._requests.close()
        self._logs.close()
        for ticket in [*self._requests]:
            match ticket.request:
                case protocol.Join():
                    self._requests.drop(ticket)
                case protocol.Leave():
                    self._requests.drop(ticket)
                    ticket.awaited.resolve(Ok(id=ticket.request.id))
                case _ if isinstance(ticket.log, Room) and not ticket.log.is_wanted:
                    self._requests.drop(ticket)
                    reason = "the room was left before the reply came: it may have been done"
                    ticket.awaited.fail(ChatError("not_joined", reason))

    def next_message(self, now: float) -> str | None:
        """The text of the next message to send now, if there is one."""
        if self._hello is not None and not self._is_hello_sent:
            self._is_hello_sent = True
            return encode_request(self._hello)
        if (typing := self._typing.take()) is not None:
            return encode_request(typing)
        ticket = self._requests.take(now)
        return None if ticket is None else ticket.text

    @property
    def next_time(self) -> float:
        """When `next_message` has one again, if nothing happens before; may be infinite."""
        return self._requests.next_time

    def receive(
        self, message: str | bytes, now: float, *, has_space: bool = True
    ) -> list[Delivery]:
        """Take a message of the server.

        Args:
            message: it.
            now: the time.
            has_space: whether there is space for events. Where there was not, there are none any
                more on this connection: the next one brings them.

        Returns:
            What the program is to get.

        Raises:
            ProtocolError: the server broke its promises; the connection is of no use any more.
        """
        logs = self._logs
        logs.expect(has_space)
        match decode(message):
            case protocol.MessagePush() as push:
                room = logs.live_room(push.room)
                if room is not None:
                    logs.follow(room, push)
            case protocol.DirectPush() as push:
                logs.follow(logs.inbox, push)
            case protocol.PresencePush() as push:
                room = logs.live_room(push.room)
                if room is not None and room.is_live:
                    logs.deliver(push)
            case protocol.TypingPush() as push:
                logs.deliver(push)
            case protocol.Error() as error:
                self._refuse(error, now)
            case protocol.Ok(id=id):
                self._accept(id, message, now)
        return logs.arrived

    # --- Replies ----------------------------------------------------------------------------

    def _accept(self, id: str, message: str | bytes, now: float) -> None:
        if self._hello is not None and id == self._hello.id:
            self._greet(decode_reply(message, protocol.HelloOk), now)
            return
        ticket = self._requests.answered(id)
        if ticket is None:
            return
        self._pause = _UNAVAILABLE_SECONDS
        try:
            self._fulfil(ticket, decode_reply(message, ticket.kind))
        except ProtocolError:
            self._requests.put_back(ticket)  # to fail with all others
            raise

    def _fulfil(self, ticket: Ticket, reply: Ok) -> None:
        match ticket.request, reply:
            case protocol.Join(position=asked), protocol.JoinOk():
                assert isinstance(ticket.log, Room)
                self._enter(ticket.log, reply, None if asked is UNSET else asked)
            case ((protocol.Post() | protocol.Direct()), protocol.StoredOk()):
                if not self.is_lagging:
                    (ticket.log or self._logs.inbox).confirm(reply.epoch)
                ticket.awaited.resolve(reply)
            case protocol.History(inbox=inbox), protocol.HistoryOk():
                rows = (decode_directs if inbox else decode_messages)(reply.messages)
                ticket.awaited.resolve(History(rows, reply.more))
            case _:
                ticket.awaited.resolve(reply)

    def _refuse(self, error: protocol.Error, now: float) -> None:
        wait = None if error.retry_after is UNSET else error.retry_after
        fault = ChatError(error.code, error.reason, id=error.id, retry_after=wait)
        if self._hello is not None and error.id == self._hello.id:
            self.refused = fault
            return
        ticket = None if error.id is None else self._requests.answered(error.id)
        if ticket is None:
            if error.id is None:
                logger.warning("the server refused a request: %r", str(fault))
            return
        if error.code == "rate_limited":
            self._try_again(ticket, now + (_RETRY_AFTER if wait is None else wait))
        elif error.code == "unavailable":
            self._try_again(ticket, now + self._pause * random.uniform(0.5, 1))
            self._pause = min(2 * self._pause, _UNAVAILABLE_LONGEST)
        elif isinstance(ticket.log, Room) and is_join(ticket):
            room = ticket.log
            was_in = room.joined is not None
            self._forget(room, fault)
            if was_in:
                self._logs.deliver(Left(room.name, fault.code, fault.reason))
        else:
            ticket.awaited.fail(fault)

    def _try_again(self, ticket: Ticket, at: float) -> None:
        room = ticket.log
        match ticket.request:
            case protocol.Leave(room=name) if name in self._logs:
                ticket.awaited.resolve(Ok(id=ticket.request.id))  # in again meanwhile
            case _ if isinstance(room, Room) and not room.is_wanted:
                ticket.awaited.fail(ChatError("not_joined", "the room was left"))
            case _:
                self._requests.try_again(ticket, at)

    def _greet(self, reply: protocol.HelloOk, now: float) -> None:
        if self._is_greeted:
            raise ProtocolError("two replies to one hello")
        self._is_greeted = True
        self.user = reply.user
        self.limits = limits = reply.limits
        assert self._hello is not None
        position = self._hello.position
        asked = None if position is UNSET else position
        messages = decode_directs(reply.inbox.messages)
        event = Connected(reply.user, limits)
        self._logs.begin(self._logs.inbox, event, reply.inbox, messages, asked)
        self._requests.open(limits, now)
        for room in self._logs:
            if room.is_wanted:
                self._ask_to_join(room)

    def _ask_to_join(self, room: Room) -> None:
        position = UNSET if room.position is None else room.position
        request = protocol.Join(id=new_id(), room=room.name, position=position)
        self._requests.submit(request, protocol.JoinOk, room, Awaited(lambda: None))

    def _enter(self, room: Room, reply: protocol.JoinOk, asked: Position | None) -> None:
        messages = decode_messages(reply.messages)
        self._logs.rename(room, reply.room)
        room.joined = Joined(reply.room, reply.count, tuple(reply.members))
        self._logs.begin(room, room.joined, reply, messages, asked)
        for awaited in room.waiting:
            awaited.resolve(room.joined)
        room.waiting.clear()
        self._requests.release(room)

    def _forget(self, room: Room, error: ChatError) -> None:
        """Be in a room no longer: what was not sent to it will not be."""
        self._logs.forget(room)
        for awaited in room.waiting:
            awaited.fail(error)
        room.waiting.clear()
        for ticket in [*self._requests]:
            if ticket.log is room and not ticket.is_sent:
                self._requests.drop(ticket)
                ticket.awaited.fail(error)
