"""What the ASGI servers serve: the program's three paths, with no framework; imports nothing."""

from __future__ import annotations

from typing import Any

members: set[Any] = set()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Serve one connection."""
    if scope["type"] != "websocket":
        raise NotImplementedError(scope["type"])  # as ASGI asks for, of lifespan too
    await receive()
    await send({"type": "websocket.accept"})
    path = scope["path"]
    if path == "/members":
        members.add(send)
    while (event := await receive())["type"] == "websocket.receive":
        reply = {"type": "websocket.send", "text": event["text"]}
        if path == "/publish":
            for member in members:
                await member(reply)
        elif path == "/":
            await send(reply)
    members.discard(send)
