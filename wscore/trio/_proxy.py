"""The way through a proxy: HTTP CONNECT by h11, SOCKS by python-socks; imports ``_errors``,
``_stream`` and ``_url``.

python-socks can do CONNECT too, but takes whatever it reads first for the whole answer, and no
status but 200 for a yes.
"""

from __future__ import annotations

import math
import ssl
import urllib.request
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

import h11
import trio

from ._errors import ProxyError, is_transient_status
from ._stream import abort
from ._tls import start_tls
from ._url import basic_authorization, bracketed, url_credentials, url_host

# The schemes of proxies with the ports they have if none is given.
_DEFAULT_PORTS = {
    "http": 80,
    "https": 443,
    "socks4": 1080,
    "socks4a": 1080,
    "socks5": 1080,
    "socks5h": 1080,
}
# Replies of a SOCKS proxy about the network and the server, and not about what was asked for:
# general failure, network or host unreachable, connection refused, TTL expired (RFC 1928
# section 6); rejected or failed (SOCKS4).
_TRANSIENT_REPLIES = frozenset({0x01, 0x03, 0x04, 0x05, 0x06, 0x5B})
_RECEIVE_SIZE = 4096


@dataclass(frozen=True, slots=True)
class Proxy:
    """What a proxy's URL says."""

    scheme: str
    host: str
    port: int
    credentials: tuple[str, str] | None

    def __str__(self) -> str:  # without the password
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"


def parse_proxy(url: str) -> Proxy:
    """Take a proxy's URL apart.

    Raises:
        ValueError: it is not one of a proxy.
    """
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS:
        schemes = ", ".join(_DEFAULT_PORTS)
        raise ValueError(f"the scheme of a proxy's URL is one of {schemes}, not {parts.scheme!r}")
    if not parts.hostname:
        raise ValueError("the proxy's URL names no host")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("a proxy's URL ends with its host and port")
    port = _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    return Proxy(parts.scheme, url_host(parts), port, url_credentials(parts))


def choose_proxy(
    proxy: str | Literal[True] | None, host: str, port: int, *, is_ssl: bool
) -> Proxy | None:
    """The proxy for a server: the one given, or for True the one that the system names.

    Raises:
        ValueError: the URL is not one of a proxy.
    """
    if proxy is True:
        url = _system_proxy(host, port, is_ssl=is_ssl)
        return None if url is None else parse_proxy(url)
    return None if proxy is None else parse_proxy(proxy)


def _system_proxy(host: str, port: int, *, is_ssl: bool) -> str | None:
    """The URL of the proxy that environment variables, or the system's settings, name.

    Nothing goes through it to the machine itself, as in browsers and in Go.
    """
    if _is_loopback(host) or urllib.request.proxy_bypass(f"{bracketed(host)}:{port}"):
        return None
    proxies = urllib.request.getproxies()
    # RFC 6455 section 4.1 prefers SOCKS5, then the proxy for HTTPS, then the one for HTTP.
    for scheme in ("wss", "socks", "https") if is_ssl else ("ws", "socks", "https", "http"):
        url = proxies.get(scheme)
        if url:
            # Systems give a SOCKS proxy of their settings this scheme.
            return url.replace("http://", "socks5h://", 1) if scheme == "socks" else url
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def connect_through(proxy: Proxy, host: str, port: int) -> trio.abc.Stream:
    """Let a proxy connect to a server; names are looked up by it, except with socks4 and socks5.

    Raises:
        OSError: the proxy cannot be reached.
        ProxyError: it refused, or gave no proper answer.
        ImportError: it speaks SOCKS, and python-socks is not installed.
    """
    if proxy.scheme.startswith("socks"):
        return await _connect_through_socks(proxy, host, port)
    stream: trio.abc.Stream = await trio.open_tcp_stream(proxy.host, proxy.port)
    if proxy.scheme == "https":
        stream = await start_tls(stream, ssl.create_default_context(), proxy.host)
    try:
        await _ask_to_connect(stream, proxy, f"{bracketed(host)}:{port}")
    except (h11.RemoteProtocolError, trio.BrokenResourceError) as error:
        await abort(stream)
        lost = isinstance(error, trio.BrokenResourceError)
        reason = "the connection was lost" if lost else f"its answer is wrong: {error}"
        raise ProxyError(f"the proxy {proxy} failed: {reason}", transient=lost) from error
    except BaseException:
        await abort(stream)
        raise
    return stream


async def _ask_to_connect(stream: trio.abc.Stream, proxy: Proxy, authority: str) -> None:
    """Send CONNECT, and read the head of the answer (RFC 9110 section 9.3.6)."""
    headers = [(b"Host", authority.encode("ascii"))]
    if proxy.credentials is not None:
        headers.append((b"Proxy-Authorization", basic_authorization(*proxy.credentials)))
    http = h11.Connection(h11.CLIENT)
    request = http.send(h11.Request(method="CONNECT", target=authority, headers=headers)) or b""
    await stream.send_all(request + (http.send(h11.EndOfMessage()) or b""))
    while not isinstance(event := http.next_event(), h11.Response):
        if event is h11.NEED_DATA:
            data = await stream.receive_some(_RECEIVE_SIZE)
            if not data:
                message = f"the proxy {proxy} closed the connection without an answer"
                raise ProxyError(message, transient=True)
            http.receive_data(bytes(data))
    status = event.status_code
    if not 200 <= status <= 299:
        reason = event.reason.decode("latin-1")
        message = f"the proxy {proxy} refused to connect to {authority}: {status} {reason}"
        raise ProxyError(message, transient=is_transient_status(status), status_code=status)
    if http.trailing_data[0]:
        raise ProxyError(f"the proxy {proxy} sent data before the server can have sent any")


async def _connect_through_socks(proxy: Proxy, host: str, port: int) -> trio.abc.Stream:
    try:
        import python_socks
        from python_socks.async_.trio.v2 import Proxy as Socks
    except ImportError as error:
        message = "a SOCKS proxy needs another package: pip install 'wscore[proxy]'"
        raise ImportError(message) from error
    version = (
        python_socks.ProxyType.SOCKS5 if "5" in proxy.scheme else python_socks.ProxyType.SOCKS4
    )
    user, password = proxy.credentials or (None, None)
    by_proxy = proxy.scheme in ("socks4a", "socks5h")
    socks = Socks(version, proxy.host, proxy.port, user, password, rdns=by_proxy)
    try:
        # The caller limits the time.
        connected = await socks.connect(host, port, timeout=math.inf)
    except python_socks.ProxyError as error:
        message = f"the proxy {proxy} refused to connect to {bracketed(host)}:{port}: {error}"
        # It hung up in the middle of the answer; the class is not public.
        lost = type(error.__cause__).__name__ == "IncompleteReadError"
        transient = lost or error.error_code in _TRANSIENT_REPLIES
        raise ProxyError(message, transient=transient) from error
    except trio.BrokenResourceError as error:
        raise ProxyError(f"the connection to the proxy {proxy} was lost", transient=True) from error
    except ValueError as error:  # of bytes that make no sense, or credentials that cannot be sent
        raise ProxyError(f"the proxy {proxy} failed: {error}") from error
    return connected.trio_stream
