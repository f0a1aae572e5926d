"""An echo client on wscore.trio with permessage-deflate on, for a fuzzing server's cases.

`trio_client.py PORT` asks the server at that port of the loopback how many cases it has, runs each,
and has the report written.
"""

from __future__ import annotations

import sys

import trio

from wscore.trio import ConnectionClosed, open_websocket_url

AGENT = "sut"
#: The largest messages of the suite have 16 MiB.
MAX_MESSAGE_SIZE = 32 * 2**20


async def converse(url: str, *, echo: bool) -> str:
    """Run one connection to its end and return the text that it brought."""
    text = ""
    async with open_websocket_url(
        url, compression=True, max_message_size=MAX_MESSAGE_SIZE
    ) as connection:
        try:
            while True:
                message = await connection.get_message()
                if echo:
                    await connection.send_message(message)
                else:
                    text += str(message)
        except ConnectionClosed:
            pass
    return text


async def main() -> None:
    """Run all cases."""
    server = f"ws://127.0.0.1:{int(sys.argv[1])}"
    count = int(await converse(f"{server}/getCaseCount", echo=False))
    for case in range(1, count + 1):
        await converse(f"{server}/runCase?case={case}&agent={AGENT}", echo=True)
        print(f"\rcase {case} of {count}", end="", flush=True)
    await converse(f"{server}/updateReports?agent={AGENT}", echo=False)
    print()


if __name__ == "__main__":
    trio.run(main)
