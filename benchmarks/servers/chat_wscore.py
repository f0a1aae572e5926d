"""The chat of wscore, at ``/ws``, without limits of rate; of the options only its own are taken."""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

import trio

from benchmarks.servers._program import HOST, announce
from wscore.chat import ChatServer, Limits, MemoryBackend, SQLiteBackend
from wscore.chat.backends.base import Backend

#: Not where the system keeps files in memory: a commit has to reach the disk.
FOLDER = Path(__file__).parents[2] / "build"


async def main(backend: Backend) -> None:
    chat = ChatServer(backend, limits=Limits(rate=0))
    async with trio.open_nursery() as nursery:
        server = await nursery.start(chat.serve, HOST, 0)
        announce(server.port)


def on_redis(url: str, heartbeat: float | None) -> Backend:
    """Make the store that several processes share; it needs the extra ``redis``."""
    from wscore.chat.backends import redis_news
    from wscore.chat.backends.redis import RedisBackend

    if heartbeat is not None:
        redis_news._HEARTBEAT = heartbeat
    return RedisBackend(url)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory", action="store_true", help="keep nothing on the disk")
    parser.add_argument("--engine", help="the URL of a Redis that keeps everything")
    parser.add_argument("--heartbeat", type=float, help="seconds until all logs are looked at")
    parser.add_argument("--data", type=Path, help="the database (default: a new one)")
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if given.engine is not None:
        trio.run(main, on_redis(given.engine, given.heartbeat))
    elif given.memory:
        trio.run(main, MemoryBackend())
    elif given.data is not None:
        trio.run(main, SQLiteBackend(given.data))
    else:
        FOLDER.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            trio.run(main, SQLiteBackend(Path(folder, "chat.db")))
