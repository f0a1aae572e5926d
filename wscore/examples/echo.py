"""A server that answers every text; ``--connect URL TEXT ...`` is a client that says something.

The interactive client is ``wscore connect URL``. No Origin is checked.
"""

import sys
from collections.abc import Sequence

import trio

from wscore.examples._serving import page, parser, serve
from wscore.trio import (
    ConnectionClosed,
    HandshakeError,
    WebSocketRequest,
    open_websocket_url,
)

PAGE = page("Echo", "/")


async def echo(request: WebSocketRequest) -> None:
    """Answer what one client says."""
    connection = await request.accept()
    async for message in connection:
        if isinstance(message, str):
            await connection.send_message(f"Server received: {message}")


async def say(url: str, texts: Sequence[str]) -> None:
    """Send texts, and print the answer to each."""
    async with open_websocket_url(url) as connection:
        for text in texts:
            await connection.send_message(text)
            print(await connection.get_message())


def main() -> int:
    """Run the program."""
    options = parser(__doc__)
    options.add_argument("--connect", nargs="+", metavar=("URL", "TEXT"), help="be a client")
    arguments = options.parse_args()
    if not arguments.connect:
        return serve(echo, PAGE, arguments)
    url, *texts = arguments.connect
    try:
        trio.run(say, url, texts)
    except (HandshakeError, ConnectionClosed, ValueError) as error:
        print(f"cannot talk to {url}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
