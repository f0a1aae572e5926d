"""How far the changes of each shard were asked for; imports the ``redis`` modules below.

See `redis_changes_script` for what a position is, and what it is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wscore.chat.model import Log

from .redis_link import Asked
from .redis_node import Reply
from .redis_shards import Shard, log_of

_LOGS = 1000
"""Of how many logs is told at a time."""
_NOWHERE = ("", "0", "")


class Change(NamedTuple):
    """How far a log is: its epoch, last offset, and version of who is present."""

    log: Log
    epoch: str
    offset: int
    version: int


class Changes(NamedTuple):
    """What changed in a shard.

    Attributes:
        logs: which did; None: nobody knows, any may have.
        is_more: whether there are others.
    """

    logs: Sequence[Change] | None
    is_more: bool = False


class Positions:
    """Up to which change each shard was asked for."""

    def __init__(self) -> None:
        self._known: dict[Shard, Sequence[str]] = {}

    def question(self, shard: Shard) -> Asked:
        """What to ask Redis for what changed there since."""
        return shard, ["changes", *self._known.get(shard, _NOWHERE), str(_LOGS)]

    def take(self, shard: Shard, reply: Reply) -> Changes:
        """Take an answer: what it tells must be looked at, and is not told again."""
        changes = Changes(None)
        if reply[0] == b"changes":
            logs = [
                Change(log_of(name.decode()), epoch.decode(), int(last), int(version))
                for name, epoch, last, version in reply[5]
            ]
            changes = Changes(logs, is_more=reply[4] == b"1")
        self._known[shard] = [part.decode() for part in reply[1:4]]
        return changes
