"""The documented messages are those that the server speaks, and all of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from chat.client import Chat
from chat.process import environment

from wscore.chat import protocol, schema

DOCUMENT = Path(__file__).parents[2] / "docs" / "chat-protocol.md"


def test_the_document_in_the_tree_is_the_one_that_is_made() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == schema.document(), (
        "run python -m wscore.chat.schema docs/chat-protocol.md"
    )


def test_the_command_prints_it_or_writes_it(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "wscore.chat.schema", *arguments]
        return subprocess.run(command, capture_output=True, env=environment(), timeout=30)

    assert run().stdout.decode() == schema.document()
    assert run(str(tmp_path / "x.md")).stdout == b""
    assert (tmp_path / "x.md").read_text(encoding="utf-8") == schema.document()
    assert run("--wrong").returncode == run("a", "b").returncode == 2


SECTIONS = dict(
    re.findall(r"^##+ ([^\n]+)\n(.*?)(?=^##|\Z)", schema.document(), re.MULTILINE | re.DOTALL)
)


def rows(section: str) -> dict[str, tuple[str, ...]]:
    """The lines of a section's table, by their first column."""
    lines = [line for line in SECTIONS[section].splitlines() if line.startswith("| ")][2:]
    cells = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines]
    return {first.strip("`"): rest for first, *rest in cells}


def test_every_error_code_every_close_code_and_every_limit_is_in_it() -> None:
    assert list(rows("Error codes")) == list(get_args(protocol.ErrorCode))
    assert list(rows("Close codes")) == [str(code.value) for code in protocol.CloseCode]
    assert list(rows("*limits*")) == list(protocol.Limits.__struct_fields__)
    for section in ("Error codes", "Close codes", "*limits*"):
        assert all(all(rest) for rest in rows(section).values())


def test_every_request_and_every_push_is_in_it() -> None:
    for kind in get_args(protocol.Request):
        assert f"`{kind.__struct_config__.tag}`" in SECTIONS
    for kind in vars(protocol).values():
        if isinstance(kind, type) and kind.__name__.endswith("Push"):
            assert f"push `{kind.__struct_config__.tag}`" in SECTIONS


def test_a_field_without_a_docstring_does_not_pass() -> None:
    class Silent(msgspec.Struct):
        field: int

    with pytest.raises(KeyError):
        schema._fields(Silent)


def fits(message: dict[str, Any], section: str) -> None:
    """A message has the fields that the document says, of these types, and no others."""
    table = rows(section)
    assert set(message) - {"type"} <= set(table), section
    for field, (shape, _) in table.items():
        kind, *conditions = shape.split(", ")
        if field not in message:
            assert "optional" in conditions, (section, field)
            continue
        value = message[field]
        if kind.startswith("array of"):
            assert isinstance(value, list)
            for item in value:
                if kind == "array of *message* or *direct*":
                    fits(item, f"push `{item['type']}`")
                elif kind == "array of *room*":
                    fits(item, "*room*")
                else:
                    assert isinstance(item, str)
        elif kind == "*limits*":
            assert list(value) == list(rows("*limits*"))
        elif kind.startswith("*"):
            fits(value, kind)
        else:
            words = {str: "string", int: "integer", float: "number", bool: "boolean"}
            word = "true" if kind == "true" and value is True else words[type(value)]
            known = word in kind or kind == "one of the error codes" or f'`"{value}"`' in kind
            assert known or (word, kind) == ("integer", "number"), (section, field)


async def test_what_the_server_says_is_what_is_documented(chat: Chat) -> None:
    anna = await chat.user("Anna", room="r")
    bob = await chat.connect()
    fits(await bob.hello("Bob"), "`ok` to `hello`")
    await anna.ok("direct", to="bob", text="one", id="d1")
    await anna.ok("post", room="r", text="one", id="p1")
    fits(await bob.ok("join", room="r"), "`ok` to `join`")
    again = await (await chat.connect()).hello("Bob")
    assert again["inbox"]["messages"]
    fits(again, "`ok` to `hello`")
    fits(await bob.ok("rooms"), "`ok` to `rooms`")
    fits(await bob.ok("history", room="r"), "`ok` to `history`")
    fits(await bob.ok("history", inbox=True), "`ok` to `history`")
    fits(await bob.ok("ping"), "`ok` to `leave` and `ping`")
    stored = "`ok` to `post` and `direct`"
    fits(await anna.ok("post", room="r", text="two"), stored)
    fits(await anna.ok("post", room="r", text="one", id="p1"), stored)
    fits(await anna.ok("direct", to="bob", text="two"), stored)
    await anna.connection.send_message(json.dumps({"type": "typing", "room": "r"}))
    await anna.connection.send_message(json.dumps({"type": "typing", "to": "bob"}))
    fits(await anna.ok("leave", room="r"), "`ok` to `leave` and `ping`")
    fits(await anna.ask("post", room="r", text="t"), "`error`")
    await anna.connection.send_message("nonsense")
    fits(await anna.reply(None) | {"id": "null is documented"}, "`error`")
    seen = set()
    for push in [*await anna.sync(), *await bob.sync()]:
        fits(push, f"push `{push['type']}`")
        seen.add(push["type"])
    assert seen == {"message", "direct", "presence", "typing"}
