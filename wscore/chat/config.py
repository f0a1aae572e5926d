"""The settings of ``wscore chat``: one table, from which options, variables and keys come.

Imports `auth`, `backends` and `protocol` for their types. A setting ``keep_messages`` is the
option ``--keep-messages``, the environment variable ``WSCORE_KEEP_MESSAGES`` and the key
``keep-messages`` of the TOML file; the first of these that is there counts, then the default.
"""

from __future__ import annotations

import argparse
import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, get_args, get_origin

import msgspec
from msgspec import Meta, Struct
from msgspec import inspect as types

from .auth import Algorithm
from .protocol import Limits

_LIMITS = Limits()
_ORIGIN = r"^(null|[A-Za-z][A-Za-z0-9+.-]*://[^/?#@\s]+)$"

NonEmpty = Annotated[str, Meta(min_length=1)]


class Settings(Struct, frozen=True, kw_only=True):
    """What ``wscore chat`` is told; the descriptions are those of ``--help``."""

    host: Annotated[NonEmpty, Meta(description="address or name to listen at")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port; 0 takes a free one")] = 8765
    data: Annotated[
        NonEmpty,
        Meta(
            description="SQLite file with everything that was said, or :memory:",
            extra={"metavar": "PATH"},
        ),
    ] = "chat.db"
    origin: Annotated[
        tuple[Annotated[str, Meta(pattern=_ORIGIN)], ...],
        Meta(
            description="pages of this origin may connect too, not only the server's own",
            extra={"expected": "an origin like https://example.com"},
        ),
    ] = ()
    tls_cert: Annotated[
        NonEmpty | None,
        Meta(description="certificate chain (PEM), for HTTPS", extra={"metavar": "FILE"}),
    ] = None
    tls_key: Annotated[
        NonEmpty | None,
        Meta(description="its key (PEM), if it is not in there", extra={"metavar": "FILE"}),
    ] = None
    jwt_key: Annotated[
        NonEmpty | None,
        Meta(
            description="users need a token signed with this; other users of the machine can see"
            " it among the processes, so better use the variable or the file",
            extra={"metavar": "SECRET", "secret": True},
        ),
    ] = None
    jwt_key_file: Annotated[
        NonEmpty | None,
        Meta(description="the same, or a public key (PEM), in a file", extra={"metavar": "FILE"}),
    ] = None
    jwt_algorithm: Annotated[
        tuple[Algorithm, ...],
        Meta(min_length=1, description="how tokens may be signed"),
    ] = ("HS256",)
    jwt_audience: Annotated[
        NonEmpty | None, Meta(description="aud that a token has to name; else it must have none")
    ] = None
    jwt_issuer: Annotated[NonEmpty | None, Meta(description="iss that a token has to have")] = None
    rate: Annotated[
        float,
        Meta(
            ge=0,
            le=1e9,
            description="posts and direct messages per second and connection; 0 lifts the limit",
        ),
    ] = _LIMITS.rate
    burst: Annotated[int, Meta(ge=1, le=10**9, description="posts and direct messages at once")] = (
        _LIMITS.burst
    )
    presence_limit: Annotated[
        int,
        Meta(ge=0, description="users in a room above which only their number is told"),
    ] = _LIMITS.presence
    keep_messages: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="messages kept of each room and inbox; else all"),
    ] = None
    keep_days: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="days that messages are kept; else for ever"),
    ] = None
    max_rooms: Annotated[int, Meta(ge=1, description="rooms in all")] = 100_000
    max_users: Annotated[int, Meta(ge=1, description="users in all")] = 1_000_000
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least severe lines")
    ] = "warning"
    log_format: Annotated[
        Literal["text", "json"], Meta(description="lines for people or for programs")
    ] = "text"

    def key(self) -> bytes | None:
        """The key for tokens, or None; a newline at the end of a file is not part of it.

        Raises:
            SettingError: the file cannot be read.
        """
        if self.jwt_key is not None:
            return self.jwt_key.encode()
        if self.jwt_key_file is None:
            return None
        try:
            return Path(self.jwt_key_file).read_bytes().rstrip(b"\r\n")
        except OSError as error:
            reason = error.strerror or error
            raise SettingError(f"jwt-key-file: cannot read {self.jwt_key_file}: {reason}") from None


class SettingError(ValueError):
    """A setting that cannot be; the message is one line that says where it comes from."""


class _Given(NamedTuple):
    """A value somewhere, before it is looked at."""

    source: str
    value: object
    is_text: bool


class Option(NamedTuple):
    """One line of the table, in the words of a user."""

    name: str
    metavar: str
    description: str
    default: str
    is_list: bool


def option(name: str) -> str:
    """The name of a setting as an option has it, without the dashes in front."""
    return name.replace("_", "-")


def variable(name: str) -> str:
    """The name of a setting as an environment variable has it."""
    return f"WSCORE_{name.upper()}"


def options() -> list[Option]:
    """The whole table."""
    found = []
    for each in _FIELDS.values():
        notes = each.notes
        default = getattr(Settings(), each.name)
        shown = ", ".join(default) if isinstance(default, tuple) else default
        words = "" if shown is None else f"{shown:g}" if isinstance(shown, float) else str(shown)
        metavar = notes.get("metavar") or option(each.name).rpartition("-")[2].upper()
        found.append(Option(each.name, metavar, each.description, words, each.is_list))
    return found


class _Field(NamedTuple):
    name: str
    type: Any
    description: str
    notes: Mapping[str, Any]
    choices: Sequence[str]
    is_list: bool


def _fields() -> Iterable[_Field]:
    struct = types.type_info(Settings)
    assert isinstance(struct, types.StructType)
    hints = {each.name: each.type for each in msgspec.structs.fields(Settings)}
    for each in struct.fields:
        assert isinstance(each.type, types.Metadata), "every setting is described"
        description = (each.type.extra_json_schema or {})["description"]
        inner = each.type.type
        is_list = isinstance(inner, types.VarTupleType)
        hint, notes = hints[each.name], each.type.extra or {}
        yield _Field(each.name, hint, description, notes, _choices(hint), is_list)


def _choices(hint: object) -> tuple[str, ...]:
    """The values of the Literal in a type, in their order."""
    parts = get_args(hint)
    if get_origin(hint) is Literal:
        return parts
    return next((found for found in map(_choices, parts) if found), ())


_FIELDS = {each.name: each for each in _fields()}


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command line."""

    def error(self, message: str) -> NoReturn:
        """Leave with status 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def add_options(parser: argparse.ArgumentParser, names: Sequence[str] = tuple(_FIELDS)) -> None:
    """Add the options of these settings to a parser, and ``--config``; see `load`."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="TOML file with the same names: port = 80 (WSCORE_CONFIG)",
    )
    for each in options():
        if each.name not in names:
            continue
        notes = [variable(each.name)]
        if each.default:
            notes.insert(0, f"default: {each.default}")
        if each.is_list:
            notes.append("repeatable; in the variable with commas")
        choices = _FIELDS[each.name].choices
        if choices:
            notes.insert(0, "|".join(choices))
        parser.add_argument(
            f"--{option(each.name)}",
            action="append" if each.is_list else "store",
            default=argparse.SUPPRESS,
            metavar=each.metavar,
            help=f"{each.description} ({'; '.join(notes)})".replace("%", "%%"),
        )


def load(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Put the settings together.

    Args:
        arguments: from a parser with `add_options`.
        environment: the environment's variables; empty ones do not count.

    Raises:
        SettingError: a value, a key or the file cannot be.
    """
    given = vars(arguments)
    path = given.get("config", environment.get(variable("config")) or None)
    levels = [
        {
            name: _Given(f"--{option(name)}", value, is_text=True)
            for name, value in given.items()
            if name in _FIELDS
        },
        {
            name: _Given(variable(name), _split(name, environment[variable(name)]), is_text=True)
            for name in _FIELDS
            if environment.get(variable(name))
        },
        {} if path is None else _read(path),
    ]
    for level in levels:
        if "jwt_key" in level and "jwt_key_file" in level:
            key, file = level["jwt_key"].source, level["jwt_key_file"].source
            raise SettingError(f"{key} and {file}: there can be one of them only")
    chosen: dict[str, _Given] = {}
    for level in levels:
        if "jwt_key" in chosen or "jwt_key_file" in chosen:
            level = {name: value for name, value in level.items() if not name.startswith("jwt_key")}
        chosen = level | chosen
    settings = Settings(**{name: _convert(name, value) for name, value in chosen.items()})
    if settings.tls_key is not None and settings.tls_cert is None:
        source = chosen["tls_key"].source
        raise SettingError(f"{source}: there is no certificate to it; give --tls-cert")
    return settings


def _split(name: str, text: str) -> object:
    return [part.strip() for part in text.split(",")] if _FIELDS[name].is_list else text


def _read(path: str) -> dict[str, _Given]:
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not TOML: {error}") from None
    names = {option(name): name for name in _FIELDS}
    for key in content:
        if key not in names:
            similar = difflib.get_close_matches(key, names, n=1)
            hint = f"; is it {similar[0]}?" if similar else ""
            raise SettingError(f"{path}: there is no setting {key!r}{hint}")
    return {
        names[key]: _Given(f"{key} in {path}", value, is_text=False)
        for key, value in content.items()
    }


def _convert(name: str, given: _Given) -> Any:
    each = _FIELDS[name]
    try:
        return msgspec.convert(given.value, each.type, strict=not given.is_text)
    except msgspec.ValidationError as error:
        expected = str(error).removeprefix("Expected ").partition(", got")[0].replace("`", "")
    if each.choices:
        expected = f"{', '.join(each.choices[:-1])} or {each.choices[-1]}"
    expected = each.notes.get("expected", expected.partition(" - at ")[0])
    found = "" if each.notes.get("secret") else f", not {given.value!r}"
    raise SettingError(f"{given.source}: expected {expected}{found}")
