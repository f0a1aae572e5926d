"""Rooms at /room/GROUP/: what one says, everyone in the group gets, the sender too.

With --redis, processes that name the same Redis share their groups. No Origin is checked.
"""

import sys

from wscore.examples._serving import page, parser, segments, serve
from wscore.trio import WebSocketConnection, WebSocketRequest, broadcast

PAGE = page("Rooms", "/room/{group}/")
groups: dict[str, set[WebSocketConnection]] = {}


def deliver(group: str, text: str) -> None:
    """Send a text to those of a group who are here."""
    broadcast(groups.get(group, ()), text)


async def publish(group: str, text: str) -> bool:
    """Send a text to everyone in a group; returns whether that could be done."""
    deliver(group, text)
    return True


async def chat(request: WebSocketRequest) -> None:
    """Serve one member of one group."""
    match segments(request):
        case ["room", group]:
            connection = await request.accept()
        case _:
            return await request.reject(404)
    members = groups.setdefault(group, set())
    members.add(connection)
    try:
        async for text in connection:
            if isinstance(text, str) and not await publish(group, text):
                await connection.aclose(1013, "try again later")
    finally:
        members.remove(connection)
        if not members:
            del groups[group]


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--redis", metavar="URL", help="like redis://localhost:6379/0")
    arguments = options.parse_args()
    beside = []
    if arguments.redis:
        from wscore.examples._relay import Relay

        relay = Relay(arguments.redis, deliver)
        publish = relay.publish
        beside.append(relay.run)
    sys.exit(serve(chat, PAGE, arguments, *beside))
