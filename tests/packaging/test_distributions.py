"""The sdist and the wheel: what they carry, and that they install and run in empty environments.

Everything is built from a copy of the checkout, with the build requirements of pyproject.toml and
nothing else; pip fetches these and the dependencies, so the tests need the network.
"""

from __future__ import annotations

import email
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from urllib.request import urlopen

import pytest
from embedding.servers import PROGRAMS, SERVERS, check, observe
from end_to_end.other_servers import in_thread, serve_websockets

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LEFT_BEHIND = shutil.ignore_patterns(
    ".*", "build", "dist", "reports", "*.egg-info", "__pycache__", "*.so", "*.pyd", "chat.db*"
)
#: A compiler that always fails.
# The modules of the compiled twin, as their paths are in the package and below `src_cython`.
COMPILED = {
    f"wscore/_{name}_c"
    for name in ("primitives", "events", "decoder", "framing", "queue", "flow", "fanout")
}
SOURCES = (".py", ".pyx", ".pxd", ".c", ".h")
NO_COMPILER = {"CC": "false", "CXX": "false"}


def without_checkout() -> dict[str, str]:
    """The environment's variables, but for those by which this checkout would be found."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("WSCORE_", "PYTHON"))}


def run(argv: Sequence[str | Path], cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an environment that knows nothing of this checkout."""
    return subprocess.run(
        [str(part) for part in argv],
        cwd=cwd,
        env=without_checkout() | env,
        capture_output=True,
        text=True,
        timeout=300,
    )


def new_environment(where: Path, *requirements: str) -> Path:
    """Make a virtual environment with these requirements only and return its programs."""
    venv.create(where, symlinks=os.name != "nt")
    programs = where / ("Scripts" if os.name == "nt" else "bin")
    if requirements:
        pip = [sys.executable, "-m", "pip", "--python", str(programs / "python")]
        done = run([*pip, "install", "--quiet", *requirements], where)
        assert done.returncode == 0, done.stdout + done.stderr
    return programs


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment with the build requirements."""
    requirements = PROJECT["build-system"]["requires"]
    return new_environment(tmp_path_factory.mktemp("builder"), *requirements)


def build(
    kind: str, builder: Path, source: Path, out: Path, **env: str
) -> subprocess.CompletedProcess[str]:
    """Call the build backend as pip does."""
    backend = PROJECT["build-system"]["build-backend"]
    code = f"import sys, {backend} as backend; backend.build_{kind}(sys.argv[1])"
    return run([builder / "python", "-c", code, out], source, **env)


@pytest.fixture(scope="session")
def sdist(builder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, built from a copy of the checkout."""
    where = tmp_path_factory.mktemp("sdist")
    shutil.copytree(ROOT, where / "checkout", ignore=LEFT_BEHIND)
    done = build("sdist", builder, where / "checkout", where)
    assert done.returncode == 0, done.stdout + done.stderr
    [archive] = where.glob("*.tar.gz")
    return archive


@pytest.fixture
def source(sdist: Path, tmp_path: Path) -> Path:
    """The sdist unpacked."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [folder] = tmp_path.glob("wscore-*")
    return folder


@pytest.fixture(scope="session")
def wheel(builder: Path, sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel with the compiled twin, built from the sdist."""
    if os.environ.get("WSCORE_BUILD_EXT") == "0":
        pytest.skip("WSCORE_BUILD_EXT=0 asks to go without the compiled twin")
    where = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(where, filter="data")
    [folder] = where.glob("wscore-*")
    done = build("wheel", builder, folder, where, WSCORE_BUILD_EXT="1")
    assert done.returncode == 0, done.stdout + done.stderr
    [built] = where.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment into which the wheel alone was installed."""
    return new_environment(tmp_path_factory.mktemp("installed"), str(wheel))


def page_files() -> list[Path]:
    """Every file that the chat serves."""
    served = (".html", ".css", ".js", ".svg", ".png", ".ico")
    folder = ROOT / "wscore" / "chat" / "web"
    return [path for path in sorted(folder.iterdir()) if path.suffix in served]


def package_files() -> set[str]:
    """Every file of the package that users need, relative to the checkout."""
    found = {p for suffix in ("py", "pyi") for p in (ROOT / "wscore").rglob(f"*.{suffix}")}
    found |= {ROOT / "wscore" / "py.typed", *page_files()}
    found |= set((ROOT / "wscore" / "examples").glob("*.html"))
    return {path.relative_to(ROOT).as_posix() for path in found}


def test_the_sdist_carries_sources_tests_and_benchmarks_and_nothing_built(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = package_files()
    wanted |= {"LICENSE", "README.md", "CHANGELOG.md", "Makefile", "setup.py", "pyproject.toml"}
    for folder in ("src_cython", "tests", "benchmarks"):
        paths = (p for p in (ROOT / folder).rglob("*") if p.suffix in SOURCES)
        wanted |= {path.relative_to(ROOT).as_posix() for path in paths}
    assert {f"src_cython/{name}.pyx" for name in COMPILED} <= wanted
    assert wanted - names == set()
    endings = (".so", ".pyd", ".pyc", "_c.c")
    assert [name for name in names if name.endswith(endings)] == []


def test_the_wheel_carries_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    compiled = {name for name in names if name.endswith((".so", ".pyd"))}
    assert {name.partition(".")[0] for name in compiled} == COMPILED
    assert len(compiled) == len(COMPILED)
    assert names - compiled == package_files()
    assert {"wscore/chat/web/index.html", "wscore/chat/web/client.js"} <= names


def test_the_wheel_needs_h11_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    needed = metadata.get_all("Requires-Dist") or []
    assert [need for need in needed if "extra ==" not in need] == ["h11<1,>=0.16"]
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    extras = set(metadata.get_all("Provides-Extra") or [])
    assert extras == {
        *("trio", "proxy", "chat", "jwt", "metrics", "terminal", "redis", "examples"),
        *("bench", "test", "dev"),
    }


CONVERSATION = """
import sys
import wscore
from wscore.events import AcceptConnection, Message, Request
client = wscore.WSConnection(wscore.ConnectionType.CLIENT)
server = wscore.WSConnection(wscore.ConnectionType.SERVER)
server.receive_data(client.send(Request(host="example.com", target="/")))
assert isinstance(next(server.events()), Request)
client.receive_data(server.send(AcceptConnection()))
assert isinstance(next(client.events()), AcceptConnection)
server.receive_data(client.send(Message(data="hello")))
print(next(server.events()).data, wscore.__file__)
"""


@pytest.mark.parametrize(("env", "twin"), [({}, "cython"), ({"WSCORE_PURE_PYTHON": "1"}, "python")])
def test_the_installed_wheel_works_with_h11_alone(
    installed: Path, tmp_path: Path, env: dict[str, str], twin: str
) -> None:
    site = next(installed.parent.glob("[Ll]ib/**/site-packages"))
    assert {path.name.partition("-")[0] for path in site.glob("*.dist-info")} == {"h11", "wscore"}
    said = run([installed / "wscore"], tmp_path, **env).stdout
    assert f"framing: {twin} (mask kernel: " in said
    assert ("mask kernel: python" in said) is (twin == "python")
    assert "trio: not installed" in said
    done = run([installed / "python", "-c", CONVERSATION], tmp_path, **env)
    assert done.returncode == 0, done.stderr
    hello, where = done.stdout.split()
    assert hello == "hello"
    assert Path(where).is_relative_to(site)
    ran = run([installed / "python", "-m", "wscore.examples.custom_extension"], tmp_path, **env)
    assert (ran.returncode, ran.stderr) == (0, "")
    chat = run([installed / "wscore", "chat"], tmp_path, **env)
    assert chat.returncode == 1
    assert "pip install 'wscore[chat]'" in chat.stderr
    assert chat.stderr.count("\n") == 1


def test_the_installed_chat_serves_its_page(wheel: Path, tmp_path: Path) -> None:
    programs = new_environment(tmp_path / "environment", f"{wheel}[chat]")
    server = subprocess.Popen(
        [programs / "wscore", "chat", "--port", "0", "--data", "chat.db"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = next(word for word in server.stdout.readline().split() if "://" in word)
        for path in page_files():
            with urlopen(address + path.name, timeout=20) as response:
                assert response.read() == path.read_bytes()
        with urlopen(address, timeout=20) as response:
            assert b"<html" in response.read()
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    finally:
        server.kill()
        server.communicate()
    assert (tmp_path / "chat.db").exists()


@pytest.fixture(scope="session")
def neighbours(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment with the wheel, and with what is written for wsproto."""
    return new_environment(
        tmp_path_factory.mktemp("neighbours"),
        f"{wheel}[examples]",
        *("hypercorn[trio]", "uvicorn", "trio-websocket", "simple-websocket", "httpx-ws"),
        *("starlette", "flask", "wsproto"),
    )


@pytest.mark.parametrize("name", SERVERS)
def test_servers_run_on_the_installed_wheel(name: str, neighbours: Path) -> None:
    python, server = str(neighbours / "python"), SERVERS[name]
    check(server, observe(server, "wscore", python, without_checkout()))


@pytest.mark.parametrize("library", ["trio-websocket", "httpx-ws", "simple-websocket"])
def test_clients_run_on_the_installed_wheel(library: str, neighbours: Path, tmp_path: Path) -> None:
    program = PROGRAMS / "client.py"
    alias = [neighbours / "python", "-m", "wscore.as_wsproto", program]
    with in_thread(serve_websockets) as address:
        ran = run([*alias, library, f"ws://{address}", "/close", "/ping"], tmp_path)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    assert (seen["package"], seen["/close"], seen["/ping"]) == ("wscore", [4001, "enough"], "pong")


def test_the_installed_alias_is_the_installed_wscore(neighbours: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import wsproto.events as e; print(e.__file__)")
    ran = run([neighbours / "python", "-m", "wscore.as_wsproto", "program.py"], tmp_path)
    assert Path(ran.stdout.strip()).is_relative_to(neighbours.parent), ran.stderr


def test_the_installed_examples_run(neighbours: Path, tmp_path: Path) -> None:
    programs = neighbours
    names = {path.stem for path in (ROOT / "wscore" / "examples").glob("[!_]*.py")}
    ran = run([programs / "python", "-m", "wscore.examples.http2_bootstrap", "x"], tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "x\n"), ran.stderr
    for name in sorted(names - {"http2_bootstrap", "custom_extension", "reconnecting_client"}):
        server = subprocess.Popen(
            [programs / "python", "-m", f"wscore.examples.{name}", "--port", "0"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("http://127.0.0.1:"), name
            server.send_signal(signal.SIGTERM)
            assert server.wait(20) == 0, name
        finally:
            server.kill()
            server.communicate()


def test_the_sdist_installs_as_pure_python(builder: Path, source: Path, tmp_path: Path) -> None:
    done = build("wheel", builder, source, tmp_path, WSCORE_BUILD_EXT="0")
    assert done.returncode == 0, done.stdout + done.stderr
    [pure] = tmp_path.glob("*.whl")
    assert pure.name.endswith("-py3-none-any.whl")
    programs = new_environment(tmp_path / "environment", str(pure))
    assert "framing: python (mask kernel: python)" in run([programs / "wscore"], tmp_path).stdout


def test_without_a_compiler_the_build_goes_on(builder: Path, source: Path, tmp_path: Path) -> None:
    done = build("wheel", builder, source, tmp_path, **NO_COMPILER)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'building extension "wscore._framing_c" failed' in done.stdout + done.stderr
    [built] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        assert package_files() <= set(archive.namelist())
        assert [name for name in archive.namelist() if name.endswith((".so", ".pyd"))] == []


def test_half_a_compiled_twin_is_not_built(builder: Path, source: Path, tmp_path: Path) -> None:
    with (source / "src_cython" / "wscore" / "_primitives_c.pyx").open("a") as module:
        module.write("\nThis is no Cython.\n")
    done = build("wheel", builder, source, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wscore._primitives_c, which it needs, was not built" in done.stdout + done.stderr
    [built] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        assert [name for name in archive.namelist() if name.endswith((".so", ".pyd"))] == []


def test_a_required_extension_that_cannot_be_built_is_a_failure(
    builder: Path, source: Path, tmp_path: Path
) -> None:
    done = build("wheel", builder, source, tmp_path, WSCORE_BUILD_EXT="1", **NO_COMPILER)
    assert done.returncode != 0
    assert list(tmp_path.glob("*.whl")) == []


def test_a_switch_that_means_nothing_is_refused(
    builder: Path, source: Path, tmp_path: Path
) -> None:
    done = build("wheel", builder, source, tmp_path, WSCORE_BUILD_EXT="yes")
    assert done.returncode != 0
    assert "WSCORE_BUILD_EXT must be unset, 0 or 1, not 'yes'" in done.stderr
