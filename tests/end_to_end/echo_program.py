"""A server as a program, for tests that need a process: its limits, its signals, its exit status.

Arguments: the most descriptors it may have (0: as many as it has), and the grace in seconds. It
echoes; on the path /flood it sends without end, on /stubborn its handler ignores the end of the
connection; on /counters it answers with a JSON object of its counters, memory in KiB, descriptors
and tasks. The first line of its standard output is the port, the log goes to standard error.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import sys
from functools import partial

import trio

from wscore.trio import HTTPResponse, WebSocketServer, serve_until_signal


async def handler(request):
    connection = await request.accept()
    if request.path == "/flood":
        while True:
            await connection.send_message("x" * 100_000)
    if request.path == "/stubborn":
        await trio.sleep_forever()
    while True:
        await connection.send_message(await connection.get_message())


def memory() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


async def page(server: WebSocketServer, request):
    if request.path != "/counters":
        return None
    gc.collect()
    counters = server.counters
    report = {
        "open": counters.open,
        "accepted": counters.accepted,
        "ended": counters.ended,
        "closed": counters.closed,
        "handled": counters.accepted + counters.handshakes_lost,
        "accept_pauses": counters.accept_pauses,
        "memory": memory(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "tasks": trio.lowlevel.current_statistics().tasks_living,
    }
    return HTTPResponse(200, [(b"Content-Type", b"application/json")], json.dumps(report).encode())


async def main(descriptors: int, grace: float) -> None:
    if descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    # The hook needs the server, and the server the hook.
    server = WebSocketServer(handler, listeners, process_request=lambda r: page(server, r))
    print(server.port, flush=True)
    await serve_until_signal(server.run, grace=grace)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    trio.run(partial(main, int(sys.argv[1]), float(sys.argv[2])))
