"""What the transport adds to trio's streams: endpoints, and two ways to end; imports trio only."""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

import trio

# How long to wait for the peer to close its side, in seconds.
LINGER_TIMEOUT = 1.0
_LINGER_BYTES = 65536


# Clients come back, and all of a proxy's have one address.
_parsed = lru_cache(maxsize=256)(ip_address)


class Endpoint:
    """One end of a TCP connection, or the address of a TCP listener.

    Attributes:
        address: `ipaddress.IPv4Address` or `ipaddress.IPv6Address`.
        port: TCP port.
        is_ssl: whether TLS is spoken there.
    """

    __slots__ = ("address", "is_ssl", "port")

    def __init__(self, address: str | int, port: int, is_ssl: bool) -> None:
        self.address: IPv4Address | IPv6Address = _parsed(address)
        self.port = port
        self.is_ssl = is_ssl

    @property
    def url(self) -> str:
        """The endpoint as a WebSocket URL, like ``ws://127.0.0.1:8765``."""
        scheme = "wss" if self.is_ssl else "ws"
        default_port = 443 if self.is_ssl else 80
        return f"{scheme}://" + (self._host if self.port == default_port else str(self))

    @property
    def _host(self) -> str:
        return f"[{self.address}]" if self.address.version == 6 else str(self.address)

    def __str__(self) -> str:
        return f"{self._host}:{self.port}"

    def __repr__(self) -> str:
        return f'Endpoint(address="{self.address}", port={self.port}, is_ssl={self.is_ssl})'


# Nearly all connections of a server have the same local end.
_shared_endpoint = lru_cache(maxsize=64)(Endpoint)


def socket_endpoint(sock: trio.socket.SocketType, *, is_ssl: bool, local: bool) -> Endpoint | str:
    """The endpoint of one end of a socket; the path, for a Unix socket.

    A socket whose peer has already gone has no remote end to name: ``"unknown"``.
    """
    try:
        name = sock.getsockname() if local else sock.getpeername()
    except OSError:
        return "unknown"
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        make = _shared_endpoint if local else Endpoint
        return make(name[0], name[1], is_ssl)
    return f"unix:{name}"


def stream_endpoint(stream: trio.abc.Stream, *, local: bool) -> Endpoint | str:
    """The endpoint of one end of a stream; its ``repr()`` if it is not made of a socket."""
    is_ssl = isinstance(stream, trio.SSLStream)
    transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    if isinstance(transport, trio.SocketStream):
        return socket_endpoint(transport.socket, is_ssl=is_ssl, local=local)
    return repr(stream)


#: The local end and the remote one.
Ends = tuple[Endpoint | str, Endpoint | str]


def stream_ends(stream: trio.abc.Stream) -> Ends:
    """Both endpoints of a stream."""
    return stream_endpoint(stream, local=True), stream_endpoint(stream, local=False)


async def abort(stream: trio.abc.Stream) -> None:
    """Close a stream at once, also in a cancelled scope; never raises for a broken stream."""
    with trio.CancelScope(shield=True) as scope:
        scope.cancel()
        with suppress(trio.BrokenResourceError, trio.BusyResourceError):
            await stream.aclose()


async def linger(stream: trio.abc.Stream, *, half_close: bool) -> None:
    """Let the peer read our last bytes before the caller closes the stream.

    Closing a socket that still has unread bytes resets the connection, and the reset may
    overtake what was sent last: the Close frame or the HTTP response that says what was
    wrong. So read and drop until the peer closes its side, for `LINGER_TIMEOUT` at most.

    Args:
        stream: the stream, which nobody else may be reading or writing.
        half_close: end our direction first. A server does (RFC 6455 section 7.1.1: the
            server closes TCP first), a client waits for it.
    """
    transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    with trio.move_on_after(LINGER_TIMEOUT):
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            # Under TLS the end of TCP is all the peer gets: HTTPS servers do the same.
            if half_close and isinstance(transport, trio.abc.HalfCloseableStream):
                await transport.send_eof()
            while await stream.receive_some(_LINGER_BYTES):
                pass
