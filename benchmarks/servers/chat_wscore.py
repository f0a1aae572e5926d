"""The chat of wscore, at ``/ws``, without limits of rate; of the options only its own are taken."""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from benchmarks.servers._program import HOST, announce
from wscore.chat import ChatServer, Limits, MemoryBackend, SQLiteBackend
from wscore.chat.backends.base import Backend, Command, Listener, PostTo, Result
from wscore.chat.backends.worker import Worker

#: Not where the system keeps files in memory: a commit has to reach the disk.
FOLDER = Path(__file__).parents[2] / "build"


#: Of the file that `OneSync` writes, round and round: what a database's log comes to.
_LOG_BYTES = 32 << 20


class BesideThread(MemoryBackend):
    """In memory, beside a thread that does something with the disk for each batch."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._held = ExitStack()  # until it is closed
        self._worker = Worker(name)
        self._held.callback(self._worker.stop)

    @asynccontextmanager
    async def open(self, listener: Listener) -> AsyncGenerator[None]:
        with self._held:
            async with super().open(listener):
                yield


class OneSync(BesideThread):
    """The least that any store on a disk does: a thread writes the texts of a batch and syncs.

    Nothing can be read back from it: no names, no ids, no order that survives. Its file has its
    size from the start, so that a sync has no change of size to write.
    """

    def __init__(self, path: Path) -> None:
        super().__init__("one sync")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)
        self._held.callback(os.close, self._file)
        os.write(self._file, bytes(_LOG_BYTES))
        os.fsync(self._file)
        self._end = 0

    async def write(self, batch: Sequence[Command]) -> list[Result]:
        texts = "".join(command.text for command in batch if isinstance(command, PostTo)).encode()
        await self._worker.run(partial(self._sync, texts))
        return await super().write(batch)

    def _sync(self, texts: bytes) -> None:
        if self._end + len(texts) > _LOG_BYTES:
            self._end = 0
        os.pwrite(self._file, texts, self._end)
        self._end += len(texts)
        os.fdatasync(self._file)


async def main(backend: Backend) -> None:
    chat = ChatServer(backend, limits=Limits(rate=0))
    async with trio.open_nursery() as nursery:
        server = await nursery.start(chat.serve, HOST, 0)
        announce(server.port)


def on_redis(given: argparse.Namespace) -> Backend:
    """Make the store that several processes share; it needs the extra ``redis``."""
    from wscore.chat.backends import redis_news
    from wscore.chat.backends.redis import RedisBackend
    from wscore.chat.backends.redis_changes import Changes, Positions
    from wscore.chat.backends.redis_node import Reply
    from wscore.chat.backends.redis_shards import Shard

    lease = 10.0
    if given.heartbeat is not None:
        redis_news._HEARTBEAT = given.heartbeat
        lease *= given.heartbeat / 2  # that of presence keeps step
    if given.round is not None:
        redis_news._ROUND = given.round
    if given.forgets:
        take = Positions.take

        def take_and_forget(self: Positions, shard: Shard, reply: Reply) -> Changes:
            known = dict(self._known)
            changes = take(self, shard, reply)
            self._known |= known
            return changes

        Positions.take = take_and_forget  # type: ignore[method-assign]
    return RedisBackend(given.engine, lease=lease)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory", action="store_true", help="keep nothing on the disk")
    parser.add_argument("--one-sync", action="store_true", help="only write and sync each batch")
    parser.add_argument("--engine", help="the URL of a Redis that keeps everything")
    parser.add_argument("--heartbeat", type=float, help="seconds between two")
    parser.add_argument("--round", type=float, help="seconds in which each log is looked at")
    parser.add_argument("--forgets", action="store_true", help="be told of all at each heartbeat")
    parser.add_argument("--data", type=Path, help="the database (default: a new one)")
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if given.engine is not None:
        trio.run(main, on_redis(given))
    elif given.memory:
        trio.run(main, MemoryBackend())
    elif given.data is not None:
        trio.run(main, SQLiteBackend(given.data))
    else:
        FOLDER.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            path = Path(folder, "chat.db")
            trio.run(main, OneSync(path) if given.one_sync else SQLiteBackend(path))
