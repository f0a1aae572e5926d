"""Direct messages at /ws/NAME, /my_ws/NAME and /privateChat/NAME: from one person to one other.

A message is JSON; it goes unchanged to the person in its `receiver` or `to_user`. Whoever logs in
again takes the name over. Names are not proved and no Origin is checked: this is an example.
"""

import json
import sys

from wscore.examples._serving import logged_in, page, parser, segments, serve
from wscore.trio import WebSocketConnection, WebSocketRequest, broadcast

ONE, OTHER = ("sender", "data"), ("from_user", "message")
FIELDS = {"sender": "{name}", "receiver": "{to}", "data": "{text}"}
PAGE = page("Direct messages", "/ws/{name}", FIELDS)
online: dict[str, WebSocketConnection] = {}


async def chat(request: WebSocketRequest) -> None:
    """Serve one person."""
    match segments(request):
        case ["ws" | "my_ws" | "privateChat", name]:
            connection = await request.accept()
            with logged_in(online, name, connection):
                async for message in connection:
                    answer = pass_on(message)
                    if answer is not None:
                        await connection.send_message(json.dumps(answer, ensure_ascii=False))
        case _:
            await request.reject(404)


def pass_on(message: str | bytes) -> dict[str, str] | None:
    """Send a message to whom it is for; returns what its sender has to be told."""
    try:
        fields = json.loads(message)
        receiver = fields.get("receiver") or fields.get("to_user") or ""
    except (ValueError, AttributeError, RecursionError):
        return problem("this is no JSON object", ONE, OTHER)
    to = online.get(receiver) if isinstance(receiver, str) else None
    if to is not None and not broadcast([to], message).skipped:
        return None
    pair = OTHER if fields.keys() & {"from_user", "to_user"} else ONE
    return problem(f"{receiver} is not here" if receiver else "there is no receiver", pair)


def problem(text: str, *pairs: tuple[str, str]) -> dict[str, str]:
    """An answer that a page shows as a message of the server, by the fields that it looks at."""
    answer = {"error": text}
    for sender, content in pairs:
        answer |= {sender: "server", content: text}
    return answer


if __name__ == "__main__":
    sys.exit(serve(chat, PAGE, parser(__doc__).parse_args()))
