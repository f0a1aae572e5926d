"""A log that is not what it was gets a new epoch: files lost, replaced and restored."""

from __future__ import annotations

import logging
import shutil
import signal
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from chat.client import running
from chat.process import serving
from chat.record import Record

from wscore.chat import ChatServer, SQLiteBackend
from wscore.chat.backends.base import (
    Claim,
    Claimed,
    Command,
    Opened,
    OpenRoom,
    PostTo,
    Refused,
    Result,
    SendTo,
    Stored,
    Unavailable,
)
from wscore.chat.backends.memory import MemoryBackend
from wscore.chat.model import Name, inbox_log, room_log

ANNA, ROOM = Name("anna", "Anna"), Name("room", "Room")
LOG = room_log("room")


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "wscore.chat")


def post(id: str) -> PostTo:
    return PostTo("anna", "room", "x", id, 1000)


async def begin(backend: SQLiteBackend, *ids: str) -> str:
    """Claim, open, post; returns the epoch of the room."""
    results = await backend.write([Claim(ANNA, b"a"), OpenRoom(ROOM), *map(post, ids)])
    assert isinstance(results[1], Opened)
    return results[1].head.epoch


async def epoch_of(path: Path, *ids: str, new_epochs: bool = False) -> str:
    backend = SQLiteBackend(path, new_epochs=new_epochs)
    async with backend.open(Record()):
        return await begin(backend, *ids)


def back_up(path: Path, copy: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("VACUUM INTO ?", (str(copy),))
    connection.close()


def restore(copy: Path, path: Path) -> None:
    for suffix in "-wal", "-shm":
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    shutil.copy(copy, path)


async def test_a_restart_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    epoch = await epoch_of(path, "1", "2")
    assert await epoch_of(path, "3") == epoch
    assert await epoch_of(path) == epoch


async def test_a_lost_database(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    epoch = await epoch_of(path, "1")
    path.unlink()
    assert await epoch_of(path, "1") != epoch


async def test_a_restored_backup_begins_anew(tmp_path: Path) -> None:
    path, copy = tmp_path / "chat.db", tmp_path / "backup.db"
    backend = SQLiteBackend(path)
    async with backend.open(Record()):
        epoch = await begin(backend, "1", "2")
        back_up(path, copy)
        await backend.write([post("3")])
    restore(copy, path)
    restored = await epoch_of(path, "4")
    assert restored != epoch
    assert await epoch_of(path) == restored
    # What the backup has is there, with its offsets.
    backend = SQLiteBackend(path)
    async with backend.open(Record()):
        page = await backend.read_after(LOG, 0, 9, 9)
        assert [(entry.offset, entry.id) for entry in page.entries] == [
            (1, "1"),
            (2, "2"),
            (3, "4"),
        ]


async def test_a_backup_that_lacks_nothing_goes_on(tmp_path: Path) -> None:
    path, copy = tmp_path / "chat.db", tmp_path / "backup.db"
    epoch = await epoch_of(path, "1", "2")
    back_up(path, copy)
    restore(copy, path)
    assert await epoch_of(path, "3") == epoch


async def test_a_database_from_elsewhere_begins_anew(tmp_path: Path) -> None:
    """Nobody here knows whether it is the newest one."""
    path = tmp_path / "chat.db"
    epoch = await epoch_of(path, "1", "2")
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / "chat.db")
    assert await epoch_of(moved) != epoch


@pytest.mark.parametrize("mark", [b"", b"nonsense", b"\0" * 21])
async def test_a_mark_that_cannot_be_read_is_none(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "chat.db"
    epoch = await epoch_of(path, "1")
    (tmp_path / "chat.db-mark").write_bytes(mark)
    renewed = await epoch_of(path)
    assert renewed != epoch
    assert await epoch_of(path) == renewed


async def test_new_epochs_on_request(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    epoch = await epoch_of(path, "1")
    renewed = await epoch_of(path, new_epochs=True)
    assert renewed != epoch
    assert await epoch_of(path) == renewed


async def test_new_epochs_from_the_command_line(tmp_path: Path) -> None:
    async def visit(*arguments: str) -> str:
        async with serving(tmp_path, *arguments) as server, server.client() as anna:
            await anna.hello("Anna")
            epoch = (await anna.ok("join", room="r"))["epoch"]
            await server.end(signal.SIGTERM)
            assert isinstance(epoch, str)
            return epoch

    first = await visit()
    assert await visit() == first
    renewed = await visit("--new-epochs")
    assert renewed != first
    assert await visit() == renewed


async def test_a_killed_server_needs_no_new_epochs(tmp_path: Path) -> None:
    async def visit(signal_: int) -> str:
        async with serving(tmp_path) as server, server.client() as anna:
            await anna.hello("Anna")
            epoch = (await anna.ok("join", room="r"))["epoch"]
            for n in range(10):
                await anna.ok("post", room="r", text=str(n))
            await server.end(signal_)
            assert isinstance(epoch, str)
            return epoch

    epochs = {
        await visit(end) for end in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
    }
    assert len(epochs) == 1


# --- Under the running server ---------------------------------------------------------------


async def test_a_deleted_file_is_unavailable_until_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    record = Record()
    backend = SQLiteBackend(path)
    async with backend.open(record):
        epoch = await begin(backend, "1")
        path.unlink()
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"deleted|unable to open"):
                await backend.write([post("2")])
            with pytest.raises(Unavailable):
                await backend.read_after(LOG, 0, 9, 9)
        assert not path.exists()  # an empty one would pass for it
        assert record.all_lost == 0
        path.touch()
        (refused,) = await backend.write([post("2")])
        # The operator's empty file: all is new.
        assert isinstance(refused, Refused)
        assert refused.code == "unavailable"
        assert record.all_lost == 1
        assert await begin(backend, "1") != epoch
        assert [entry.offset for _, entry in record.announced] == [1, 1]
        assert len((await backend.read_after(LOG, 0, 9, 9)).entries) == 1
        assert record.all_lost == 1


@pytest.mark.parametrize("first", ["write", "read"])
async def test_a_replaced_file_is_served_with_new_epochs(tmp_path: Path, first: str) -> None:
    path, copy = tmp_path / "chat.db", tmp_path / "backup.db"
    record = Record()
    backend = SQLiteBackend(path)
    async with backend.open(record):
        epoch = await begin(backend, "1")
        back_up(path, copy)
        await backend.write([post("2")])
        assert len((await backend.read_after(LOG, 0, 9, 9)).entries) == 2
        copy.rename(path)
        if first == "read":
            with pytest.raises(Unavailable, match="replaced"):
                await backend.read_after(LOG, 0, 9, 9)
            assert record.all_lost == 1
        (stored,) = await backend.write([post("3")])
        assert record.all_lost == 1
        assert isinstance(stored, Stored)
        assert stored.offset == 2
        assert stored.epoch != epoch
        page = await backend.read_after(LOG, 0, 9, 9)
        assert [(entry.offset, entry.id) for entry in page.entries] == [(1, "1"), (2, "3")]


async def test_a_file_that_was_moved_away_has_everything(tmp_path: Path) -> None:
    path, moved = tmp_path / "chat.db", tmp_path / "moved.db"
    backend = SQLiteBackend(path)
    async with backend.open(Record()):
        epoch = await begin(backend, "1", "2")
        path.rename(moved)
        with pytest.raises(Unavailable):
            await backend.write([post("3")])
        # Back again: nobody knows what was written to it meanwhile.
        shutil.copy(moved, tmp_path / "copy.db")
        moved.rename(path)
        assert await begin(backend) != epoch
        page = await backend.read_after(LOG, 0, 9, 9)
        assert [entry.id for entry in page.entries] == ["1", "2"]
    copy = SQLiteBackend(tmp_path / "copy.db")
    async with copy.open(Record()):
        page = await copy.read_after(LOG, 0, 9, 9)
        assert [entry.id for entry in page.entries] == ["1", "2"]


async def test_what_takes_the_place_must_be_a_chat(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    backend = SQLiteBackend(path)
    async with backend.open(Record()):
        await begin(backend)
        path.unlink()
        path.write_text("Dear diary, " * 1000)
        with pytest.raises(Unavailable, match="not a database"):
            await backend.write([post("1")])
        path.unlink()
        path.touch()
        await begin(backend, "1")


async def test_clients_begin_anew_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with running(ChatServer(SQLiteBackend(path))) as chat:
        anna, bob = await chat.user("Anna", room="r"), await chat.user("Bob")
        epoch = (await anna.ok("post", room="r", text="1"))["epoch"]
        path.unlink()
        assert await anna.error("post", room="r", text="2") == "unavailable"
        assert await anna.error("join", room="other") == "unavailable"
        assert await anna.error("history", room="r") == "unavailable"
        await bob.ok("ping")
        path.touch()
        await anna.send("post", room="r", text="2")
        assert await anna.closed() == 1012
        assert await bob.closed() == 1012  # his inbox is gone as well
        anna = await chat.connect()
        await anna.hello("Anna", session="another-session-of-22-chars")
        joined = await anna.ok("join", room="r", position={"epoch": epoch, "offset": 1})
        assert joined["epoch"] != epoch
        assert (joined["gap"], joined["messages"], joined["offset"]) == (True, [], 0)
        assert (await anna.ok("post", room="r", text="2"))["offset"] == 1


async def test_a_position_beyond_the_end_is_a_gap(tmp_path: Path) -> None:
    async with running(ChatServer(SQLiteBackend(tmp_path / "chat.db"))) as chat:
        anna = await chat.user("Anna", room="r")
        epoch = (await anna.ok("post", room="r", text="1"))["epoch"]
        joined = await anna.ok("join", room="r", position={"epoch": epoch, "offset": 2})
        assert joined["gap"] is True
        assert len(joined["messages"]) == 1


async def test_the_memory_loses_on_request() -> None:
    record = Record()
    backend = MemoryBackend()

    async def write(batch: Sequence[Command]) -> list[Result]:
        return await backend.write(batch)

    async with backend.open(record):
        before = await write(
            [Claim(ANNA, b"a"), OpenRoom(ROOM), post("1"), SendTo("anna", "anna", "x", "1", 1)]
        )
        backend.lose([LOG, inbox_log("anna")])
        assert record.lost == [LOG, inbox_log("anna")]
        after = await write([Claim(ANNA, b"a"), OpenRoom(ROOM), post("1"), Claim(ANNA, b"x")])
        assert isinstance(before[0], Claimed)
        assert isinstance(after[0], Claimed)
        assert isinstance(before[2], Stored)
        assert isinstance(after[2], Stored)
        assert before[0].inbox.epoch != after[0].inbox.epoch
        assert before[2].epoch != after[2].epoch
        assert (after[0].inbox.offset, after[2].offset, after[2].duplicate) == (0, 1, False)
        assert isinstance(after[3], Refused)
