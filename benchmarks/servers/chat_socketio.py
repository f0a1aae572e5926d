"""A chat on python-socketio, on uvicorn: its rooms and its acknowledgements; nothing is stored."""

from __future__ import annotations

import asyncio
from collections import Counter

import socketio
import uvicorn
import uvloop

from benchmarks.servers._program import announce, free_socket, options

sio = socketio.AsyncServer(async_mode="asgi")
offsets: Counter[str] = Counter()


@sio.event  # type: ignore[untyped-decorator]
async def join(session: str, room: str) -> None:
    await sio.enter_room(session, room)


@sio.event  # type: ignore[untyped-decorator]
async def post(session: str, request: dict[str, str]) -> dict[str, int]:
    room = request["room"]
    offsets[room] += 1
    offset = offsets[room]
    push = {"type": "message", "room": room, "text": request["text"], "offset": offset}
    await sio.emit("message", push, room=room)
    return {"offset": offset}


async def main() -> None:
    listener = free_socket()
    config = uvicorn.Config(
        socketio.ASGIApp(sio), ws_per_message_deflate=False, lifespan="off", log_level="critical"
    )
    announce(listener.getsockname()[1])
    await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    options()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
