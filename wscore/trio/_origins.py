"""Which web pages may open a WebSocket: the Origin header against an allow-list; a leaf."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

#: What ``origins=`` takes.
AllowedOrigins = Literal["same-host"] | Iterable[str | None]

SAME_HOST: Final = "same-host"
#: The origin of a page that has none to speak of (RFC 6454 section 7.1).
_NULL: Final = "null"

_DEFAULT_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}
# A host and perhaps a port, in lower case (RFC 3986 section 3.2, without user and comma).
_AUTHORITY: Final = re.compile(
    r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._~!$&'()*+;=%-]*)(?::(?P<port>[0-9]{1,5}))?"
)
_ORIGIN: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://" + _AUTHORITY.pattern)


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int | None


class OriginPolicy:
    """An exact allow-list of origins (RFC 6454), against requests that foreign pages forge.

    Browsers send the user's cookies along with a WebSocket request of any page, and say in the
    Origin header whose page it is (RFC 6455 section 10.2).

    Args:
        allowed: origins like ``"https://example.com"``; scheme and host count in any case, and a
            port that is the scheme's default may be left out. ``"same-host"`` stands for whatever
            the request's Host header names, ``"null"`` for the opaque origin of that name, None for
            a request without Origin, as other programs than browsers send it.

    Raises:
        ValueError: one of them is not an origin.
    """

    def __init__(self, allowed: AllowedOrigins) -> None:
        members = [allowed] if isinstance(allowed, str) else list(allowed)
        special = (None, _NULL, SAME_HOST)
        self._special = {member for member in members if member in special}
        self._origins = {
            _parse_allowed(member)
            for member in members
            if member is not None and member not in special
        }

    def permits(self, origin: bytes | None, host: bytes | None) -> bool:
        """Whether a request may open a WebSocket.

        Args:
            origin: the value of its Origin header, or None.
            host: the value of its Host header, or None.
        """
        if origin is None:
            return None in self._special
        text = origin.decode("latin-1")
        if text == _NULL:
            return _NULL in self._special
        parsed = _parse(text)
        if parsed is None:
            return False
        if SAME_HOST in self._special and host is not None and _is_same_host(parsed, host):
            return True
        return parsed in self._origins


def _parse(text: str) -> _Origin | None:
    """The origin in its normal form; None where the text is no single origin."""
    # RFC 6454 section 4: scheme and host in lower case, the scheme's default port filled in.
    found = _ORIGIN.fullmatch(text.lower())
    if found is None:
        return None
    scheme = found["scheme"]
    port = int(found["port"]) if found["port"] else _DEFAULT_PORTS.get(scheme)
    return _Origin(scheme, found["host"], port)


def _parse_allowed(text: str) -> _Origin:
    origin = _parse(text)
    if origin is None:
        raise ValueError(
            f"{text!r} is not an origin: a scheme and a host in ASCII, and a port perhaps, "
            'like "https://example.com:8443"; or "same-host", "null" or None'
        )
    return origin


def _is_same_host(origin: _Origin, host: bytes) -> bool:
    found = _AUTHORITY.fullmatch(host.decode("latin-1").lower())
    if found is None:
        return False
    # Behind a proxy that ends TLS, only the origin's scheme tells which port goes unnamed.
    port = int(found["port"]) if found["port"] else _DEFAULT_PORTS.get(origin.scheme)
    # Without a port, of a scheme that has none, the origin is not that of a page from here.
    return port is not None and (origin.host, origin.port) == (found["host"], port)
