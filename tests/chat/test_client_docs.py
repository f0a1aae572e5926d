"""The programs in docs/chat-clients.md do what the text around them says."""

from __future__ import annotations

import re
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import trio

from wscore.chat import ChatServer, MemoryBackend
from wscore.chat.client import Message, open_chat

DOCS = (Path(__file__).parents[2] / "docs" / "chat-clients.md").read_text(encoding="utf-8")
[JAVASCRIPT] = re.findall(r"^```js\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)
ECHO, FOLLOW = re.findall(r"^```python\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)


def load(program: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "docs"}
    exec(program, names)
    return names


async def test_the_echo_echoes(nursery: trio.Nursery) -> None:
    server = await nursery.start(ChatServer(MemoryBackend()).serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.port}/"
    nursery.start_soon(load(ECHO)["echo"], url)
    with trio.fail_after(60):
        async with open_chat(url, "Anna") as anna:
            while (await anna.join("lobby")).count < 2:
                await anna.leave("lobby")
            await anna.post("lobby", "hello")
            said = []
            async for event in anna:
                if isinstance(event, Message):
                    said.append((event.sender, event.text))
                    if len(said) == 2:
                        break
    assert said == [("Anna", "hello"), ("Echo", "Anna said: hello")]
    nursery.cancel_scope.cancel()


async def test_the_echo_in_javascript_echoes(nursery: trio.Nursery, tmp_path: Path) -> None:
    """In a project of one's own, into which the one file that the text names was copied."""
    client = resources.files("wscore.chat").joinpath("web", "client.js")
    (tmp_path / "client.js").write_bytes(client.read_bytes())
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "echo.js").write_text(JAVASCRIPT)
    server = await nursery.start(ChatServer(MemoryBackend()).serve, "127.0.0.1", 0)
    start = f'import("./echo.js").then(({{ echo }}) => echo("ws://127.0.0.1:{server.port}/ws"))'
    # Before version 22 its WebSocket has to be asked for.
    command = ["node", "--experimental-websocket", "--no-warnings", "--eval", start]
    node = await nursery.start(partial(trio.run_process, command, cwd=tmp_path, check=False))
    with trio.fail_after(120):
        async with open_chat(f"http://127.0.0.1:{server.port}/", "Anna") as anna:
            while (await anna.join("lobby")).count < 2:
                await anna.leave("lobby")
                await trio.sleep(0.05)
            await anna.post("lobby", "hello")
            async for event in anna:
                if isinstance(event, Message) and event.sender == "Echo":
                    assert event.text == "Anna said: hello"
                    break
    assert node.returncode is None
    nursery.cancel_scope.cancel()


async def test_the_follower_goes_on_where_it_was(
    nursery: trio.Nursery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = await nursery.start(ChatServer(MemoryBackend()).serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.port}/"
    follow = load(FOLLOW)["follow"]
    printed = ""
    with trio.fail_after(60):
        async with open_chat(url, "Anna") as anna:
            await anna.join("lobby")
            for n in range(1, 5):
                await anna.post("lobby", f"m{n}")
                async with trio.open_nursery() as program:  # started for each message anew
                    program.start_soon(follow, url, tmp_path)
                    while f"{n} m{n}\n" not in printed:
                        await trio.sleep(0.01)
                        printed += capsys.readouterr().out
                    await trio.sleep(0.05)
                    program.cancel_scope.cancel()
    assert printed == "1 m1\n2 m2\n3 m3\n4 m4\n"
    nursery.cancel_scope.cancel()
