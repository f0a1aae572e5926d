"""One Redis server: asked in order, with time-outs; imports the ``redis`` modules below, coredis.

Two connections: what is written goes over one, in order, what is read over the other, so that no
reader waits behind a commit. Nothing is sent twice by the client library: its retries would repeat
a write whose answer was lost. Whoever asks again does it with the same message id, and the script
knows it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import coredis
import msgspec
import trio
from coredis.exceptions import AskError, ClusterDownError, NoScriptError, RedisError

from .base import Unavailable
from .redis_durability import Durability, durability
from .redis_script import ENTER
from .redis_shards import Shard

Command = Sequence[str]
Reply = list[Any]
Client = coredis.Redis[bytes]

logger = logging.getLogger("wscore.chat")

FAILURES = (RedisError, OSError, anyio.ClosedResourceError, anyio.BrokenResourceError)
"""What the client library raises; the last two where a connection breaks while it is written to."""

_READS_TOGETHER = 50
_ENTRIES = 3
"""How often to begin a life and load the script, before giving up."""


class Moved(Unavailable):
    """Another node holds this now; nothing was done."""


class Node:
    """Asks a server; usable while `run` runs.

    Args:
        place: what it is called, without secrets.
        make: a client for it that is not entered yet, with one connection.
        replicas: how many have to have what is written, too.
        timeout: seconds within which the server has to answer.

    Attributes:
        is_reachable: whether the last question was answered.
    """

    def __init__(
        self, place: str, make: Callable[[], Client], replicas: int, timeout: float
    ) -> None:
        self.place = place
        self._replicas = replicas
        self._timeout = timeout
        self.is_reachable = False
        self._writer = _Line(make)
        self._reader = _Line(make)
        self._reads: list[tuple[Shard, Command, _Answer]] = []
        self._arrival = trio.Event()
        self._life = trio.CancelScope()

    async def run(self) -> None:
        """Have clients, which connect when they are needed, and read until closed."""
        try:
            with self._life:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._writer.run)
                    nursery.start_soon(self._reader.run)
                    nursery.start_soon(self._read)
        finally:
            self._life.cancel()

    def close(self) -> None:
        """End `run`."""
        self._life.cancel()

    async def client(self) -> Client:
        """The one for reading; `dropped` is to be told when it fails."""
        return await self._reader.get()

    def dropped(self, client: Client) -> None:
        """The client for reading failed."""
        self.is_reachable = False
        self._reader.drop(client)

    # --- Asking -----------------------------------------------------------------------------

    async def write(self, asked: Mapping[Shard, Sequence[Command]]) -> dict[Shard, Any]:
        """Carry out commands, of each shard all of them or none, and wait for the replicas.

        Returns:
            The replies of each shard, or an `Unavailable`: nobody knows whether it was done.
        """
        return await self._ask(self._writer, asked)

    def read(self, shard: Shard, command: Command) -> _Answer:
        """Carry out a command that waits for nothing; those of one turn go together."""
        answer = _Answer()
        if self._life.cancel_called:
            answer.set(self._closed())
        else:
            self._reads.append((shard, command, answer))
            self._arrival.set()
        return answer

    def _closed(self) -> Unavailable:
        return Unavailable(f"{self.place}: the connection was given up")

    async def _read(self) -> None:
        taken: list[tuple[Shard, Command, _Answer]] = []
        try:
            while True:
                await self._arrival.wait()
                taken = self._reads[:_READS_TOGETHER]
                del self._reads[:_READS_TOGETHER]
                if not self._reads:
                    self._arrival = trio.Event()
                asked: dict[Shard, list[Command]] = {}
                for shard, command, _ in taken:
                    asked.setdefault(shard, []).append(command)
                found = await self._ask(self._reader, asked)
                replies = {
                    shard: iter(found[shard])
                    for shard in asked
                    if not isinstance(found[shard], Unavailable)
                }
                for shard, _, answer in taken:
                    answer.set(next(replies[shard]) if shard in replies else found[shard])
                taken = []
        finally:  # who waits for an answer gets one, whatever ends
            for _, _, answer in [*taken, *self._reads]:
                answer.set(self._closed())
            self._reads.clear()

    async def _ask(self, line: _Line, asked: Mapping[Shard, Sequence[Command]]) -> dict[Shard, Any]:
        done: dict[Shard, Any] = {}
        failure: Exception | None = None
        try:
            client = await line.get()
            scripts = line.scripts
        except Unavailable as error:
            return dict.fromkeys(asked, error)
        try:
            for _ in range(_ENTRIES):
                rest = {shard: asked[shard] for shard in asked if shard not in done}
                scripts |= await self._enter(client, [each for each in rest if each not in scripts])
                calls = [(each, scripts[each], commands) for each, commands in rest.items()]
                found = await self._evaluate(
                    client, calls, self._replicas if line is self._writer else 0
                )
                for shard, result in found.items():
                    if not isinstance(result, Exception):
                        done[shard] = result
                    elif isinstance(result, NoScriptError) or "NOLIFE" in str(result):
                        scripts.pop(shard, None)
                    else:
                        failure = result
                        done[shard] = self._unavailable(result)
                if len(done) == len(asked):
                    break
        except FAILURES as error:
            failure = error
        if failure is None and len(done) == len(asked):
            self.is_reachable = True
            return done
        self.is_reachable = False
        line.drop(client)
        rest_failed = self._unavailable(failure or RedisError("the script is lost again and again"))
        return {shard: done.get(shard, rest_failed) for shard in asked}

    def _unavailable(self, error: Exception) -> Unavailable:
        if isinstance(error, Unavailable):
            return error
        kind = Moved if isinstance(error, AskError | ClusterDownError) else Unavailable
        return kind(f"{self.place}: {str(error) or type(error).__name__}")

    async def _evaluate(
        self, client: Client, calls: Sequence[tuple[Shard, str, Sequence[Command]]], wait: int
    ) -> dict[Shard, list[Reply] | Exception]:
        # A pipeline even of one: it drops a connection that does not answer in time.
        async with client.pipeline(transaction=False, raise_on_error=False) as pipeline:
            for shard, script, commands in calls:
                packed = map(msgspec.msgpack.encode, commands)
                arguments = [secrets.token_hex(8).encode(), *packed]
                pipeline.evalsha(script, keys=[shard.life], args=list(arguments))
            if wait:
                # On the same connection: it waits for what was written there.
                pipeline.wait(wait, round(self._timeout * 500))
        results: Any = pipeline.results
        if isinstance(results[0], TimeoutError):
            raise results[0]
        found = {call[0]: result for call, result in zip(calls, results, strict=False)}
        if wait:
            short: Exception | None = None
            if isinstance(results[-1], Exception):
                short = results[-1]
            elif int(results[-1]) < wait:
                short = Unavailable(
                    f"{self.place}: only {results[-1]} replicas have what was written"
                )
            if short is not None:
                found = {
                    shard: result if isinstance(result, Exception) else short
                    for shard, result in found.items()
                }
        return found

    async def _enter(self, client: Client, shards: Sequence[Shard]) -> dict[Shard, str]:
        """See what the server may have lost, and load the script; returns what it is called.

        In this order: who finds the script must find the new life.
        """
        if not shards:
            return {}
        kept = b"1" if (await durability(client)).keeps_all else b"0"
        async with client.pipeline(transaction=False, raise_on_error=False) as pipeline:
            for shard in shards:
                pipeline.eval(ENTER, keys=[shard.life], args=[kept, secrets.token_hex(8)])
        runs: Any = pipeline.results
        for run in runs:
            if isinstance(run, Exception):  # which the pipeline would raise with all of the script
                raise run
        scripts = {
            shard: shard.script(run.decode()) for shard, run in zip(shards, runs, strict=True)
        }
        async with client.pipeline(transaction=False) as pipeline:
            for script in scripts.values():
                pipeline.script_load(script.text)
        return {shard: script.sha for shard, script in scripts.items()}

    async def durability(self) -> Durability:
        """What the server promises.

        Raises:
            Unavailable: it does not answer.
        """
        client = await self.client()
        try:
            return await durability(client)
        except FAILURES as error:
            self.dropped(client)
            raise self._unavailable(error) from error


class _Line:
    """One client after the other: the next one when the last one failed.

    A connection that breaks while it is in use never comes back to the client's pool, and its place
    in there is gone for good; so the client goes with it.

    Args:
        make: a client that is not entered yet.

    Attributes:
        scripts: what the script is called that was loaded over this client, by shard; each client
            has a dictionary of its own.
    """

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self.scripts: dict[Shard, str] = {}
        self._client: Client | None = None
        self._is_up = trio.Event()
        self._is_broken = trio.Event()
        self._has_ended = False

    async def get(self) -> Client:
        """The client of now; it connects when it is used.

        Raises:
            Unavailable: there will be none.
        """
        while self._client is None:
            if self._has_ended:
                raise Unavailable("the connection was given up")
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
        try:
            while True:
                await self._have_one()
        finally:
            self._has_ended = True
            self._is_up.set()

    async def _have_one(self) -> None:
        self._is_broken = trio.Event()
        try:
            async with self._make() as client:
                self._client = client
                self.scripts = {}
                self._is_up.set()
                await self._is_broken.wait()
        except* FAILURES as errors:
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

    async def get(self) -> Reply | Unavailable:
        await self._event.wait()
        assert self._value is not None
        return self._value
