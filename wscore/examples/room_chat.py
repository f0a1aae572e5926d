"""Rooms at /room/GROUP/: what one says, everyone in the group gets, the sender too.

With --redis, processes that name the same Redis share their groups. No Origin is checked.
"""

import sys

from wscore.examples._serving import page, parser, segments, serve
from wscore.trio import WebSocketConnection, WebSocketRequest, broadcast

PAGE = page("Rooms", "/room/{group}/")
groups: dict[str, set[WebSocketConnection]] = {}
shared = None  # the way to other processes


def deliver(group: str, text: str) -> None:
    """Send a text to those of a group who are here."""
    broadcast(groups.get(group, ()), text)


def lose(group: str) -> None:
    """Some texts may not have come: who is here has to come anew."""
    for connection in groups.get(group, ()):
        connection.close_nowait(1012, "texts may be missing")


async def chat(request: WebSocketRequest) -> None:
    """Serve one member of one group."""
    match segments(request):
        case ["room", group] if shared is None or await shared.enter(group):
            connection = await request.accept()
        case ["room", group]:
            return await request.reject(503)
        case _:
            return await request.reject(404)
    members = groups.setdefault(group, set())
    members.add(connection)
    try:
        async for text in connection:
            if shared is None and isinstance(text, str):
                deliver(group, text)
            elif shared and not await shared.publish(group, text):
                await connection.aclose(1013, "try again later")
    finally:
        members.remove(connection)
        if not members:
            del groups[group]
        if shared is not None:
            shared.leave(group)


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--redis", metavar="URL", help="like redis://localhost:6379/0")
    arguments = options.parse_args()
    if arguments.redis:
        from wscore.examples._relay import Relay

        shared = Relay(arguments.redis, deliver, lose)
    sys.exit(serve(chat, PAGE, arguments, *([shared.run] if shared else [])))
