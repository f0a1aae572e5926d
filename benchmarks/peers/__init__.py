"""The libraries that are compared, each behind the same functions; imports a module for each.

A peer receives and sends by the means that its own users have, with all that belongs to it: text
checked and handed out as str, frames masked by a client. What is timed is `take`: a whole pass in
one call, so that no wrapper of ours is paid per message.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import import_module, metadata
from typing import Any, Protocol

Data = str | bytes


class Deflate(Enum):
    """How permessage-deflate is set.

    SAME is zlib's level 6, memory level 8 and a window of 2^15 bytes for all; DEFAULT is what each
    library takes if nobody says anything.
    """

    SAME = "level 6, window 15"
    DEFAULT = "each with its defaults"


@dataclass(frozen=True)
class Receiver:
    """An open connection that takes what its peer sent.

    Attributes:
        take: Takes a pass of chunks, drops the messages but the last, and returns that (or its last
            piece, where the library gives a message in pieces).
        messages: Takes a pass of chunks the same way and returns all messages.
    """

    take: Callable[[Sequence[bytes]], Any]
    messages: Callable[[Sequence[bytes]], list[Any]]


@dataclass(frozen=True)
class Sender:
    """An open connection that sends.

    Attributes:
        take: Sends a pass of messages, each to its bytes, which are dropped.
        wire: Sends a pass of messages the same way and returns all bytes.
    """

    take: Callable[[Sequence[Data]], object]
    wire: Callable[[Sequence[Data]], bytes]


@dataclass(frozen=True)
class Mask:
    """A masking function.

    Attributes:
        statement: The source of its call, with the names `mask`, `data` and `key`.
        function: What `mask` stands for.
        takes_bytearray: A function that copies does it from a bytearray too.
    """

    statement: str
    function: Callable[..., Any]
    takes_bytearray: bool = False


class Peer(Protocol):
    """A library; None stands for what it has no means for."""

    @property
    def name(self) -> str: ...

    @property
    def compiled(self) -> bool:
        """Whether its compiled parts are there."""

    def mask_in_place(self) -> Mask | None: ...

    def mask_copying(self) -> Mask | None: ...

    def receiver(self, role: str, text: bool, deflate: Deflate | None = None) -> Receiver | None:
        """Open a connection for receiving messages of one type."""

    def sender(self, role: str, text: bool, deflate: Deflate | None = None) -> Sender | None:
        """Open a connection for sending messages of one type."""


#: The module of those that are compared in masking alone.
MASKS = "benchmarks.peers.masks"
#: Each peer's module; it has a function `load`, which raises ImportError if the library is missing.
MODULES = {
    "wsproto": "benchmarks.peers.wsproto_api",
    "websockets": "benchmarks.peers.websockets_sansio",
    "aiohttp": "benchmarks.peers.aiohttp_parts",
    "picows": "benchmarks.peers.picows_protocol",
    "wsaccel": MASKS,
    "tornado": MASKS,
    "numpy": MASKS,
}


def find(names: Collection[str] = tuple(MODULES)) -> tuple[list[Peer], dict[str, str]]:
    """Load the peers of these names that are installed.

    Returns:
        Peers, and for each name its version or why it is left out.
    """
    peers: list[Peer] = []
    facts: dict[str, str] = {}
    for name, module in MODULES.items():
        if name not in names:
            facts[name] = "not asked for, left out"
            continue
        try:
            peer: Peer = import_module(module).load(name)
        except ImportError as exc:
            facts[name] = f"not installed, left out ({exc})"
            continue
        peers.append(peer)
        facts[name] = metadata.version(name) + (", compiled" if peer.compiled else ", plain Python")
    return peers, facts


def run(coroutine: Any) -> Any:
    """Run a coroutine that never has to wait, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("the coroutine waits")


def by_name(peers: Iterable[Peer], name: str) -> Peer | None:
    """Find a peer by its name."""
    return next((peer for peer in peers if peer.name == name), None)
