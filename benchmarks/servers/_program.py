"""What all server programs begin with: options, and telling the port; imports nothing here.

Each program listens on a free port of 127.0.0.1, writes the port to standard output in a line, and
serves until it is killed:

- ``/`` sends every message back;
- ``/members`` receives whatever is published, and is read from;
- ``/publish`` sends every message to all members.

Text is text on both ways, handed to Python code as str, and checked to be UTF-8. Whoever offers
permessage-deflate gets it, where the library has it.

A program that is a client has the server's port as an option, and takes commands instead.
"""

from __future__ import annotations

import argparse
import resource
import socket
import sys

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
    parser.add_argument("--to", type=int, help="the server's port, of a program that is a client")
    parser.add_argument("--core", help="what `wsproto` has to be: wsproto, or wscore in its place")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    given = parser.parse_args()
    if given.core and (found := sys.modules["wsproto"].__name__) != given.core:
        sys.exit(f"runs on {found}, not on {given.core}")
    return given


def free_socket() -> socket.socket:
    """Return a socket that listens on a free port, for servers that do not tell which they got."""
    return socket.create_server((HOST, 0), backlog=1024)
