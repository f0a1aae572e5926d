"""A chat server on `wscore.trio`: rooms and direct messages that lose nothing.

`ChatServer` runs inside a trio program; ``wscore chat`` runs it alone. Importing needs the extra
``chat``.
"""

from .backends.base import Backend, CannotOpen
from .backends.memory import MemoryBackend
from .backends.sqlite import SQLiteBackend
from .protocol import Limits
from .server import ChatServer

__all__ = ["Backend", "CannotOpen", "ChatServer", "Limits", "MemoryBackend", "SQLiteBackend"]
