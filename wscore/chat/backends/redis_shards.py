"""Which of Redis' hash tags, and so which node of a Cluster, holds what; imports `redis_script`.

On one Redis there is one tag. In a Cluster names and inboxes have one, as a direct message goes
into two inboxes in one piece, and rooms are spread over `_SPREAD` others. That number is part of
how the data lies, so it is the same for every Cluster.
"""

from __future__ import annotations

import hashlib
import zlib
from binascii import crc_hqx
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from wscore.chat.model import Log

from .redis_script import CHAT

_SPREAD = 64
_SLOTS = 16384


class Script(NamedTuple):
    """The script as one server has it, for one shard."""

    text: str
    sha: str


@dataclass(frozen=True)
class Shard:
    """What has one hash tag.

    Attributes:
        tag: without its braces.
        database: what tells its database from others of the same server.
    """

    tag: str
    database: str

    @property
    def prefix(self) -> str:
        """Of its keys."""
        return f"{{{self.tag}}}:"

    @property
    def life(self) -> str:
        """The key that names its life."""
        return f"{self.prefix}life"

    @cached_property
    def slot(self) -> int:
        """Of the Cluster."""
        return crc_hqx(self.tag.encode(), 0) % _SLOTS

    def script(self, run: str) -> Script:
        """The script for one run of a server.

        A script is known to the whole server for as long as it runs. So that one that is known says
        that the life of this very shard was looked at in this run, it differs by all of that.
        """
        text = f"-- {self.tag} {self.database}\nlocal RUN = '{run}'\n{CHAT}"
        return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class Shards:
    """All hash tags of one chat.

    Args:
        prefix: the first of them.
        database: what tells this one from others of the same server.
        is_spread: whether rooms have tags of their own, as in a Cluster.

    Attributes:
        main: where names and inboxes are.
        rooms: where rooms are; the main one, where they are not spread.
    """

    def __init__(self, prefix: str, database: str, *, is_spread: bool) -> None:
        self.main = Shard(prefix, database)
        self.rooms = [self.main]
        if is_spread:
            self.rooms = [Shard(f"{prefix}:{number}", database) for number in range(_SPREAD)]

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


def log_of(name: str) -> Log:
    """The log of a ``KIND:KEY``, whatever is before it, as in `Shards.channel`."""
    kind, key = name.split(":")[-2:]
    return Log("room" if kind == "room" else "inbox", key)
