"""A chat server on `wscore.trio`: rooms and direct messages that lose nothing.

`ChatServer` runs inside a trio program; ``wscore chat`` runs it alone. Importing needs the extra
``chat``; `wscore.chat.tokens` the extra ``jwt`` as well.
"""

from .auth import Action, Authenticate, Authorize, Identity
from .backends.base import Backend, CannotOpen
from .backends.memory import MemoryBackend
from .backends.sqlite import SQLiteBackend
from .protocol import ChatError, Hello, Limits
from .server import ChatServer

__all__ = [
    "Action",
    "Authenticate",
    "Authorize",
    "Backend",
    "CannotOpen",
    "ChatError",
    "ChatServer",
    "Hello",
    "Identity",
    "Limits",
    "MemoryBackend",
    "SQLiteBackend",
]
