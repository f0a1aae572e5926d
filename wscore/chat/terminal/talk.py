"""One user's stay in the chat from a console: what is typed, what happens; imports the client."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from wscore.chat.client import (
    ChatError,
    Connected,
    Disconnected,
    Event,
    Left,
    ProtocolError,
    Typing,
    open_chat,
)
from wscore.chat.model import parse_name
from wscore.terminal.console import Console, Leave
from wscore.terminal.lines import BadLine
from wscore.terminal.style import DIM, RED, YELLOW
from wscore.terminal.text import safe
from wscore.trio import ConnectionClosed, HandshakeError

from .screen import Screen

HELP = """\
TEXT             say it in the room; //TEXT for one that begins with a slash
/dm NAME TEXT    say it to one user
/join ROOM       join another room, or go back to it
/leave [ROOM]    leave a room, by default this one
/rooms           which rooms there are
/who             who is in this room
/history [N]     the last N messages of this room, by default 50
/help            show this
/quit            end"""

_NO_CHAT = frozenset({"name_taken", "unauthorized"})
"""Refusals of the user, not of a request."""
_UNDER_WAY = 100
"""Requests of a human that may wait for their replies at once."""
_TYPING_SECONDS = 3.0
_TICK_SECONDS = 0.5


class Talk:
    """What a console and a chat have to do with each other.

    Args:
        room: to join first.
        wait: seconds to go on when the input of a pipe ends.

    Attributes:
        is_name_refused: whether the server gave the name to somebody else.
    """

    def __init__(self, room: str, wait: float) -> None:
        self.is_name_refused = False
        self._room: str | None = room
        self._wait = wait
        self._status = 0
        self._is_connected = False
        self._was_connected = False
        self._problem = "connecting"
        self._next_try = -math.inf
        self._typing: dict[str, float] = {}
        self._under_way = trio.Semaphore(_UNDER_WAY)

    def prompt(self) -> str:
        """What stands before the input."""
        return f"#{safe(self._room)}> " if self._room is not None else "> "

    async def run(self, console: Console, url: str, user: str, **options: Any) -> int:
        """Talk until the input ends, or the chat; returns the exit status.

        Args:
            console: where lines come from and go to.
            url: of the chat.
            user: the name.
            **options: of `open_chat`.
        """
        self._console = console
        self._screen = Screen(console.style, is_terminal=console.is_terminal)
        try:
            async with open_chat(url, user, **options) as chat:
                self._chat = chat
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._follow)
                    nursery.start_soon(self._keep_status)
                    await self._type(nursery)
                    nursery.cancel_scope.cancel()
        except* Leave as leaves:
            [leave, *_] = leaves.exceptions
            assert isinstance(leave, Leave)
            self._status = leave.status
        except* (ChatError, ProtocolError, ConnectionClosed, HandshakeError) as ends:
            [end, *_] = ends.exceptions
            self._end(end)
        return self._status

    def _end(self, error: BaseException) -> None:
        """Say why there is no chat any more; nobody asked for that, not at a terminal either."""
        self._status = 1
        match error:
            case ChatError(code=code, reason=reason):
                self.is_name_refused = code == "name_taken"
                self._complain(reason)
            case ConnectionClosed(reason=reason):
                self._complain(f"the server closed with {reason.code}: {reason.reason or ''}")
            case ProtocolError():
                self._complain(f"the server does not keep to the protocol: {error}")
            case _:
                self._complain(f"cannot connect: {error}")

    # --- What happens -----------------------------------------------------------------------

    async def _follow(self) -> None:
        async for event in self._chat:
            self._note_state(event)
            for line in self._screen.lines(event):
                self._console.show(line)

    def _note_state(self, event: Event) -> None:
        match event:
            case Connected():
                self._is_connected = True
                if self._was_connected:
                    self._remark("connected again")
                self._was_connected = True
            case Disconnected(delay=delay, reason=reason):
                if not (self._was_connected or self._console.is_terminal):
                    self._complain(f"cannot connect: {reason}")
                    raise Leave(1)
                if self._is_connected or reason != self._problem:
                    self._console.note(f"not connected: {safe(reason)}", YELLOW)
                self._is_connected = False
                self._problem = reason
                self._next_try = trio.current_time() + delay
            case Left(room=room) if room == self._room:
                self._room = None
            case Typing(user=user) if len(self._typing) < _UNDER_WAY:
                self._typing[user] = trio.current_time() + _TYPING_SECONDS

    async def _keep_status(self) -> None:
        """Show the state of the connection, and who is typing."""
        while True:
            now = trio.current_time()
            self._typing = {user: end for user, end in self._typing.items() if end > now}
            status = ""
            if not self._is_connected:
                left = math.ceil(max(0.0, self._next_try - now))
                tail = f"; next try in {left} s" if left else "; trying"
                status = f"not connected: {safe(self._problem)}{tail}"
            elif self._typing:
                status = f"{safe(', '.join(sorted(self._typing)))} …"
            self._console.set_status(status)
            await trio.sleep(_TICK_SECONDS)

    # --- What is typed ----------------------------------------------------------------------

    async def _type(self, nursery: trio.Nursery) -> None:
        """Do what is typed, until the end of the input.

        A human does not wait for replies; the lines of a pipe are said one after the other.
        """
        is_terminal = self._console.is_terminal
        await self._start(nursery, self._join, self._room or "")
        async for line in self._console:
            if isinstance(line, BadLine):
                self._complain(f"{line.reason}; it was not said")
            elif line in ("/quit", "/q"):
                return
            elif line.startswith("/") and not line.startswith("//"):
                await self._start(nursery, self._command, line)
            elif line:
                await self._start(nursery, self._say, line.removeprefix("/"))
        if not is_terminal:
            await trio.sleep(self._wait)

    async def _start(
        self, nursery: trio.Nursery, act: Callable[[str], Awaitable[None]], line: str
    ) -> None:
        await self._under_way.acquire()
        if self._console.is_terminal:
            nursery.start_soon(self._try, act, line)
        else:
            await self._try(act, line)

    async def _try(self, act: Callable[[str], Awaitable[None]], line: str) -> None:
        """Do something that the server may refuse."""
        try:
            await act(line)
        except ChatError as error:
            if error.code in _NO_CHAT:
                raise
            self._complain(error.reason)
        finally:
            self._under_way.release()

    async def _say(self, text: str) -> None:
        if self._room is None:
            self._complain("you are in no room: /join ROOM")
        else:
            await self._chat.post(self._room, text)

    async def _command(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        match word:
            case "/help":
                for row in HELP.splitlines():
                    self._console.note(row)
            case "/dm":
                to, _, text = rest.partition(" ")
                if text.strip():
                    await self._chat.direct(to, text.strip())
                else:
                    self._complain("like this: /dm NAME TEXT")
            case "/join":
                await self._join(rest)
            case "/leave":
                await self._leave(rest or self._room or "")
            case "/rooms":
                for room in await self._chat.rooms():
                    here = f"{room.count} here" if room.count else "nobody here"
                    self._console.show(f"#{safe(room.room)}: {here}, {room.offset} messages")
            case "/who":
                for name in [self._room] if self._room else []:
                    self._console.show(self._screen.who(name))
            case "/history":
                await self._history(rest)
            case _:
                self._complain(f"no such command: {word}; // says a text with a slash")

    async def _join(self, name: str) -> None:
        self._room = (await self._chat.join(name)).room

    async def _leave(self, name: str) -> None:
        await self._chat.leave(name)
        key = _key(name)
        for room in self._screen.rooms:
            if _key(room) == key:
                self._screen.left(room)
        if self._room is not None and _key(self._room) == key:
            self._room = next(iter(self._screen.rooms), None)
            where = "in no room" if self._room is None else f"in #{self._room}"
            self._remark(f"you are {where} now")

    async def _history(self, count: str) -> None:
        if not count.isdecimal() and count:
            self._complain("like this: /history 50")
            return
        page = await self._chat.history(self._room, limit=max(1, int(count or 50)))
        for message in page.messages:
            for line in self._screen.message(message):
                self._console.show(line)

    # --- Remarks ----------------------------------------------------------------------------

    def _remark(self, line: str) -> None:
        self._console.note(safe(line), DIM)

    def _complain(self, line: str) -> None:
        """Say what went wrong; of a pipe, the exit status will say so too."""
        if not self._console.is_terminal:
            self._status = 1
        self._console.note(f"wscore chat join: {safe(line)}", RED)


def _key(name: str) -> str | None:
    parsed = parse_name(name)
    return None if parsed is None else parsed.key
