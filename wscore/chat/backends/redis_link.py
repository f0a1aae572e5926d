"""The way to Redis: clients, time-outs, the script, durability; imports `base`, coredis and
its anyio.

Two connections: what is written goes over one, in order, what is read over the other, so that no
reader waits behind a commit. A third belongs to `redis_news`. Nothing is sent twice by the client
library: its retries would repeat a write whose answer was lost. Whoever asks again does it with the
same message id, and the script knows it.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio
import coredis
import msgspec
import trio
from coredis.exceptions import NoScriptError, RedisError
from coredis.patterns.pubsub import PubSub
from coredis.retry import NoRetryPolicy

from .base import CannotOpen, Unavailable
from .redis_script import CHAT, ENTER

Command = Sequence[str]
Reply = list[Any]
Client = coredis.Redis[bytes]

logger = logging.getLogger("wscore.chat")

_FAILURES = (RedisError, OSError, anyio.ClosedResourceError, anyio.BrokenResourceError)
"""What the client library raises; the last two where a connection breaks while it is written to."""

_SHA = hashlib.sha1(CHAT.encode(), usedforsecurity=False).hexdigest()
_READS_TOGETHER = 50
_ENTRIES = 3
"""How often to begin a life and load the script, before giving up."""


class Durability(NamedTuple):
    """What a Redis promises about what it said is stored.

    Attributes:
        appendonly: ``off``, ``always``, ``everysec`` or ``no`` (when the system likes to);
            ``unknown`` where the server does not say.
        replicas: how many are connected.
        evicts: whether it may throw keys away when its memory is full.
        is_promoted: whether it was a replica before.
    """

    appendonly: str
    replicas: int
    evicts: bool
    is_promoted: bool

    @property
    def keeps_all(self) -> bool:
        """Whether a restart of this server loses nothing that it acknowledged."""
        return self.appendonly == "always" and not self.is_promoted

    def __str__(self) -> str:
        kept = {
            "off": "appendonly off: a Redis that dies takes all since its last snapshot with it",
            "always": "appendonly always: what is acknowledged survives a killed Redis",
            "everysec": "appendonly everysec: power loss, or a kill while the disk is busy, takes"
            " up to two seconds of what is acknowledged",
            "no": "appendonly without fsync: power loss takes what the system had not written",
        }.get(self.appendonly, "Redis does not say whether it writes to disk")
        evicts = "; it may evict keys: set maxmemory-policy noeviction" if self.evicts else ""
        return f"{kept}; replicas: {self.replicas}{evicts}"


class Link:
    """Asks a Redis; usable within `connected`.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with user, password and database.
        prefix: what all keys begin with.
        timeout: seconds until a Redis that does not answer is given up.
        replicas: how many have to have what is written, too.

    Attributes:
        place: the URL without secrets.
        is_reachable: whether the last question was answered.

    Raises:
        ValueError: the URL is none.
    """

    def __init__(self, url: str, prefix: str, timeout: float, replicas: int) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError(f"expected a URL like redis://host:6379/0, not {parts.scheme}://")
        self.place = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
        self.prefix = f"{{{prefix}}}:"
        self._url = url
        self._timeout = timeout
        self._replicas = replicas
        self._life = f"{self.prefix}life"
        self.is_reachable = False
        self._writer = _Line(self._client)
        self._reader = _Line(self._client)
        self._reads: list[tuple[Command, _Answer]] = []
        self._arrival = trio.Event()

    def _client(self) -> Client:
        return coredis.Redis.from_url(
            self._url,
            decode_responses=False,
            retry_policy=NoRetryPolicy(),
            stream_timeout=self._timeout,
            connect_timeout=self._timeout,
            pool_timeout=self._timeout,
            max_connections=1,
        )

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[None]:
        """Have clients, which connect when they are needed, and read until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._writer.run)
            nursery.start_soon(self._reader.run)
            nursery.start_soon(self._read)
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()

    # --- Asking -----------------------------------------------------------------------------

    async def write(self, commands: Sequence[Command]) -> list[Reply]:
        """Carry out commands, all of them or none.

        Raises:
            Unavailable: nobody knows whether they were carried out.
        """
        return await self._ask(self._writer, commands)

    async def read(self, commands: Sequence[Command]) -> list[Reply]:
        """Carry out commands that only read; those of one scheduler turn go together.

        Raises:
            Unavailable: Redis is out of reach.
        """
        answers = [_Answer() for _ in commands]
        self._reads += zip(commands, answers, strict=True)
        self._arrival.set()
        return [await answer.get() for answer in answers]

    async def _read(self) -> None:
        while True:
            await self._arrival.wait()
            taken = self._reads[:_READS_TOGETHER]
            del self._reads[:_READS_TOGETHER]
            if not self._reads:
                self._arrival = trio.Event()
            found: Sequence[Reply | Unavailable]
            found = [Unavailable(f"{self.place}: the connection was given up")] * len(taken)
            try:
                found = await self._ask(self._reader, [command for command, _ in taken])
            except Unavailable as error:
                found = [error] * len(taken)
            finally:
                for (_, answer), reply in zip(taken, found, strict=True):
                    answer.set(reply)

    async def _ask(self, line: _Line, commands: Sequence[Command]) -> list[Reply]:
        client = await line.get()
        arguments = [secrets.token_hex(8).encode(), *map(msgspec.msgpack.encode, commands)]
        try:
            for attempt in range(_ENTRIES):
                found = await self._evaluate(client, arguments, wait=line is self._writer)
                if not isinstance(found, RedisError):
                    self.is_reachable = True
                    return found
                is_new = isinstance(found, NoScriptError) or "NOLIFE" in str(found)
                if not is_new or attempt == _ENTRIES - 1:
                    raise found
                await self._enter(client)
            raise AssertionError("the last attempt returns or raises")
        except _FAILURES as error:
            self.is_reachable = False
            line.drop(client)
            raise Unavailable(f"{self.place}: {str(error) or type(error).__name__}") from error

    async def _evaluate(
        self, client: Client, arguments: Sequence[bytes], *, wait: bool
    ) -> list[Reply] | RedisError:
        # A pipeline even of one: it drops a connection that does not answer in time.
        async with client.pipeline(transaction=False, raise_on_error=False) as pipeline:
            pipeline.evalsha(_SHA, keys=[self._life], args=list(arguments))
            if wait and self._replicas:
                # On the same connection: it waits for what was written there.
                pipeline.wait(self._replicas, round(self._timeout * 500))
        results: Any = pipeline.results
        if isinstance(results[0], TimeoutError):
            raise results[0]
        if wait and self._replicas and not isinstance(results[0], RedisError):
            if isinstance(results[1], Exception):
                raise results[1]
            if int(results[1]) < self._replicas:
                raise Unavailable(f"{self.place}: only {results[1]} replicas have what was written")
        found: list[Reply] | RedisError = results[0]
        return found

    async def _enter(self, client: Client) -> None:
        """Load the script, which a restarted server does not have, and see what it may have lost.

        In this order, and on one connection: who finds the script must find the new life.
        """
        durability = await _durability(client)
        kept = b"1" if durability.keeps_all else b"0"
        async with client.pipeline(transaction=False) as pipeline:
            pipeline.eval(ENTER, keys=[self._life], args=[kept, secrets.token_hex(8)])
            pipeline.script_load(CHAT)

    async def check(self) -> str:
        """Reach Redis once, and learn what it promises.

        Raises:
            CannotOpen: it is out of reach, or refuses us.
        """
        try:
            durability = await _durability(await self._reader.get())
            await self.read([["ping"]])
        except Unavailable as error:
            raise CannotOpen(f"cannot use {error}") from None
        except _FAILURES as error:
            reason = str(error) or type(error).__name__
            raise CannotOpen(f"cannot use {self.place}: {reason}") from None
        wait = f"; an ok waits for {self._replicas} of them" if self._replicas else ""
        return f"{durability}{wait}"

    @asynccontextmanager
    async def subscriber(self) -> AsyncGenerator[PubSub[bytes]]:
        """A subscription on a connection of its own; it ends with an exception, never silently."""
        async with (
            self._client() as client,
            client.pubsub(
                ignore_subscribe_messages=True,
                retry_policy=None,
                subscription_timeout=self._timeout,
                max_idle_seconds=self._timeout,
            ) as subscriber,
        ):
            yield subscriber


class _Line:
    """One client after the other: the next one when the last one failed.

    A connection that breaks while it is in use never comes back to the client's pool, and its place
    in there is gone for good; so the client goes with it.

    Args:
        make: a client that is not entered yet.
    """

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self._client: Client | None = None
        self._is_up = trio.Event()
        self._is_broken = trio.Event()

    async def get(self) -> Client:
        """The client of now; it connects when it is used."""
        while self._client is None:
            await self._is_up.wait()
        return self._client

    def drop(self, client: Client) -> None:
        """This client failed."""
        if client is self._client:
            self._client = None
            self._is_up = trio.Event()
            self._is_broken.set()

    async def run(self) -> None:
        """Have a client until cancelled."""
        while True:
            self._is_broken = trio.Event()
            try:
                async with self._make() as client:
                    self._client = client
                    self._is_up.set()
                    await self._is_broken.wait()
            except* _FAILURES as errors:
                logger.debug("a connection ended: %s", errors.exceptions)
            finally:
                if self._client is not None:
                    self.drop(self._client)


class _Answer:
    """What somebody waits for."""

    __slots__ = ("_event", "_value")

    def __init__(self) -> None:
        self._event = trio.Event()
        self._value: Reply | Unavailable | None = None

    def set(self, value: Reply | Unavailable) -> None:
        self._value = value
        self._event.set()

    async def get(self) -> Reply:
        await self._event.wait()
        if isinstance(self._value, Unavailable):
            raise Unavailable(str(self._value))
        assert self._value is not None
        return self._value


async def _durability(client: Client) -> Durability:
    persistence = await client.info("persistence")
    replication: dict[str, Any] = dict(await client.info("replication"))
    memory = await client.info("memory")
    appendonly = "off"
    if persistence.get("aof_enabled"):
        try:
            found = await client.config_get(["appendfsync"])
            value: Any = found.get(b"appendfsync", found.get("appendfsync", "unknown"))  # type: ignore[call-overload]
            appendonly = value.decode() if isinstance(value, bytes) else str(value)
        except RedisError:  # where configuring is forbidden
            appendonly = "unknown"
    return Durability(
        appendonly,
        int(replication.get("connected_slaves", 0)),
        str(memory.get("maxmemory_policy", "noeviction")) != "noeviction",
        str(replication.get("master_replid2", "")).strip("0") != "",
    )
