"""The way to Redis, one server or a Cluster; imports the ``redis`` modules below, coredis.

What is asked names its shard, and goes to the node that has it: always the same one where there is
one server; in a Cluster the one that `_survey` found, or finds when that one fails or says that it
is another one's.
"""

from __future__ import annotations

import logging
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from functools import partial, reduce
from hashlib import sha1
from itertools import repeat
from urllib.parse import urlsplit

import coredis
import trio
from coredis.patterns.pubsub import PubSub
from coredis.retry import NoRetryPolicy

from .base import CannotOpen, Unavailable
from .redis_durability import Durability
from .redis_node import FAILURES, Client, Command, Moved, Node, Reply
from .redis_shards import Shard, Shards
from .redis_topology import Address, Range, ranges

logger = logging.getLogger("wscore.chat")

Asked = tuple[Shard, Command]
Answered = list[Reply | Unavailable]

_TRIES = 3
"""How often something is asked that another node should have."""
_PAUSE = 0.5
"""Seconds between two looks at a Cluster that has no answer for everything."""
_SEED: Address = "", 0
"""The address of the one in the URL."""


class Link:
    """Asks a Redis or a Cluster; usable within `connected`, and for most once it is `known`.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with user, password and database; of a
            Cluster any node's.
        prefix: the hash tag that all keys begin with, or in a Cluster the first part of it.
        timeout: seconds until a Redis that does not answer is given up.
        replicas: how many have to have what is written, too.

    Attributes:
        place: the URL without secrets.
        known: set when it is known what is there.

    Raises:
        ValueError: the URL is none.
    """

    def __init__(self, url: str, prefix: str, timeout: float, replicas: int) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError(f"expected a URL like redis://host:6379/0, not {parts.scheme}://")
        self.place = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
        self.known = trio.Event()
        self._parts = parts
        self._has_tls = parts.scheme == "rediss"
        self._prefix = prefix
        self._database = sha1(
            f"{parts.path}?{parts.query}".encode(), usedforsecurity=False
        ).hexdigest()
        self._timeout = timeout
        self._replicas = replicas
        self.shards = Shards(prefix, self._database, is_spread=False)
        self._nodes: dict[Address, Node] = {}
        self._homes: dict[Shard, Node] = {}
        self._nursery: trio.Nursery | None = None
        self._is_stale = trio.Event()
        self._turn = trio.Lock()

    @property
    def is_reachable(self) -> bool:
        """Whether the last questions were answered, by all nodes."""
        homes = set(self._homes.values())
        return bool(homes) and all(node.is_reachable for node in homes)

    def _client(self, address: Address = _SEED) -> Client:
        parts = self._parts
        if address != _SEED:
            host, port = address
            login = parts.netloc.rpartition("@")[0]
            at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            parts = parts._replace(netloc=f"{login}@{at}" if login else at)
        return coredis.Redis.from_url(
            parts.geturl(),
            decode_responses=False,
            retry_policy=NoRetryPolicy(),
            stream_timeout=self._timeout,
            connect_timeout=self._timeout,
            pool_timeout=self._timeout,
            max_connections=1,
        )

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[None]:
        """Have clients, which connect when they are needed, until it is left."""
        async with trio.open_nursery() as self._nursery:
            try:
                self._nodes.clear()
                seed = self._node(_SEED)
                self._homes = dict.fromkeys(self._homes or self.shards.all(), seed)
                if self.shards.is_spread:
                    self._is_stale.set()
                self._nursery.start_soon(self._look_after)
                yield
            finally:
                self._nursery.cancel_scope.cancel()

    # --- Asking -----------------------------------------------------------------------------

    async def write(self, asked: Sequence[Asked]) -> Answered:
        """Carry out commands; those of one shard in this order, all of them or none.

        Returns:
            Replies; an `Unavailable` in place of one that nobody knows to be carried out.
        """

        return await self._ask(asked, self._write)

    async def read(self, asked: Sequence[Asked]) -> Answered:
        """Carry out commands that wait for nothing; those of one scheduler turn go together.

        Returns:
            Replies; an `Unavailable` in place of one that could not be had.
        """
        return await self._ask(asked, self._read)

    async def _ask(
        self, asked: Sequence[Asked], ask: Callable[[Sequence[Asked]], Awaitable[Answered]]
    ) -> Answered:
        answers = await ask(asked)
        for _ in range(_TRIES - 1):
            moved = [index for index, found in enumerate(answers) if isinstance(found, Moved)]
            if not moved:
                break
            await self._survey()
            for index, found in zip(moved, await ask([asked[n] for n in moved]), strict=True):
                answers[index] = found
        if self.shards.is_spread and any(isinstance(found, Unavailable) for found in answers):
            self._is_stale.set()
        return answers

    async def _write(self, asked: Sequence[Asked]) -> Answered:
        parts: dict[Node, dict[Shard, list[Command]]] = {}
        for shard, command in asked:
            parts.setdefault(self._homes[shard], {}).setdefault(shard, []).append(command)
        replies: dict[Shard, Iterator[Reply | Unavailable]] = {}

        async def write_to(node: Node, part: Mapping[Shard, Sequence[Command]]) -> None:
            for shard, found in (await node.write(part)).items():
                replies[shard] = repeat(found) if isinstance(found, Unavailable) else iter(found)

        if len(parts) == 1:
            await write_to(*parts.popitem())
        else:
            async with trio.open_nursery() as nursery:
                for node, part in parts.items():
                    nursery.start_soon(write_to, node, part)
        return [next(replies[shard]) for shard, _ in asked]

    async def _read(self, asked: Sequence[Asked]) -> Answered:
        waiting = [self._homes[shard].read(shard, command) for shard, command in asked]
        return [await answer.get() for answer in waiting]

    async def one(self, shard: Shard, command: Command) -> Reply:
        """Carry out one command that waits for nothing.

        Raises:
            Unavailable: Redis is out of reach.
        """
        (found,) = await self.read([(shard, command)])
        if isinstance(found, Unavailable):
            raise Unavailable(str(found))
        return found

    # --- Nodes ------------------------------------------------------------------------------

    def _node(self, address: Address) -> Node:
        if address not in self._nodes:
            assert self._nursery is not None, "not connected"
            place = self.place if address == _SEED else "{}:{}".format(*address)
            make = partial(self._client, address)
            node = self._nodes[address] = Node(place, make, self._replicas, self._timeout)
            self._nursery.start_soon(node.run)
        return self._nodes[address]

    async def _look_after(self) -> None:
        """Look again where the shards are whenever one was not found."""
        while True:
            await self._is_stale.wait()
            self._is_stale = trio.Event()
            if not await self._survey():
                self._is_stale.set()
            await trio.sleep(_PAUSE)

    async def _survey(self) -> bool:
        """Ask the nodes, one after the other, where all shards are; returns whether one knew."""
        async with self._turn:
            # Those first that answer: the others take their time not to.
            for node in sorted(self._nodes.values(), key=lambda node: not node.is_reachable):
                try:
                    client = await node.client()
                except Unavailable:
                    continue
                try:
                    found = [*ranges(await client.cluster_shards(), tls=self._has_tls)]
                except FAILURES as error:
                    logger.debug("%s does not know the Cluster: %s", node.place, error)
                    node.dropped(client)
                    continue
                if self._settle(found, node):
                    return True
        return False

    def _settle(self, found: Iterable[Range], by: Node) -> bool:
        """Take note which node has what; returns whether each shard has one."""
        homes: dict[Shard, Address] = {}
        own = next(address for address, node in self._nodes.items() if node is by)
        for first, last, (host, port) in found:
            host = host or own[0] or self._parts.hostname or "localhost"
            for shard in self.shards.all():
                if first <= shard.slot <= last:
                    homes[shard] = host, port
        if len(homes) < len(self.shards.all()):
            return False
        self._homes = {shard: self._node(address) for shard, address in homes.items()}
        # The one in the URL stays, as a name may lead to others later.
        for address in self._nodes.keys() - set(homes.values()) - {_SEED}:
            self._nodes.pop(address).close()
        return True

    async def check(self) -> str:
        """Reach Redis once, and learn what it is and promises.

        Raises:
            CannotOpen: it is out of reach, or refuses us.
        """
        try:
            promised = await self._check()
        except Unavailable as error:
            raise CannotOpen(f"cannot use {error}") from None
        except FAILURES as error:
            reason = str(error) or type(error).__name__
            raise CannotOpen(f"cannot use {self.place}: {reason}") from None
        self.known.set()
        wait = f"; an ok waits for {self._replicas} of them" if self._replicas else ""
        return f"{promised}{wait}"

    async def _check(self) -> str:
        client = await self._node(_SEED).client()
        about = await client.info("cluster")
        if not about.get("cluster_enabled"):
            promised: Durability = await self._node(_SEED).durability()
            await self.one(self.shards.main, ["ping"])
            return str(promised)
        self.shards = Shards(self._prefix, self._database, is_spread=True)
        self._homes = dict.fromkeys(self.shards.all(), self._node(_SEED))
        if not await self._survey():
            raise Unavailable(f"{self.place}: the Cluster does not have all slots")
        homes = set(self._homes.values())
        found = [await node.durability() for node in homes]
        for answer in await self.read([(shard, ["ping"]) for shard in self.shards.all()]):
            if isinstance(answer, Unavailable):
                raise Unavailable(str(answer))
        return f"Cluster of {len(homes)}, at least {reduce(Durability.weaker, found)}"

    @asynccontextmanager
    async def subscriber(self) -> AsyncGenerator[PubSub[bytes]]:
        """A subscription on a connection of its own; it ends with an exception, never silently."""
        address = _SEED
        if self.shards.is_spread:  # what one node hears, all do
            up = {node for node in self._homes.values() if node.is_reachable}
            address = next((at for at, node in self._nodes.items() if node in up), _SEED)
        async with (
            self._client(address) as client,
            client.pubsub(
                ignore_subscribe_messages=True,
                retry_policy=None,
                subscription_timeout=self._timeout,
                max_idle_seconds=self._timeout,
            ) as subscriber,
        ):
            yield subscriber
