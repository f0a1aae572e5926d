"""Django Channels on uvicorn, with its layer in memory: the chat of Channels' own tutorial."""

from __future__ import annotations

import asyncio

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
GROUP = "members"


class Echo(AsyncWebsocketConsumer):  # type: ignore[misc]
    async def receive(self, text_data: str = "", bytes_data: bytes | None = None) -> None:
        await self.send(text_data=text_data)


class Member(AsyncWebsocketConsumer):  # type: ignore[misc]
    async def connect(self) -> None:
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def receive(self, text_data: str = "", bytes_data: bytes | None = None) -> None:
        pass

    async def published(self, event: dict[str, str]) -> None:
        await self.send(text_data=event["text"])


class Publisher(AsyncWebsocketConsumer):  # type: ignore[misc]
    async def receive(self, text_data: str = "", bytes_data: bytes | None = None) -> None:
        await self.channel_layer.group_send(GROUP, {"type": "published", "text": text_data})


application = URLRouter(
    [
        path("", Echo.as_asgi()),
        path("members", Member.as_asgi()),
        path("publish", Publisher.as_asgi()),
    ]
)


async def main() -> None:
    listener = free_socket()
    config = uvicorn.Config(
        application, ws_per_message_deflate=False, lifespan="off", log_level="critical"
    )
    announce(listener.getsockname()[1])
    await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    options()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
