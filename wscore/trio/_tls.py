"""TLS for a client's stream; imports ``_errors`` and ``_stream``."""

from __future__ import annotations

import ssl

import trio

from ._errors import HandshakeError
from ._stream import abort

# TLS ended without a word: the network's or the server's trouble, and not one of trust.
_LOST = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


async def start_tls(stream: trio.abc.Stream, context: ssl.SSLContext, host: str) -> trio.abc.Stream:
    """Do the TLS handshake with a server; close the stream if it fails.

    Raises:
        HandshakeError: the handshake failed, with the TLS error as its cause.
    """
    # Neither SNI (RFC 6066 section 3) nor certificates know the dot of an absolute name.
    tls = trio.SSLStream(
        stream, context, server_hostname=host.removesuffix("."), https_compatible=True
    )
    try:
        await tls.do_handshake()
    except trio.BrokenResourceError as error:
        await abort(tls)
        cause = error.__cause__ or error
        lost = isinstance(cause, _LOST) or not isinstance(cause, ssl.SSLError)
        message = f"the TLS handshake with {host} failed: {cause}"
        raise HandshakeError(message, transient=lost) from cause
    except BaseException:
        await abort(tls)
        raise
    return tls
