"""WebSocket URLs taken apart (RFC 6455 section 3); imports the core's type of headers only."""

from __future__ import annotations

import ssl
from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from wscore.typing import Headers

# What may stand unquoted in a path and a query (RFC 3986 section 3.3), and the percent sign.
_TARGET_CHARACTERS = "/?:@!$&'()*+,;=-._~%"


@dataclass(frozen=True)
class Address:
    """What a WebSocket URL says: where to connect to, how, and what to ask for."""

    host: str
    port: int
    resource: str
    use_ssl: bool | ssl.SSLContext
    headers: Headers


def parse_url(url: str, ssl_context: ssl.SSLContext | None) -> Address:
    """Take a WebSocket URL apart.

    Raises:
        ValueError: the URL is not one of a WebSocket, or it and ``ssl_context`` contradict.
    """
    url = str(url)  # yarl's and others' URL objects are welcome
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss"):
        raise ValueError(f"the scheme of a WebSocket URL is ws or wss, not {parts.scheme!r}")
    if ssl_context is not None and parts.scheme == "ws":
        raise ValueError("an ssl_context needs a wss: URL")
    if not parts.hostname:
        raise ValueError("the URL names no host")
    if parts.fragment:
        raise ValueError("a WebSocket URL has no fragment")
    is_ssl = parts.scheme == "wss"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers: Headers = []
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers.append((b"Authorization", b"Basic " + b64encode(user.encode())))
    return Address(
        parts.hostname,
        parts.port if parts.port is not None else (443 if is_ssl else 80),
        quote(target, safe=_TARGET_CHARACTERS),
        ssl_context or is_ssl,
        headers,
    )
