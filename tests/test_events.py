"""The frame events of both twins behave as the frozen dataclasses that they are documented as."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from types import ModuleType
from typing import Any

import pytest

CASES: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    (
        "Message",
        ("x",),
        {"data": "x", "frame_finished": True, "message_finished": True},
        "Message(data='x', frame_finished=True, message_finished=True)",
    ),
    (
        "TextMessage",
        ("x", False),
        {"data": "x", "frame_finished": False, "message_finished": True},
        "TextMessage(data='x', frame_finished=False, message_finished=True)",
    ),
    (
        "BytesMessage",
        (b"x", True, False),
        {"data": b"x", "frame_finished": True, "message_finished": False},
        "BytesMessage(data=b'x', frame_finished=True, message_finished=False)",
    ),
    ("Ping", (), {"payload": b""}, "Ping(payload=b'')"),
    ("Pong", (b"x",), {"payload": b"x"}, "Pong(payload=b'x')"),
    (
        "CloseConnection",
        (1000,),
        {"code": 1000, "reason": None},
        "CloseConnection(code=1000, reason=None)",
    ),
    (
        "CloseConnection",
        (4000, "bye"),
        {"code": 4000, "reason": "bye"},
        "CloseConnection(code=4000, reason='bye')",
    ),
]


@pytest.mark.parametrize(("name", "args", "fields", "shown"), CASES)
class TestFrozenDataclass:
    def test_fields(
        self,
        framing: ModuleType,
        name: str,
        args: tuple[Any, ...],
        fields: dict[str, Any],
        shown: str,
    ) -> None:
        cls = getattr(framing, name)
        event = cls(*args)
        assert isinstance(event, framing.Event)
        assert {field: getattr(event, field) for field in fields} == fields
        assert event == cls(**fields)
        assert repr(event) == shown
        assert cls.__match_args__ == tuple(fields)
        assert [field.name for field in dataclasses.fields(cls)] == list(fields)
        assert dataclasses.asdict(event) == fields
        assert dataclasses.replace(event) == event

    def test_equality_and_hash(
        self,
        framing: ModuleType,
        name: str,
        args: tuple[Any, ...],
        fields: dict[str, Any],
        shown: str,
    ) -> None:
        cls = getattr(framing, name)
        first = next(iter(fields))
        other = cls(**{**fields, first: b"another" if first != "code" else 4999})
        assert cls(*args) == cls(*args)
        assert hash(cls(*args)) == hash(cls(*args)) == hash(tuple(fields.values()))
        assert cls(*args) != other
        assert cls(*args) != tuple(fields.values())
        assert dataclasses.replace(cls(*args), **{first: getattr(other, first)}) == other

    def test_immutable(
        self,
        framing: ModuleType,
        name: str,
        args: tuple[Any, ...],
        fields: dict[str, Any],
        shown: str,
    ) -> None:
        event = getattr(framing, name)(*args)
        for field in fields:
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(event, field, 1)
        with pytest.raises(AttributeError):
            event.anything = 1
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(event, next(iter(fields)))
        assert event == getattr(framing, name)(*args)

    def test_pickle(
        self,
        framing: ModuleType,
        name: str,
        args: tuple[Any, ...],
        fields: dict[str, Any],
        shown: str,
    ) -> None:
        event = getattr(framing, name)(*args)
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(event, protocol)) == event

    def test_matching_and_subclassing(
        self,
        framing: ModuleType,
        name: str,
        args: tuple[Any, ...],
        fields: dict[str, Any],
        shown: str,
    ) -> None:
        cls = getattr(framing, name)

        class Mine(cls):  # type: ignore[misc]
            note = "mine"

        mine = Mine(*args)
        assert isinstance(mine, cls)
        assert mine.note == "mine"
        assert mine == Mine(*args)
        assert mine != cls(*args)


def test_classes(framing: ModuleType) -> None:
    assert issubclass(framing.TextMessage, framing.Message)
    assert issubclass(framing.BytesMessage, framing.Message)
    assert not issubclass(framing.Ping, framing.Message)
    assert framing.Message("x") != framing.TextMessage("x")
    assert framing.Message[str] is not None


def test_match_statement(framing: ModuleType) -> None:
    match framing.TextMessage("hello"):
        case framing.TextMessage(data, _, True):
            assert data == "hello"
        case _:
            pytest.fail("no match")


def test_responses(framing: ModuleType) -> None:
    assert framing.Ping(b"x").response() == framing.Pong(b"x")
    assert framing.CloseConnection(1001, "bye").response() == framing.CloseConnection(1001, "bye")


def test_missing_arguments(framing: ModuleType) -> None:
    for name in ("Message", "TextMessage", "BytesMessage", "CloseConnection"):
        with pytest.raises(TypeError):
            getattr(framing, name)()
        with pytest.raises(TypeError):
            getattr(framing, name)("a", unknown=1)


# Keywords made at run time, which no table of interned names knows.
MADE = {"".join(("da", "ta")): "x", "".join(("frame_", "finished")): 0}


@pytest.mark.parametrize("name", ["Message", "TextMessage", "BytesMessage"])
class TestCallingAMessageClass:
    @pytest.mark.parametrize(
        ("args", "named", "fields"),
        [
            (("x",), {}, ("x", True, True)),
            (("x", 0), {}, ("x", False, True)),
            (("x", 1, 0), {}, ("x", True, False)),
            ((), {"data": "x"}, ("x", True, True)),
            ((), {"message_finished": 0, "frame_finished": 1, "data": "x"}, ("x", True, False)),
            (("x",), {"message_finished": False}, ("x", True, False)),
            (("x", False), {"message_finished": False}, ("x", False, False)),
            (("x",), {"frame_finished": False}, ("x", False, True)),
            ((), MADE, ("x", False, True)),
        ],
    )
    def test_each_way(
        self,
        framing: ModuleType,
        name: str,
        args: tuple[Any, ...],
        named: dict[str, Any],
        fields: tuple[str, bool, bool],
    ) -> None:
        cls = getattr(framing, name)
        sub = type("Sub", (cls,), {})
        for made in (cls, sub):
            event = made(*args, **named)
            assert type(event) is made
            assert (event.data, event.frame_finished, event.message_finished) == fields

    @pytest.mark.parametrize(
        ("args", "named"),
        [
            ((), {}),
            (("x", True, True, True), {}),
            (("x",), {"data": "x"}),
            (("x", True), {"frame_finished": True}),
            (("x", True, True), {"message_finished": True}),
            ((), {"message_finished": True}),
            (("x",), {"unknown": 1}),
            (("x",), {"frame_finished": True, "unknown": 1}),
        ],
    )
    def test_what_does_not_fit(
        self, framing: ModuleType, name: str, args: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        with pytest.raises(TypeError, match=r"__init__\(\)|argument"):
            getattr(framing, name)(*args, **named)

    def test_a_subclass_has_its_own_init(self, framing: ModuleType, name: str) -> None:
        def init(self: Any, *, shout: str) -> None:
            cls.__init__(self, shout.upper(), message_finished=False)

        cls = getattr(framing, name)
        event = type("Loud", (cls,), {"__init__": init})(shout="x")
        assert (event.data, event.message_finished) == ("X", False)
        with pytest.raises(TypeError):
            type(event)("x")

    def test_a_finished_that_has_no_truth(self, framing_c: ModuleType, name: str) -> None:
        class Neither:
            def __bool__(self) -> bool:
                raise ArithmeticError

        for flag in ("frame_finished", "message_finished"):
            with pytest.raises(ArithmeticError):
                getattr(framing_c, name)("x", **{flag: Neither()})


def test_events_may_be_extended(framing: ModuleType) -> None:
    @dataclasses.dataclass(frozen=True)
    class Custom(framing.Event):  # type: ignore[name-defined,misc]
        value: int
        more: list[int] = dataclasses.field(default_factory=list)

    assert Custom(1) == Custom(1, [])
    assert copy.copy(Custom(1, [2])) == copy.deepcopy(Custom(1, [2])) == Custom(1, [2])
    with pytest.raises(dataclasses.FrozenInstanceError):
        Custom(1).value = 2  # type: ignore[misc]
