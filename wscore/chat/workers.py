"""Several processes on one port: started, started again when one dies, stopped together.

Imports the standard library only. All of them accept from the same listening sockets: what waits
there when one dies is taken by another one.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import NamedTuple

logger = logging.getLogger("wscore.chat")

_PAUSE = 1.0
"""Seconds until those that died are started again."""
_BACKLOG = 1024
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen at all addresses of a name.

    Raises:
        OSError: it cannot be listened at.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            sockets.append(
                socket.create_server(
                    (str(address[0]), int(address[1])), family=family, backlog=_BACKLOG
                )
            )
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


class Place(NamedTuple):
    """Where one of the processes stands.

    Attributes:
        is_first: whether it is the very first, which says that the chat is there.
        lifeline: a file descriptor that becomes readable when the parent is gone.
    """

    is_first: bool
    lifeline: int


def supervise(count: int, work: Callable[[Place], int]) -> int:
    """Run processes until SIGTERM or SIGINT, which all of them get.

    A second signal is passed on, too. To be called where no other thread runs.

    Args:
        count: how many there are to be.
        work: what one of them does; returns its exit status.

    Returns:
        0 after a signal; the status of the first one where that could not start.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    lifeline = os.pipe()
    first = _start(work, lifeline, is_first=True)
    running = {first, *(_start(work, lifeline) for _ in range(count - 1))}
    is_stopping = False
    result = 0
    while running or not is_stopping:
        # Also looks now and then whether there is somebody to be started again.
        caught = signal.sigtimedwait(_SIGNALS, _PAUSE)
        if caught is not None and caught.si_signo != signal.SIGCHLD:
            is_stopping = True
            _tell(running)
        ended = _ended(running)
        running -= ended.keys()  # these ids may be somebody else's by now
        if not is_stopping and ended.get(first) in (1, 2):
            is_stopping, result = True, ended[first]
            _tell(running)
        if not is_stopping:
            for pid, status in ended.items():
                logger.error("process %d ended with %d; there will be another", pid, status)
        if not is_stopping and caught is None:
            running |= {_start(work, lifeline) for _ in range(count - len(running))}
    return result


def _start(
    work: Callable[[Place], int], lifeline: tuple[int, int], *, is_first: bool = False
) -> int:
    """Fork; returns the process id to the parent, and never to the child."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(lifeline[1])
        status = work(Place(is_first, lifeline[0]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _tell(pids: set[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGTERM)


def _ended(running: set[int]) -> dict[int, int]:
    """Those that ended since, with their exit status; negative: by a signal."""
    found = {}
    for pid in running:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            found[pid] = os.waitstatus_to_exitcode(status)
    return found
