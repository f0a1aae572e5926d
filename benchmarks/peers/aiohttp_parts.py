"""aiohttp's WebSocket reader with its queue, and its writer on a transport that does nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from benchmarks.peers import Data, Deflate, Mask, Receiver, Sender, run

#: Bytes that its queue holds before it asks for a pause: more than a pass, so that it never does.
QUEUE_LIMIT = 1 << 28


class NullTransport:
    """Takes what is written at the least cost, and remembers the last piece or all of them."""

    def __init__(self, remember: int | None) -> None:
        self.written: deque[bytes] = deque(maxlen=remember)
        self.write = self.written.append
        self.is_closing = bool  # a call of it is False


class Aiohttp:
    """The parts of the library below its server and its client."""

    name = "aiohttp"

    def __init__(self) -> None:
        self._reader = import_module("aiohttp._websocket.reader")
        self._writer = import_module("aiohttp._websocket.writer")
        self._helpers = import_module("aiohttp._websocket.helpers")
        self._base_protocol = import_module("aiohttp.base_protocol").BaseProtocol
        self._compressor = import_module("aiohttp.compression_utils").ZLibCompressor
        self._types = import_module("aiohttp").WSMsgType
        # Owned by connections that are never run; closed at once.
        self._loop = asyncio.new_event_loop()
        self._loop.close()
        self.compiled = self._reader.WebSocketReader.__module__.endswith("reader_c")

    def mask_in_place(self) -> Mask | None:
        return Mask("mask(key, data)", self._helpers.websocket_mask)

    def mask_copying(self) -> Mask | None:
        return None

    def receiver(self, role: str, text: bool, deflate: Deflate | None = None) -> Receiver:
        queue = self._reader.WebSocketDataQueue(
            self._base_protocol(self._loop), QUEUE_LIMIT, loop=self._loop
        )
        reader = self._reader.WebSocketReader(queue, 0, deflate is not None, True)
        feed_data, read, waiting = reader.feed_data, queue.read, queue._buffer

        async def take(chunks: Sequence[bytes]) -> Any:
            data = None
            for chunk in chunks:
                feed_data(chunk)
                while waiting:
                    data = (await read()).data
            return data

        async def messages(chunks: Sequence[bytes]) -> list[Any]:
            found = []
            for chunk in chunks:
                feed_data(chunk)
                while waiting:
                    found.append((await read()).data)
            return found

        return Receiver(lambda chunks: run(take(chunks)), lambda chunks: run(messages(chunks)))

    def _open_writer(self, role: str, deflate: Deflate | None, transport: NullTransport) -> Any:
        writer = self._writer.WebSocketWriter(
            self._base_protocol(self._loop),
            transport,
            use_mask=role == "client",
            compress=15 if deflate is not None else 0,
        )
        if deflate is Deflate.SAME:  # it would take level 1, and offers no other
            writer._compressobj = self._compressor(level=6, wbits=-15)
        return writer

    def sender(self, role: str, text: bool, deflate: Deflate | None = None) -> Sender:
        send_frame = self._open_writer(role, deflate, NullTransport(1)).send_frame
        opcode = self._types.TEXT if text else self._types.BINARY

        async def take(messages: Sequence[Any]) -> None:
            if text:
                for data in messages:
                    await send_frame(data.encode("utf-8"), opcode)
            else:
                for data in messages:
                    await send_frame(data, opcode)

        def wire(messages: Sequence[Data]) -> bytes:
            transport = NullTransport(None)
            writer = self._open_writer(role, deflate, transport)
            for data in messages:
                encoded = data.encode() if isinstance(data, str) else data
                run(writer.send_frame(encoded, opcode))
            return b"".join(transport.written)

        return Sender(lambda messages: run(take(messages)), wire)


def load(name: str) -> Aiohttp:
    return Aiohttp()
