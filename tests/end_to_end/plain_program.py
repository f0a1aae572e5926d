"""A server run by `trio.run` alone, without anything that listens to signals.

Arguments: files of a certificate chain and of its key, for TLS; none, for none. What its handler
does is the path: on /waits it waits for messages, on /sends it sends without end, on /computes it
never lets go of the processor. The lines of its standard output are the port, and `ready` when a
handler begins with that.
"""

from __future__ import annotations

import logging
import ssl
import sys

import trio

from wscore.trio import WebSocketRequest, serve_websocket


async def handler(request: WebSocketRequest) -> None:
    connection = await request.accept()
    await connection.send_message("here")
    while connection.bytes_unsent:
        await trio.lowlevel.checkpoint()
    print("ready", flush=True)
    while request.path == "/sends":
        await connection.send_message("x" * 100)
    while request.path == "/computes":
        pass
    await connection.get_message()


async def main() -> None:
    context = None
    if sys.argv[1:]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*sys.argv[1:])
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, handler, "127.0.0.1", 0, context)
        print(server.port, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    trio.run(main)
