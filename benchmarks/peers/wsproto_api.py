"""wsproto, and wscore by the same API: `receive_data`, `events`, `send`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from benchmarks.peers import Data, Deflate, Mask, Receiver, Sender


class WsprotoApi:
    """One of the two packages with wsproto's modules."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.compiled = name == "wscore" and _wscore_is_compiled()
        self._connection = import_module(f"{name}.connection")
        self._events = import_module(f"{name}.events")
        self._extensions = import_module(f"{name}.extensions")
        self._frame_protocol = import_module(f"{name}.frame_protocol")

    def mask_in_place(self) -> Mask | None:
        if self.name != "wscore":
            return None
        return Mask("mask(data, key)", import_module("wscore._framing").apply_mask_inplace)

    def mask_copying(self) -> Mask | None:
        if self.name == "wscore":
            function = import_module("wscore._framing").apply_mask
            return Mask("mask(data, key)", function, takes_bytearray=True)
        # Its only entry; it wants a bytearray, and returns one or bytes.
        masker = self._frame_protocol.XorMaskerSimple
        return Mask("mask(key).process(data)", masker, takes_bytearray=True)

    @property
    def text_message(self) -> type:
        """The class of its text messages."""
        event: type = self._events.TextMessage
        return event

    def open(self, role: str, deflate: Deflate | None = None, **options: Any) -> Any:
        """Open a connection as after a handshake."""
        extensions = []
        if deflate is not None:  # both settings are the same here: zlib's defaults
            extension = self._extensions.PerMessageDeflate()
            negotiate = extension.accept if role == "server" else extension.finalize
            negotiate("permessage-deflate")
            extensions.append(extension)
        kind = self._connection.ConnectionType[role.upper()]
        return self._connection.Connection(kind, extensions, **options)

    def receiver(
        self, role: str, text: bool, deflate: Deflate | None = None, **options: Any
    ) -> Receiver:
        connection = self.open(role, deflate, **options)
        receive_data, events = connection.receive_data, connection.events

        def take(chunks: Sequence[bytes]) -> Any:
            data = None
            for chunk in chunks:
                receive_data(chunk)
                for event in events():
                    data = event.data
            return data

        def messages(chunks: Sequence[bytes]) -> list[Any]:
            found: list[Any] = []
            pieces: list[Any] = []
            for chunk in chunks:
                receive_data(chunk)
                for event in events():
                    pieces.append(event.data if text else bytes(event.data))
                    if event.message_finished:
                        found.append(("" if text else b"").join(pieces))
                        pieces.clear()
            return found

        return Receiver(take, messages)

    def sender(self, role: str, text: bool, deflate: Deflate | None = None) -> Sender:
        send = self.open(role, deflate).send
        message = self._events.TextMessage if text else self._events.BytesMessage

        def take(messages: Sequence[Data]) -> None:
            for data in messages:
                send(message(data=data))

        def wire(messages: Sequence[Data]) -> bytes:
            return b"".join([send(message(data=data)) for data in messages])

        return Sender(take, wire)


def _wscore_is_compiled() -> bool:
    return bool(import_module("wscore._framing").IMPLEMENTATION == "cython")


def load(name: str) -> WsprotoApi:
    return WsprotoApi(name)
