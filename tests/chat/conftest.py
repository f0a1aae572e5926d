"""Fixtures of the chat's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from chat.client import Chat, running
from chat.redis_cluster import RedisCluster
from chat.redis_cluster import redis_cluster as start_cluster
from chat.redis_server import RedisServer, redis_server

from wscore.chat import ChatServer, Limits, MemoryBackend


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for all tests that do not harm it; each with a prefix of its own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A Redis Cluster for all tests that do not harm it; each with a prefix of its own."""
    with start_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def limits() -> Limits:
    """The limits of `chat`; override it for others."""
    return Limits()


@pytest.fixture
async def chat(limits: Limits) -> AsyncIterator[Chat]:
    """A running server with a store in memory."""
    async with running(ChatServer(MemoryBackend(), limits=limits)) as chat:
        yield chat
