"""What all server programs begin with: options, and telling the port; imports nothing here.

Each program listens on a free port of 127.0.0.1, writes the port to standard output in a line, and
serves until it is killed:

- ``/`` sends every message back;
- ``/members`` receives whatever is published, and is read from;
- ``/publish`` sends every message to all members.

Text is text on both ways, handed to Python code as str, and checked to be UTF-8. Whoever offers
permessage-deflate gets it, where the library has it.
"""

from __future__ import annotations

import argparse
import resource

HOST = "127.0.0.1"


def announce(port: int) -> None:
    """Tell the port, now that connections are accepted."""
    print(port, flush=True)


def options() -> argparse.Namespace:
    """Read the options, and allow as many descriptors as the system does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ping-interval", type=float, help="seconds between pings, where settable")
    parser.add_argument(
        "--deflate-alike",
        action="store_true",
        help="permessage-deflate with level 1, window 2^15 and memory level 8, where settable",
    )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return parser.parse_args()
