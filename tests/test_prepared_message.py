"""PreparedMessage: one encoding for many connections, whatever each agreed on and sent before."""

from __future__ import annotations

import copy
import pickle
import zlib
from dataclasses import dataclass, replace
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packages import ZLIBS, unframed
from vectors import server_frame
from websockets.extensions.permessage_deflate import PerMessageDeflate as Websockets
from websockets.frames import Frame, Opcode

from wscore.connection import CLIENT, SERVER, Connection
from wscore.errors import LocalProtocolError
from wscore.events import BytesMessage, CloseConnection, PreparedMessage, TextMessage
from wscore.extensions import Extension, PerMessageDeflate
from wscore.frame_protocol import Opcode as OurOpcode
from wscore.frame_protocol import RsvBits

NAME = "permessage-deflate"


def opened(
    takeover: bool = True,
    bits: int = 15,
    module: ModuleType = zlib,
    level: int | None = None,
    mem_level: int = 8,
) -> tuple[Connection, Connection]:
    """A server that compresses in a certain way, and its client."""
    ours = PerMessageDeflate(level=level, mem_level=mem_level, zlib=module)
    theirs = PerMessageDeflate(server_no_context_takeover=not takeover, server_max_window_bits=bits)
    answer = ours.accept(f"{NAME}; {theirs.offer()}")
    assert answer is not None
    theirs.finalize(f"{NAME}; {answer}")
    return Connection(SERVER, [ours]), Connection(CLIENT, [theirs])


class TestEvent:
    """It is a frozen dataclass as the other events are, on both twins."""

    def test_fields(self, framing: ModuleType) -> None:
        message = framing.PreparedMessage("x")
        assert isinstance(message, framing.Message)
        assert (message.data, message.frame_finished, message.message_finished) == ("x", True, True)
        assert repr(message) == "PreparedMessage(data='x')"
        assert message == framing.PreparedMessage("x") != framing.PreparedMessage("y")
        assert message != framing.TextMessage("x")
        assert hash(message) == hash(framing.PreparedMessage("x"))
        assert replace(message, data="y") == framing.PreparedMessage("y")
        with pytest.raises(AttributeError, match="cannot assign"):
            message.data = "y"

    @pytest.mark.parametrize("data", [b"x", bytearray(b"x"), memoryview(b"x")])
    def test_binary_is_copied(self, framing: ModuleType, data: object) -> None:
        message = framing.PreparedMessage(data)
        assert type(message.data) is bytes
        assert message.data == b"x"

    @pytest.mark.parametrize("data", [None, 1, ["x"]])
    def test_other_types(self, framing: ModuleType, data: object) -> None:
        with pytest.raises(TypeError, match="str or bytes-like"):
            framing.PreparedMessage(data)

    def test_copies(self) -> None:
        message = PreparedMessage("x")
        opened()[0].send(message)
        for again in (copy.copy(message), copy.deepcopy(message)):
            assert again == message
        assert pickle.loads(pickle.dumps(message)) == message


class TestSharing:
    @pytest.mark.parametrize(
        ("data", "frame"),
        [("héllo", server_frame(0x81, "héllo".encode())), (b"\x00", server_frame(0x82, b"\x00"))],
    )
    def test_plain_servers_send_the_same_object(self, data: str | bytes, frame: bytes) -> None:
        message = PreparedMessage(data)
        first = Connection(SERVER).send(message)
        assert first == frame
        assert Connection(SERVER).send(message) is first
        assert Connection(SERVER).send_parts(message) == (first, b"")
        assert Connection(SERVER).send_parts(message)[0] is first

    def test_servers_with_the_same_settings_send_the_same_object(self) -> None:
        message = PreparedMessage("x" * 1000)
        ways: list[dict[str, object]] = [
            {},
            {"bits": 10},
            {"level": 1},
            {"mem_level": 3},
            *({"module": module} for module in ZLIBS[1:]),
        ]
        frames = [
            [opened(takeover, **way)[0].send(message) for takeover in (True, False)]  # type: ignore[arg-type]
            for way in ways
        ]
        for alike in frames:
            assert alike[0] is alike[1]
        assert len({id(alike[0]) for alike in frames}) == len(ways)
        assert all(frame[0] == 0xC1 for alike in frames for frame in alike)

    def test_a_client_masks_each_anew(self) -> None:
        message = PreparedMessage("hello")
        first, second = Connection(CLIENT), Connection(CLIENT)
        frames = first.send(message), second.send(message)
        assert frames[0] != frames[1]
        for frame in frames:
            server = Connection(SERVER)
            server.receive_data(frame)
            assert list(server.events()) == [TextMessage("hello")]

    def test_a_compressing_client(self) -> None:
        server, client = opened()
        for message in (TextMessage("a" * 99), PreparedMessage("a" * 99), TextMessage("a" * 99)):
            server.receive_data(client.send(message))
            assert list(server.events()) == [TextMessage("a" * 99)]

    def test_other_extensions_see_it(self) -> None:
        class Reversing(Extension):
            name = "x-reversing"

            def enabled(self) -> bool:
                return True

            def offer(self) -> bool:
                return True

            def frame_outbound(
                self, proto: object, opcode: OurOpcode, rsv: RsvBits, data: bytes, fin: bool
            ) -> tuple[RsvBits, bytes]:
                return rsv, data[::-1]

        message = PreparedMessage("abc")
        assert Connection(SERVER).send(message)[2:] == b"abc"
        assert Connection(SERVER, [Reversing()]).send(message)[2:] == b"cba"


@pytest.mark.parametrize("connection", [lambda: Connection(SERVER), lambda: opened()[0]])
class TestRules:
    """Those of any message."""

    def test_only_while_open(self, connection: object) -> None:
        server = connection()  # type: ignore[operator]
        message = PreparedMessage("x")
        server.send(message)
        server.send(CloseConnection(1000))
        with pytest.raises(LocalProtocolError, match="PreparedMessage"):
            server.send(message)

    def test_as_the_last_fragment(self, connection: object) -> None:
        server = connection()  # type: ignore[operator]
        assert server.send(TextMessage("a", message_finished=False))[0] & 0x8F == 0x01
        with pytest.raises(TypeError, match="began as TEXT"):
            server.send(PreparedMessage(b"b"))
        assert server.send(PreparedMessage("b"))[0] == 0x80
        assert server.send(PreparedMessage("c"))[0] & 0x8F == 0x81

    def test_lone_surrogate(self, connection: object) -> None:
        message = PreparedMessage("\ud800")
        server = connection()  # type: ignore[operator]
        with pytest.raises(UnicodeEncodeError):
            server.send(message)
        assert server.send(PreparedMessage("x"))[0] & 0x8F == 0x81


class Window:
    """What inflates at a peer that has a window of the agreed size and not a byte more."""

    def __init__(self, bits: int, takeover: bool) -> None:
        self._bits, self._takeover = bits, takeover
        self._inflater = zlib.decompressobj(-bits)

    def decode(self, payload: bytes) -> bytes:
        if not self._takeover:
            self._inflater = zlib.decompressobj(-self._bits)
        return self._inflater.decompress(payload + b"\0\0\xff\xff")


@dataclass
class Member:
    """A connection and three peers that are sent its bytes."""

    takeover: bool
    bits: int
    module: ModuleType

    def __post_init__(self) -> None:
        self.server, self.client = opened(self.takeover, self.bits, self.module)
        self.window = Window(self.bits, self.takeover)
        self.websockets = Websockets(not self.takeover, False, self.bits, 15)

    def send(self, message: BytesMessage | PreparedMessage) -> None:
        """Send it, and see that it arrives everywhere."""
        sent = self.server.send(message)
        self.client.receive_data(sent)
        assert list(self.client.events()) == [BytesMessage(message.data)]
        first, payload = unframed(sent)
        assert first == 0xC2
        assert self.window.decode(payload) == message.data
        frame = self.websockets.decode(Frame(Opcode.BINARY, payload, rsv1=True))
        assert frame.data == message.data


#: Few words, so that messages repeat others, from a byte to beyond the smaller windows.
WORDS = [
    b"",
    b"a",
    bytes(range(256)),
    b"the quick brown fox " * 40,
    bytes(i * i % 241 for i in range(900)),
]
MESSAGES = st.lists(st.sampled_from(WORDS), max_size=4).map(b"".join)


class TestAnyPeerInflatesIt:
    @given(
        st.lists(
            st.tuples(st.booleans(), st.integers(9, 15), st.sampled_from(ZLIBS)),
            min_size=1,
            max_size=4,
        ),
        st.lists(st.tuples(MESSAGES, st.one_of(st.none(), st.integers(0, 3))), max_size=10),
    )
    def test_between_own_messages(
        self,
        settings: list[tuple[bool, int, ModuleType]],
        script: list[tuple[bytes, int | None]],
    ) -> None:
        """To one member, or (None) to all of them."""
        members = [Member(*setting) for setting in settings]
        for data, to in script:
            if to is None:
                message = PreparedMessage(data)
                for member in members:
                    member.send(message)
            else:
                members[to % len(members)].send(BytesMessage(data))

    @pytest.mark.parametrize("module", ZLIBS)
    def test_our_own_context_is_given_up(self, module: ModuleType) -> None:
        """Otherwise the third would refer to what lies elsewhere in the peer's window."""
        noise = [bytes(i * i * k % 251 for i in range(700)) for k in (3, 5)]
        member = Member(True, 15, module)
        member.send(BytesMessage(noise[0]))
        member.send(PreparedMessage(noise[1]))
        member.send(BytesMessage(noise[0]))
