"""The programs in README.md do what the text around them says."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
QUICK_START, ECHO_SERVER, ROOM, CHAT = re.findall(
    r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL
)


def test_the_quick_start_runs() -> None:
    names: dict[str, object] = {}
    exec(QUICK_START, names)
    assert type(names["request"]).__name__ == "Request"


async def test_the_echo_server_of_ten_lines_echoes(monkeypatch: pytest.MonkeyPatch) -> None:
    from wscore.trio import open_websocket_url, serve_websocket

    assert len([line for line in ECHO_SERVER.splitlines() if line]) <= 10
    started = []
    monkeypatch.setattr(trio, "run", lambda *arguments: started.append(arguments))
    exec(ECHO_SERVER, {})
    [(serve, handler, host, _, ssl_context)] = started
    assert serve is serve_websocket
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, handler, host, 0, ssl_context)
        async with open_websocket_url(f"ws://{host}:{server.port}/") as connection:
            for message in ("hello", b"\x00\xff"):
                await connection.send_message(message)
                assert await connection.get_message() == message
        nursery.cancel_scope.cancel()


async def test_the_room_hears_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    from wscore.trio import open_websocket_url, serve_until_signal

    started = []
    monkeypatch.setattr(trio, "run", lambda *arguments: started.append(arguments))
    names: dict[str, object] = {}
    exec(ROOM, names)
    [(serve, room)] = started
    assert serve is serve_until_signal
    handler, host, _, ssl_context = room.args
    room = partial(room.func, handler, host, 0, ssl_context, **room.keywords)
    async with trio.open_nursery() as nursery:
        [server] = await nursery.start(serve, room)
        url = f"ws://127.0.0.1:{server.port}/"
        async with open_websocket_url(url) as here, open_websocket_url(url) as there:
            await trio.testing.wait_all_tasks_blocked()
            await here.send_message("hello")
            assert await here.get_message() == await there.get_message() == "hello"
        nursery.cancel_scope.cancel()


async def test_the_chat_runs_inside_a_program_in_ten_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from chat.client import ChatClient

    from wscore.trio import open_websocket_url

    assert len([line for line in CHAT.splitlines() if line]) <= 10
    started = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trio, "run", lambda *arguments: started.append(arguments))
    exec(CHAT.replace("8765", "0"), {})
    [(main,)] = started
    async with trio.open_nursery() as nursery:
        nursery.start_soon(main)
        said = ""
        with trio.fail_after(30):
            while not said:
                await trio.sleep(0.01)
                said = capsys.readouterr().out
        url = said.split()[0].replace("http:", "ws:") + "ws"
        for user, code in (("Anna", None), ("Bob", "forbidden")):
            async with open_websocket_url(url) as connection:
                client = ChatClient(connection)
                await client.hello(user)
                assert (await client.ask("join", room="Staff")).get("code") == code
        nursery.cancel_scope.cancel()
    assert (tmp_path / "chat.db").exists()


def test_the_files_it_points_to_exist() -> None:
    targets = [t for t in re.findall(r"\]\(([^)]+)\)", README) if "://" not in t]
    root = Path(__file__).parents[2]
    assert targets
    assert [target for target in targets if not (root / target).is_file()] == []
