"""The store on a Redis Cluster: rooms on all nodes, and nodes that fail."""

from __future__ import annotations

import json
import logging
import signal
from pathlib import Path

import pytest
import trio
from chat.plain_http import ask
from chat.process import serving
from chat.record import Record
from chat.redis_cluster import RedisCluster
from chat.redis_cluster import redis_cluster as start_cluster
from chat.redis_server import RedisServer
from chat.test_redis import ALWAYS, ANNAS, BOBS, LOG, Process, process, until
from chat.test_redis_processes import insist, texts, user

from wscore.chat.backends.base import (
    CannotOpen,
    Opened,
    OpenRoom,
    PostTo,
    Refused,
    Result,
    SendTo,
    Stored,
    Unavailable,
)
from wscore.chat.backends.redis import RedisBackend
from wscore.chat.model import Log, Name, room_log

ROOMS = [Name(f"room{number}", f"Room{number}") for number in range(30)]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


async def open_rooms(who: Process) -> dict[Log, str]:
    """Follow all rooms; returns their epochs."""
    for room in ROOMS:
        who.backend.follow(room_log(room.key))
    results = await who.backend.write([OpenRoom(room) for room in ROOMS])
    epochs = {}
    for room, result in zip(ROOMS, results, strict=True):
        assert isinstance(result, Opened), result
        epochs[room_log(room.key)] = result.head.epoch
    return epochs


def posts(id: str) -> list[PostTo]:
    return [PostTo("anna", room.key, f"text {id}", id, 1000) for room in ROOMS]


def in_charge(cluster: RedisCluster, log: Log, prefix: str) -> RedisServer:
    """The node that has a log."""
    for node in cluster.nodes:
        kind = cluster.say(node, "ROLE").split()[0]
        key = f"log:{log.kind}:{log.key}"
        if kind == "master" and key in cluster.say(node, "KEYS", f"{{{prefix}*{key}"):
            return node
    raise AssertionError(f"nobody has {log}")


async def test_what_others_store_is_announced_in_order_once(
    redis_cluster: RedisCluster, tmp_path: Path
) -> None:
    url = redis_cluster.url
    async with process(url, tmp_path) as one, process(url, tmp_path) as two:
        await open_rooms(one)
        await open_rooms(two)
        async with trio.open_nursery() as nursery:

            async def talk(who: Process, sender: str, to: str) -> None:
                for n in range(20):
                    text = f"{sender} {n}"
                    found = await who.backend.write(
                        [
                            *(PostTo(sender, room.key, text, str(n), 1000) for room in ROOMS),
                            SendTo(sender, to, text, f"d{n}", 1000),
                        ]
                    )
                    assert all(isinstance(each, Stored) for each in found), found

            nursery.start_soon(talk, one, "anna", "bob")
            nursery.start_soon(talk, two, "bob", "anna")
        logs = [*(room_log(room.key) for room in ROOMS), ANNAS, BOBS]
        for each in one, two:
            await until(lambda each=each: len(each.announced) == 40 * len(logs))  # type: ignore[misc]
            for log in logs:
                assert each.offsets(log) == list(range(1, 41))
        for log in logs:
            assert one.texts(log) == two.texts(log)
            assert [text for text in one.texts(log) if text.startswith("anna")] == [
                f"anna {n}" for n in range(20)
            ]


async def test_rooms_are_on_all_nodes_and_inboxes_on_one(
    redis_cluster: RedisCluster, tmp_path: Path
) -> None:
    async with process(redis_cluster.url, tmp_path) as one:
        epochs = await open_rooms(one)
        nodes = {in_charge(redis_cluster, log, str(tmp_path)).port for log in epochs}
        assert len(nodes) == 3
        homes = {in_charge(redis_cluster, log, str(tmp_path)).port for log in (ANNAS, BOBS)}
        assert len(homes) == 1


async def test_presence(redis_cluster: RedisCluster, tmp_path: Path) -> None:
    url = redis_cluster.url
    rooms = [room_log(room.key) for room in ROOMS]
    async with process(url, tmp_path) as one:
        await open_rooms(one)
        async with process(url, tmp_path) as two:
            await open_rooms(two)
            for room in rooms:
                one.backend.enter(room, Name("anna", "Anna"))
                two.backend.enter(room, Name("bob", "Bob"))
            await until(lambda: all(one.elsewhere.get(room) == {"Bob"} for room in rooms))
            await until(lambda: all(two.elsewhere.get(room) == {"Anna"} for room in rooms))
            listed = await two.backend.rooms(100)
            assert {room.room for room in listed if room.present == 2} == {*ROOMS}
            assert len(await two.backend.rooms(7)) == 7
            with trio.fail_after(60):
                while ("room", "room0") not in {log for log, _ in one.typed}:
                    two.backend.type(rooms[0], Name("bob", "Bob"))
                    await trio.sleep(0.01)
        await until(lambda: not any(one.elsewhere[room] for room in rooms))


async def test_a_node_that_stands_still(tmp_path: Path) -> None:
    """What is on the others works, and nobody waits for it longer than the time-out."""
    with start_cluster(tmp_path, *ALWAYS, "--cluster-require-full-coverage", "no") as cluster:
        async with process(cluster.url, timeout=3) as one:
            epochs = await open_rooms(one)
            names = in_charge(cluster, ANNAS, "chat")
            victim = next(node for node in cluster.nodes if node is not names)
            hit = {log for log in epochs if in_charge(cluster, log, "chat") is victim}
            assert hit
            victim.send_signal(signal.SIGSTOP)
            for result, log in zip(await one.backend.write(posts("1")), epochs, strict=True):
                if log in hit:
                    assert isinstance(result, Refused)
                    assert result.code == "unavailable"
                else:
                    assert isinstance(result, Stored)
            assert not one.backend.health().is_reachable
            victim.send_signal(signal.SIGCONT)
            await all_stored(one, "1")
            await until(lambda: all(one.offsets(log) == [1] for log in epochs))
            assert one.backend.health().is_reachable
            assert one.lost == []


async def all_stored(who: Process, id: str) -> list[Result]:
    """As clients do that are told that the store is unavailable."""
    with trio.fail_after(60):
        while True:
            try:
                found = await who.backend.write(posts(id))
            except Unavailable:
                found = []
            if found and all(isinstance(each, Stored) for each in found):
                return found
            lost = {*who.lost}
            if lost:  # the hub's users come back, and open their rooms again
                who.lost.clear()
                await open_rooms_again(who)
            await trio.sleep(0.05)


async def open_rooms_again(who: Process) -> None:
    try:
        await who.begin()
        await open_rooms(who)
    except (Unavailable, AssertionError):
        who.lost.append(LOG)


async def test_a_primary_is_killed_and_its_replica_takes_over(tmp_path: Path) -> None:
    """Its logs begin a new epoch, as a replica may have less; those of other nodes go on."""
    with start_cluster(tmp_path, *ALWAYS, replicas=1) as cluster:
        async with process(cluster.url, timeout=3) as one, process(cluster.url, timeout=3) as two:
            epochs = await open_rooms(one)
            await open_rooms(two)
            await one.backend.write(posts("1"))
            await until(lambda: all(two.offsets(log) == [1] for log in epochs))
            names = in_charge(cluster, ANNAS, "chat")
            victim = next(node for node in cluster.nodes[:3] if node is not names)
            hit = {log for log in epochs if in_charge(cluster, log, "chat") is victim}
            victim.kill()
            await trio.to_thread.run_sync(cluster.wait_for_failover, names, victim)
            for each in one, two:
                await until(lambda each=each: hit <= {*each.lost})  # type: ignore[misc]
            after = await open_rooms(one)
            assert {log for log in epochs if after[log] != epochs[log]} == hit
            assert {*one.lost} == hit
            await all_stored(one, "2")
            await open_rooms(two)
            for log in epochs:
                await until(lambda log=log: one.offsets(log)[-1] == 2)  # type: ignore[misc]


async def test_chats_on_a_cluster(redis_cluster: RedisCluster, tmp_path: Path) -> None:
    arguments = "--engine", redis_cluster.url, "--log-level", "error"
    async with serving(tmp_path, *arguments) as first, serving(tmp_path, *arguments) as second:
        async with first.client() as anna, second.client() as bob:
            await user(anna, "Anna")
            assert (await user(bob, "Bob"))["count"] == 2
            assert (await anna.push("presence"))["user"] == "Bob"
            await insist(anna, "post", room="r", text="1")
            await insist(bob, "post", room="r", text="2")
            assert await texts(anna, 2) == await texts(bob, 2) == ["1", "2"]
            await anna.ok("direct", to="Bob", text="hi")
            assert (await bob.push("direct"))["text"] == "hi"
        health = await ask(first.port, "GET", "/healthz")
        assert (health.status, json.loads(health.body)["engine"]) == (200, "redis")
        assert first.process.stdout is not None
        lines = [await trio.to_thread.run_sync(first.process.stdout.readline) for _ in range(2)]
        assert "redis: Cluster of 3, at least appendonly off" in lines[1]


async def test_a_cluster_that_is_not_whole(tmp_path: Path) -> None:
    with start_cluster(tmp_path, "--cluster-require-full-coverage", "no") as cluster:
        cluster.nodes[2].kill()
        with pytest.raises(CannotOpen, match="cannot use"):
            async with RedisBackend(cluster.url, timeout=3).open(Record()):
                pass
