"""What a Redis promises about what it said is stored; imports coredis."""

from __future__ import annotations

from typing import Any, NamedTuple

import coredis
from coredis.exceptions import BusyLoadingError, RedisError

_ORDER = ("off", "no", "unknown", "everysec", "always")


class Durability(NamedTuple):
    """What a Redis promises.

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

    def weaker(self, other: Durability) -> Durability:
        """What both of two promise."""
        return Durability(
            min(self.appendonly, other.appendonly, key=_ORDER.index),
            min(self.replicas, other.replicas),
            self.evicts or other.evicts,
            self.is_promoted or other.is_promoted,
        )


async def durability(client: coredis.Redis[bytes]) -> Durability:
    """Ask a Redis what it promises.

    Raises:
        RedisError, OSError: it does not answer.
    """
    persistence = await client.info("persistence")
    if persistence.get("loading"):
        # It says that it writes nothing to disk then, as it is about to read that.
        raise BusyLoadingError("it is loading what it has")
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
