"""The settings of permessage-deflate (RFC 7692) for a transport; imports the core's extensions."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from wscore.extensions import Extension, PerMessageDeflate

# The implementations that can be asked for by name: module to import, distribution to install.
_IMPLEMENTATIONS = {
    "zlib": ("zlib", None),
    "zlib_ng": ("zlib_ng.zlib_ng", "zlib-ng"),
    "isal": ("isal.isal_zlib", "isal"),
}
# What is used of the module zlib.
_ZLIB_NAMES = ("compressobj", "decompressobj", "error", "DEFLATED", "Z_SYNC_FLUSH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How messages are compressed; for the argument ``compression`` of servers and clients.

    The defaults suit a server with many connections: a smaller window and smaller tables than
    zlib's own take a fraction of the memory for each compressor, at some cost in size. Level 1 is
    the quickest, and one of the few levels that every implementation has. Compressors are made
    when a connection's first compressed message needs them.

    Args:
        server_max_window_bits: log2 of the window for messages to the client in bytes, 9 to 15; a
            server never exceeds it, a client asks for it.
        client_max_window_bits: the same for messages to the server.
        mem_level: memory for the compressor's tables, 1 to 9; zlib's ``memLevel``.
        level: 0 (none) to 9 (smallest), or 0 to 3 for isal.
        server_no_context_takeover: the server compresses each message by itself: larger messages,
            but no memory is kept between them.
        client_no_context_takeover: the same for the client's messages.
        zlib: ``"zlib"`` of the standard library; ``"zlib_ng"`` or ``"isal"``, if the distribution
            ``zlib-ng`` or ``isal`` is installed; or a module with the same functions.

    Raises:
        ValueError: a number is out of range, or the name of an implementation is unknown.
        ImportError: the implementation is not installed; the message says what to install.
        TypeError: ``zlib`` is neither a name nor a module like zlib.
    """

    server_max_window_bits: int = 12
    client_max_window_bits: int = 12
    mem_level: int = 5
    level: int = 1
    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    zlib: str | ModuleType = "zlib"

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ("server_max_window_bits", 9, 15),
            ("client_max_window_bits", 9, 15),
            ("mem_level", 1, 9),
            ("level", 0, 3 if self.zlib == "isal" else 9),
        ):
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise ValueError(f"{name} must be {lowest} to {highest}, not {value}")
        _implementation(self.zlib)

    def new_extension(self) -> PerMessageDeflate:
        """The extension for one connection, of a client or of a server."""
        return PerMessageDeflate(
            client_no_context_takeover=self.client_no_context_takeover,
            client_max_window_bits=self.client_max_window_bits,
            server_no_context_takeover=self.server_no_context_takeover,
            server_max_window_bits=self.server_max_window_bits,
            level=self.level,
            mem_level=self.mem_level,
            zlib=_implementation(self.zlib),
        )


def new_extensions(compression: bool | Compression) -> list[Extension]:
    """The extensions for one connection: True stands for the defaults, False for none.

    Raises:
        TypeError: ``compression`` is something else.
    """
    if compression is True:
        compression = Compression()
    if compression is False:
        return []
    if isinstance(compression, Compression):
        return [compression.new_extension()]
    raise TypeError(f"compression is a bool or a Compression, not {type(compression).__name__}")


def _implementation(zlib: str | ModuleType) -> ModuleType:
    if isinstance(zlib, str):
        if zlib not in _IMPLEMENTATIONS:
            raise ValueError(f"zlib is one of {', '.join(_IMPLEMENTATIONS)}, not {zlib!r}")
        name, distribution = _IMPLEMENTATIONS[zlib]
        try:
            return importlib.import_module(name)
        except ImportError as error:
            message = f"compression with {zlib} needs another package: pip install {distribution}"
            raise ImportError(message) from error
    missing = [name for name in _ZLIB_NAMES if not hasattr(zlib, name)]
    if missing:
        raise TypeError(f"zlib is a name or a module like zlib; {zlib!r} lacks {missing[0]}")
    return zlib
