"""wsproto and wscore side by side: the table of differences is true; names, signatures,
events as values, functions.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import inspect
import pickle
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packages import DEFLATE, MODULES, WSCORE, WSPROTO
from parity import attempt, plain
from wsproto_differences import DIFFERENCES, NAMES, Difference

from wscore._framing import IMPLEMENTATION


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.name)
def test_the_table_is_true(difference: Difference) -> None:
    assert difference.wsproto != difference.wscore
    assert plain(difference.example(WSPROTO)) == difference.wsproto
    like_wsproto = difference.compiled_only and IMPLEMENTATION == "python"
    expected = difference.wsproto if like_wsproto else difference.wscore
    assert plain(difference.example(WSCORE)) == expected
    assert difference.reason


def test_the_table_names_each_once() -> None:
    assert len(NAMES) == len(DIFFERENCES)


def public(module: Any) -> list[str]:
    """What a module of wsproto defines for its users."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, (ModuleType, TypeVar))
        and name != "TYPE_CHECKING"
        and getattr(value, "__module__", module.__name__) == module.__name__
    ]


def parameters(function: Any) -> list[tuple[Any, ...]]:
    """Names, kinds and defaults, without the ``self`` that nobody gives by keyword."""
    signature = inspect.signature(function)
    return [
        (p.name, p.kind, p.default if isinstance(p.default, (int, bytes, str)) else repr(p.default))
        for p in signature.parameters.values()
        if p.name != "self"
    ]


NAMED = [(module, name) for module in MODULES for name in public(getattr(WSPROTO, module))]


@pytest.mark.parametrize(("module", "name"), NAMED)
def test_names_and_signatures(module: str, name: str) -> None:
    """Everything is there and takes the same arguments; ours may take more by keyword."""
    theirs = getattr(getattr(WSPROTO, module), name)
    ours = getattr(getattr(WSCORE, module), name)
    if isinstance(theirs, type) and issubclass(theirs, enum.Enum):
        assert {member.name: member.value for member in theirs}.items() <= {
            member.name: member.value for member in ours
        }.items()
    elif isinstance(theirs, type) and not issubclass(theirs, Exception):
        methods = [n for n, v in vars(theirs).items() if inspect.isfunction(v) and n[0] != "_"]
        if name == "FrameDecoder":  # "the inside of a frame decoder"
            methods = ["receive_bytes", "process_buffer"]
        for method in methods:
            check_parameters(getattr(theirs, method), getattr(ours, method))
        for attribute in [n for n, v in vars(theirs).items() if isinstance(v, property)]:
            assert hasattr(ours, attribute)
        check_parameters(theirs, ours)
    elif callable(theirs) and not isinstance(theirs, type):
        check_parameters(theirs, ours)
    elif isinstance(theirs, (int, bytes)):
        assert ours == theirs


def check_parameters(theirs: Any, ours: Any) -> None:
    expected, found = parameters(theirs), parameters(ours)
    assert found[: len(expected)] == expected
    keywords = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    assert all(kind in keywords for _, kind, _ in found[len(expected) :])


def test_wsconnection() -> None:
    for lib in (WSCORE, WSPROTO):
        assert parameters(lib.WSConnection)[0][0] == "connection_type"
        connection = lib.WSConnection(connection_type=lib.CLIENT)
        assert connection.client is True
        assert connection.connection is None
        assert connection.state is lib.ConnectionState.CONNECTING
        assert isinstance(connection.handshake, lib.H11Handshake)
    for name in ("send", "receive_data", "events", "initiate_upgrade_connection"):
        check_parameters(getattr(WSPROTO.WSConnection, name), getattr(WSCORE.WSConnection, name))


VALUES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Request", ("host", "/"), {"host": "host", "target": "/"}),
    ("Request", ("h", "/", ["x"], [(b"a", b"b")], ["s"]), {"host": "h", "target": "/"}),
    ("AcceptConnection", (), {}),
    ("AcceptConnection", ("s", [], [(b"a", b"b")]), {"subprotocol": "s"}),
    ("RejectConnection", (), {}),
    ("RejectConnection", (403, [(b"a", b"b")], True), {"status_code": 403}),
    ("RejectData", (b"x",), {"data": b"x"}),
    ("RejectData", (b"x", False), {"data": b"x", "body_finished": False}),
    ("Message", ("x",), {"data": "x"}),
    ("Message", (b"x", False, True), {"data": b"x", "frame_finished": False}),
    ("TextMessage", ("x", True, False), {"data": "x", "message_finished": False}),
    ("BytesMessage", (b"x",), {"data": b"x"}),
    ("BytesMessage", (bytearray(b"x"),), {"data": bytearray(b"x")}),
    ("CloseConnection", (1000,), {"code": 1000}),
    ("CloseConnection", (4000, "why"), {"code": 4000, "reason": "why"}),
    ("Ping", (), {}),
    ("Ping", (b"x",), {"payload": b"x"}),
    ("Pong", (b"x",), {"payload": b"x"}),
]


@pytest.mark.parametrize(("name", "args", "keywords"), VALUES)
class TestValues:
    def seen(self, lib: Any, act: Callable[[Any, Any], Any], *args: Any, **keywords: Any) -> Any:
        """What an action on the class and an event of it gives, exceptions included."""
        cls = getattr(lib, args[0])
        return attempt(act, cls, cls(*args[1], **keywords))

    @pytest.mark.parametrize(
        "act",
        [
            lambda cls, event: repr(event),
            lambda cls, event: hash(event),
            lambda cls, event: event == copy.copy(event) == copy.deepcopy(event),
            lambda cls, event: event == pickle.loads(pickle.dumps(event)),
            lambda cls, event: event != 5 and event != None,  # noqa: E711
            lambda cls, event: dataclasses.asdict(event),
            lambda cls, event: dataclasses.astuple(event),
            lambda cls, event: [(f.name, repr(f.default)) for f in dataclasses.fields(cls)],
            lambda cls, event: dataclasses.is_dataclass(cls),
            lambda cls, event: cls.__match_args__,
            lambda cls, event: dataclasses.replace(event, **{cls.__match_args__[0]: 1}),
            lambda cls, event: dataclasses.replace(event, unknown=1),
            lambda cls, event: setattr(event, cls.__match_args__[0], 1),
            lambda cls, event: setattr(event, "unknown", 1),
            lambda cls, event: delattr(event, cls.__match_args__[0]),
            lambda cls, event: event.unknown,
            lambda cls, event: weakref.ref(event)() is event,
            lambda cls, event: event.response(),
            lambda cls, event: event < event,
            lambda cls, event: cls(unknown=1),
            lambda cls, event: cls(1, 2, 3, 4, 5, 6),
            lambda cls, event: [base.__name__ for base in cls.__mro__ if "Message" in str(base)],
            lambda cls, event: (cls.__name__, cls.__qualname__),
        ],
    )
    def test_the_same(
        self, name: str, args: tuple[Any, ...], keywords: dict[str, Any], act: Any
    ) -> None:
        ours, theirs = (self.seen(lib, act, name, args) for lib in (WSCORE, WSPROTO))
        assert ours == theirs

    def test_by_keyword(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        ours, theirs = (plain(getattr(lib, name)(**keywords)) for lib in (WSCORE, WSPROTO))
        assert ours == theirs

    def test_exception_names(
        self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]
    ) -> None:
        cls = getattr(WSCORE, name)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(cls(*args), next(iter(cls.__match_args__)), 1)


ASCII_VALUES = st.text(st.characters(max_codepoint=127, exclude_characters='"'), max_size=20)


@given(ASCII_VALUES)
def test_split_comma_header(value: str) -> None:
    assert WSCORE.split_comma_header(value.encode()) == WSPROTO.split_comma_header(value.encode())


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"A"]), st.binary(max_size=4)), max_size=6))
def test_normed_header_dict(headers: list[tuple[bytes, bytes]]) -> None:
    ours, theirs = WSCORE.normed_header_dict(headers), WSPROTO.normed_header_dict(headers)
    assert list(ours.items()) == list(theirs.items())


@given(st.binary(max_size=40))
def test_generate_accept_token(token: bytes) -> None:
    assert WSCORE.generate_accept_token(token) == WSPROTO.generate_accept_token(token)
    assert len(WSCORE.generate_nonce()) == len(WSPROTO.generate_nonce())


def test_supported_extensions() -> None:
    for lib in (WSCORE, WSPROTO):
        supported = lib.extensions.SUPPORTED_EXTENSIONS
        assert supported == {DEFLATE: lib.PerMessageDeflate}
        extension = supported[DEFLATE]()
        assert isinstance(extension, lib.Extension)
        assert (extension.name, extension.enabled()) == (DEFLATE, False)


FLAG, WINDOW = st.booleans(), st.one_of(st.none(), st.integers(7, 17))


@given(st.tuples(FLAG, WINDOW, FLAG, WINDOW))
def test_permessage_deflate_offers(options: tuple[Any, ...]) -> None:
    def offer(lib: Any) -> Any:
        extension = lib.PerMessageDeflate(*options)
        return extension.offer(), repr(extension)

    assert attempt(offer, WSCORE) == attempt(offer, WSPROTO)


CLEAN_PARAMETERS = st.lists(
    st.sampled_from(
        [
            "client_no_context_takeover",
            "server_no_context_takeover",
            "client_max_window_bits=9",
            "client_max_window_bits",
            "server_max_window_bits=15",
            "server_max_window_bits=11",
        ]
    ),
    unique_by=lambda parameter: parameter.partition("=")[0],
)


@given(CLEAN_PARAMETERS)
def test_permessage_deflate_accepts(offered: list[str]) -> None:
    def accept(lib: Any) -> Any:
        extension = lib.PerMessageDeflate()
        answer = extension.accept("; ".join([DEFLATE, *offered]))
        return answer, repr(extension), extension.enabled()

    assert accept(WSCORE) == accept(WSPROTO)
