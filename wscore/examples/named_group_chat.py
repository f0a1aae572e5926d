"""A group chat with names at /groupchat/NAME: what one says, all get, the sender too.

A message is JSON, with `from_user` and `info`. Whoever logs in again takes the name over. Names are
not proved and no Origin is checked: this is an example.
"""

import json
import sys

from wscore.examples._serving import logged_in, page, parser, segments, serve
from wscore.trio import WebSocketConnection, WebSocketRequest, broadcast

PAGE = page("Group chat with names", "/groupchat/{name}", {"from_user": "{name}", "info": "{text}"})
PROBLEM = "this is no JSON object"
online: dict[str, WebSocketConnection] = {}


async def chat(request: WebSocketRequest) -> None:
    """Serve one member."""
    match segments(request):
        case ["groupchat", name]:
            connection = await request.accept()
            with logged_in(online, name, connection):
                async for message in connection:
                    if is_object(message):
                        broadcast(online.values(), message)
                    else:
                        answer = {"error": PROBLEM, "from_user": "server", "info": PROBLEM}
                        await connection.send_message(json.dumps(answer))
        case _:
            await request.reject(404)


def is_object(message: str | bytes) -> bool:
    """Whether a message is something that the others' pages can read."""
    try:
        return isinstance(message, str) and isinstance(json.loads(message), dict)
    except (ValueError, RecursionError):
        return False


if __name__ == "__main__":
    sys.exit(serve(chat, PAGE, parser(__doc__).parse_args()))
