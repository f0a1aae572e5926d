"""One epoll for all plain sockets of a trio run, and the work that must not wait for an event;
imports trio only.

trio's own ``wait_readable`` costs about as much as all the rest of receiving a short message: it
registers the socket anew each time, and wakes a task for it. So the sockets of all connections are
registered once, edge-triggered, in an epoll of our own. That epoll is a file descriptor too,
readable while one of its sockets has news: a single system task awaits it with one
``wait_readable`` for all of them, asks it who is ready, and lets each ready socket read once.

*Edge-triggered* means that the epoll speaks when something changes, not while it is so. So each
`SocketWire` notes that there is more to read when it was told so and did not read to the end, be it
for fairness or because its connection is not to be read for now.

*Fairness*: a round asks for a bounded number of sockets, each of which reads once, a bounded number
of bytes; then all other tasks have a turn. Who has more to read comes again in the next turn,
through the second system task, which does what was asked for with `Driver.soon`.
"""

from __future__ import annotations

import select
import sys
from typing import Protocol

import trio

#: Whether there can be a driver.
AVAILABLE = sys.platform == "linux" and hasattr(select, "epoll")

_SOCKETS_PER_ROUND = 256

if AVAILABLE:
    _INTERESTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


class Client(Protocol):
    """What the driver calls; whatever it raises ends itself, never the driver."""

    def on_event(self, flags: int, now: float) -> None:
        """The socket has news, as an epoll event mask, at this time on trio's clock."""

    def on_turn(self) -> None:
        """The turn that was asked for with `Driver.soon` has come."""

    def on_error(self, error: Exception) -> None:
        """One of the calls above raised; this one must not."""

    def on_end(self) -> None:
        """The socket is watched no more, as when the trio run ends, and the driver with it."""


class Driver:
    """The epoll of one trio run; get it with `current_driver`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._clients: dict[int, Client] = {}
        self._soon: list[Client] = []
        self._sleeper: trio.lowlevel.Task | None = None

    def start(self) -> None:
        """Spawn the tasks."""
        trio.lowlevel.spawn_system_task(self._watch, name="wscore.trio: sockets")
        trio.lowlevel.spawn_system_task(self._take_turns, name="wscore.trio: turns")

    def register(self, fileno: int, client: Client) -> None:
        """Watch a socket.

        Raises:
            OSError: the system cannot.
        """
        self._epoll.register(fileno, _INTERESTS)
        stale = self._clients.pop(fileno, None)
        if stale is not None:  # somebody closed its number, and the system gave it away again
            stale.on_end()
        self._clients[fileno] = client

    def unregister(self, fileno: int, client: Client) -> bool:
        """Watch a socket no more; to be called before it is closed.

        Returns:
            Whether the number still stood for this client's socket.
        """
        if self._clients.get(fileno) is not client:
            return False
        del self._clients[fileno]
        if not self._epoll.closed:
            try:
                self._epoll.unregister(fileno)
            except OSError:  # somebody closed the number
                return False
        return True

    @trio.lowlevel.enable_ki_protection
    def soon(self, client: Client) -> None:
        """Call ``client.on_turn`` at the scheduler's next turn; not to be repeated before that."""
        self._soon.append(client)
        if self._sleeper is not None:
            trio.lowlevel.reschedule(self._sleeper)
            self._sleeper = None

    async def _watch(self) -> None:
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                events = self._epoll.poll(0, _SOCKETS_PER_ROUND)
                now = trio.current_time()
                clients = self._clients
                for fileno, flags in events:
                    client = clients.get(fileno)
                    if client is None:
                        continue
                    try:
                        client.on_event(flags, now)
                    except Exception as error:
                        client.on_error(error)
        finally:
            self._end()

    async def _take_turns(self) -> None:
        while True:
            if not self._soon:
                self._sleeper = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_sleeping)
            clients, self._soon = self._soon, []
            for client in clients:
                try:
                    client.on_turn()
                except Exception as error:
                    client.on_error(error)
            if self._soon:
                await trio.lowlevel.checkpoint()

    def _stop_sleeping(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _end(self) -> None:
        for client in list(self._clients.values()):
            try:
                client.on_end()
            except Exception as error:
                client.on_error(error)
        self._epoll.close()


_current: trio.lowlevel.RunVar[Driver | None] = trio.lowlevel.RunVar("wscore.trio driver", None)


def current_driver() -> Driver:
    """The driver of this trio run, started when it is first asked for."""
    driver = _current.get()
    if driver is None:
        driver = Driver()
        driver.start()
        _current.set(driver)
    return driver
