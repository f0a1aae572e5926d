"""Type aliases shared by every layer; a leaf.

``Headers`` has its name and place from wsproto.
"""

from __future__ import annotations

#: HTTP header fields in the order of the wire: ``(name, value)`` pairs of bytes.
Headers = list[tuple[bytes, bytes]]
