"""The command ``wscore chat token``: prints a token for a user; imports `config` and `tokens`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .config import Parser, add_options, load
from .model import parse_name
from .settings import SettingError, Settings
from .tokens import make_token

_DAY = 86400.0


def main(argv: Sequence[str] | None = None) -> int:
    """Print a token that the server takes whose key is given.

    Args:
        argv: the options, without the name of the program; None: the process's own.

    Returns:
        The exit status: 0, or 2 for wrong settings.
    """
    parser = Parser(
        prog="wscore chat token",
        description="Print a token by which a user is known to the chat.",
        epilog="Of an asymmetric algorithm the key is the private one here.",
        allow_abbrev=False,
    )
    parser.add_argument("user", metavar="USER", help="name of the user")
    parser.add_argument(
        "--days", type=_days, default=30.0, help="days that it is valid (default: 30)"
    )
    names = ("jwt_key", "jwt_key_file", "jwt_algorithm", "jwt_audience", "jwt_issuer")
    add_options(parser, names)
    arguments = parser.parse_args(argv)
    try:
        print(_token(load(arguments, os.environ), arguments.user, arguments.days))
    except SettingError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = 0
    if not 0 < days <= 36525:
        raise argparse.ArgumentTypeError(f"expected a number of days, not {text!r}")
    return days


def _token(settings: Settings, user: str, days: float) -> str:
    key = settings.key()
    if key is None:
        raise SettingError(
            "there is no key: set WSCORE_JWT_KEY, or give --jwt-key-file or --jwt-key"
        )
    name = parse_name(user)
    if name is None:
        raise SettingError(f"{user!r} is no name: that has 1-64 letters, digits, marks or - _ .")
    try:
        return make_token(
            name.text,
            key,
            algorithm=settings.jwt_algorithm[0],
            seconds=days * _DAY,
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
        )
    except ValueError as error:
        raise SettingError(f"jwt-key with jwt-algorithm: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
