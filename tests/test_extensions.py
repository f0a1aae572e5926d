"""permessage-deflate: negotiation, both directions, hostile input."""

from __future__ import annotations

import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packages import ZLIBS, deflated, frame
from vectors import KEY, server_frame

from wscore._deflate import deflater
from wscore._framing import encode_frame
from wscore.connection import CLIENT, SERVER, Connection
from wscore.errors import RemoteProtocolError
from wscore.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wscore.extensions import Extension, PerMessageDeflate
from wscore.frame_protocol import RsvBits
from wscore.handshake import client_extensions_handshake, server_extensions_handshake

NAME = "permessage-deflate"


class TestServerNegotiation:
    @pytest.mark.parametrize(
        ("offer", "answer"),
        [
            ("", ""),
            ("; client_no_context_takeover", "client_no_context_takeover"),
            ("; server_no_context_takeover", "server_no_context_takeover"),
            ("; client_max_window_bits", "client_max_window_bits=15"),
            ("; client_max_window_bits=10", "client_max_window_bits=10"),
            ("; client_max_window_bits=8", "client_max_window_bits=8"),
            ('; client_max_window_bits="10"', "client_max_window_bits=10"),
            ("; server_max_window_bits=9", "server_max_window_bits=9"),
            (" ;  server_max_window_bits = 12 ", "server_max_window_bits=12"),
        ],
    )
    def test_accepted(self, offer: str, answer: str) -> None:
        extension = PerMessageDeflate()
        assert extension.accept(NAME + offer) == answer
        assert extension.enabled()

    @pytest.mark.parametrize(
        "offer",
        [
            "; unknown",
            "; unknown=1",
            "; client_no_context_takeover=1",
            "; client_no_context_takeover; client_no_context_takeover",
            "; client_max_window_bits; client_max_window_bits=10",
            "; server_max_window_bits",
            "; server_max_window_bits=",
            "; server_max_window_bits=7",
            "; server_max_window_bits=8",
            "; server_max_window_bits=16",
            "; server_max_window_bits=09",
            "; server_max_window_bits=x",
            "; client_max_window_bits=16",
            "; client_max_window_bits=010",
            "; server_no_context_takeover; server_max_window_bits=99",
        ],
    )
    def test_declined_without_a_trace(self, offer: str) -> None:
        extension = PerMessageDeflate()
        before = vars(extension).copy()
        assert extension.accept(NAME + offer) is None
        assert vars(extension) == before

    def test_own_limits_hold(self) -> None:
        extension = PerMessageDeflate(client_max_window_bits=11, server_max_window_bits=10)
        answer = extension.accept(f"{NAME}; client_max_window_bits; server_max_window_bits=12")
        assert answer == "client_max_window_bits=11; server_max_window_bits=10"

    def test_the_first_acceptable_offer_wins(self) -> None:
        offers = [f"{NAME}; nonsense", "other", f"{NAME}; client_max_window_bits=9", NAME]
        answer = server_extensions_handshake(offers, [PerMessageDeflate()])
        assert answer == b"permessage-deflate; client_max_window_bits=9"

    def test_nothing_acceptable(self) -> None:
        assert server_extensions_handshake(["other"], [PerMessageDeflate()]) is None

    def test_repr(self) -> None:
        assert repr(PerMessageDeflate(True, 9, True)) == (
            "<PerMessageDeflate client_max_window_bits=9; client_no_context_takeover; "
            "server_max_window_bits=15; server_no_context_takeover>"
        )
        assert "takeover" not in repr(PerMessageDeflate())

    def test_offers(self) -> None:
        assert PerMessageDeflate(True, 9, True, 10).offer() == (
            "client_max_window_bits=9; server_max_window_bits=10; "
            "client_no_context_takeover; server_no_context_takeover"
        )


class TestClientNegotiation:
    def test_answer(self) -> None:
        extension = PerMessageDeflate()
        answer = f"{NAME}; client_max_window_bits=10; server_no_context_takeover"
        assert client_extensions_handshake([answer], [extension]) == [extension]
        assert extension.enabled()
        assert extension.client_max_window_bits == 10
        assert extension.server_no_context_takeover
        assert not extension.client_no_context_takeover

    @pytest.mark.parametrize(
        "answer",
        [
            "; unknown",
            "; client_max_window_bits",
            "; client_max_window_bits=8",
            "; server_max_window_bits=13",
            "; server_max_window_bits=12; server_max_window_bits=12",
            "; client_no_context_takeover=yes",
            "; server_max_window_bits=12",
            "; server_no_context_takeover",
        ],
    )
    def test_refused(self, answer: str) -> None:
        extension = PerMessageDeflate(server_max_window_bits=12, server_no_context_takeover=True)
        with pytest.raises(RemoteProtocolError, match="permessage-deflate"):
            extension.finalize(NAME + answer)
        assert not extension.enabled()

    def test_not_offered_or_twice(self) -> None:
        with pytest.raises(RemoteProtocolError, match="unrecognized extension other"):
            client_extensions_handshake(["other"], [PerMessageDeflate()])
        with pytest.raises(RemoteProtocolError, match="unrecognized"):
            client_extensions_handshake([NAME, NAME], [PerMessageDeflate()])

    @pytest.mark.parametrize("bits", [0, 8, 16])
    def test_impossible_windows(self, bits: int) -> None:
        with pytest.raises(ValueError, match="9 to 15"):
            PerMessageDeflate(client_max_window_bits=bits)
        with pytest.raises(ValueError, match="9 to 15"):
            PerMessageDeflate(server_max_window_bits=bits)


@pytest.fixture(params=ZLIBS, ids=lambda module: module.__name__)
def implementation(request: pytest.FixtureRequest) -> ModuleType:
    """Each implementation of zlib in turn."""
    module: ModuleType = request.param
    return module


def negotiated(zlib: ModuleType = zlib, **options: object) -> tuple[Connection, Connection]:
    """A client and a server that agreed on compression."""
    mine, theirs = PerMessageDeflate(**options, zlib=zlib), PerMessageDeflate(zlib=zlib)  # type: ignore[arg-type]
    answer = server_extensions_handshake([f"{NAME}; {mine.offer()}"], [theirs])
    assert answer is not None
    client_extensions_handshake([answer.decode()], [mine])
    return Connection(CLIENT, [mine]), Connection(SERVER, [theirs])


def text_of(events: list[Event]) -> str:
    return "".join(event.data for event in events if isinstance(event, TextMessage))


OPTIONS = [
    {},
    {"client_no_context_takeover": True, "server_no_context_takeover": True},
    {"client_max_window_bits": 9, "server_max_window_bits": 9},
]


class TestConversation:
    @pytest.mark.parametrize("options", OPTIONS)
    def test_messages_both_ways(
        self, options: dict[str, object], implementation: ModuleType
    ) -> None:
        client, server = negotiated(implementation, **options)
        for here, there in ((client, server), (server, client)) * 3:
            for text in ("", "hello", "é" * 3000, ""):
                frame = here.send(TextMessage(text))
                assert frame[0] == 0xC1
                there.receive_data(frame)
                assert text_of(list(there.events())) == text

    @pytest.mark.parametrize("options", OPTIONS)
    def test_control_between_fragments(self, options: dict[str, object]) -> None:
        client, server = negotiated(**options)
        for _ in range(2):
            server.receive_data(client.send(TextMessage("héllo " * 50, message_finished=False)))
            server.receive_data(client.send(Ping(b"x")))
            server.receive_data(client.send(TextMessage("world")))
            events = list(server.events())
            assert text_of(events) == "héllo " * 50 + "world"
            assert Ping(b"x") in events

    @given(
        st.lists(st.binary(max_size=300), max_size=5),
        st.sampled_from(OPTIONS),
        st.sampled_from(ZLIBS),
    )
    def test_byte_by_byte(
        self, messages: list[bytes], options: dict[str, object], implementation: ModuleType
    ) -> None:
        client, server = negotiated(implementation, **options)
        received = []
        for data in messages:
            piece = b""
            for byte in client.send(BytesMessage(data)):
                server.receive_data(bytes((byte,)))
                for event in server.events():
                    assert isinstance(event, BytesMessage)
                    piece += event.data
                    if event.message_finished:
                        received.append(piece)
        assert received == messages

    def test_parts_are_compressed_too(self) -> None:
        client, server = negotiated()
        head, rest = server.send_parts(BytesMessage(b"a" * 1000))
        assert (head[0], rest) == (0xC2, b"")
        client.receive_data(head)
        assert list(client.events()) == [BytesMessage(b"a" * 1000)]

    def test_an_uncompressed_message_between(self) -> None:
        client, _ = negotiated()
        client.receive_data(server_frame(0x81, b"plain"))
        assert list(client.events()) == [TextMessage("plain")]


class ByHooks(PerMessageDeflate):
    """Changes nothing, but a connection cannot know that: it calls the hooks."""


def closes(events: list[Event]) -> list[int]:
    return [event.code for event in events if isinstance(event, CloseConnection)]


class TestReceiving:
    def test_a_message_after_a_final_block(self, implementation: ModuleType) -> None:
        client, _ = negotiated(implementation)
        # RFC 7692, section 7.2.3.4: "Hello" in a block with BFINAL set, then an empty block.
        ended = bytes.fromhex("f348cdc9c9070000")
        for payload in (ended, deflated(b"World"), ended[:-1], deflated(b"!")):
            client.receive_data(server_frame(0xC1, payload))
        assert text_of(list(client.events())) == "HelloWorldHello!"

    @pytest.mark.parametrize("step", [1, 7, 100_000])
    def test_more_behind_a_final_block(self, step: int, implementation: ModuleType) -> None:
        noise = bytes(i * i % 251 for i in range(5000))
        parts = [b"a", noise, b"", noise * 2, b"b"]
        payload = b"".join(deflated(part, final=True) for part in parts) + deflated(noise)
        client, _ = negotiated(implementation)
        client.receive_data(frame(0x42))
        received = b""
        for start in range(0, len(payload), step):
            client.receive_data(frame(0x00, payload[start : start + step]))
            received += b"".join(e.data for e in client.events() if isinstance(e, BytesMessage))
        client.receive_data(frame(0x80))
        received += b"".join(e.data for e in client.events() if isinstance(e, BytesMessage))
        assert received == b"".join(parts) + noise

    @pytest.mark.parametrize("whole", [True, False])
    @pytest.mark.parametrize("before", [b"", deflated(b"a", final=True)])
    @pytest.mark.parametrize("cls", [PerMessageDeflate, ByHooks])
    def test_a_bomb_is_not_inflated(
        self,
        whole: bool,
        before: bytes,
        cls: type[PerMessageDeflate],
        implementation: ModuleType,
    ) -> None:
        extension = cls(zlib=implementation)
        extension.accept(NAME)
        server = Connection(SERVER, [extension], whole_messages=whole, max_message_size=100_000)
        bomb = frame(0xC2, before + deflated(bytes(10_000_000)), KEY)
        tracemalloc.start()
        try:
            server.receive_data(bomb)
            events = list(server.events())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert closes(events) == [1009]
        assert sum(len(e.data) for e in events if isinstance(e, BytesMessage)) <= 100_000
        assert peak < 1_000_000

    @pytest.mark.parametrize("size", [0, 1, 32767, 32768, 65536, 100_000])
    @pytest.mark.parametrize("excess", [0, 1])
    def test_the_limit_is_exact(self, size: int, excess: int, implementation: ModuleType) -> None:
        extension = PerMessageDeflate(zlib=implementation)
        extension.accept(NAME)
        server = Connection(SERVER, [extension], whole_messages=True, max_message_size=size)
        for _ in range(2):
            data = bytes(size)
            server.receive_data(frame(0xC2, deflated(data), KEY))
            assert list(server.events()) == [BytesMessage(data)]
        data += bytes(excess)
        server.receive_data(frame(0xC2, deflated(data), KEY))
        events = list(server.events())
        assert closes(events) == [1009] * excess
        assert excess or events == [BytesMessage(data)]

    @pytest.mark.parametrize("data", [b"\xff\xff\xff", b"not deflate at all"])
    def test_garbage(self, data: bytes, implementation: ModuleType) -> None:
        client, _ = negotiated(implementation)
        client.receive_data(server_frame(0xC2, data))
        assert closes(list(client.events())) == [1007]

    def test_compressed_text_must_be_utf8(self) -> None:
        client, _ = negotiated()
        client.receive_data(server_frame(0xC1, deflated(b"ab\xff")))
        assert closes(list(client.events())) == [1007]

    @pytest.mark.parametrize("first", [0xC9, 0xCA, 0xC8])
    def test_compressed_control_frame(self, first: int) -> None:
        client, _ = negotiated()
        client.receive_data(server_frame(first))
        assert closes(list(client.events())) == [1002]

    def test_compressed_continuation(self) -> None:
        client, _ = negotiated()
        client.receive_data(server_frame(0x41) + server_frame(0xC0))
        assert closes(list(client.events())) == [1002]

    def test_nothing_is_made_before_it_is_needed(self) -> None:
        extension = PerMessageDeflate()
        extension.accept(NAME)
        server = Connection(SERVER, [extension])
        server.send(Ping())
        assert extension._compressor is None
        assert extension._decompressor is None


#: Deflate streams good and bad: unfinished ones, final blocks, such as use up the tail.
PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=40).map(deflated),
    st.binary(max_size=40).map(lambda data: deflated(data, final=True)),
    st.lists(st.binary(max_size=300).map(lambda data: deflated(data, final=True)), max_size=3).map(
        b"".join
    ),
    st.integers(0, 3000).map(lambda size: deflated(bytes(size))),
    st.sampled_from([b"", b"\x00", b"\x01", b"\x02", b"\x03\x00", b"\x01\x00\x00\xff\xff\x01"]),
)
FRAMES = st.lists(
    st.tuples(st.sampled_from([0xC2, 0x42, 0x00, 0x80, 0x82, 0xC1, 0x89, 0xC9, 0xA2]), PAYLOADS),
    max_size=6,
)


class TestWithoutHooks:
    """A connection that asks the extension directly receives and sends what hooks would."""

    @given(
        FRAMES,
        st.sampled_from(OPTIONS),
        st.booleans(),
        st.sampled_from([None, 0, 40, 1000]),
        st.integers(1, 60),
        st.sampled_from(ZLIBS),
    )
    def test_receiving(
        self,
        frames: list[tuple[int, bytes]],
        options: dict[str, object],
        whole: bool,
        limit: int | None,
        step: int,
        implementation: ModuleType,
    ) -> None:
        stream = b"".join(encode_frame(first, data, KEY) for first, data in frames)
        seen = []
        for cls in (PerMessageDeflate, ByHooks):
            extension = cls(**options, zlib=implementation)  # type: ignore[arg-type]
            extension.accept(NAME)
            server = Connection(SERVER, [extension], whole_messages=whole, max_message_size=limit)
            events: list[Event] = []
            for start in range(0, len(stream), step):
                server.receive_data(stream[start : start + step])
                events += server.events()
            reasonless = [
                CloseConnection(event.code) if isinstance(event, CloseConnection) else event
                for event in events
            ]
            seen.append(reasonless)
        assert seen[0] == seen[1]

    def test_hooks_of_a_subclass_are_called(self) -> None:
        class Loud(PerMessageDeflate):
            def frame_outbound(self, *args: Any) -> tuple[RsvBits, bytes]:
                proto, opcode, rsv, data, fin = args
                return super().frame_outbound(proto, opcode, rsv, data.upper(), fin)

            def frame_inbound_payload_data(self, proto: Any, data: bytes) -> Any:
                data = super().frame_inbound_payload_data(proto, data)
                return data[::-1]

        loud = Loud()
        loud.accept(NAME)
        server, client = Connection(SERVER, [loud]), negotiated()[0]
        client.receive_data(server.send(TextMessage("abc")))
        assert list(client.events()) == [TextMessage("ABC")]
        server.receive_data(client.send(TextMessage("abc")))
        assert text_of(list(server.events())) == "cba"

    @given(
        st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=8),
        st.sampled_from(OPTIONS),
    )
    def test_sending(self, pieces: list[tuple[bytes, bool]], options: dict[str, object]) -> None:
        sent = []
        for cls in (PerMessageDeflate, ByHooks):
            extension = cls(**options)  # type: ignore[arg-type]
            extension.accept(NAME)
            server = Connection(SERVER, [extension])
            sent.append([server.send(BytesMessage(data, True, last)) for data, last in pieces])
        assert sent[0] == sent[1]


class Traced(ModuleType):
    """zlib that keeps an account of the compressors made."""

    def __init__(self) -> None:
        super().__init__("traced")
        vars(self).update(vars(zlib), made=[], compressobj=self._compressobj)

    def _compressobj(self, **options: int) -> object:
        self.made.append(options)
        return zlib.compressobj(**options)


class TestSettings:
    @pytest.mark.parametrize(
        "wrong", [{"level": 10}, {"level": -2}, {"mem_level": 0}, {"mem_level": 10}]
    )
    def test_impossible_ones(self, wrong: dict[str, int], implementation: ModuleType) -> None:
        with pytest.raises(ValueError, match=r"(?i)level|option"):
            PerMessageDeflate(**wrong, zlib=implementation)  # type: ignore[arg-type]

    def test_they_reach_the_implementation(self) -> None:
        traced = Traced()
        extension = PerMessageDeflate(
            level=1,
            mem_level=3,
            server_max_window_bits=11,
            zlib=traced,
        )
        extension.accept(NAME)
        traced.made.clear()
        Connection(SERVER, [extension]).send(TextMessage("a", message_finished=False))
        assert traced.made[-1] == {"level": 1, "method": zlib.DEFLATED, "wbits": -11, "memLevel": 3}

    def test_no_level_is_the_default_of_the_implementation(
        self, implementation: ModuleType
    ) -> None:
        data = bytes(range(256)) * 40
        ours = deflater(implementation, None, 12, 8).new_compressor()
        theirs = implementation.compressobj(wbits=-12)
        assert ours.compress(data) + ours.flush() == theirs.compress(data) + theirs.flush()


class TestOneCompressorForAll:
    """Without context takeover a message's bytes depend on nothing else."""

    def open(self, implementation: ModuleType) -> Connection:
        extension = PerMessageDeflate(server_no_context_takeover=True, zlib=implementation)
        extension.accept(NAME)
        return Connection(SERVER, [extension])

    def test_it_forgets(self, implementation: ModuleType) -> None:
        message = BytesMessage(bytes(i * i % 251 for i in range(2000)))
        first, second = self.open(implementation), self.open(implementation)
        sent = {bytes(c.send(message)) for c in (first, second, first, second)}
        assert len(sent) == 1
        client, _ = negotiated(implementation)
        client.receive_data(sent.pop())
        assert list(client.events()) == [message]

    def test_it_is_made_once(self) -> None:
        traced = Traced()
        servers = [self.open(traced) for _ in range(3)]
        traced.made.clear()
        for server in servers * 2:
            server.send(TextMessage("hello"))
        assert len(traced.made) == 1

    def test_threads_do_not_share_it_at_once(self, implementation: ModuleType) -> None:
        def chat(seed: int) -> bool:
            server, client = self.open(implementation), negotiated(implementation)[0]
            good = True
            for number in range(100):
                text = f"{seed} {number} " * 200
                client.receive_data(server.send(TextMessage(text)))
                good &= text_of(list(client.events())) == text
            return good

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(chat, range(8)))


class TestHooks:
    """An extension that defines no more than it has to."""

    class Silent(Extension):
        name = "x-silent"

        def offer(self) -> bool:
            return True

    class Switched(Silent):
        def enabled(self) -> bool:
            return True

    def test_defaults(self) -> None:
        extension = self.Silent()
        assert not extension.enabled()
        assert extension.accept("x-silent") is None
        assert client_extensions_handshake(["x-silent"], [extension]) == [extension]

    def test_it_changes_nothing(self) -> None:
        server = Connection(SERVER, [self.Switched()])
        client = Connection(CLIENT, [self.Switched()])
        stream = server.send(TextMessage("a")) + server.send(Ping(b"b"))
        assert stream == server_frame(0x81, b"a") + server_frame(0x89, b"b")
        client.receive_data(stream)
        assert list(client.events()) == [TextMessage("a"), Ping(b"b")]

    def test_it_claims_no_bit(self) -> None:
        client = Connection(CLIENT, [self.Switched()])
        client.receive_data(server_frame(0xC1, b"a"))
        assert closes(list(client.events())) == [1002]
