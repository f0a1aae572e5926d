"""A chat on Django Channels, its layer in memory, on uvicorn: rooms are groups, nothing is stored.

It speaks the messages of our protocol that the load generator sends: hello, join and post. Channels
has no answers to messages: the ok to a post is its consumer's.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import django
import uvicorn
import uvloop
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from django.conf import settings
from django.urls import path

from benchmarks.servers._program import announce, free_socket, options

settings.configure(
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            # Messages that wait for one member; what is more it drops without a word.
            "CONFIG": {"capacity": 10_000},
        }
    }
)
django.setup()
offsets: Counter[str] = Counter()


class Chat(AsyncWebsocketConsumer):  # type: ignore[misc]
    async def receive(self, text_data: str = "", bytes_data: bytes | None = None) -> None:
        request = json.loads(text_data)
        reply: dict[str, Any] = {"type": "ok", "id": request["id"]}
        match request["type"]:
            case "join":
                await self.channel_layer.group_add(request["room"], self.channel_name)
                reply["messages"] = []
            case "post":
                room, text = request["room"], request["text"]
                offsets[room] += 1
                reply["offset"] = offsets[room]
                event = {"type": "said", "room": room, "text": text, "offset": offsets[room]}
                await self.channel_layer.group_send(room, event)
        await self.send(text_data=json.dumps(reply, separators=(",", ":")))

    async def said(self, event: dict[str, Any]) -> None:
        push = {**event, "type": "message"}
        await self.send(text_data=json.dumps(push, separators=(",", ":")))


async def main() -> None:
    listener = free_socket()
    config = uvicorn.Config(
        URLRouter([path("ws", Chat.as_asgi())]),
        ws_per_message_deflate=False,
        lifespan="off",
        log_level="critical",
    )
    announce(listener.getsockname()[1])
    await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    options()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
