"""A client that stays connected: it says hello to a server each time, and prints what comes.

``python -m wscore.examples.reconnecting_client URL``. Servers that restart are found again, with
growing pauses; one that refuses for good ends the program.
"""

import sys

import trio

from wscore.trio import ConnectionClosed, HandshakeError, reconnect_websocket_url


async def listen(url: str) -> None:
    """Print messages for as long as connecting again can help."""
    async with reconnect_websocket_url(url) as connections:
        async for connection in connections:
            print(f"connected to {connection.remote}", flush=True)
            try:
                await connection.send_message("hello")
                async for message in connection:
                    print(message, flush=True)
            except ConnectionClosed as error:
                print(f"lost: {error}", file=sys.stderr)


def main() -> int:
    """Run the program."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        trio.run(listen, sys.argv[1])
    except KeyboardInterrupt:
        return 0
    except (HandshakeError, ValueError) as error:
        print(f"cannot connect: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
