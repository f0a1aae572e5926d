"""permessage-deflate: negotiation, both directions, hostile input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packages import deflated, frame
from vectors import server_frame

from wscore.connection import CLIENT, SERVER, Connection
from wscore.errors import RemoteProtocolError
from wscore.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wscore.extensions import Extension, PerMessageDeflate
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


def negotiated(**options: object) -> tuple[Connection, Connection]:
    """A client and a server that agreed on compression."""
    mine, theirs = PerMessageDeflate(**options), PerMessageDeflate()  # type: ignore[arg-type]
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
    def test_messages_both_ways(self, options: dict[str, object]) -> None:
        client, server = negotiated(**options)
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

    @given(st.lists(st.binary(max_size=300), max_size=5), st.sampled_from(OPTIONS))
    def test_byte_by_byte(self, messages: list[bytes], options: dict[str, object]) -> None:
        client, server = negotiated(**options)
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

    def test_an_uncompressed_message_between(self) -> None:
        client, _ = negotiated()
        client.receive_data(server_frame(0x81, b"plain"))
        assert list(client.events()) == [TextMessage("plain")]


def closes(events: list[Event]) -> list[int]:
    return [event.code for event in events if isinstance(event, CloseConnection)]


class TestReceiving:
    def test_a_message_after_a_final_block(self) -> None:
        client, _ = negotiated()
        # RFC 7692, section 7.2.3.4: "Hello" in a block with BFINAL set, then an empty block.
        ended = bytes.fromhex("f348cdc9c9070000")
        for payload in (ended, deflated(b"World"), ended[:-1], deflated(b"!")):
            client.receive_data(server_frame(0xC1, payload))
        assert text_of(list(client.events())) == "HelloWorldHello!"

    @pytest.mark.parametrize("step", [1, 7, 100_000])
    def test_more_behind_a_final_block(self, step: int) -> None:
        noise = bytes(i * i % 251 for i in range(5000))
        parts = [b"a", noise, b"", noise * 2, b"b"]
        payload = b"".join(deflated(part, final=True) for part in parts) + deflated(noise)
        client, _ = negotiated()
        client.receive_data(frame(0x42))
        received = b""
        for start in range(0, len(payload), step):
            client.receive_data(frame(0x00, payload[start : start + step]))
            received += b"".join(e.data for e in client.events() if isinstance(e, BytesMessage))
        client.receive_data(frame(0x80))
        received += b"".join(e.data for e in client.events() if isinstance(e, BytesMessage))
        assert received == b"".join(parts) + noise

    @pytest.mark.parametrize("whole", [True, False])
    def test_a_bomb_is_not_inflated(self, whole: bool) -> None:
        extension = PerMessageDeflate()
        extension.accept(NAME)
        server = Connection(SERVER, [extension], whole_messages=whole, max_message_size=100_000)
        bomb = PerMessageDeflate()
        bomb.finalize(NAME)
        server.receive_data(Connection(CLIENT, [bomb]).send(BytesMessage(bytes(10_000_000))))
        events = list(server.events())
        assert closes(events) == [1009]
        assert sum(len(e.data) for e in events if isinstance(e, BytesMessage)) <= 100_000

    @pytest.mark.parametrize("data", [b"\xff\xff\xff", b"not deflate at all"])
    def test_garbage(self, data: bytes) -> None:
        client, _ = negotiated()
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
