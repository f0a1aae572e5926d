"""A process that is behind the others, and clients who come to it from them."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from chat.client import ChatClient, Json, running
from chat.redis_server import RedisServer
from chat.wire import wire

from wscore.chat import ChatServer
from wscore.chat.backends import redis_news
from wscore.chat.backends.redis import RedisBackend


async def until_ok(client: ChatClient, type: str, **fields: object) -> tuple[Json, int]:
    """Ask until the store is in reach; returns the reply and how often it was not."""
    with trio.fail_after(60):
        refused = 0
        while (reply := await client.ask(type, **fields)).get("code") == "unavailable":
            refused += 1
            await trio.sleep(0.01)
    assert reply["type"] == "ok", reply
    return reply, refused


async def test_who_has_more_than_the_process_knows_gets_nothing_again(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gap would make the client start over at what it had long before."""
    monkeypatch.setattr(redis_news, "_HEARTBEAT", 1e6)
    prefix = str(tmp_path)
    async with wire(redis.port) as line:
        line.never_answer(b"SUBSCRIBE")
        deaf = ChatServer(RedisBackend(line.url, prefix=prefix))
        hearing = ChatServer(RedisBackend(redis.url, prefix=prefix))
        async with running(hearing) as one, running(deaf) as other:
            bob = await other.user("Bob", room="r")
            anna = await one.user("Anna", room="r")
            for n in range(5):
                await anna.ok("post", room="r", text=f"{n}")
                await anna.ok("direct", to="Anna", text=f"{n}")
            epoch = (await anna.ok("join", room="r"))["epoch"]
            again = await other.user("Anna")
            position = {"epoch": epoch, "offset": 5}
            joined, refused = await until_ok(again, "join", room="r", position=position)
            assert (joined["gap"], joined["messages"], joined["offset"]) == (False, [], 5)
            assert refused > 0, "it was not behind"
            # Who was there has got what it had not heard of, too.
            found = [(await bob.push("message"))["text"] for _ in range(5)]
            assert found == ["0", "1", "2", "3", "4"]
            # What nobody has is a gap as ever.
            beyond = {"epoch": epoch, "offset": 6}
            joined = await again.ok("join", room="r", position=beyond)
            assert (joined["gap"], joined["offset"]) == (True, 5)
