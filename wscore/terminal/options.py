"""Options that the terminal programs share; imports nothing."""

from __future__ import annotations

import argparse
import math
import ssl


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--insecure``, ``--ca`` and ``--wait``."""
    add = parser.add_argument
    add("--insecure", action="store_true", help="do not check the server's certificate")
    add("--ca", metavar="FILE", help="trust these certificates (PEM)")
    add(
        "--wait",
        type=seconds,
        default=1.0,
        help="seconds to go on when the input of a pipe ends (%(default)g; inf: for ever)",
    )


def seconds(text: str) -> float:
    """A number of seconds, for argparse."""
    number = float(text)
    if math.isnan(number) or number < 0:
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text}")
    return number


def ssl_context(options: argparse.Namespace) -> ssl.SSLContext | None:
    """What ``--insecure`` and ``--ca`` ask for; None for the defaults.

    Raises:
        OSError: the certificates cannot be read.
    """
    if not (options.insecure or options.ca):
        return None
    context = ssl.create_default_context(cafile=options.ca)
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
