"""What servers, clients and proxies on top of wsproto do with it, beyond what its tests show."""

from __future__ import annotations

import array
import copy
import dataclasses
import enum
import os
import pickle
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from wscore.connection import CLIENT, SERVER, Connection, ConnectionState
from wscore.events import (
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    Pong,
    TextMessage,
)
from wscore.extensions import Extension
from wscore.frame_protocol import Opcode, RsvBits


@dataclasses.dataclass(frozen=True)
class Stamped(TextMessage):
    """An event with a field of its own, as a user writes it."""

    at: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimedPing(Ping):
    sent: float


@dataclasses.dataclass(frozen=True)
class Explained(CloseConnection):
    by: str = "us"


class Tagged(BytesMessage):
    """One with an ``__init__`` of its own and an attribute that is no field."""

    def __init__(self, tag: str, data: bytes) -> None:
        super().__init__(data)
        self.tag = tag


HEIRS = [
    Stamped("x", at=1.5, message_finished=False),
    TimedPing(b"x", sent=1.5),
    Explained(1001, "bye", "them"),
    Tagged("tag", b"x"),
]


class TestSubclassesOfEvents:
    def test_fields(self) -> None:
        event = Stamped("x", at=1.5, message_finished=False)
        assert (event.data, event.frame_finished, event.message_finished) == ("x", True, False)
        assert event.at == 1.5
        assert Explained(1001) == Explained(code=1001, reason=None, by="us")
        assert dataclasses.asdict(event)["at"] == 1.5
        assert dataclasses.replace(event, data="y").data == "y"
        assert Stamped("x") != Stamped("x", at=2)  # which must not be the base's answer
        assert not Stamped("x") != Stamped("x")  # noqa: SIM202
        assert Stamped("x") != TextMessage("x")
        assert repr(TimedPing(b"x", sent=1)) == "TimedPing(payload=b'x', sent=1)"

    @pytest.mark.parametrize("event", HEIRS, ids=lambda event: type(event).__name__)
    def test_copies(self, event: Any) -> None:
        for twin in (copy.copy(event), copy.deepcopy(event), pickle.loads(pickle.dumps(event))):
            assert twin == event
            assert type(twin) is type(event)
            assert getattr(twin, "tag", None) == getattr(event, "tag", None)

    @pytest.mark.parametrize("event", HEIRS, ids=lambda event: type(event).__name__)
    def test_frozen(self, event: Any) -> None:
        for field in dataclasses.fields(event):
            before = getattr(event, field.name)
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(event, field.name, before)
            with pytest.raises(dataclasses.FrozenInstanceError):
                delattr(event, field.name)
            assert getattr(event, field.name) == before

    def test_sent(self) -> None:
        server = Connection(SERVER)
        assert server.send(Stamped("x")) == b"\x81\x01x"
        assert server.send(Tagged("tag", b"x")) == b"\x82\x01x"
        assert server.send(TimedPing(b"x", sent=1)) == b"\x89\x01x"
        assert TimedPing(b"x", sent=1).response() == Pong(b"x")
        assert server.send(Explained(1001)) == b"\x88\x02\x03\xe9"


class Markup(str):
    """A str as templating libraries make it."""


class Word(enum.StrEnum):
    HELLO = "hello"
    ADE = "adé"


class TestValuesOfSubclasses:
    @pytest.mark.parametrize("text", [Markup("hello"), Markup("adé"), Word.HELLO, Word.ADE])
    def test_text(self, text: str, framing: ModuleType) -> None:
        payload = str(text).encode()
        assert framing.encode_frame(0x81, text) == bytes([0x81, len(payload)]) + payload
        assert Connection(SERVER).send(Message(text)) == bytes([0x81, len(payload)]) + payload

    def test_bytes(self) -> None:
        class Blob(bytes):
            pass

        assert Connection(SERVER).send(Message(Blob(b"x"))) == b"\x82\x01x"

    def test_a_control_payload_is_measured_in_bytes(self) -> None:
        words: Any = memoryview(array.array("H", range(63)))
        with pytest.raises(ValueError, match="126"):
            Connection(SERVER).send(Ping(words))
        assert Connection(SERVER).send(Ping(words[:62])) == b"\x89\x7c" + words[:62].tobytes()


class TestSubclassesOfConnection:
    def test_an_attribute_called_client(self) -> None:
        """Proxies keep the peer's address there; masking does not suffer."""

        class Relayed(Connection):
            def __init__(self, client: Any) -> None:
                super().__init__(SERVER)
                assert self.client is False
                self.client = client

        relayed = Relayed(("192.0.2.1", 80))
        assert relayed.client == ("192.0.2.1", 80)
        assert relayed.send(Message("x")) == b"\x81\x01x"
        assert relayed.send_parts(Message(b"x")) == (b"\x82\x01", b"x")
        relayed.receive_data(b"\x89\x80\0\0\0\0")
        assert list(relayed.events()) == [Ping()]


class Bad(Extension):
    """Raises, or asks for events, in one of its hooks."""

    name = "bad"

    def __init__(self, hook: str) -> None:
        self.hook = hook
        self.connection: Connection | None = None

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return True

    def at(self, hook: str) -> None:
        if hook != self.hook:
            return
        if self.connection is None:
            raise KeyError(hook)
        next(self.connection.events())

    def frame_inbound_header(
        self, proto: Any, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> RsvBits:
        self.at("header")
        return RsvBits(False, False, False)

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> bytes:
        self.at("payload")
        return data

    def frame_inbound_complete(self, proto: Any, fin: bool) -> None:
        self.at("complete")


#: A message whose payload looks like frames, and one behind it.
SMUGGLER = b"\x82\x05\x89\x00\x81\x01A" + b"\x81\x01Z"


@pytest.mark.parametrize("hook", ["header", "payload", "complete"])
@pytest.mark.parametrize("whole", [False, True])
class TestExtensionsThatFail:
    def test_nothing_behind_an_exception(self, hook: str, whole: bool) -> None:
        """What is left of the frame must not be taken for frames, as with wsproto."""
        client = Connection(CLIENT, [Bad(hook)], whole_messages=whole)
        client.receive_data(SMUGGLER)
        with pytest.raises(KeyError):
            next(client.events())
        client.receive_data(SMUGGLER)
        assert list(client.events()) == []
        assert client.state is ConnectionState.REMOTE_CLOSING
        client.send(CloseConnection(1011))
        assert client.state is ConnectionState.CLOSED

    def test_events_are_not_asked_for_inside(self, hook: str, whole: bool) -> None:
        extension = Bad(hook)
        client = extension.connection = Connection(CLIENT, [extension], whole_messages=whole)
        client.receive_data(SMUGGLER)
        with pytest.raises(ValueError, match="extension"):
            next(client.events())
        assert list(client.events()) == []


def test_without_assertions_and_docstrings() -> None:
    """``python -OO`` strips both; nothing may lean on them."""
    code = "import wscore.frame_protocol; assert 0; print(wscore.__version__)"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    for pure in ("0", "1"):
        found = subprocess.run(
            [sys.executable, "-W", "error", "-OO", "-c", code],
            env={**environment, "WSCORE_PURE_PYTHON": pure},
            capture_output=True,
            check=True,
        )
        assert found.stdout
        assert not found.stderr
