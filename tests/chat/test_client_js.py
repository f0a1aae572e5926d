"""The JavaScript client as users have it: its one file alone in a directory, under node, with a
real server process that is killed and started again.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import trio
from chat.process import serving
from chat.proxy import proxy

from wscore.chat.client import Direct, Message, open_chat

# Calls what it reads, and prints what it is told; both are lines of JSON.
PROGRAM = """
import { createInterface } from "node:readline";
import { ChatClient } from "./client.mjs";

const say = (event, detail) => console.log(JSON.stringify({ event, ...detail }));
const chat = new ChatClient(process.argv[1], { user: "Node" });
for (const type of ["state", "messages", "error"]) {
  chat.addEventListener(type, ({ detail }) => say(type, detail));
}
for await (const line of createInterface({ input: process.stdin })) {
  const { method, values } = JSON.parse(line);
  Promise.resolve(chat[method](...values)).then((result) => say("result", { method, result }));
}
chat.stop();
"""


class Node:
    """The program, and what it has said so far."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.said: list[dict[str, Any]] = []
        self._more = trio.Event()

    async def listen(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for data in self.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            self.said += map(json.loads, lines)
            self._more.set()
            self._more = trio.Event()

    def of(self, event: str) -> list[dict[str, Any]]:
        return [said for said in self.said if said["event"] == event]

    async def until(self, event: str, count: int = 1, **fields: object) -> Any:
        """Wait for as many such events; returns the last of them."""
        while True:
            found = [said for said in self.of(event) if fields.items() <= said.items()]
            if len(found) >= count:
                return found[count - 1]
            await self._more.wait()

    async def tell(self, method: str, *values: object) -> None:
        assert self.process.stdin is not None
        line = json.dumps({"method": method, "values": values})
        await self.process.stdin.send_all(line.encode() + b"\n")

    async def call(self, method: str, *values: object) -> Any:
        """Call the client's method, and wait for its result."""
        count = len([said for said in self.of("result") if said["method"] == method])
        await self.tell(method, *values)
        return (await self.until("result", count + 1, method=method)).get("result")

    def heard(self, room: str | None) -> list[tuple[int, str]]:
        slices = [said["messages"] for said in self.of("messages") if said["room"] == room]
        return [(message["offset"], message["text"]) for part in slices for message in part]


def copy_client(folder: Path) -> None:
    folder.mkdir()
    client = resources.files("wscore.chat").joinpath("web", "client.js")
    (folder / "client.mjs").write_bytes(client.read_bytes())


@asynccontextmanager
async def node_alone(folder: Path, url: str) -> AsyncIterator[Node]:
    """Node in a new folder that holds a copy of the file, and nothing else."""
    copy_client(folder)
    # Before version 22 its WebSocket has to be asked for.
    flags = ["--experimental-websocket", "--no-warnings", "--input-type=module"]
    command = ["node", *flags, "--eval", PROGRAM, "--", url]
    pipe = subprocess.PIPE
    async with trio.open_nursery() as nursery:
        start = partial(trio.run_process, command, cwd=folder, stdin=pipe, stdout=pipe)
        node = Node(await nursery.start(start))  # raises where its status is not 0
        nursery.start_soon(node.listen)
        yield node
        assert node.process.stdin is not None
        await node.process.stdin.aclose()


async def test_the_file_alone_loses_and_repeats_nothing_over_a_restart_of_the_server(
    tmp_path: Path,
) -> None:
    again = ("Anna", "psst", "0123456789abcdef")
    with trio.fail_after(300):
        async with (
            proxy() as way,
            open_chat(
                f"http://127.0.0.1:{way.port}/", "Anna", first_delay=0.05, max_delay=0.2
            ) as anna,
            node_alone(tmp_path / "project", f"ws://127.0.0.1:{way.port}/ws") as node,
        ):
            async with serving(tmp_path) as server:
                way.target = server.port
                await anna.join("lobby")
                await node.call("start")
                assert await node.call("join", "LOBBY") == "lobby"
                posted = await node.call("post", "lobby", "one")
                assert (posted["offset"], posted["duplicate"]) == (1, False)
                told = await node.call("direct", *again)
                assert (told["offset"], told["duplicate"]) == (1, False)
                assert (await server.end(signal.SIGKILL))[0] == -signal.SIGKILL
            await node.until("state", state="waiting")
            await node.tell("post", "lobby", "two")  # while the server is away
            async with serving(tmp_path) as server:
                way.target = server.port
                await node.call("retryNow")  # or else its back-off may grow while servers start
                stored = await node.until("result", 2, method="post")
                assert stored["result"]["offset"] == 2
                told = await node.call("direct", *again)
                assert (told["offset"], told["duplicate"]) == (1, True)
                await anna.post("lobby", "three")
                while len(node.heard("lobby")) < 3:
                    await node.until("messages", len(node.of("messages")) + 1)
                old = (await node.call("history", "lobby"))["messages"]
                heard = []
                async for event in anna:
                    if isinstance(event, Message | Direct):
                        heard.append((event.offset, event.sender, event.text))
                        if len(heard) == 4:
                            break
    assert sorted(heard) == [
        (1, "Node", "one"),
        (1, "Node", "psst"),
        (2, "Node", "two"),
        (3, "Anna", "three"),
    ]
    everything = [(1, "one"), (2, "two"), (3, "three")]
    assert node.heard("lobby") == everything
    assert node.heard(None) == [(1, "psst")]
    assert [(message["offset"], message["text"]) for message in old] == everything
    fresh = [said["room"] for said in node.of("messages") if not said["continues"]]
    assert fresh == [None, "lobby"]
    assert node.of("error") == []
    assert [said["state"] for said in node.of("state")][-1] == "stopped"
