"""Extensions as users of wsproto write them: the same code for either package."""

from __future__ import annotations

from typing import Any

from parity import plain


def reversing(lib: Any) -> Any:
    class Reversing(lib.Extension):  # type: ignore[misc,name-defined]
        """Turns messages of one frame around, and says so by RSV2; negotiates a level."""

        name = "x-reverse"

        def __init__(self, level: int = 1) -> None:
            self.level = level
            self.log: list[Any] = []
            self._enabled = False
            self._held: bytes | None = None

        def enabled(self) -> bool:
            return self._enabled

        def offer(self) -> bool | str:
            return f"level={self.level}"

        def accept(self, offer: str) -> bool | str | None:
            self.log.append(offer)
            level = int(offer.partition("level=")[2] or 0)
            if level > self.level:
                return None
            self._enabled = True
            return f"level={level}" if level else True

        def finalize(self, offer: str) -> None:
            self.log.append(offer)
            self._enabled = True

        def frame_inbound_header(
            self, proto: Any, opcode: Any, rsv: Any, payload_length: int
        ) -> Any:
            if opcode == 2 and payload_length == 66:
                return lib.CloseReason.POLICY_VIOLATION
            self.log.append((proto.client, plain(opcode), tuple(rsv), payload_length))
            self._held = b"" if rsv.rsv2 else None
            return lib.RsvBits(False, True, False)

        def frame_inbound_payload_data(self, proto: Any, data: bytes) -> Any:
            self.log.append(type(data).__name__)
            if b"refuse me" in data:
                return lib.CloseReason.UNSUPPORTED_DATA
            if self._held is None:
                return bytearray(data)
            self._held += data
            return b""

        def frame_inbound_complete(self, proto: Any, fin: bool) -> Any:
            self.log.append(fin)
            if self._held == b"!em esufer":
                return lib.CloseReason.MESSAGE_TOO_BIG
            return None if self._held is None else bytearray(reversed(self._held))

        def frame_outbound(
            self, proto: Any, opcode: Any, rsv: Any, data: bytes, fin: bool
        ) -> tuple[Any, bytes]:
            self.log.append((proto.client, plain(opcode), tuple(rsv), type(data).__name__, fin))
            if opcode in (lib.Opcode.TEXT, lib.Opcode.BINARY) and fin:
                return rsv._replace(rsv2=True), bytes(reversed(data))
            return rsv, data

    return Reversing


def shouting(lib: Any) -> Any:
    class Shouting(lib.Extension):  # type: ignore[misc,name-defined]
        """Needs no negotiation and no bit; leaves out every hook that it can."""

        name = "x-shout"

        def offer(self) -> bool:
            return True

        def accept(self, offer: str) -> bool:
            return True

        def enabled(self) -> bool:
            return True

        def frame_inbound_payload_data(self, proto: Any, data: bytes) -> bytes:
            return data.upper()

    return Shouting


def counting_deflate(lib: Any) -> Any:
    class Counting(lib.PerMessageDeflate):  # type: ignore[misc,name-defined]
        """What servers do to measure compression, or to compress long messages only."""

        def __init__(self, *args: Any, **others: Any) -> None:
            super().__init__(*args, **others)
            self.saved = 0

        def frame_outbound(
            self, proto: Any, opcode: Any, rsv: Any, data: bytes, fin: bool
        ) -> tuple[Any, bytes]:
            if fin and len(data) < 20:
                return rsv, data
            rsv, packed = super().frame_outbound(proto, opcode, rsv, data, fin)
            self.saved += len(data) - len(packed)
            return rsv, packed

        def frame_inbound_payload_data(self, proto: Any, data: bytes) -> Any:
            result = super().frame_inbound_payload_data(proto, data)
            assert not isinstance(result, lib.CloseReason)
            self.saved -= len(result)
            return result

    return Counting
