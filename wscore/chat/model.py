"""What the chat is about - names, logs, entries - as plain values; imports no other layer."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Literal, NamedTuple

NAME_LENGTH = 64
# NFC never shortens a string by more than the longest canonical decomposition (four code points
# for one), so a longer string cannot become a valid name. Checking first also keeps hostile
# runs of combining marks away from the normaliser, whose reordering is quadratic.
_LONGEST_RAW_NAME = 4 * NAME_LENGTH


class Name(NamedTuple):
    """A user's or room's name: ``key`` compares, ``text`` is shown."""

    key: str
    text: str


class Log(NamedTuple):
    """Which log: that of a room, or the inbox of a user; ``key`` is the key of their name."""

    kind: Literal["room", "inbox"]
    key: str


class Head(NamedTuple):
    """The end of a log: the life it is in, and the offset of its last entry (0: empty)."""

    epoch: str
    offset: int


class Entry(NamedTuple):
    """One stored message. ``to`` is None in a room's log; ``time`` is in ms since 1970 (UTC)."""

    offset: int
    sender: str
    to: str | None
    text: str
    time: int
    id: str


def _allowed(char: str) -> bool:
    category = unicodedata.category(char)
    return char in "-_." or category[0] in "LM" or category == "Nd"


def parse_name(raw: str) -> Name | None:
    """Normalise a name.

    Args:
        raw: what a client sent.

    Returns:
        The name, or None where it is not 1-64 letters, marks, decimal digits, ``-``, ``_``
        or ``.`` after NFC.
    """
    return _parse_short_name(raw) if 0 < len(raw) <= _LONGEST_RAW_NAME else None


@lru_cache(maxsize=4096)
def _parse_short_name(raw: str) -> Name | None:
    """Normalise a name of bounded length; the same ones come with every message."""
    text = unicodedata.normalize("NFC", raw)
    if len(text) > NAME_LENGTH or not all(map(_allowed, text)):
        return None
    return Name(unicodedata.normalize("NFC", text.casefold()), text)


def room_log(key: str) -> Log:
    """The log of the room whose name has this key."""
    return Log("room", key)


def inbox_log(key: str) -> Log:
    """The inbox of the user whose name has this key."""
    return Log("inbox", key)
