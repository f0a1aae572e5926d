"""A group chat at /ws: what one says, all the others get.

Anybody may connect: no Origin is checked, so that a page opened from a file works too.
"""

import sys

from wscore.examples._serving import page, parser, segments, serve
from wscore.trio import WebSocketConnection, WebSocketRequest, broadcast

PAGE = page("Group chat", "/ws")
members: set[WebSocketConnection] = set()


async def chat(request: WebSocketRequest) -> None:
    """Serve one member."""
    if segments(request) != ["ws"]:
        await request.reject(404)
        return
    connection = await request.accept()
    members.add(connection)
    try:
        async for message in connection:
            if isinstance(message, str):
                # Waits for nobody; those who vanished or do not read are no trouble to the others.
                broadcast(members - {connection}, message)
    finally:
        members.remove(connection)


if __name__ == "__main__":
    sys.exit(serve(chat, PAGE, parser(__doc__).parse_args()))
