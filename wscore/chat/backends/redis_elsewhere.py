"""Who is present in one room at other processes, as far as it was heard; imports no other layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from wscore.chat.model import Name, parse_name


class Elsewhere:
    """Puts together what the script says of a room; see `redis_presence_script`.

    Attributes:
        version: how many changes of the room are in it; None: nothing was heard yet.
    """

    __slots__ = ("_users", "version")

    def __init__(self) -> None:
        self.version: int | None = None
        self._users: dict[str, set[str]] = {}  # by process

    def take(self, answer: Sequence[Any], own: str) -> tuple[list[Name], list[Name]]:
        """Take an answer, of whatever age.

        Args:
            answer: version, kind, and what belongs to it.
            own: the process that is this one.

        Returns:
            Who came, and who left.
        """
        version = int(answer[0])
        if self.version is not None and version <= self.version:
            return [], []
        if answer[1] == b"all":
            before = self._everybody()
            self._users = {
                process.decode(): {user.decode() for user in users} for process, users in answer[2:]
            }
            self.version = version
            after = self._everybody()
            return _names(after - before), _names(before - after)
        changes = answer[2]
        known = len(changes) - (version - (self.version or 0))
        if known < 0:
            return [], []  # not what comes next
        self.version = version
        return self._change([change.decode() for change in changes[known:]], own)

    def _everybody(self) -> set[str]:
        return set().union(*self._users.values())

    def _change(self, changes: Iterable[str], own: str) -> tuple[list[Name], list[Name]]:
        before: dict[str, bool] = {}
        for change in changes:
            sign, process, user = change[0], *change[1:].partition(":")[::2]
            if process == own:
                continue
            users = self._users.setdefault(process, set())
            for each in (user,) if user else tuple(users):
                before.setdefault(each, self._is_here(each))
            match sign:
                case "+":
                    users.add(user)
                case "-":
                    users.discard(user)
                case _:
                    users.clear()
            if not users:
                del self._users[process]
        after = {user: self._is_here(user) for user in before}
        came = (user for user in before if after[user] and not before[user])
        left = (user for user in before if before[user] and not after[user])
        return _names(came), _names(left)

    def _is_here(self, user: str) -> bool:
        return any(user in users for users in self._users.values())


def _names(texts: Iterable[str]) -> list[Name]:
    return [name for name in map(parse_name, sorted(texts)) if name is not None]
