"""Fixtures of the chat's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from chat.client import Chat, running

from wscore.chat import ChatServer, Limits, MemoryBackend


@pytest.fixture
def limits() -> Limits:
    """The limits of `chat`; override it for others."""
    return Limits()


@pytest.fixture
async def chat(limits: Limits) -> AsyncIterator[Chat]:
    """A running server with a store in memory."""
    async with running(ChatServer(MemoryBackend(), limits=limits)) as chat:
        yield chat
