"""An extension of one's own: x-rot13 turns letters by half the alphabet, there and back.

It uses a reserved bit to say which messages it has turned, as permessage-deflate does. Any class
that was written for wsproto's `Extension` works as it is.
"""

import codecs
import sys
from typing import Any

from wscore import ConnectionType, WSConnection
from wscore.events import AcceptConnection, Request, TextMessage
from wscore.extensions import Extension
from wscore.frame_protocol import CloseReason, Opcode, RsvBits


class Rot13(Extension):
    """Turns the letters of text messages."""

    name = "x-rot13"

    def __init__(self) -> None:
        self._enabled = False
        self._turned = False

    def enabled(self) -> bool:
        """Whether both ends agreed."""
        return self._enabled

    def offer(self) -> bool:
        """A client offers it, without parameters."""
        return True

    def accept(self, offer: str) -> bool:
        """A server accepts it, if no parameters were asked for."""
        self._enabled = ";" not in offer
        return self._enabled

    def finalize(self, offer: str) -> None:
        """The server has accepted."""
        self._enabled = True

    def frame_inbound_header(
        self,
        proto: Any,
        opcode: Opcode,
        rsv: RsvBits,
        payload_length: int,
    ) -> CloseReason | RsvBits:
        """Say which reserved bits are ours; the peer may not set others."""
        if opcode is Opcode.TEXT:
            self._turned = rsv.rsv2
        return RsvBits(False, opcode is Opcode.TEXT, False)

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> bytes | CloseReason:
        """Turn what came; ASCII letters are single bytes wherever a frame is cut."""
        return _turn(data) if self._turned else data

    def frame_outbound(
        self,
        proto: Any,
        opcode: Opcode,
        rsv: RsvBits,
        data: bytes,
        fin: bool,
    ) -> tuple[RsvBits, bytes]:
        """Turn what goes, and say so."""
        if opcode is Opcode.TEXT:
            return RsvBits(rsv.rsv1, True, rsv.rsv3), _turn(data)
        return rsv, data


def _turn(data: bytes) -> bytes:
    return codecs.encode(bytes(data).decode("latin-1"), "rot13").encode("latin-1")


def opened() -> tuple[WSConnection, WSConnection]:
    """A client and a server that have agreed on it."""
    client, server = WSConnection(ConnectionType.CLIENT), WSConnection(ConnectionType.SERVER)
    request = Request(host="example.com", target="/", extensions=[Rot13()])
    server.receive_data(client.send(request))
    next(server.events())
    client.receive_data(server.send(AcceptConnection(extensions=[Rot13()])))
    next(client.events())
    return client, server


if __name__ == "__main__":
    client, server = opened()
    for text in sys.argv[1:] or ["Hello, world"]:
        data = server.send(TextMessage(text))
        client.receive_data(data)
        print(f"on the wire {data!r}, received {next(client.events())!r}")
