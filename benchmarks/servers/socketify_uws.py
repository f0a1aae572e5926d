"""socketify: µWebSockets in C++ with callbacks in Python, and its own publish and subscribe."""

from __future__ import annotations

import socket
from typing import Any

from socketify import App, AppListenOptions, CompressOptions, OpCode

from benchmarks.servers._program import HOST, announce, options

ROOM = "room"
application = App()


def echo(connection: Any, message: str, opcode: OpCode) -> None:
    connection.send(message, opcode, True)


def publish(connection: Any, message: str, opcode: OpCode) -> None:
    application.publish(ROOM, message, opcode)


def drop(connection: Any, message: str, opcode: OpCode) -> None:
    return None


def join(connection: Any) -> None:
    connection.subscribe(ROOM)


def main() -> None:
    common = {"compression": CompressOptions.DEDICATED_COMPRESSOR, "idle_timeout": 960}
    application.ws("/", {**common, "message": echo})
    application.ws("/members", {**common, "open": join, "message": drop})
    application.ws("/publish", {**common, "message": publish})
    # It does not tell which port it got.
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    listen = AppListenOptions(port=port, host=HOST)
    application.listen(listen, lambda config: announce(port))
    application.run()


if __name__ == "__main__":
    options()
    main()
