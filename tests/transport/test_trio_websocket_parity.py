"""trio-websocket's public names, parameters, defaults and documented examples, here as there."""

from __future__ import annotations

import importlib.metadata
import inspect
import re

import pytest
import trio
import trio_websocket

import wscore.trio

NAMES = sorted(
    name
    for name, value in vars(trio_websocket).items()
    if not name.startswith("_") and not inspect.ismodule(value)
)
CLASSES = [name for name in NAMES if inspect.isclass(getattr(trio_websocket, name))]
FUNCTIONS = [name for name in NAMES if name not in CLASSES]
# Objects that users get and do not make; their constructors are no part of the interface.
NOT_MADE_BY_USERS = {"WebSocketConnection", "WebSocketRequest"}
# Defaults that are meant to differ; the guide says why.
OTHER_DEFAULTS = {"receive_buffer_size", "connect_timeout", "disconnect_timeout"}


def callables():
    """Each public function, constructor and method, of both packages."""
    for name in FUNCTIONS:
        yield pytest.param(getattr(trio_websocket, name), getattr(wscore.trio, name), id=name)
    for name in CLASSES:
        theirs, ours = getattr(trio_websocket, name), getattr(wscore.trio, name)
        if name not in NOT_MADE_BY_USERS and "__init__" in vars(theirs):
            yield pytest.param(theirs, ours, id=name)
        for method, value in vars(theirs).items():
            if not method.startswith("_") and inspect.isfunction(value):
                yield pytest.param(value, getattr(ours, method), id=f"{name}.{method}")


def test_names():
    assert len(NAMES) == 17
    assert set(NAMES) <= set(wscore.trio.__all__)


@pytest.mark.parametrize(("theirs", "ours"), list(callables()))
def test_parameters(theirs, ours):
    """All of theirs exist, of the same kind and order; all others of ours can be left out."""
    their_parameters = inspect.signature(theirs).parameters
    our_parameters = inspect.signature(ours).parameters
    common = [name for name in our_parameters if name in their_parameters]
    positional = [
        name
        for name, parameter in their_parameters.items()
        if parameter.kind is not parameter.KEYWORD_ONLY
    ]
    assert set(common) == set(their_parameters)
    assert list(our_parameters)[: len(positional)] == positional
    for name, parameter in our_parameters.items():
        if name not in their_parameters:
            assert parameter.default is not parameter.empty
            continue
        if name != "self":  # of a compiled method nobody can give it by keyword; nor does anybody
            assert parameter.kind is their_parameters[name].kind
        if name not in OTHER_DEFAULTS and their_parameters[name].default is not parameter.empty:
            assert parameter.default == their_parameters[name].default


@pytest.mark.parametrize("name", CLASSES)
def test_attributes(name):
    """Properties are properties, and exceptions have the same bases."""
    theirs, ours = getattr(trio_websocket, name), getattr(wscore.trio, name)
    for attribute, value in vars(theirs).items():
        if isinstance(value, property):
            static = inspect.getattr_static(ours, attribute)
            assert inspect.isdatadescriptor(static)
    if issubclass(theirs, Exception):
        names = [[base.__name__ for base in package.__mro__] for package in (theirs, ours)]
        assert names[0] == names[1]


@pytest.mark.parametrize("name", ["CloseReason", "ConnectionClosed", "ConnectionRejected"])
def test_representations(name):
    def example(package):
        arguments = {
            "CloseReason": (1001, "x"),
            "ConnectionClosed": (package.CloseReason(4000, None),),
            "ConnectionRejected": (404, ((b"a", b"b"),), b"x"),
        }[name]
        return getattr(package, name)(*arguments)

    theirs, ours = example(trio_websocket), example(wscore.trio)
    assert repr(theirs) == repr(ours)
    for attribute in ("code", "name", "status_code", "headers", "body"):
        assert getattr(theirs, attribute, None) == getattr(ours, attribute, None)


# The examples of its README


def example(heading):
    """The code under a heading, with the import changed and without the last line that runs it."""
    readme = importlib.metadata.metadata("trio-websocket").get_payload()
    section = readme.partition(f"## {heading}")[2]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    assert "from trio_websocket import" in code
    assert code.rstrip().endswith("trio.run(main)")
    code = code.replace("from trio_websocket import", "from wscore.trio import")
    return code.rstrip().removesuffix("trio.run(main)")


async def test_documented_examples(capsys):
    """Its client and its server, with each other."""
    with_port = example("Server Example").replace("8000, ssl_context=None", "0, None")
    server_space, client_space = {}, {}
    exec(with_port, server_space)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(
                wscore.trio.serve_websocket, server_space["echo_server"], "127.0.0.1", 0, None
            )
            url = f"ws://127.0.0.1:{server.port}"
            code = example("Client Example").replace("wss://echo.websocket.org", url)
            exec(code, client_space)
            await client_space["main"]()
            nursery.cancel_scope.cancel()
    assert capsys.readouterr().out == "Received message: hello world!\n"


async def test_documented_server_starts(monkeypatch, autojump_clock):
    """Its main, on a port that is free."""
    code = example("Server Example").replace("8000", "0")
    space = {}
    exec(code, space)
    with trio.move_on_after(1) as scope:
        await space["main"]()
    assert scope.cancelled_caught
