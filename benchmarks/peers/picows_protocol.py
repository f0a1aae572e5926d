"""picows' protocol object between a transport that does nothing and a listener.

It parses in a buffer of its own, which the event loop fills: here each chunk is copied into it, as
`recv_into` would do in its life, so that on large frames a copy of the payload is part of its time
(for the others the bytes are there already). It writes to the socket itself unless the transport
is encrypted; so ours says that it is, and gets the bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

from benchmarks.peers import Data, Deflate, Mask, Receiver, Sender
from wscore.utilities import generate_accept_token


class NullSocket:
    """What the protocol asks a socket for when it is opened."""

    def fileno(self) -> int:
        return -1

    def setsockopt(self, *option: int) -> None:
        return None

    def getsockopt(self, *option: int) -> int:
        return 0


class NullTransport:
    """Takes what is written at the least cost, and remembers the last pieces."""

    def __init__(self) -> None:
        self.written: deque[Any] = deque(maxlen=1)
        self.write = self.written.append
        self.writelines = self.written.append  # the pieces stay apart: nothing is copied
        self.get_write_buffer_size = int  # a call of it is 0

    def get_extra_info(self, name: str) -> Any:
        return {"socket": NullSocket(), "ssl_object": self}.get(name)

    def last(self) -> bytes:
        """Return what the last message became."""
        written = self.written[-1]
        return written if isinstance(written, bytes) else b"".join(written)


class Picows:
    """The library's protocol, handshake done."""

    name = "picows"
    compiled = True

    def __init__(self) -> None:
        self._picows = import_module("picows.picows")

    def mask_in_place(self) -> Mask | None:
        return None  # it masks inside its parser and offers no function

    def mask_copying(self) -> Mask | None:
        return None

    def _open(self, role: str, listener: Any) -> tuple[Any, NullTransport]:
        async def connect() -> Any:  # the protocol asks for the running loop
            return self._picows.WSProtocol(
                *("localhost", "/", role == "client", lambda *_: listener),
                *(logging.getLogger(__name__), True, None),  # disconnect on exceptions; no timeout
                *(False, 10, 10, self._picows.WSAutoPingStrategy.PING_WHEN_IDLE, True),
                *(1 << 30, None, 16 * 1024),  # frame size, headers, its default buffer
            )

        protocol, transport = asyncio.run(connect()), NullTransport()
        protocol.connection_made(transport)
        feed(protocol, [_answer(transport.last()) if role == "client" else _request()])
        return protocol, transport

    def receiver(self, role: str, text: bool, deflate: Deflate | None = None) -> Receiver | None:
        if deflate is not None:
            return None  # it has no permessage-deflate

        class Listener(self._picows.WSListener):  # type: ignore[misc, name-defined]
            data: Any = None

            if text:

                def on_ws_frame(self, transport: Any, frame: Any) -> None:
                    self.data = frame.get_payload_as_utf8_text()
            else:

                def on_ws_frame(self, transport: Any, frame: Any) -> None:
                    self.data = frame.get_payload_as_bytes()

        class Keeping(Listener):
            def on_ws_frame(self, transport: Any, frame: Any) -> None:
                super().on_ws_frame(transport, frame)
                found.append(self.data)

        found: list[Any] = []
        timed, checked = Listener(), Keeping()
        timed_protocol, _ = self._open(role, timed)
        checked_protocol, _ = self._open(role, checked)

        def take(chunks: Sequence[bytes]) -> Any:
            feed(timed_protocol, chunks)
            return timed.data

        def messages(chunks: Sequence[bytes]) -> list[Any]:
            found.clear()
            feed(checked_protocol, chunks)
            return list(found)

        return Receiver(take, messages)

    def sender(self, role: str, text: bool, deflate: Deflate | None = None) -> Sender | None:
        if deflate is not None:
            return None
        protocol, transport = self._open(role, self._picows.WSListener())
        send = protocol.transport.send
        opcode = self._picows.WSMsgType.TEXT if text else self._picows.WSMsgType.BINARY

        def take(messages: Sequence[Data]) -> None:
            for data in messages:
                send(opcode, data)

        def wire(messages: Sequence[Data]) -> bytes:
            written = []
            for data in messages:
                send(opcode, data)
                written.append(transport.last())
            return b"".join(written)

        return Sender(take, wire)


def feed(protocol: Any, chunks: Iterable[bytes]) -> None:
    """Fill the protocol's buffer and tell it, as an event loop does."""
    get_buffer, buffer_updated = protocol.get_buffer, protocol.buffer_updated
    for chunk in chunks:
        size, room = len(chunk), get_buffer(-1)
        if size <= len(room):
            room[:size] = chunk
            buffer_updated(size)
            continue
        at = 0
        while at < size:
            room = get_buffer(-1)
            part = chunk[at : at + len(room)]
            room[: len(part)] = part
            buffer_updated(len(part))
            at += len(part)


def _request() -> bytes:
    return (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )


def _answer(request: bytes) -> bytes:
    key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + generate_accept_token(key) + b"\r\n\r\n"
    )


def load(name: str) -> Picows:
    return Picows()
