"""Masking keys for frames from a client, in plain Python; a leaf.

RFC 6455, section 5.3: the key of each frame must come from a strong source of entropy and must not
let a proxy predict the next
one. A call to the system's random source costs more than masking a short message, so keys are drawn
from it many at a time.
"""

from __future__ import annotations

import os
from typing import Final

_KEYS_A_DRAW: Final = 256

# list.pop and list.extend are atomic, so that threads never get the same key.
_keys: list[bytes] = []


def new_mask_key() -> bytes:
    """Returns four bytes of the system's random source that no other call has had."""
    try:
        return _keys.pop()
    except IndexError:
        drawn = os.urandom(4 * _KEYS_A_DRAW)
        _keys.extend(drawn[i : i + 4] for i in range(4, len(drawn), 4))
        return drawn[:4]


# A child must not use the keys that its parent will use.
if hasattr(os, "register_at_fork"):  # pragma: no branch - not on Windows, which has no fork
    os.register_at_fork(after_in_child=_keys.clear)
