"""websockets' sans-IO layer: `Protocol` in state OPEN, as its connections of all kinds use it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import BuiltinFunctionType
from typing import Any

from benchmarks.peers import Data, Deflate, Mask, Receiver, Sender


class Websockets:
    """The library, with its C speedups where they are built."""

    name = "websockets"

    def __init__(self) -> None:
        self._protocol = import_module("websockets.protocol")
        self._extension = import_module("websockets.extensions.permessage_deflate")
        self._apply_mask = import_module("websockets.frames").apply_mask
        self.compiled = isinstance(self._apply_mask, BuiltinFunctionType)

    def mask_in_place(self) -> Mask | None:
        return None

    def mask_copying(self) -> Mask | None:
        return Mask("mask(data, key)", self._apply_mask, takes_bytearray=True)

    def _open(self, role: str, deflate: Deflate | None) -> Any:
        side = self._protocol.Side[role.upper()]
        protocol = self._protocol.Protocol(side, max_size=None)
        if deflate is not None:
            same = deflate is Deflate.SAME
            # Its servers and clients choose a window of 12 and memory level 5.
            local, settings = (15, {"level": 6, "memLevel": 8}) if same else (12, {"memLevel": 5})
            extension = self._extension.PerMessageDeflate(False, False, 15, local, settings)
            protocol.extensions = [extension]
        return protocol

    def receiver(self, role: str, text: bool, deflate: Deflate | None = None) -> Receiver:
        protocol = self._open(role, deflate)
        receive_data, data_to_send = protocol.receive_data, protocol.data_to_send
        events_received = protocol.events_received

        def take(chunks: Sequence[bytes]) -> Any:
            data = None
            for chunk in chunks:
                receive_data(chunk)
                data_to_send()  # "You must call" it after each of the receiving methods
                for frame in events_received():
                    data = frame.data.decode() if text else frame.data
            return data

        def messages(chunks: Sequence[bytes]) -> list[Any]:
            found: list[Any] = []
            for chunk in chunks:
                receive_data(chunk)
                data_to_send()
                found += [f.data.decode() if text else bytes(f.data) for f in events_received()]
            return found

        return Receiver(take, messages)

    def sender(self, role: str, text: bool, deflate: Deflate | None = None) -> Sender:
        protocol = self._open(role, deflate)
        send_text, send_binary = protocol.send_text, protocol.send_binary
        data_to_send = protocol.data_to_send

        def take(messages: Sequence[Any]) -> None:
            if text:
                for data in messages:
                    send_text(data.encode())
                    data_to_send()
            else:
                for data in messages:
                    send_binary(data)
                    data_to_send()

        def wire(messages: Sequence[Data]) -> bytes:
            written: list[bytes] = []
            for data in messages:
                take_one = send_text if text else send_binary
                take_one(data.encode() if isinstance(data, str) else data)
                written += data_to_send()
            return b"".join(written)

        return Sender(take, wire)


def load(name: str) -> Websockets:
    return Websockets()
