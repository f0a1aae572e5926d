"""What a node of a Cluster says about who has which slots, as values; imports nothing of ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Address = tuple[str, int]


class Range(NamedTuple):
    """Slots from ``first`` to ``last``, and the primary that has them.

    Its host is empty where that is the host of the one who said it.
    """

    first: int
    last: int
    address: Address


def ranges(answer: Iterable[Mapping[Any, Any]], *, tls: bool) -> Iterator[Range]:
    """Read the answer to ``CLUSTER SHARDS``; slots that nobody serves are left out."""
    for shard in answer:
        slots: Sequence[int] = shard[b"slots"]
        for node in shard[b"nodes"]:
            if node[b"role"] == b"master" and node[b"health"] == b"online":
                address = _address(node, tls=tls)
                pairs = zip(slots[::2], slots[1::2], strict=True)
                yield from (Range(int(first), int(last), address) for first, last in pairs)


def _address(node: Mapping[bytes, Any], *, tls: bool) -> Address:
    name: bytes = node.get(b"endpoint") or b""
    port = node.get(b"tls-port") if tls else None
    return "" if name == b"?" else name.decode(), int(port or node[b"port"])
