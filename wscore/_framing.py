"""The one place that chooses between the compiled framing twin and the Python one; imports the
twins only.

``WSCORE_PURE_PYTHON=1`` in the environment selects the Python twin. ``IMPLEMENTATION`` says which
is live ("cython" or "python"), ``KERNEL`` which masking loop it runs ("avx512", "avx2", "sse2",
"neon", "word" or "python").
"""

from __future__ import annotations

import os
from importlib.util import find_spec

_PURE = os.environ.get("WSCORE_PURE_PYTHON", "") not in ("", "0")

# A twin that was built but cannot be loaded raises here: falling back in silence would hide a
# broken installation.
if not _PURE and find_spec("wscore._framing_c") is not None:
    from ._framing_c import (
        IMPLEMENTATION,
        KERNEL,
        BytesMessage,
        CloseConnection,
        Event,
        FrameDecoder,
        Message,
        OpenConnection,
        Ping,
        Pong,
        PreparedMessage,
        TextMessage,
        apply_mask,
        apply_mask_inplace,
        encode_frame,
        encode_frame_header,
        new_mask_key,
    )
else:
    from ._framing_py import (
        IMPLEMENTATION,
        KERNEL,
        BytesMessage,
        CloseConnection,
        Event,
        FrameDecoder,
        Message,
        OpenConnection,
        Ping,
        Pong,
        PreparedMessage,
        TextMessage,
        apply_mask,
        apply_mask_inplace,
        encode_frame,
        encode_frame_header,
        new_mask_key,
    )

__all__ = [
    "IMPLEMENTATION",
    "KERNEL",
    "BytesMessage",
    "CloseConnection",
    "Event",
    "FrameDecoder",
    "Message",
    "OpenConnection",
    "Ping",
    "Pong",
    "PreparedMessage",
    "TextMessage",
    "apply_mask",
    "apply_mask_inplace",
    "encode_frame",
    "encode_frame_header",
    "new_mask_key",
]
