"""A real Redis Cluster, made of servers that tests start, kill and pause."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chat.redis_server import RedisServer, redis_server

_SECONDS = 60
_NODE_TIMEOUT_MS = "1000"


class RedisCluster:
    """The first three nodes have all slots; each further one is a replica of one of them."""

    def __init__(self, nodes: list[RedisServer]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.nodes[0].port}"

    def wait(self) -> None:
        """Until each node knows that all slots are served, and replicas have what there is."""
        for node in self.nodes:
            self._wait_for(node, "CLUSTER", "INFO", word="cluster_state:ok")
        for node in self.nodes[3:]:
            self._wait_for(node, "INFO", "replication", word="master_link_status:up")

    def wait_for_failover(self, asked: RedisServer, victim: RedisServer) -> None:
        """Until this node knows that another one has the slots of the victim."""
        deadline = time.monotonic() + _SECONDS
        while True:
            nodes = self.say(asked, "CLUSTER", "NODES")
            rows = [row.split() for row in nodes.splitlines()]
            port = f":{victim.port}@"
            # The slots come after eight other columns.
            if any(port in row[1] and "fail" in row[2].split(",") and not row[8:] for row in rows):
                self._wait_for(asked, "CLUSTER", "INFO", word="cluster_state:ok")
                return
            assert time.monotonic() < deadline, nodes
            time.sleep(0.02)

    def _wait_for(self, node: RedisServer, *question: str, word: str) -> None:
        deadline = time.monotonic() + _SECONDS
        while word not in self.say(node, *question):
            assert time.monotonic() < deadline, "the Cluster does not come up"
            time.sleep(0.02)

    def say(self, node: RedisServer, *words: str) -> str:
        """What ``redis-cli`` says of a command to a node."""
        return _cli("-p", str(node.port), *words)


def _cli(*arguments: str) -> str:
    program = shutil.which("redis-cli")
    assert program is not None, "redis-cli is missing: apt-get install redis-server"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@contextmanager
def redis_cluster(folder: Path, *options: str, replicas: int = 0) -> Iterator[RedisCluster]:
    """Start one of three primaries with so many replicas each, and kill it at the end."""
    with ExitStack() as stack:
        nodes = []
        for number in range(3 + 3 * replicas):
            place = folder / f"node{number}"
            place.mkdir()
            options_of_node = "--cluster-enabled", "yes", *options
            haste = "--cluster-node-timeout", _NODE_TIMEOUT_MS, "--repl-diskless-sync-delay", "0"
            nodes.append(stack.enter_context(redis_server(place, *options_of_node, *haste)))
        cluster = RedisCluster(nodes)
        places = [f"127.0.0.1:{node.port}" for node in nodes]
        said = _cli(
            *("--cluster", "create", *places),
            *("--cluster-replicas", str(replicas), "--cluster-yes"),
        )
        assert "All 16384 slots covered" in said, said
        cluster.wait()
        yield cluster
