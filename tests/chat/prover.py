"""Runs a real server under faults, with clients that note everything, and lets a checker judge.

    python -m chat.prover --seconds 60

Posters write to rooms and to each other and send again whatever was not acknowledged; readers
follow, each on several devices, some of them slow. Meanwhile the server is killed, stopped and
continued, restarted, its files may not grow for a while, somebody locks its database, and its logs
are trimmed.
"""

from __future__ import annotations

import argparse
import random
import signal
import socket
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import trio
from chat.checker import Checker, Message, View, Whole
from chat.client import SESSION, ChatClient, Json
from chat.disk import LimitedFiles
from chat.process import Server, serving

from wscore.chat.backends.check import check
from wscore.trio import ConnectionClosed, HandshakeError, wrap_client_stream

ROOMS = ("r0", "r1")
POSTERS = 6
READERS = 3
DEVICES = 2
KEEP = 3000
"""Messages of each log that are kept in the end."""

_WINDOW = 8
_SLOW_BUFFER = 4096
_PATIENCE = 60
"""Seconds after which something that has to happen did not."""

_GONE = (ConnectionClosed, HandshakeError, OSError, trio.TooSlowError)


class World:
    """The server that is there at the moment, and all that clients share."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.checker = Checker()
        self.counts: Counter[str] = Counter()
        self.server: Server | None = None
        self.is_posting = True
        self.ends: dict[str, int] | None = None
        self._up = trio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Server]:
        """Start the server; what it logs is read, so that it is never held up by that."""
        arguments = "--rate", "0", "--keep-messages", str(KEEP)
        async with (
            serving(self.folder, *arguments) as server,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._listen_to, server)
            self.server = server
            self._up.set()
            try:
                yield server
            finally:
                self.server = None
                self._up = trio.Event()
                server.process.kill()

    async def _listen_to(self, server: Server) -> None:
        assert server.process.stderr is not None
        said = await trio.to_thread.run_sync(server.process.stderr.read)
        if "Traceback" in said:
            self.checker.complain(f"the server said: {said[-3000:]}")

    @asynccontextmanager
    async def client(self, *, is_slow: bool = False) -> AsyncIterator[ChatClient]:
        """Connect; a slow client has room for little that it does not read."""
        while (server := self.server) is None:
            await self._up.wait()
        plug = trio.socket.socket()
        if is_slow:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER)
        async with trio.open_nursery() as nursery:
            try:
                with trio.fail_after(_PATIENCE):
                    await plug.connect((server.host, server.port))
                    connection = await wrap_client_stream(
                        nursery, trio.SocketStream(plug), "127.0.0.1", "/ws"
                    )
                yield ChatClient(connection)
            finally:
                plug.close()
                nursery.cancel_scope.cancel()

    async def keep_connected(
        self, visit: Callable[[ChatClient], Awaitable[bool]], *, is_slow: bool = False
    ) -> None:
        """Visit the server again and again, until a visit returns True."""
        is_done = False
        while not is_done:
            try:
                async with self.client(is_slow=is_slow) as client:
                    is_done = await visit(client)
            except* _GONE as group:
                for error in _leaves(group):
                    self.counts[_describe(error)] += 1
            await trio.sleep(self.chance.random() * 0.05)


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _describe(error: BaseException) -> str:
    match error:
        case ConnectionClosed():
            return f"connections ended with {error.reason.code}"
        case _OutOfReach():
            return "greetings refused as unavailable"
        case _:
            return "connections failed"


# --- Clients --------------------------------------------------------------------------------


class _OutOfReach(ConnectionError):
    """The store is out of reach."""


async def _ask(client: ChatClient, type: str, **fields: Any) -> Json:
    """Ask for what can only be refused because the store is out of reach: then try again."""
    reply = await client.ask(type, **fields)
    if reply.get("code") == "unavailable":
        await trio.sleep(0.05)
        raise _OutOfReach
    assert reply["type"] == "ok", reply
    return reply


async def _hello(client: ChatClient, user: str, **fields: Any) -> Json:
    return await _ask(client, "hello", user=user, session=SESSION, **fields)


class Poster:
    """Posts and sends directly, several at a time, each until it is acknowledged."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self.user = f"Poster{number}"
        self._count = 0
        self._pending: list[tuple[str, Message]] = []

    async def visit(self, client: ChatClient) -> bool:
        await _hello(client, self.user)
        for room in ROOMS:
            await _ask(client, "join", room=room)
        while True:
            while self._world.is_posting and len(self._pending) < _WINDOW:
                self._pending.append(self._next())
            if not self._pending:
                return True
            waiting = self._pending
            requests = [await self._send(client, *pending) for pending in waiting]
            self._pending = []
            try:
                for request in requests:
                    self._take(*waiting[0], await client.reply(request))
                    del waiting[0]
            finally:
                self._pending = waiting + self._pending
            client.pushes.clear()

    def _next(self) -> tuple[str, Message]:
        self._count += 1
        chance = self._world.chance
        id = f"{self.user}-{self._count}"
        text = id + "." * (chance.choice((50, 500, 3000)) if chance.random() < 0.3 else 0)
        if chance.random() < 0.7:
            log, message = f"#{chance.choice(ROOMS)}", Message(self.user, None, text, id)
        else:
            to = f"Reader{chance.randrange(READERS)}"
            log, message = f"@{self.user}", Message(self.user, to, text, id)
        self._world.checker.sends(log, message)
        return log, message

    async def _send(self, client: ChatClient, log: str, message: Message) -> str:
        if message.to is None:
            return await client.send("post", room=log[1:], text=message.text, id=message.id)
        return await client.send("direct", to=message.to, text=message.text, id=message.id)

    def _take(self, log: str, message: Message, reply: Json) -> None:
        if reply["type"] == "ok":
            self._world.checker.acknowledges(log, message, reply)
            self._world.counts["acknowledged again"] += "duplicate" in reply
            return
        self._world.counts[f"refused as {reply['code']}"] += 1
        if reply["code"] != "unavailable":
            self._world.checker.complain(f"{message.id} was answered with {reply}")
        self._world.checker.refused(message)
        self._pending.append((log, message))


class Device:
    """One device of a reader: follows the rooms and the inbox from where it was."""

    def __init__(self, world: World, user: str, number: int) -> None:
        self._world = world
        self._user = user
        self.is_slow = number == 0
        name = f"{user} on device {number}"
        self._inbox = world.checker.view(name, f"@{user}")
        self._rooms = {room: world.checker.view(name, f"#{room}") for room in ROOMS}

    def _is_at_the_end(self) -> bool:
        ends = self._world.ends
        views = [self._inbox, *self._rooms.values()]
        return ends is not None and all(view.offset >= ends[view.log] for view in views)

    async def visit(self, client: ChatClient) -> bool:
        self._inbox.slice((await _hello(client, self._user, **self._inbox.position))["inbox"])
        for room, view in self._rooms.items():
            view.slice(await _ask(client, "join", room=room, **view.position))
        chance = self._world.chance
        while not self._is_at_the_end():
            with trio.move_on_after(0.2):
                push = await client.push()
                if push["type"] == "message":
                    self._rooms[push["room"]].message(push)
                elif push["type"] == "direct":
                    self._inbox.message(push)
            if chance.random() < 0.002:
                await self._look_back(client)
            if self.is_slow and self._world.is_posting and chance.random() < 0.002:
                await trio.sleep(chance.uniform(1, 5))
        return True

    async def _look_back(self, client: ChatClient) -> None:
        room, view = self._world.chance.choice(list(self._rooms.items()))
        before = self._world.chance.randint(1, view.offset + 1)
        reply = await client.ask("history", room=room, before=before, limit=20)
        if reply["type"] == "ok":
            view.page(before, reply["messages"])


# --- Faults ---------------------------------------------------------------------------------


async def _stop_and_continue(world: World, server: Server) -> None:
    server.process.send_signal(signal.SIGSTOP)
    await trio.sleep(world.chance.uniform(0.1, 1))
    server.process.send_signal(signal.SIGCONT)


async def _fill_the_disk(world: World, server: Server) -> None:
    disk = LimitedFiles(world.folder)
    disk.fill(server.process.pid)
    await trio.sleep(world.chance.uniform(0.1, 1))
    disk.free(server.process.pid)


async def _lock_the_database(world: World, server: Server) -> None:
    somebody = sqlite3.connect(world.folder / "chat.db", isolation_level=None)
    try:
        somebody.execute("BEGIN IMMEDIATE")
        await trio.sleep(world.chance.uniform(0.1, 0.5))
        somebody.execute("ROLLBACK")
    except sqlite3.OperationalError:  # the server was faster
        pass
    finally:
        somebody.close()


LIVES = 4
"""One server in so many is ended by SIGTERM, the others are killed."""
FAULTS = {
    "stopped for a while": _stop_and_continue,
    "disk full for a while": _fill_the_disk,
    "database locked for a while": _lock_the_database,
}


async def _plague(world: World, number: int) -> None:
    """The life of one server, with one or two faults and its end; all kinds have their turn."""
    async with world.running() as server:
        faults = [list(FAULTS)[number % len(FAULTS)]]
        if world.chance.random() < 0.5:
            faults.append(world.chance.choice(list(FAULTS)))
        for fault in faults:
            await trio.sleep(world.chance.uniform(0.1, 0.8))
            await FAULTS[fault](world, server)
            world.counts[fault] += 1
        await trio.sleep(world.chance.uniform(0.1, 0.8))
        if server.process.poll() is not None:
            world.checker.complain(f"the server ended with {server.process.returncode}")
        elif number % LIVES == LIVES - 1:
            await _end(world, server)
        else:
            server.process.kill()
            world.counts["killed"] += 1


async def _end(world: World, server: Server) -> None:
    """SIGTERM."""
    server.process.terminate()
    with trio.move_on_after(_PATIENCE):
        await trio.to_thread.run_sync(server.process.wait, abandon_on_cancel=True)
    world.counts["terminated"] += 1
    if server.process.returncode != 0:
        world.checker.complain(f"SIGTERM ended in {server.process.returncode}")


# --- The whole ------------------------------------------------------------------------------


async def _read_whole(world: World, user: str, rooms: Sequence[str]) -> dict[str, Whole]:
    """A user's inbox and some rooms, back to the first message that is kept."""
    logs = {}
    async with world.client() as client:
        view = world.checker.view(f"{user} at the end", f"@{user}")
        inbox = (await _hello(client, user))["inbox"]
        logs[view.log] = await _read_log(client, view, inbox, inbox=True)
        for room in rooms:
            view = world.checker.view(f"{user} at the end", f"#{room}")
            joined = await _ask(client, "join", room=room)
            logs[view.log] = await _read_log(client, view, joined, room=room)
    return logs


async def _read_log(client: ChatClient, view: View, slice: Json, **which: Any) -> Whole:
    view.slice(slice)
    start = slice["offset"] + 1
    messages: list[Message] = []
    more = True
    while more:
        reply = await _ask(client, "history", before=start, limit=200, **which)
        view.page(start, reply["messages"])
        messages[:0] = map(Message.of, reply["messages"])
        start -= len(reply["messages"])
        more = reply["more"]
    return Whole(slice["epoch"], start, messages)


async def prove(folder: Path, seconds: float, seed: int) -> World:
    """Let everybody run under faults, and have the checker judge.

    Args:
        folder: an empty one.
        seconds: how long there are faults; each kind has its turn at least once.
        seed: of the choices.
    """
    world = World(folder, seed)
    posters = [Poster(world, number) for number in range(POSTERS)]
    users = [f"Reader{number}" for number in range(READERS)]
    devices = [Device(world, user, number) for user in users for number in range(DEVICES)]
    async with world.running():
        for user in users:  # before anybody sends to them
            async with world.client() as client:
                await _hello(client, user)
    async with trio.open_nursery() as clients:
        acknowledged = [_start(clients, world, poster.visit) for poster in posters]
        read = [_start(clients, world, device.visit, device.is_slow) for device in devices]
        end = trio.current_time() + seconds
        for number in count():
            if number >= LIVES and trio.current_time() >= end:
                break
            await _plague(world, number)
        world.is_posting = False
        async with world.running() as server:
            if await _all(acknowledged):
                logs: dict[str, Whole] = {}
                for user in (*users, *(poster.user for poster in posters)):
                    logs |= await _read_whole(world, user, () if logs else ROOMS)
                world.ends = {log: whole.end for log, whole in logs.items()}
                if not await _all(read):
                    world.checker.complain("not every reader came to the end")
                world.checker.finish(logs, may_trim=True)
                world.counts["trimmed"] = sum(whole.start - 1 for whole in logs.values())
            else:
                world.checker.complain("not every message could be acknowledged")
            await _end(world, server)
        clients.cancel_scope.cancel()
    for finding in check(folder / "chat.db"):
        world.checker.complain(f"chat.db: {finding}")
    return world


def _start(
    nursery: trio.Nursery,
    world: World,
    visit: Callable[[ChatClient], Awaitable[bool]],
    is_slow: bool = False,
) -> trio.Event:
    done = trio.Event()

    async def run() -> None:
        await world.keep_connected(visit, is_slow=is_slow)
        done.set()

    nursery.start_soon(run)
    return done


async def _all(events: list[trio.Event]) -> bool:
    with trio.move_on_after(_PATIENCE) as patience:
        for event in events:
            await event.wait()
    return not patience.cancelled_caught


def summary(world: World) -> str:
    """What happened, in one line."""
    checker = world.checker
    told = (
        f"{checker.acknowledged} acknowledged, {checker.seen} read, {checker.gaps} gaps announced"
    )
    rest = (f"{count} {what}" for what, count in sorted(world.counts.items()) if count)
    return f"{told}; {', '.join(rest)}"


def main() -> int:
    """Prove for a while; the exit status is 1 where the checker complains."""
    parser = argparse.ArgumentParser(
        prog="prover", description="Try to make the chat lose something."
    )
    parser.add_argument(
        "--seconds", type=float, default=60, help="how long there are faults (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=None, help="of the choices; else chance")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="wscore-prover-") as folder:
        world = trio.run(prove, Path(folder), options.seconds, seed)
    print(f"seed {seed}: {summary(world)}")
    for complaint in world.checker.complaints[:100]:
        print(f"FAULT {complaint}", file=sys.stderr)
    print("the chat lost something" if world.checker.complaints else "nothing was lost")
    return 1 if world.checker.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
