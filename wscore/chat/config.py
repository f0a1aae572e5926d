"""Where the settings of ``wscore chat`` come from; imports `settings`.

A setting ``keep_messages`` is the option ``--keep-messages``, the environment variable
``WSCORE_KEEP_MESSAGES`` and the key ``keep-messages`` of the TOML file; the first of these that is
there counts, then the default. All of them are made from the fields of `Settings`.
"""

from __future__ import annotations

import argparse
import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, NoReturn, get_args, get_origin

import msgspec
from msgspec import inspect as types

from .settings import SettingError, Settings


class Option(NamedTuple):
    """A setting in the words of a user.

    Attributes:
        name: as in `Settings`.
        type: of the value.
        description: one line.
        metavar: what stands for the value in the help.
        default: as text; empty where there is none.
        choices: the values that there are, if they can be listed.
        expected: what to say that a value should be, where its type does not say it well.
        is_list: whether there can be several values.
        is_secret: whether the value must not be shown.
    """

    name: str
    type: Any
    description: str
    metavar: str
    default: str
    choices: tuple[str, ...]
    expected: str | None
    is_list: bool
    is_secret: bool


def option(name: str) -> str:
    """The name of a setting as an option has it, without the dashes in front."""
    return name.replace("_", "-")


def variable(name: str) -> str:
    """The name of a setting as an environment variable has it."""
    return f"WSCORE_{name.upper()}"


def _options() -> Iterator[Option]:
    struct = types.type_info(Settings)
    assert isinstance(struct, types.StructType)
    hints = {each.name: each.type for each in msgspec.structs.fields(Settings)}
    for each in struct.fields:
        assert isinstance(each.type, types.Metadata), "every setting is described"
        notes = each.type.extra or {}
        yield Option(
            name=each.name,
            type=hints[each.name],
            description=(each.type.extra_json_schema or {})["description"],
            metavar=notes.get("metavar") or each.name.rpartition("_")[2].upper(),
            default=_show(getattr(Settings(), each.name)),
            choices=_choices(hints[each.name]),
            expected=notes.get("expected"),
            is_list=isinstance(each.type.type, types.VarTupleType),
            is_secret=notes.get("secret", False),
        )


def _show(default: object) -> str:
    match default:
        case None:
            return ""
        case tuple():
            return ", ".join(default)
        case float():
            return f"{default:g}"
    return str(default)


def _choices(hint: object) -> tuple[str, ...]:
    """The values of the Literal in a type, in their order."""
    parts = get_args(hint)
    if get_origin(hint) is Literal:
        return parts
    return next((found for found in map(_choices, parts) if found), ())


OPTIONS = {each.name: each for each in _options()}
"""The whole table, by name."""


class _Given(NamedTuple):
    """A value somewhere, before it is looked at."""

    source: str
    value: object
    is_text: bool


_KEYS = {"jwt_key", "jwt_key_file"}


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command line."""

    def error(self, message: str) -> NoReturn:
        """Leave with status 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def add_options(parser: argparse.ArgumentParser, names: Sequence[str] = tuple(OPTIONS)) -> None:
    """Add the options of these settings to a parser, and ``--config``; see `load`."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="TOML file with the same names: port = 80 (WSCORE_CONFIG)",
    )
    for each in map(OPTIONS.__getitem__, names):
        notes = [
            "|".join(each.choices),
            f"default: {each.default}" * bool(each.default),
            variable(each.name),
            "repeatable; in the variable with commas" * each.is_list,
        ]
        parser.add_argument(
            f"--{option(each.name)}",
            action="append" if each.is_list else "store",
            default=argparse.SUPPRESS,
            metavar=each.metavar,
            help=f"{each.description} ({'; '.join(filter(None, notes))})".replace("%", "%%"),
        )


def load(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Put the settings together.

    Args:
        arguments: from a parser with `add_options`.
        environment: the environment's variables; empty ones do not count.

    Raises:
        SettingError: a value, a key or the file cannot be.
    """
    path = getattr(arguments, "config", environment.get(variable("config")) or None)
    levels = [_on_line(vars(arguments)), _in(environment), {} if path is None else _read(path)]
    chosen: dict[str, _Given] = {}
    for level in levels:
        if level.keys() >= _KEYS:
            one, other = (level[name].source for name in sorted(_KEYS))
            raise SettingError(f"{one} and {other}: there can be one of them only")
        # A key that is nearer hides the other way to give one, too.
        hidden = chosen.keys() | (_KEYS if _KEYS & chosen.keys() else set())
        chosen |= {name: given for name, given in level.items() if name not in hidden}
    settings = Settings(**{name: _convert(OPTIONS[name], given) for name, given in chosen.items()})
    if settings.tls_key is not None and settings.tls_cert is None:
        source = chosen["tls_key"].source
        raise SettingError(f"{source}: there is no certificate to it; give --tls-cert")
    return settings


def _on_line(arguments: Mapping[str, object]) -> dict[str, _Given]:
    return {
        name: _Given(f"--{option(name)}", value, is_text=True)
        for name, value in arguments.items()
        if name in OPTIONS
    }


def _in(environment: Mapping[str, str]) -> dict[str, _Given]:
    found = {}
    for name, each in OPTIONS.items():
        text = environment.get(variable(name))
        if text:
            value = [part.strip() for part in text.split(",")] if each.is_list else text
            found[name] = _Given(variable(name), value, is_text=True)
    return found


def _read(path: str) -> dict[str, _Given]:
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not TOML: {error}") from None
    names = {option(name): name for name in OPTIONS}
    for key in content:
        if key not in names:
            similar = difflib.get_close_matches(key, names, n=1)
            hint = f"; is it {similar[0]}?" if similar else ""
            raise SettingError(f"{path}: there is no setting {key!r}{hint}")
    return {
        names[key]: _Given(f"{key} in {path}", value, is_text=False)
        for key, value in content.items()
    }


def _convert(each: Option, given: _Given) -> Any:
    try:
        return msgspec.convert(given.value, each.type, strict=not given.is_text)
    except msgspec.ValidationError as error:
        expected = str(error).removeprefix("Expected ").partition(", got")[0].replace("`", "")
    if each.choices:
        expected = f"{', '.join(each.choices[:-1])} or {each.choices[-1]}"
    expected = each.expected or expected.partition(" - at ")[0]
    found = "" if each.is_secret else f", not {given.value!r}"
    raise SettingError(f"{given.source}: expected {expected}{found}")
