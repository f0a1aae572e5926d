"""WebSocket URLs taken apart (RFC 6455 section 3); imports the core's type of headers only."""

from __future__ import annotations

import ssl
from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit

import idna

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
    if "#" in url:
        raise ValueError("a WebSocket URL has no fragment")
    is_ssl = parts.scheme == "wss"
    target = (parts.path or "/") + (f"?{parts.query}" if "?" in url else "")
    user_info = url_credentials(parts)
    return Address(
        url_host(parts),
        parts.port if parts.port is not None else (443 if is_ssl else 80),
        quote(target, safe=_TARGET_CHARACTERS),
        ssl_context or is_ssl,
        [] if user_info is None else [(b"Authorization", basic_authorization(*user_info))],
    )


def url_host(parts: SplitResult) -> str:
    """The host of a URL as it is looked up: names as `ascii_host` makes them, zones unquoted."""
    host = parts.hostname or ""
    if ":" in host:  # RFC 6874 section 2: fe80::1%25eth0
        return host.replace("%25", "%", 1)
    return ascii_host(host)


def url_credentials(parts: SplitResult) -> tuple[str, str] | None:
    """User name and password of a URL, unquoted, or None."""
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def basic_authorization(user: str, password: str) -> bytes:
    """The value of an ``Authorization`` header for basic authentication (RFC 7617)."""
    return b"Basic " + b64encode(f"{user}:{password}".encode())


def ascii_host(host: str) -> str:
    """A host name as DNS and TLS know it, ``xn--…`` for labels with other letters than ASCII's.

    Raises:
        ValueError: there is no such form of the name.
    """
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError(f"{host!r} is no host name: {error}") from None


def bracketed(host: str) -> str:
    """A host as it stands before a port: IPv6 addresses in brackets, and without their zone."""
    return f"[{host.partition('%')[0]}]" if ":" in host else host
