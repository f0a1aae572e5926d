"""Taking connections from a listener for as long as there are any; imports `_counters` only."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from typing import Any, NoReturn

import trio

from ._counters import ServerCounters

logger = logging.getLogger("wscore.trio")

# What accept(2) says when the process or the system is short of something.
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# In seconds: from one attempt to the next, and from one line in the log to the next.
_PAUSE = 0.1
_SILENCE = 60.0


class Acceptor:
    """Accepts connections from the listeners of one server.

    Args:
        start: called with each new stream.
        counters: told of pauses.
    """

    def __init__(
        self, start: Callable[[trio.abc.Stream], object], counters: ServerCounters
    ) -> None:
        self._start = start
        self._counters = counters
        self._silent_until = float("-inf")

    async def run(self, listener: trio.abc.Listener[Any]) -> NoReturn:
        """Accept until cancelled; the caller closes the listener.

        While file descriptors or memory of the system are short, connections wait in the
        listener's queue, accepting is tried again every 0.1 seconds, and the log gets one line a
        minute.

        Error handling:
            Any other `OSError` of the listener escapes: it is of no use any more.
        """
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in _SHORTAGES:
                    raise
                self._complain(error.errno)
                await trio.sleep(_PAUSE)
            else:
                self._start(stream)

    def _complain(self, shortage: int) -> None:
        self._counters.accept_pauses += 1
        now = trio.current_time()
        if now >= self._silent_until:
            self._silent_until = now + _SILENCE
            logger.warning(
                "new connections wait, as none can be accepted: %s", os.strerror(shortage)
            )
