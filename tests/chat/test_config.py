"""Where settings come from, which one counts, and what is said of a wrong one."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wscore.chat.config import OPTIONS, Parser, add_options, load, option, variable
from wscore.chat.settings import SettingError, Settings

# Three values of each setting, all different from the default: as text, and what becomes of it.
VALUES: dict[str, list[tuple[str, object]]] = {
    "host": [("::1", "::1"), ("0.0.0.0", "0.0.0.0"), ("localhost", "localhost")],
    "port": [("0", 0), ("80", 80), ("65535", 65535)],
    "data": [("a.db", "a.db"), (":memory:", ":memory:"), ("7", "7")],
    "engine": [(f"redis://{n}:6379/0",) * 2 for n in "abc"],
    "redis_wait": [("1", 1), ("2", 2), ("3", 3)],
    "workers": [("2", 2), ("3", 3), ("4", 4)],
    "origin": [(f"https://{n}.test", (f"https://{n}.test",)) for n in "abc"],
    "tls_cert": [(n, n) for n in "abc"],
    "tls_key": [(n, n) for n in "abc"],
    "jwt_key": [(n, n) for n in "abc"],
    "jwt_key_file": [(n, n) for n in "abc"],
    "jwt_algorithm": [("RS256", ("RS256",)), ("EdDSA", ("EdDSA",)), ("HS512", ("HS512",))],
    "jwt_audience": [(n, n) for n in "abc"],
    "jwt_issuer": [(n, n) for n in "abc"],
    "rate": [("0", 0.0), ("0.5", 0.5), ("1000", 1000.0)],
    "burst": [("1", 1), ("2", 2), ("3", 3)],
    "presence_limit": [("0", 0), ("1", 1), ("2", 2)],
    "keep_messages": [("1", 1), ("2", 2), ("3", 3)],
    "keep_days": [("0.5", 0.5), ("2", 2.0), ("3", 3.0)],
    "max_rooms": [("1", 1), ("2", 2), ("3", 3)],
    "max_users": [("1", 1), ("2", 2), ("3", 3)],
    "log_level": [("debug", "debug"), ("info", "info"), ("error", "error")],
    "log_format": [("json", "json")] * 3,
}
NAMES = list(OPTIONS)


def arguments(*argv: str) -> argparse.Namespace:
    parser = Parser(prog="wscore chat", allow_abbrev=False)
    add_options(parser)
    return parser.parse_args(argv)


def toml(folder: Path, text: str) -> str:
    file = folder / "chat.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_every_setting_is_tested() -> None:
    assert list(VALUES) == NAMES == list(Settings.__struct_fields__)


def test_without_anything_the_defaults_hold() -> None:
    assert load(arguments(), {}) == Settings()


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_counts_before_the_environment_before_the_file(
    name: str, tmp_path: Path
) -> None:
    (line, on_line), (env, in_env), (_, in_file) = VALUES[name]
    as_toml = in_file if not isinstance(in_file, tuple) else list(in_file)
    path = toml(tmp_path, f"{option(name)} = {as_toml!r}\n")
    more = {"WSCORE_TLS_CERT": "c"} if name == "tls_key" else {}
    argv = [f"--{option(name)}={line}"]
    config = [f"--config={path}"]
    seen = [
        getattr(load(arguments(*argv, *config), {variable(name): env} | more), name),
        getattr(load(arguments(*config), {variable(name): env} | more), name),
        getattr(load(arguments(*config), {variable(name): ""} | more), name),
        getattr(load(arguments(), {"WSCORE_CONFIG": path} | more), name),
        getattr(load(arguments(), {variable(name): env} | more), name),
        getattr(load(arguments(), more), name),
    ]
    assert seen == [on_line, in_env, in_file, in_file, in_env, getattr(Settings(), name)]
    assert getattr(Settings(), name) not in (on_line, in_env, in_file)


def test_lists() -> None:
    two = ("https://a.test", "http://b.test:8080")
    assert load(arguments("--origin", two[0], "--origin", two[1]), {}).origin == two
    assert load(arguments(), {"WSCORE_ORIGIN": ", ".join(two)}).origin == two


@pytest.mark.parametrize(
    ("argv", "environment", "source", "reason"),
    [
        (["--port", "http"], {}, "--port", "expected int, not 'http'"),
        (["--port", "65536"], {}, "--port", "65535"),
        (["--port", "-1"], {}, "--port", "0"),
        ([], {"WSCORE_PORT": "tcp://10.0.0.1:80"}, "WSCORE_PORT", "int"),
        (["--rate", "nan"], {}, "--rate", "0"),
        (["--rate", "-1"], {}, "--rate", "0"),
        ([], {"WSCORE_BURST": "0"}, "WSCORE_BURST", "1"),
        (["--keep-days", "0"], {}, "--keep-days", "0"),
        (["--keep-messages", "many"], {}, "--keep-messages", "int"),
        (["--data", ""], {}, "--data", "1"),
        (["--origin", "example.com"], {}, "--origin", "an origin like https://example.com"),
        (["--origin", "https://a.test/x"], {}, "--origin", "an origin"),
        (["--jwt-algorithm", "none"], {}, "--jwt-algorithm", "HS256"),
        (["--log-level", "loud"], {}, "--log-level", "debug, info, warning or error"),
        (["--log-format", "xml"], {}, "--log-format", "text or json, not 'xml'"),
        (["--tls-key", "k"], {}, "--tls-key", "--tls-cert"),
        (["--jwt-key", "k", "--jwt-key-file", "f"], {}, "--jwt-key", "one of them"),
        (["--config", "missing.toml"], {}, "missing.toml", "No such file"),
    ],
)
def test_a_wrong_value_is_named_with_its_source_in_one_line(
    argv: list[str], environment: dict[str, str], source: str, reason: str
) -> None:
    with pytest.raises(SettingError) as caught:
        load(arguments(*argv), environment)
    message = str(caught.value)
    assert source in message
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("port = '80'", "port in "),
        ("port = 80.5", "port in "),
        ("port = true", "port in "),
        ("origin = 'https://a.test'", "origin in "),
        ("origin = ['a.test']", "origin in "),
        ("colour = 1", "there is no setting 'colour'"),
        ("keep_messages = 1", "'keep_messages'; is it keep-messages?"),
        ("[server]\nport = 80", "'server'"),
        ("port 80", "is not TOML"),
        ("jwt-key = 'a'\njwt-key-file = 'b'", "one of them"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, reason: str) -> None:
    path = toml(tmp_path, text)
    with pytest.raises(SettingError) as caught:
        load(arguments("--config", path), {})
    assert path in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "chat.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingError, match="is not TOML"):
        load(arguments("--config", str(path)), {})


def test_what_is_overridden_need_not_be_right() -> None:
    # Kubernetes sets WSCORE_PORT=tcp://... for a service of this name.
    assert load(arguments("--port", "80"), {"WSCORE_PORT": "tcp://10.0.0.1:80"}).port == 80


def test_a_secret_is_not_repeated(tmp_path: Path) -> None:
    path = toml(tmp_path, "jwt-key = 12345678")
    with pytest.raises(SettingError) as caught:
        load(arguments("--config", path), {})
    assert "12345678" not in str(caught.value)


def test_the_key_comes_from_the_nearest_source(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"from the file\n")
    path = toml(tmp_path, "jwt-key = 'from TOML'")
    assert load(arguments("--config", path), {}).key() == b"from TOML"
    near = load(arguments("--config", path), {"WSCORE_JWT_KEY_FILE": str(file)})
    assert near.key() == b"from the file"
    nearer = load(arguments("--jwt-key", "x"), {"WSCORE_JWT_KEY_FILE": str(file)})
    assert nearer.key() == b"x"
    assert Settings().key() is None
    with pytest.raises(SettingError, match=r"cannot read .*missing: No such file"):
        Settings(jwt_key_file=str(tmp_path / "missing")).key()


def test_every_option_is_described_with_its_variable_and_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        arguments("--help")
    text = " ".join(capsys.readouterr().out.split())
    for each in OPTIONS.values():
        assert f"--{option(each.name)} " in text
        assert variable(each.name) in text.replace("- ", "-")
        assert each.description in text
        if each.default:
            assert f"default: {each.default}" in text


ROWS = "".join(
    f"| `--{option(each.name)}` | {each.default or '–'} | {each.description} |\n"
    for each in OPTIONS.values()
)


def test_the_guide_lists_the_options_as_they_are() -> None:
    guide = Path(__file__).parents[2] / "docs" / "running-the-chat.md"
    assert ROWS in guide.read_text(encoding="utf-8")


@given(st.sampled_from(NAMES), st.text())
def test_any_text_is_a_value_or_a_clear_line(name: str, text: str) -> None:
    message = None
    try:
        load(arguments(), {variable(name): text, "WSCORE_TLS_CERT": "c"})
    except SettingError as error:
        message = str(error)
    assert message is None or message.startswith(f"{variable(name)}: expected ")
