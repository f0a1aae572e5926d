"""Everything that is written goes through here, in order, in batches; imports `backends.base`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import trio

from .backends.base import Backend, Command, Refused, Result, Unavailable

logger = logging.getLogger("wscore.chat")

_LARGEST_BATCH = 1000
_QUIET_TURNS = 2
"""Turns of the scheduler without a new command until nobody is about to submit one: what came in
on a socket is read in one turn, and handled in the next."""

Reply = tuple[int, str]
"""A connection's number, and what it is to be sent."""
Replies = Sequence[Reply]
Done = Callable[[Result], Reply | None]


class Journal:
    """Gathers the commands of all connections while one batch is being written.

    One `Backend.write` is in flight at a time; what is submitted meanwhile is the next batch. So
    the cost of a commit is shared by all who wait for it, and a command submitted after another
    one takes effect after it.

    Args:
        backend: the open store.
        deliver: called with the replies of each batch, when all its results were taken.
    """

    def __init__(self, backend: Backend, deliver: Callable[[Replies], None]) -> None:
        self._backend = backend
        self._deliver = deliver
        self._queue: list[tuple[Command, Done]] = []
        self._arrival = trio.Event()
        self._duration = 0.0
        self.is_writing = False
        """Whether a batch is on its way, after which ``deliver`` is called."""

    def submit(self, command: Command, done: Done) -> None:
        """Queue a command.

        Args:
            command: what to write.
            done: called with the result, on the thread of the event loop; returns the reply, if
                there is one.
        """
        self._queue.append((command, done))
        self._arrival.set()

    async def ask(self, command: Command) -> Result:
        """Submit a command and wait for its result."""
        answered = trio.Event()
        results: list[Result] = []

        def done(result: Result) -> None:
            results.append(result)
            answered.set()

        self.submit(command, done)
        await answered.wait()
        return results[0]

    async def run(self) -> None:
        """Write until cancelled; a batch that is on its way to the store is finished first."""
        while True:
            await self._arrival.wait()
            await self._gather()
            batch = self._queue[:_LARGEST_BATCH]
            del self._queue[:_LARGEST_BATCH]
            if not self._queue:
                self._arrival = trio.Event()
            replies: list[Reply] = []
            self.is_writing = True
            began = trio.current_time()
            try:
                results = await self._write([command for command, _ in batch])
                for (_, done), result in zip(batch, results, strict=True):
                    try:
                        reply = done(result)
                    except Exception:  # one connection's mistake is not the others' end
                        logger.exception("a result could not be taken")
                    else:
                        if reply is not None:
                            replies.append(reply)
            finally:
                self._duration = trio.current_time() - began
                self.is_writing = False
                self._deliver(replies)

    async def _gather(self) -> None:
        """Let those who are about to submit do so, for as long as the last write took at most.

        Whoever has just been answered comes again at the same time as all the others; with the
        first of them alone in a batch, all others would wait for two writes.
        """
        deadline = trio.current_time() + self._duration
        count, turns = 0, 0
        while turns < _QUIET_TURNS and len(self._queue) < _LARGEST_BATCH:
            if trio.current_time() >= deadline:
                return
            turns = turns + 1 if len(self._queue) == count else 0
            count = len(self._queue)
            await trio.lowlevel.checkpoint()

    async def _write(self, commands: list[Command]) -> list[Result]:
        refused: Result
        try:
            return await self._backend.write(commands)
        except Unavailable as error:
            logger.error("the store is unavailable: %s", error)
            refused = Refused("unavailable", "the store is out of reach: try again")
        except Exception:
            logger.exception("the store failed")
            refused = Refused("internal", "the server made a mistake; nothing was stored")
        return [refused] * len(commands)
