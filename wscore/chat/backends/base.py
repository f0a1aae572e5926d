"""The contract between the chat and its store; imports `model` and `others` only.

A back-end keeps logs, names and session secrets. What an author has to satisfy:

* **Order.** `Backend.write` is called with one batch at a time. Its commands take effect in
  the order given, each one wholly or not at all. Offsets of a log are 1, 2, 3, ... without holes.
* **Durability.** When `write` returns, what it reports as stored survives whatever the back-end
  promises to survive. When it raises `Unavailable`, nothing of the batch was stored - or, where
  the store is behind a network, nobody knows; a later call may succeed without further ado, and
  one with the same message ids finds what was stored.
* **Announcement.** Every new entry of a log that is followed is announced to the `Listener` given
  to `open`: on the thread of the event loop, in offset order within a log, once, after it is
  durable and, where this back-end's `write` stored it, before that returns. A duplicate is not
  announced again. A store that others write to announces what they stored as soon as it hears of
  it, in and between writes; the head that a `Claimed` or `Opened` gives of a log that is followed
  is never beyond what was announced.
* **Epochs.** A log's epoch names one life of it: a position in it means one message for ever. A
  back-end that finds that it lost a log, or had to begin it anew, gives it a new epoch, and tells
  the listener before anything else of that log.
* **Retention.** Only the oldest entries of a log are ever removed, and offsets go on. The pair of
  user and message id that stored an entry is remembered as long as the entry is kept - of a
  direct message: in either inbox - and for 24 hours from its time.
* **Refusals are values.** What a user did wrong is a `Refused` in the command's place in the
  result and never an exception; it does not touch the other commands of the batch.
* **Presence.** Where several processes share the store, it tells each of them who is present in a
  room at the others, for as long as the log of that room is followed: all of them before the
  `Opened` that first tells its head, and then what changes. Who is present in a process that
  dies is gone some seconds later. Nothing of that is kept, and nothing of it ever waits.
* **Cancellation.** A cancelled `write` may still be carried out, wholly or not at all. What it
  stores is announced before anything later. No call waits for a disk that does not answer once it
  is cancelled.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, NamedTuple, Protocol

from wscore.chat.model import Entry, Head, Log, Name
from wscore.chat.others import Others


class Unavailable(Exception):
    """The store is out of reach for now; the message says why, for the server's log."""


class CannotOpen(Exception):
    """The store cannot be used at all; the message is one clear line for the operator."""


class Claim(NamedTuple):
    """Claim a user's name with the hash of a session secret. Result: `Claimed`."""

    user: Name
    secret: bytes


class OpenRoom(NamedTuple):
    """Find a room, or create it. Result: `Opened`."""

    room: Name


class PostTo(NamedTuple):
    """Append to a room's log. ``sender`` and ``room`` are keys of names. Result: `Stored`."""

    sender: str
    room: str
    text: str
    id: str
    time: int


class SendTo(NamedTuple):
    """Append to the inboxes of both users, or to the one of a user who writes to themselves.

    ``sender`` and ``to`` are keys of names. Result: `Stored`, of the sender's inbox.
    """

    sender: str
    to: str
    text: str
    id: str
    time: int


class Claimed(NamedTuple):
    """The name is the caller's; ``user`` is its first spelling, ``inbox`` the end of its inbox."""

    user: str
    inbox: Head


class Opened(NamedTuple):
    """The room exists; ``room`` is its first spelling."""

    room: str
    head: Head


class Stored(NamedTuple):
    """The message is stored, or was stored before with the same id, text and recipient."""

    epoch: str
    offset: int
    time: int
    duplicate: bool


class Refused(NamedTuple):
    """The command was not done, and why, as one of the protocol's error codes."""

    code: Literal[
        "name_taken", "conflict", "unknown_user", "limit_reached", "unavailable", "internal"
    ]
    reason: str


LOST = Refused("unavailable", "the log was lost: reconnect")
"""To those who still write to a log of the epoch before."""
CONFLICT = Refused("conflict", "this id was used for another message")

Command = Claim | OpenRoom | PostTo | SendTo
Result = Claimed | Opened | Stored | Refused


class Listener(Protocol):
    """Who is told what happens to the logs, on the thread of the event loop; must not raise."""

    def announce(self, entries: Sequence[tuple[Log, Entry]]) -> None:
        """These entries were stored, in this order; those of one commit come together."""

    def reset(self, logs: Collection[Log] | None) -> None:
        """These logs, or all, began a new epoch, or can be followed no further.

        What was known of them is void, and so is who was present at other processes.
        """

    def present(self, room: Log, came: Collection[Name], left: Collection[Name]) -> None:
        """Who is present in a room at other processes and was not before, and who is no longer."""

    def typing(self, log: Log, user: Name) -> None:
        """At another process somebody writes in this room, or to the user with this inbox."""


class Page(NamedTuple):
    """Entries of a log in ascending order; ``start`` is the first offset that is still kept."""

    start: int
    entries: list[Entry]


class RoomHead(NamedTuple):
    """A known room, the offset of its last entry, and how many users are present.

    A store that only one process uses does not know who is present.
    """

    room: Name
    offset: int
    present: int = 0


class Health(NamedTuple):
    """What a store knows of itself.

    Attributes:
        engine: what it is, in a word.
        is_reachable: whether it answers; None: that shows when something is written.
        promise: what it means that something is stored; one line for the operator.
    """

    engine: str
    is_reachable: bool | None
    promise: str


class Backend(Others, Protocol):
    """A store of logs; see the module's docstring for the contract."""

    def health(self) -> Health:
        """How it is, without waiting; to be asked once it is open."""

    def open(self, listener: Listener) -> AbstractAsyncContextManager[None]:
        """Open the store for the time of the context.

        Raises:
            CannotOpen: the store cannot be used.
        """

    async def write(self, batch: Sequence[Command]) -> list[Result]:
        """Carry out commands.

        Returns:
            One result for each command, in the same order.

        Raises:
            Unavailable: nothing was stored.
        """

    async def read_after(self, log: Log, after: int, last: int, limit: int) -> Page:
        """The first ``limit`` entries with ``after < offset <= last``.

        Raises:
            Unavailable: the store is out of reach.
        """

    async def read_before(self, log: Log, before: int, limit: int) -> Page:
        """The last ``limit`` entries with ``offset < before``.

        Raises:
            Unavailable: the store is out of reach.
        """

    async def rooms(self, limit: int) -> list[RoomHead]:
        """Up to ``limit`` rooms: with most present, with the newest entries, then the newest.

        Raises:
            Unavailable: the store is out of reach.
        """
