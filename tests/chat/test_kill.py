"""The promise: an ``ok`` means stored, whatever happens to the server next; see `prover`, too."""

from __future__ import annotations

import signal
from pathlib import Path

from chat.process import serving


async def test_ids_are_remembered_over_a_kill(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.client() as anna:
        session = (await anna.ok("hello", user="Anna"))["session"]
        joined = await anna.ok("join", room="r")
        first = await anna.ok("post", room="r", text="once", id="m1")
        await server.end(signal.SIGKILL)
    async with serving(tmp_path) as server, server.client() as anna:
        assert await anna.error("hello", user="Anna", session="x" * 22) == "name_taken"
        await anna.ok("hello", user="anna", session=session)
        position = {"epoch": joined["epoch"], "offset": joined["offset"]}
        again = await anna.ok("join", room="R", position=position)
        assert [message["id"] for message in again["messages"]] == ["m1"]
        assert again["room"] == "r"
        assert await anna.ok("post", room="r", text="once", id="m1") == {
            **first,
            "duplicate": True,
        }
        assert await anna.error("post", room="r", text="twice", id="m1") == "conflict"
