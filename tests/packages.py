"""The two packages, wscore and wsproto, side by side: what a user reaches under the same names."""

from __future__ import annotations

import importlib
import sys
import zlib
from types import ModuleType, SimpleNamespace
from typing import Any

MODULES = (
    "connection",
    "events",
    "extensions",
    "frame_protocol",
    "handshake",
    "typing",
    "utilities",
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
DEFLATE = "permessage-deflate"

#: What can compress for permessage-deflate.
ZLIBS: list[ModuleType] = [zlib]
if sys.implementation.name == "cpython":  # the others are built for it alone, and required there
    from isal import isal_zlib
    from zlib_ng import zlib_ng

    ZLIBS += [zlib_ng, isal_zlib]

#: The header fields of a good upgrade request.
FIELDS = [
    (b"Host", b"example.com"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Key", KEY),
    (b"Sec-WebSocket-Version", b"13"),
]
#: Those of a good response to it.
ANSWER = [
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Accept", ACCEPT),
]


def package(name: str) -> Any:
    """One package as a namespace: its modules, and the names of all of them."""
    modules = {module: importlib.import_module(f"{name}.{module}") for module in MODULES}
    names: dict[str, Any] = {}
    for module in modules.values():
        names.update({key: value for key, value in vars(module).items() if not key.startswith("_")})
    return SimpleNamespace(
        **(names | modules), name=name, WSConnection=importlib.import_module(name).WSConnection
    )


WSCORE = package("wscore")
WSPROTO = package("wsproto")


def http(start: bytes, fields: list[tuple[bytes, bytes]], end: bytes = b"\r\n") -> bytes:
    """The head of an HTTP message."""
    return end.join([start, *(name + b": " + value for name, value in fields), b"", b""])


def request(*changes: tuple[bytes, bytes | None], start: bytes = b"GET /chat HTTP/1.1") -> bytes:
    """An upgrade request with fields replaced, left out (None) or, for new names, added."""
    return http(start, fields(*changes))


def fields(*changes: tuple[bytes, bytes | None]) -> list[tuple[bytes, bytes]]:
    """The good fields with some replaced, left out (None) or, for new names, added."""
    changed = dict(changes)
    merged = [(n, changed.pop(n, v)) for n, v in FIELDS] + list(changed.items())
    return [(n, v) for n, v in merged if v is not None]


def compressing(lib: Any, kind: str, **options: Any) -> Any:
    """An open connection of this kind ("CLIENT" or "SERVER") with permessage-deflate."""
    extension = lib.PerMessageDeflate()
    if kind == "CLIENT":
        extension.finalize(DEFLATE)
    else:
        extension.accept(DEFLATE)
    return lib.Connection(getattr(lib, kind), [extension], **options)


def deflated(data: bytes, *, final: bool = False) -> bytes:
    """A message's compressed payload; with ``final``, its last block says that it is the last."""
    compressor = zlib.compressobj(wbits=-15)
    if final:
        return compressor.compress(data) + compressor.flush(zlib.Z_FINISH)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def frame(first_byte: int, payload: bytes = b"", key: bytes | None = None) -> bytes:
    """A frame, masked where there is a key; plain code, so that no package checks itself."""
    masked = 0 if key is None else 0x80
    if len(payload) < 126:
        head = bytes((first_byte, masked | len(payload)))
    elif len(payload) < 65536:
        head = bytes((first_byte, masked | 126)) + len(payload).to_bytes(2, "big")
    else:
        head = bytes((first_byte, masked | 127)) + len(payload).to_bytes(8, "big")
    return head + (payload if key is None else key + mask(payload, key))


def unframed(data: bytes) -> tuple[int, bytes]:
    """The first byte and the payload of one unmasked frame."""
    length = data[1]
    start = 2 if length < 126 else 4 if length == 126 else 10
    assert length < 126 or int.from_bytes(data[2:start], "big") == len(data) - start
    return data[0], data[start:]


def mask(payload: bytes, key: bytes) -> bytes:
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def unmasked(stream: bytes) -> list[tuple[bytes, bytes]]:
    """The frames of a stream as (header without the key, payload unmasked)."""
    frames = []
    while stream:
        length, end = stream[1] & 0x7F, 2
        if length > 125:
            end = 4 if length == 126 else 10
            length = int.from_bytes(stream[2:end], "big")
        header, rest = stream[:end], stream[end:]
        if header[1] & 0x80:
            key, rest = rest[:4], rest[4:]
            frames.append((header, mask(rest[:length], key)))
        else:
            frames.append((header, rest[:length]))
        stream = rest[length:]
    return frames
