"""The one place that chooses between the compiled twin of what messages pass through and the Python
one; imports the twins, and the core's choice.
"""

from __future__ import annotations

from importlib.util import find_spec

from wscore import _framing

_core: str = _framing.IMPLEMENTATION

# As in ``_framing``: what was built and cannot be loaded raises.
if _core == "cython" and find_spec("wscore._fanout_c") is not None:
    from wscore._fanout_c import first_stranger, send_to_idle
    from wscore._flow_c import (
        MAX_UNSENT,
        MESSAGES_PER_CHECKPOINT,
        Inbox,
        MessageChannel,
        SendQueue,
        SocketQueue,
        own_methods,
    )
else:
    from ._fanout_py import first_stranger, send_to_idle
    from ._flow_py import (
        MAX_UNSENT,
        MESSAGES_PER_CHECKPOINT,
        Inbox,
        MessageChannel,
        own_methods,
    )
    from ._queue_py import SendQueue, SocketQueue

__all__ = [
    "MAX_UNSENT",
    "MESSAGES_PER_CHECKPOINT",
    "Inbox",
    "MessageChannel",
    "SendQueue",
    "SocketQueue",
    "first_stranger",
    "own_methods",
    "send_to_idle",
]
