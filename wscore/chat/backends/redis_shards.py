"""Which of Redis' hash tags, and so which node of a Cluster, holds what; imports `redis_script`.

On one Redis there is one tag. In a Cluster names and inboxes have one, as a direct message goes
into two inboxes in one piece, and rooms are spread over `_SPREAD` others. That number is part of
how the data lies, so it is the same for every Cluster.
"""

from __future__ import annotations

import hashlib
import zlib
from binascii import crc_hqx
from dataclasses import dataclass, field

from wscore.chat.model import Log

from .redis_script import CHAT

_SPREAD = 64
_SLOTS = 16384


@dataclass(frozen=True)
class Shard:
    """What has one hash tag.

    Attributes:
        tag: without its braces.
        salt: what the script differs by from that of others on the same server. A script is known
            to the whole server; one that is not known says that the server was started since.
        prefix: of its keys.
        life: the key that names its life.
        script: what is evaluated there.
        sha: the script's name.
        slot: of the Cluster.
    """

    tag: str
    salt: str
    prefix: str = field(init=False)
    life: str = field(init=False)
    script: str = field(init=False, repr=False)
    sha: str = field(init=False)
    slot: int = field(init=False)

    def __post_init__(self) -> None:
        prefix = f"{{{self.tag}}}:"
        script = f"-- {self.tag} {self.salt}{CHAT}"
        found = {
            "prefix": prefix,
            "life": f"{prefix}life",
            "script": script,
            "sha": hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest(),
            "slot": crc_hqx(self.tag.encode(), 0) % _SLOTS,
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)


class Shards:
    """All hash tags of one chat.

    Args:
        prefix: the first of them.
        salt: what tells this database from others of the same server.
        is_spread: whether rooms have tags of their own, as in a Cluster.

    Attributes:
        main: where names and inboxes are.
        rooms: where rooms are; the main one, where they are not spread.
    """

    def __init__(self, prefix: str, salt: str, *, is_spread: bool) -> None:
        self.main = Shard(prefix, salt)
        self.rooms = [self.main]
        if is_spread:
            self.rooms = [Shard(f"{prefix}:{number}", salt) for number in range(_SPREAD)]

    @property
    def is_spread(self) -> bool:
        """Whether rooms lie elsewhere than names."""
        return self.rooms[0] is not self.main

    def all(self) -> list[Shard]:
        """Each of them once."""
        return [self.main, *(shard for shard in self.rooms if shard is not self.main)]

    def of(self, log: Log) -> Shard:
        """The one that holds a log."""
        if log.kind == "inbox":
            return self.main
        return self.rooms[zlib.crc32(log.key.encode()) % len(self.rooms)]

    def channel(self, log: Log) -> str:
        """Where is said what is new in a log."""
        return f"{self.of(log).prefix}news:{log.kind}:{log.key}"


def log_of(channel: str) -> Log:
    """The log that a channel of `Shards.channel` is of."""
    kind, key = channel.rsplit(":", 2)[1:]
    return Log("room" if kind == "room" else "inbox", key)
