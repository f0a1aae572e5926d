"""Found before wsproto by the processes that ``wscore.as_wsproto`` starts; leaves at once."""

from __future__ import annotations

import sys

from wscore import install_as_wsproto

del sys.modules[__name__]
install_as_wsproto()
