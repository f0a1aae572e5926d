"""A feed that only pushes: one price a tick to everybody who is connected, on trio.

The handler neither reads nor sends; pings are answered, closes are noticed and clients that do not
read are cut all the same.
"""

import random
import sys
from functools import partial

import trio

from wscore.examples._serving import page, parser, serve
from wscore.trio import ConnectionClosed, WebSocketConnection, WebSocketRequest, broadcast

PAGE = page("Ticker", "/")
members: set[WebSocketConnection] = set()


async def subscribe(request: WebSocketRequest) -> None:
    """Keep one subscriber until it leaves."""
    connection = await request.accept()
    members.add(connection)
    try:
        async for _ in connection:
            pass  # whatever it says, nobody asked
    except ConnectionClosed:
        pass
    finally:
        members.discard(connection)


async def tick(seconds: float, task_status: trio.TaskStatus[None]) -> None:
    """Push a price each tick."""
    task_status.started()
    price = 100.0
    while True:
        await trio.sleep(seconds)
        price = max(1.0, price + random.gauss(0, 0.5))
        # One encoding for all; 64 KiB unsent are a few minutes of prices.
        result = broadcast(members, f"{price:.2f}", max_unsent=64 * 1024)
        for connection in result.cut:
            print(f"{connection.remote} did not keep up", file=sys.stderr)


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--every", type=float, default=1.0, metavar="SECONDS")
    arguments = options.parse_args()
    sys.exit(serve(subscribe, PAGE, arguments, partial(tick, arguments.every)))
