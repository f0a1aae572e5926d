"""A WebSocket on one stream, as its server: what `WebSocketServer` does, without listeners, tasks
and deadlines; imports the modules beside it.
"""

from __future__ import annotations

import trio

from ._counters import ServerCounters
from ._errors import HandshakeError
from ._exchange import Exchange, RequestError, RequestLost
from ._options import (
    DISCONNECT_TIMEOUT,
    MAX_MESSAGE_SIZE,
    MESSAGE_QUEUE_SIZE,
    PING_INTERVAL,
    PING_TIMEOUT,
    RECEIVE_BUFFER_SIZE,
    SEND_TIMEOUT,
    Options,
)
from ._request import HandshakePolicy, WebSocketRequest, propose
from ._stream import abort


async def wrap_server_stream(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BUFFER_SIZE,
    disconnect_timeout: float = DISCONNECT_TIMEOUT,
    *,
    ping_interval: float | None = PING_INTERVAL,
    ping_timeout: float | None = PING_TIMEOUT,
    send_timeout: float = SEND_TIMEOUT,
) -> WebSocketRequest:
    """Read the opening handshake of a WebSocket from any stream, as its server.

    Args:
        nursery: not used; taken for compatibility with trio-websocket.
        stream: any trio stream that carries bytes both ways.

    The other arguments are those of `serve_websocket`.

    Resource handling:
        After an error the stream is closed. Otherwise the caller answers the request, and closes
        the connection that it accepts.

    Error handling:
        `HandshakeError` if the client sent no proper handshake (it was answered with a 4xx status)
        or went away. There is no timeout: use `trio.fail_after`.
    """
    del nursery
    options = Options(
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        disconnect_timeout=disconnect_timeout,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        send_timeout=send_timeout,
    )
    exchange = Exchange(stream, options, ServerCounters())
    try:
        try:
            return propose(exchange, await exchange.receive_request(), options, HandshakePolicy())
        except RequestError as error:
            await exchange.respond(error.response)
            raise HandshakeError(str(error)) from None
    except RequestLost as error:
        await abort(stream)
        raise HandshakeError(str(error)) from None
    except BaseException:
        await abort(stream)
        raise
