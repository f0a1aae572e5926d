"""A lasting thread for what blocks, beside trio's event loop; imports no other layer.

`trio.to_thread` takes a thread from a pool for each call, and copies a context for it; a commit is
short enough for that to count. Here the thread stays, and wakes the loop through a socket.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

import outcome
import trio

T = TypeVar("T")

_Job = Callable[[], None]


class Worker:
    """One thread that does what it is given, one job after the other.

    It begins with the first job, and does not keep the process from ending.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._turn = trio.Lock()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._is_started = self._is_busy = False

    async def run(self, job: Callable[[], T]) -> T:
        """Have the thread do a job, after those of earlier callers; a checkpoint.

        Once it is cancelled it does not wait: a job that has begun goes on, nobody hears of its
        end, and the next one waits for that. One that has not begun is never done.

        Returns:
            What the job returns; what it raises is raised here.
        """
        async with self._turn:
            if not self._is_started:
                self._start()
            if self._is_busy:
                await self._end()
            ended: list[outcome.Outcome[T]] = []
            self._is_busy = True
            self._jobs.put(lambda: ended.append(outcome.capture(job)))
            await self._end()
        return ended[0].unwrap()

    def _start(self) -> None:
        self._bell, bell = socket.socketpair()
        self._bell.setblocking(False)
        thread = threading.Thread(
            target=_work, args=(self._jobs, bell), name=self._name, daemon=True
        )
        thread.start()
        self._is_started = True

    async def _end(self) -> None:
        """Wait until the thread has nothing to do."""
        while True:
            await trio.lowlevel.wait_readable(self._bell)
            with suppress(BlockingIOError):
                self._bell.recv(1)
                self._is_busy = False
                return

    def stop(self) -> None:
        """End the thread, as soon as it has done the job that it may be at.

        Whoever waits for that job gets `trio.ClosedResourceError`.
        """
        if self._is_started:
            self._is_started = self._is_busy = False
            self._jobs.put(None)
            self._jobs = SimpleQueue()
            trio.lowlevel.notify_closing(self._bell)
            self._bell.close()


def _work(jobs: SimpleQueue[_Job | None], bell: socket.socket) -> None:
    with bell:
        while (job := jobs.get()) is not None:
            job()
            del job  # and what it holds
            with suppress(OSError):  # nobody waits any more
                bell.send(b".")
