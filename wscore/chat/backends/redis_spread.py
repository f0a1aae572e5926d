"""What a batch does with names before it does something in rooms; imports the ``redis`` modules.

In a Cluster rooms lie on other nodes than names. So what a room's node has to know of names - how a
sender is spelled, whether there may be one more room, and how old it is - is found out first, in
the same call that carries out what is about names and inboxes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from . import base
from .base import Unavailable
from .redis_link import Link
from .redis_node import Command, Reply


@dataclass
class Prelude:
    """What is known before rooms are looked at.

    Attributes:
        done: outcomes of the commands that need no room, by their index.
        names: how senders are spelled, by key; empty: there is no such user.
        ages: of rooms that are to be opened, by key.
    """

    done: dict[int, Reply | Unavailable] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    ages: dict[str, str] = field(default_factory=dict)


async def play(
    link: Link,
    batch: Sequence[base.Command],
    max_rooms: str,
    name: Callable[[str], str],
    translate: Callable[[base.Claim | base.SendTo], Command],
) -> Prelude:
    """Do what comes before the rooms.

    Args:
        link: to the Cluster.
        batch: all that is to be done.
        max_rooms: how many there can be.
        name: how a sender is spelled, given the key, where that is known here; else nothing.
        translate: says a command that needs no room to the script.
    """
    found = Prelude()
    first: list[tuple[int, list[str] | Command]] = []
    for index, command in enumerate(batch):
        match command:
            case base.OpenRoom(room):
                first.append((index, ["reserve", room.key, max_rooms]))
            case base.PostTo(sender):
                found.names[sender] = name(sender)
                if not found.names[sender]:
                    first.append((index, ["name", sender]))
            case _:
                first.append((index, translate(command)))
    replies = await link.write([(link.shards.main, asked) for _, asked in first])
    for (index, asked), reply in zip(first, replies, strict=True):
        if isinstance(reply, Unavailable):
            found.done[index] = reply
        elif reply[0] == b"reserved":
            found.ages[asked[1]] = reply[1].decode()
        elif reply[0] == b"name":
            found.names[asked[1]] = reply[1].decode()
        else:
            found.done[index] = reply
    return found
