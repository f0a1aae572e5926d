"""What is sent to all, by a bare loop of `send()` in C: the limit of what a fan-out can cost.

No WebSocket: no handshake, no frames made; the bytes of the publisher go out as they are. The
program is built on first use, as the load generator is, and takes the place of this process.
"""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.load import built

SOURCE = Path(__file__).with_name("send_loop.c")

if __name__ == "__main__":
    program = str(built("send_loop", [SOURCE]))
    os.execv(program, [program])
