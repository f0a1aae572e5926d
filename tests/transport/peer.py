"""The other end of a connection, made by hand: raw HTTP and raw frames over a trio stream.

It shares no code with wscore, so that a mistake on both sides cannot cancel out.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

import trio
from trio.testing import memory_stream_pair

from wscore.trio import WebSocketConnection, wrap_client_stream, wrap_server_stream

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
# The example of RFC 6455 section 1.3.
KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADE = (
    b"GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\n"
)
HANDSHAKE = UPGRADE + b"\r\n"
_MASK = b"\x12\x34\x56\x78"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bool = True) -> bytes:
    """Encode one frame; masked, as a client's are, or not, as a server's."""
    length = len(payload)
    first = opcode | (0x80 if fin else 0)
    if length < 126:
        head = struct.pack("!BB", first, length | (mask << 7))
    elif length < 65536:
        head = struct.pack("!BBH", first, 126 | (mask << 7), length)
    else:
        head = struct.pack("!BBQ", first, 127 | (mask << 7), length)
    if not mask:
        return head + payload
    return head + _MASK + bytes(byte ^ _MASK[i % 4] for i, byte in enumerate(payload))


def close_payload(code: int, reason: str = "") -> bytes:
    return struct.pack("!H", code) + reason.encode()


StreamPair = tuple[trio.abc.Stream, trio.abc.Stream]


def socket_pair(*, buffer: int | None = None) -> StreamPair:
    """Two connected sockets, which a connection drives in another way than all other streams.

    Args:
        buffer: bytes that the system may keep for each, about; None for what it likes.
    """
    ends = socket.socketpair()
    if buffer is not None:
        for end in ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    ours, theirs = [trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in ends]
    return ours, theirs


#: What makes the streams of `server_and_peer` and `client_and_peer`; see the fixture `any_wire`.
new_pair: Callable[[], StreamPair] = memory_stream_pair


@dataclass
class Frame:
    fin: bool
    opcode: int
    payload: bytes

    @property
    def close(self) -> tuple[int, str]:
        assert self.opcode == CLOSE
        return struct.unpack("!H", self.payload[:2])[0], self.payload[2:].decode()


def take_frames(data: bytearray) -> list[Frame]:
    """Remove all complete frames from the front of the buffer, and decode them."""
    frames = []
    while len(data) >= 2:
        length, start = data[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(data[2:10], "big"), 10
        mask = bytes(data[start : start + 4]) if data[1] & 0x80 else bytes(4)
        start += 4 if data[1] & 0x80 else 0
        if len(data) < start + length:
            break
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data[start : start + length]))
        frames.append(Frame(bool(data[0] & 0x80), data[0] & 0x0F, payload))
        del data[: start + length]
    return frames


class Peer:
    """A peer that does exactly what the test says."""

    def __init__(self, stream: trio.abc.Stream, *, masks: bool) -> None:
        self.stream = stream
        self.buffer = bytearray()
        self._masks = masks
        self._frames: list[Frame] = []

    async def send(self, *frames: tuple[int, bytes]) -> None:
        await self.stream.send_all(
            b"".join(frame(opcode, payload, mask=self._masks) for opcode, payload in frames)
        )

    async def receive(self) -> Frame:
        while not self._frames:
            data = await self.stream.receive_some()
            assert data, f"the stream ended, with {bytes(self.buffer)!r} over"
            self.buffer += data
            self._frames = take_frames(self.buffer)
        return self._frames.pop(0)

    async def receive_rest(self) -> bytes:
        """Everything until the other end closes."""
        assert not self._frames
        while data := await self.stream.receive_some():
            self.buffer += data
        return bytes(self.buffer)

    async def receive_head(self) -> bytes:
        while b"\r\n\r\n" not in self.buffer:
            data = await self.stream.receive_some()
            assert data, f"the stream ended, with {bytes(self.buffer)!r} over"
            self.buffer += data
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer[:] = rest
        return head

    async def accept(self, headers: bytes = b"") -> bytes:
        """Accept a client's handshake, with more headers; returns the head of its request."""
        head = await self.receive_head()
        (key,) = [
            line.partition(b": ")[2]
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key")
        ]
        guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key + guid).digest())
        await self.stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n" + headers + b"\r\n"
        )
        return head


async def server_and_peer(
    pair: StreamPair | None = None, **options: object
) -> tuple[WebSocketConnection, Peer]:
    """A server's connection in the open state, and the client at its other end."""
    ours, theirs = pair or new_pair()
    peer = Peer(theirs, masks=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, HANDSHAKE)
        request = await wrap_server_stream(nursery, ours, **options)  # type: ignore[arg-type]
        nursery.start_soon(peer.receive_head)
        connection = await request.accept()
    return connection, peer


async def client_and_peer(
    pair: StreamPair | None = None, **options: object
) -> tuple[WebSocketConnection, Peer]:
    """A client's connection in the open state, and the server at its other end."""
    ours, theirs = pair or new_pair()
    peer = Peer(theirs, masks=False)
    connection: WebSocketConnection | None = None

    async def connect() -> None:
        nonlocal connection
        connection = await wrap_client_stream(
            nursery,
            ours,
            "example.com",
            "/",
            **options,  # type: ignore[arg-type]
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        await peer.accept()
    assert connection is not None
    return connection, peer


async def send_for_ever(connection: WebSocketConnection, message: str | bytes = "x") -> None:
    """Send until that raises: over some streams the first loss is noticed only later."""
    while True:
        await connection.send_message(message)


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener whose clients are in the same task tree: no sockets, no ports."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](100)

    async def accept(self) -> trio.abc.Stream:
        return await self._receive.receive()

    async def aclose(self) -> None:
        await self._receive.aclose()

    def connect(self, pair: StreamPair | None = None) -> Peer:
        """A new client, which has sent nothing yet."""
        ours, theirs = pair or memory_stream_pair()
        self._send.send_nowait(ours)
        return Peer(theirs, masks=True)

    async def open(self) -> Peer:
        """A new client with an accepted WebSocket."""
        peer = self.connect()
        await peer.stream.send_all(HANDSHAKE)
        assert (await peer.receive_head()).startswith(b"HTTP/1.1 101 ")
        return peer


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes


async def read_response(peer: Peer) -> Response:
    """The one response, after which the server must close."""
    head = await peer.receive_head()
    await peer.stream.send_eof()
    body = await peer.receive_rest()
    start, *lines = head.decode().split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    headers: dict[str, str] = {}
    for name, value in pairs:
        repeated = headers.get(name.lower())
        # A list may come in several lines (RFC 9110 section 5.3); nothing else is a list here.
        assert repeated is None or name.lower() == "connection", f"repeated headers in {head!r}"
        headers[name.lower()] = value if repeated is None else f"{repeated}, {value}"
    assert start.startswith("HTTP/1.1 ")
    return Response(int(start.split(" ")[1]), headers, body)
