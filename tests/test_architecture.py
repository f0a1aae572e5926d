"""The shape of the package: who imports whom, what a bare import loads, how alike the twins are."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
import wsproto

import wscore
from wscore import _framing

PACKAGE = Path(wscore.__file__).parent

# Lowest first. A module imports from its own row and the rows above it here, in no circle.
LAYERS: list[set[str]] = [
    {
        "_version",
        "_codes",
        "_deflate",
        "_deflate_parameters",
        "_close_payload",
        "_http_head",
        "_inbound_hooks",
        "_mask_keys",
        "errors",
        "typing",
        "utilities",
    },
    {"_framing_c", "_framing_py", "_decoder_py", "_primitives_py", "_events_py"},
    {"_framing", "_frame_parts"},
    {"frame_protocol"},
    {"events", "extensions"},
    {"connection"},
    {"_flow_c", "_fanout_c"},  # the compiled twins of trio._flow_py and trio._fanout_py
    {"_upgrade", "handshake"},
    {"_alias"},
    {"__init__", "__main__"},
    {"as_wsproto", "_stand_in"},
    {"trio"},
    {"terminal"},
    {"chat", "connect"},
    {"examples"},
]
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}

# What may be imported from outside the standard library, by the first part of the module's name.
THIRD_PARTY = {
    "handshake": {"h11"},
    "trio": {"trio", "h11", "idna", "outcome", "python_socks"},
    "terminal": {"trio", "prompt_toolkit"},
    "examples": {"trio", "h11", "h2", "coredis"},
    "chat": {"trio", "outcome", "msgspec", "jwt", "prometheus_client", "coredis", "anyio"},
    "connect": {"trio"},
}

# Beside the layers: what these may not import, however low it lies.
FORBIDDEN = {
    "wscore.chat.client": {"wscore.chat.server", "wscore.chat.backends", "wscore.terminal"},
    "wscore.terminal": {"wscore.chat", "wscore.connect"},
    "wscore.connect": {"wscore.chat"},
}
# The client's part that has no I/O.
SANS_IO = (
    *("awaited", "dialogue", "errors", "events", "following"),
    *("lane", "log", "requests", "terms", "typing_notice", "wire"),
)

# Imports against the arrows, each under TYPE_CHECKING only, with its reason.
JUSTIFIED = {
    ("errors", "events"): "RemoteProtocolError.event_hint is an event",
    ("_inbound_hooks", "extensions"): "it calls the hooks of those that it is given",
    ("_inbound_hooks", "_decoder_py"): "these hooks are given the decoder",
    ("_decoder_py", "extensions"): "FrameDecoder is given extensions, whose hooks it calls",
    ("_framing_py", "extensions"): "OpenConnection is given the one that compresses messages",
    (
        "_frame_parts",
        "extensions",
    ): "wsproto's FrameDecoder is given extensions, whose hooks it calls",
    ("frame_protocol", "extensions"): "FrameProtocol is given extensions, whose hooks it calls",
}


class Import(NamedTuple):
    """One import found in a module: of what, and whether only type checkers see it."""

    target: str
    typing_only: bool


def part_of(module: str) -> str:
    """Name the row's member that a module belongs to: its first part below `wscore`."""
    names = module.split(".")
    return names[1] if len(names) > 1 else "__init__"


def imports_of(module: str, source: str, modules: set[str], is_package: bool) -> list[Import]:
    """List the imports of a module, wherever they stand in it, with absolute names."""
    found: list[Import] = []
    package = module if is_package else module.rpartition(".")[0]

    def visit(node: ast.AST, typing_only: bool) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for child in node.body:
                visit(child, True)
            for child in node.orelse:
                visit(child, typing_only)
            return
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{above}.{base}" if base else above
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                found.append(Import(submodule if submodule in modules else base, typing_only))
        for child in ast.iter_child_nodes(node):
            visit(child, typing_only)

    visit(ast.parse(source), False)
    return found


def violations(sources: dict[str, str], packages: set[str]) -> list[str]:
    """Judge a package given as {module: source}; an empty list means that the arrows are obeyed."""
    wrong: list[str] = []
    unused = {pair for pair in JUSTIFIED if f"wscore.{pair[0]}" in sources}
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        part = part_of(module)
        if part not in RANK:
            wrong.append(f"{module} has no place in LAYERS")
            continue
        for target, typing_only in imports_of(module, source, set(sources), module in packages):
            root = target.partition(".")[0]
            if root != "wscore":
                if root not in sys.stdlib_module_names | THIRD_PARTY.get(part, set()):
                    wrong.append(f"{module} imports {target}, which is not among its dependencies")
                continue
            other = part_of(target)
            if typing_only and (part, other) in JUSTIFIED:
                unused.discard((part, other))
            elif RANK.get(other, len(LAYERS)) > RANK[part]:
                wrong.append(f"{module} imports {target}, against the arrows")
            elif not typing_only:
                graph.setdefault(module, set()).add(target)
    wrong += [f"{a} no longer needs its excuse to import {b}" for a, b in sorted(unused)]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        wrong.append(f"a circle of imports: {' -> '.join(reversed(exc.args[1]))}")
    return wrong


def package_sources() -> tuple[dict[str, str], set[str]]:
    """Read every module of wscore, as it lies on the disk."""
    sources: dict[str, str] = {}
    packages: set[str] = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        names = ["wscore", *path.relative_to(PACKAGE).with_suffix("").parts]
        if names[-1] == "__init__":
            names.pop()
            packages.add(".".join(names))
        sources[".".join(names)] = path.read_text(encoding="utf-8")
    return sources, packages


def test_imports_follow_the_arrows() -> None:
    sources, packages = package_sources()
    assert len(sources) >= 12
    assert violations(sources, packages) == []


def within(module: str, packages: set[str]) -> bool:
    """Whether a module is one of these, or lies in one of them."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def test_clients_know_no_server_and_the_dialogue_no_io() -> None:
    sources, packages = package_sources()
    seen = 0
    for module, source in sources.items():
        imported = imports_of(module, source, set(sources), module in packages)
        for package, forbidden in FORBIDDEN.items():
            if within(module, {package}):
                seen += 1
                assert [t for t, _ in imported if within(t, forbidden)] == [], module
        if module.rpartition(".")[0] == "wscore.chat.client" and module.split(".")[-1] in SANS_IO:
            seen += 1
            assert [t for t, _ in imported if within(t, {"trio", "wscore.trio"})] == [], module
    assert seen >= 20


EXCUSED = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .events import Event\n"


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("wscore.connection", "from .trio import serve_websocket", "against the arrows"),
        ("wscore.connection", "import wscore.handshake", "against the arrows"),
        ("wscore.connection", "from wscore import handshake", "against the arrows"),
        ("wscore.connection", "from . import WSConnection", "against the arrows"),
        ("wscore.events", "def f():\n    from .chat import hub", "against the arrows"),
        (
            "wscore.events",
            "import typing\nif typing.TYPE_CHECKING:\n    from .handshake import H11Handshake",
            "against the arrows",
        ),
        ("wscore.errors", "from .events import Event", "against the arrows"),
        ("wscore.trio._server", "from ..chat import hub", "against the arrows"),
        ("wscore.trio._server", "import wscore.examples.echo", "against the arrows"),
        ("wscore.connection", "import h11", "not among its dependencies"),
        ("wscore.trio._server", "import msgspec", "not among its dependencies"),
        ("wscore.chat.hub", "import asyncio, redis", "not among its dependencies"),
        ("wscore.helpers", "import os", "no place"),
        ("wscore.events", "from .extensions import Extension", "a circle"),
        ("wscore.trio._http", "from . import _server", "a circle"),
    ],
)
def test_the_arrows_can_be_broken(module: str, source: str, complaint: str) -> None:
    sources = {
        "wscore": "from .connection import Connection",
        "wscore.chat": "",
        "wscore.chat.hub": "",
        "wscore.connection": "from .events import Event",
        "wscore.errors": EXCUSED,
        "wscore.events": "",
        "wscore.extensions": "from .events import Event",
        "wscore.handshake": "import h11",
        "wscore.trio": "import trio\nfrom ._server import serve_websocket",
        "wscore.trio._http": "",
        "wscore.trio._server": "from ._http import HTTPRequest",
    }
    packages = {"wscore", "wscore.trio", "wscore.chat"}
    assert violations(sources, packages) == []
    [found] = [v for v in violations(sources | {module: source}, packages) if "excuse" not in v]
    assert complaint in found


def test_an_excuse_that_is_no_longer_needed_is_found() -> None:
    assert violations({"wscore.errors": EXCUSED, "wscore.events": ""}, set()) == []
    [found] = violations({"wscore.errors": "", "wscore.events": ""}, set())
    assert "no longer needs its excuse" in found


def test_every_module_opens_with_a_docstring() -> None:
    sources, _ = package_sources()
    without = [name for name, source in sources.items() if not ast.get_docstring(ast.parse(source))]
    assert without == []


def fresh(code: str, **env: str) -> dict[str, object]:
    """Run code in a new interpreter and return the dictionary `out` that it filled."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("WSCORE_")}
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys\nout = {{}}\n{code}\nprint(json.dumps(out))"],
        env=inherited | env,
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("module", ["wscore", "wscore.__main__"])
def test_a_bare_import_loads_neither_trio_nor_the_chat(module: str) -> None:
    loaded = fresh(f"import {module}\nout['modules'] = sorted(sys.modules)")["modules"]
    assert isinstance(loaded, list)
    assert "wscore" in loaded
    assert "h11" in loaded
    heavy = ("trio", "msgspec", "wscore.trio", "wscore.chat", "sqlite3", "asyncio")
    assert [name for name in loaded if name.startswith(heavy)] == []


def test_the_transport_does_not_load_the_chat() -> None:
    loaded = fresh("import wscore.trio\nout['modules'] = sorted(sys.modules)")["modules"]
    assert isinstance(loaded, list)
    assert "trio" in loaded
    assert [name for name in loaded if name.startswith(("msgspec", "wscore.chat"))] == []


LIVE_TWIN = (
    "from wscore import _framing\n"
    "out['implementation'] = _framing.IMPLEMENTATION\n"
    "out['kernel'] = _framing.KERNEL\n"
    "out['loaded'] = sorted(m for m in sys.modules if m.startswith('wscore._framing'))\n"
)


def test_the_switch_selects_the_python_twin() -> None:
    live = fresh(LIVE_TWIN, WSCORE_PURE_PYTHON="1")
    assert live == {
        "implementation": "python",
        "kernel": "python",
        "loaded": ["wscore._framing", "wscore._framing_py"],
    }


@pytest.mark.parametrize("env", [{}, {"WSCORE_PURE_PYTHON": "0"}, {"WSCORE_PURE_PYTHON": ""}])
def test_without_the_switch_the_compiled_twin_is_live_where_it_was_built(
    env: dict[str, str],
) -> None:
    live = fresh(LIVE_TWIN, **env)
    built = importlib.util.find_spec("wscore._framing_c") is not None
    assert built or os.environ.get("WSCORE_REQUIRE_EXT") != "1", "the compiled twin is missing"
    assert live["implementation"] == ("cython" if built else "python")
    kernels = {"avx512", "avx2", "sse2", "neon", "word"} if built else {"python"}
    assert live["kernel"] in kernels
    assert ("wscore._framing_c" in str(live["loaded"])) is built


def twins() -> tuple[ModuleType, ModuleType]:
    """Return the Python twin and the compiled one."""
    try:
        compiled = importlib.import_module("wscore._framing_c")
    except ModuleNotFoundError:
        if os.environ.get("WSCORE_REQUIRE_EXT") == "1":
            raise
        pytest.skip("the compiled twin is not built")
    return importlib.import_module("wscore._framing_py"), compiled


def parameters(function: Callable[..., object]) -> list[tuple[str, str, object]]:
    """List name, kind and default of each parameter but ``self``, which nobody gives by keyword."""
    found = inspect.signature(function).parameters.values()
    return [
        (each.name, each.kind.description, each.default) for each in found if each.name != "self"
    ]


def public(thing: object) -> list[str]:
    """List the public attributes of a class or an instance."""
    return [name for name in dir(thing) if not name.startswith("_")]


def test_the_switch_hands_on_the_same_names_of_both_twins() -> None:
    switch = ast.parse(Path(_framing.__file__).read_text(encoding="utf-8"))
    handed_on = {
        node.module: [alias.name for alias in node.names]
        for node in ast.walk(switch)
        if isinstance(node, ast.ImportFrom) and node.level == 1
    }
    assert handed_on == {"_framing_c": _framing.__all__, "_framing_py": _framing.__all__}


@pytest.mark.parametrize("name", _framing.__all__)
def test_the_twins_have_the_same_signatures_and_attributes(name: str) -> None:
    python, compiled = (getattr(twin, name) for twin in twins())
    assert type(python) is type(compiled) or callable(python)
    if callable(python):
        assert parameters(compiled) == parameters(python)
    if isinstance(python, type):
        fields = {each for each, _, _ in parameters(python)}
        assert set(public(compiled)) | fields == set(public(python)) | fields
        methods = [each for each in public(python) if inspect.isroutine(getattr(python, each))]
        for method in methods:
            ours, theirs = getattr(compiled, method), getattr(python, method)
            assert parameters(ours) == parameters(theirs), method


def test_a_difference_of_signatures_is_seen() -> None:
    def base(data: bytes, key: bytes, phase: int = 0) -> None: ...
    def renamed(data: bytes, mask: bytes, phase: int = 0) -> None: ...
    def other_default(data: bytes, key: bytes, phase: int = 1) -> None: ...
    def keyword_only(data: bytes, key: bytes, *, phase: int = 0) -> None: ...
    def one_more(data: bytes, key: bytes, phase: int = 0, out: object = None) -> None: ...

    others = (renamed, other_default, keyword_only, one_more)
    assert all(parameters(other) != parameters(base) for other in others)


def test_the_public_names_of_the_package() -> None:
    # A name that is added here is a promise; one that is taken away breaks somebody.
    assert sorted(wscore.__all__) == [
        "Connection",
        "ConnectionState",
        "ConnectionType",
        "WSConnection",
        "__version__",
        "install_as_wsproto",
    ]
    assert all(hasattr(wscore, name) for name in wscore.__all__)


# Names that wsproto defines and wscore does not have, each with its reason. One that has come must
# leave this table.
ABSENT = {"wscore.events.T": "a type variable, of use to the module itself only"}
# Calls that differ: inner steps of wsproto's parser, which only it calls.
DIFFERENT_CALLS = {
    "wscore.frame_protocol": {
        "FrameDecoder.extension_processing",
        "FrameDecoder.parse_extended_payload_length",
        "FrameDecoder.parse_header",
    }
}


def names_defined_in(module: ModuleType) -> set[str]:
    """List the public names that a module's own source defines or assigns, imports left out."""
    names: set[str] = set()
    for node in ast.parse(inspect.getsource(module)).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.ClassDef(name=name):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Assign(targets=targets):
                names.update(target.id for target in targets if isinstance(target, ast.Name))
    return {name for name in names if not name.startswith("_")}


WSPROTO = ["wsproto", *(f"wsproto.{m.name}" for m in pkgutil.iter_modules(wsproto.__path__))]


@pytest.mark.parametrize("name", WSPROTO)
def test_every_public_name_of_wsproto_is_in_the_module_of_the_same_name(name: str) -> None:
    theirs = importlib.import_module(name)
    ours = importlib.import_module(name.replace("wsproto", "wscore"))
    wanted = names_defined_in(theirs) | set(getattr(theirs, "__all__", ()))
    missing = {f"{ours.__name__}.{public}" for public in wanted if not hasattr(ours, public)}
    assert missing == {name for name in ABSENT if name.rpartition(".")[0] == ours.__name__}


def differing_calls(theirs: ModuleType, ours: ModuleType) -> set[str]:
    """Collect what a caller of `theirs` could not call in `ours` the same way."""
    found: set[str] = set()
    for name in names_defined_in(theirs):
        their = getattr(theirs, name)
        if not callable(their) or not hasattr(ours, name):
            continue
        pairs = [(name, their, getattr(ours, name))]
        if isinstance(their, type):
            methods = [each for each in public(their) if inspect.isroutine(getattr(their, each))]
            our = pairs[0][2]
            pairs += [(f"{name}.{m}", getattr(their, m), getattr(our, m, None)) for m in methods]
        for label, their_call, our_call in pairs:
            try:
                wanted = parameters(their_call)
            except ValueError:  # Enum's inherited methods are built-ins without a signature
                continue
            offered = parameters(our_call) if our_call is not None else []
            needed = [
                each
                for each, kind, default in offered[len(wanted) :]
                if default is inspect.Parameter.empty and "variadic" not in kind
            ]
            if our_call is None or offered[: len(wanted)] != wanted or needed:
                found.add(label)
    return found


@pytest.mark.parametrize("name", WSPROTO)
def test_calls_that_suit_wsproto_suit_wscore(name: str) -> None:
    theirs = importlib.import_module(name)
    ours = importlib.import_module(name.replace("wsproto", "wscore"))
    assert differing_calls(theirs, ours) == DIFFERENT_CALLS.get(ours.__name__, set())


def test_a_call_that_does_not_suit_is_seen() -> None:
    class Other:
        def ping(self) -> bytes: ...
        def pong(self, payload: bytes = b"", *, masked: bool) -> bytes: ...
        def close(
            self, code: int | None = None, reason: str | None = None, **more: int
        ) -> bytes: ...

    ours = ModuleType("ours")
    ours.FrameProtocol = Other  # type: ignore[attr-defined]
    theirs = importlib.import_module("wsproto.frame_protocol")
    methods = ("ping", "pong", "send_data", "receive_bytes", "received_frames")
    wanted = {"FrameProtocol", *(f"FrameProtocol.{name}" for name in methods)}
    assert differing_calls(theirs, ours) == wanted
    assert differing_calls(theirs, theirs) == set()
