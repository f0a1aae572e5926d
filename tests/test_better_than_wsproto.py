"""What wsproto does wrong in an open connection, or not at all: each test passes on wscore and must
fail on wsproto. The opening handshake is in ``test_better_handshake.py``.

A test that runs on both without :func:`better` holds the ground that they share.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from typing import Any

import pytest
from better import BOTH, MASK, better, closes, data_of, held, one_by_one, receive, take
from packages import (
    ANSWER,
    FIELDS,
    KEY,
    WSPROTO,
    compressing,
    deflated,
    frame,
    http,
    request,
    unmasked,
)
from vectors import BAD_UTF8, VIOLATIONS, Violation


def is_seen_late(violation: Violation) -> bool:
    """Whether wsproto waits for more than the byte that shows the violation."""
    connection = WSPROTO.Connection(WSPROTO.SERVER if violation.from_client else WSPROTO.CLIENT)
    return not closes(take(connection, violation.data[: violation.known_after]))


class TestEarlyFrames:
    """1. Frames that arrive together with the upgrade request are kept."""

    @better("frames behind the request are lost when it is accepted")
    def test_in_one_read(self, lib: Any) -> None:
        server = lib.WSConnection(lib.SERVER)
        server.receive_data(request() + frame(0x81, b"first", MASK) + frame(0x89, b"p", MASK)[:3])
        assert [type(event).__name__ for event in server.events()] == ["Request"]
        server.send(lib.AcceptConnection())
        assert take(server, frame(0x89, b"p", MASK)[3:]) == [
            lib.TextMessage("first"),
            lib.Ping(b"p"),
        ]

    @better("frames behind the request are lost when it is accepted")
    def test_before_the_answer(self, lib: Any) -> None:
        server = lib.WSConnection(lib.SERVER)
        server.receive_data(request())
        server.receive_data(frame(0x81, b"first", MASK))
        server.send(lib.AcceptConnection())
        assert lib.TextMessage("first") in list(server.events())

    @better("frames behind the request are lost when it is accepted")
    def test_behind_a_request_that_was_parsed_elsewhere(self, lib: Any) -> None:
        server = lib.WSConnection(lib.SERVER)
        server.initiate_upgrade_connection(FIELDS, "/chat")
        server.receive_data(frame(0x81, b"first", MASK))
        server.send(lib.AcceptConnection())
        assert lib.TextMessage("first") in list(server.events())

    @better("frames behind the request are lost when it is accepted")
    def test_through_the_extension_that_is_agreed_on(self, lib: Any) -> None:
        server = lib.WSConnection(lib.SERVER)
        early = frame(0xC1, deflated(b"first"), MASK)
        server.receive_data(request((b"Sec-WebSocket-Extensions", b"permessage-deflate")) + early)
        list(server.events())
        server.send(lib.AcceptConnection(extensions=[lib.PerMessageDeflate()]))
        assert data_of(list(server.events())) == ["first"]


class TestDeflate:
    """2 and 3: what a compressed message may contain."""

    @better("the rest of the message is taken for uncompressed")
    @pytest.mark.parametrize("first", [0x89, 0x8A])
    def test_a_control_frame_between_fragments(self, lib: Any, first: int) -> None:
        client = compressing(lib, "CLIENT")
        payload = deflated(b"hello hello hello")
        stream = frame(0x42, payload[:4]) + frame(first, b"x") + frame(0x80, payload[4:])
        assert data_of(take(client, stream)) == [b"hello hello hello"]

    @better("what follows the final block is dropped, or taken for bad data")
    def test_a_message_after_a_final_block(self, lib: Any) -> None:
        client = compressing(lib, "CLIENT")
        # RFC 7692, section 7.2.3.4: an octet of zeros makes room for the tail.
        first = frame(0xC2, deflated(b"Hello", final=True) + b"\0")
        assert data_of(take(client, first, frame(0xC2, deflated(b"World")))) == [b"Hello", b"World"]

    @better("what follows the final block is dropped, or taken for bad data")
    def test_more_of_the_message_behind_a_final_block(self, lib: Any) -> None:
        client = compressing(lib, "CLIENT")
        payload = deflated(b"one,", final=True) + deflated(b"two,", final=True) + deflated(b"three")
        stream = frame(0xC2, payload)
        assert data_of(take(client, stream)) == [b"one,two,three"]
        assert data_of(take(client, *one_by_one(stream))) == [b"one,two,three"]

    @better("what follows the final block is dropped, or taken for bad data")
    def test_many_final_blocks_are_no_amplifier(
        self, lib: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """zlib is given each byte a bounded number of times, however many streams end in it."""
        client = compressing(lib, "CLIENT")
        blocks = b"\x03\x00" * 30_000
        given = 0
        real = zlib.decompressobj

        class Counting:
            def __init__(self, wbits: int) -> None:
                self.inner = real(wbits)

            def decompress(self, data: bytes, *limit: int) -> bytes:
                nonlocal given
                given += len(data)
                return self.inner.decompress(data, *limit)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.inner, name)

        monkeypatch.setattr(zlib, "decompressobj", Counting)
        assert data_of(take(client, frame(0xC2, blocks + deflated(b"x")))) == [b"x"]
        assert given < 300 * len(blocks)


class TestViolation:
    """4. After a violation: one close, an answer that can be sent, then nothing."""

    @better("the connection stays open")
    @pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda violation: violation.name)
    def test_it_is_answered(self, lib: Any, violation: Violation) -> None:
        connection = lib.Connection(lib.SERVER if violation.from_client else lib.CLIENT)
        # wsproto needs the rest of the header before it looks at any of it.
        *_, close = take(connection, violation.data + bytes(12))
        assert type(close) is lib.CloseConnection
        assert close.code == violation.code
        assert connection.state is lib.ConnectionState.REMOTE_CLOSING
        with pytest.raises(lib.LocalProtocolError):
            connection.send(lib.TextMessage("late"))
        [(header, payload)] = unmasked(connection.send(close.response()))
        assert header[0] == 0x88
        assert payload[:2] == violation.code.to_bytes(2, "big")
        assert connection.state is lib.ConnectionState.CLOSED

    @better("the connection stays open")
    @pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda violation: violation.name)
    def test_nothing_is_delivered(self, lib: Any, violation: Violation) -> None:
        """Neither what came behind it in one read nor what comes later; and no second close."""
        connection = lib.Connection(lib.SERVER if violation.from_client else lib.CLIENT)
        good = frame(0x81, b"late", MASK if violation.from_client else None)
        # wsproto needs the rest of the header before it looks at any of it.
        events = take(connection, violation.data + bytes(12) + good, good, good[:1], good[1:])
        assert closes(events) == [violation.code]
        assert events[-1].code == violation.code
        assert "late" not in data_of(events)
        assert connection.state is lib.ConnectionState.REMOTE_CLOSING

    @better("what comes afterwards is kept for ever")
    def test_nothing_is_kept(self, lib: Any) -> None:
        connection = lib.Connection(lib.CLIENT)
        assert closes(take(connection, b"\x83\x00")) == [1002]

        def flood() -> list[Any]:
            return [event for _ in range(100) for event in take(connection, bytes(10_000))]

        events, kept, _ = held(flood)
        assert events == []
        assert kept < 100_000

    @better("it waits for the whole header, or the whole character")
    @pytest.mark.parametrize(
        "violation", [*filter(is_seen_late, VIOLATIONS)], ids=lambda violation: violation.name
    )
    def test_at_its_first_byte(self, lib: Any, violation: Violation) -> None:
        connection = lib.Connection(lib.SERVER if violation.from_client else lib.CLIENT)
        *before, last = one_by_one(violation.data[: violation.known_after])
        assert closes(take(connection, *before)) == []
        assert closes(take(connection, last)) == [violation.code]


class TestLimits:
    """5. Limits; wsproto has none, so each of its users wrote them anew."""

    @better("no limits", TypeError)
    @pytest.mark.parametrize(
        ("limits", "stream"),
        [
            ({"max_message_size": 4}, frame(0x82, b"12345")),
            ({"max_message_size": 4}, frame(0x02, b"123") + frame(0x80, b"45")),
            ({"max_frame_size": 4}, frame(0x82, b"12345")),
            ({"max_fragments": 3}, frame(0x02) + frame(0x00) * 3),
            # An announcement is enough.
            ({"max_message_size": 2**20}, b"\x82\x7f" + (2**40).to_bytes(8, "big")),
        ],
    )
    @pytest.mark.parametrize("whole", [True, False])
    def test_too_large(self, lib: Any, limits: dict[str, int], stream: bytes, whole: bool) -> None:
        for pieces in ([stream], one_by_one(stream)):
            connection = lib.Connection(lib.CLIENT, whole_messages=whole, **limits)
            events = take(connection, *pieces)
            assert closes(events) == [1009]
            assert sum(len(data) for data in data_of(events)) <= 4

    @better("no limits", TypeError)
    def test_through_the_handshake(self, lib: Any) -> None:
        server = lib.WSConnection(lib.SERVER, max_message_size=4, whole_messages=True)
        server.receive_data(request())
        list(server.events())
        server.send(lib.AcceptConnection())
        assert closes(take(server, frame(0x82, b"12345", MASK))) == [1009]

    @better("no limits", TypeError)
    def test_just_small_enough(self, lib: Any) -> None:
        limits = {"max_message_size": 4, "max_frame_size": 3, "max_fragments": 3}
        connection = lib.Connection(lib.CLIENT, whole_messages=True, **limits)
        stream = frame(0x02, b"123") + frame(0x00) + frame(0x80, b"4")
        assert take(connection, stream * 2) == [lib.BytesMessage(b"1234")] * 2

    @better("no limits", TypeError)
    @pytest.mark.parametrize("whole", [True, False])
    def test_inflation_stops_at_the_limit(self, lib: Any, whole: bool) -> None:
        client = compressing(lib, "CLIENT", max_message_size=100_000, whole_messages=whole)
        bomb = frame(0xC2, deflated(bytes(50_000_000)))
        events, _, peak = held(lambda: take(client, bomb))
        assert closes(events) == [1009]  # type: ignore[arg-type]
        assert peak < 1_000_000

    @better("no limits", TypeError)
    def test_each_step_of_inflation_is_bounded(
        self, lib: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """zlib is never asked for more than the message may still take, and one byte."""
        asked = []
        real = zlib.decompressobj

        class Noting:
            def __init__(self, wbits: int) -> None:
                self.inner = real(wbits)

            def decompress(self, data: bytes, max_length: int = 0) -> bytes:
                asked.append(max_length)
                return self.inner.decompress(data, max_length)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.inner, name)

        monkeypatch.setattr(zlib, "decompressobj", Noting)
        client = compressing(lib, "CLIENT", max_message_size=1000)
        payload = deflated(bytes(700))
        events = take(client, frame(0x42, payload[:4]) + frame(0x80, payload[4:]))
        assert data_of(events) == [bytes(700)]
        assert asked
        assert all(0 < limit <= 1001 for limit in asked)

    @better("64 KiB become 64 MiB at once")
    def test_inflation_without_a_limit_goes_in_steps(self, lib: Any) -> None:
        client = compressing(lib, "CLIENT")
        client.receive_data(frame(0xC2, deflated(bytes(60_000_000))))

        def look() -> int:
            return sum(len(event.data) for event in client.events())

        total, _, peak = held(look)
        assert total == 60_000_000
        assert peak < 40 * 2**20

    @better("the length is looked at when all of it is there")
    def test_the_top_bit_of_a_length(self, lib: Any) -> None:
        connection = lib.Connection(lib.CLIENT)
        assert closes(take(connection, b"\x82\x7f\x80")) == [1002]

    @better("no limit of its own", (AssertionError, pytest.fail.Exception))
    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (b"GET /" + b"x" * 9000, 414),
            (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000, 431),
            (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101, 431),
            (b"GET / HTTP/1.1\r\n" + (b"X: " + b"y" * 1000 + b"\r\n") * 33, 431),
        ],
        ids=["target", "field", "fields", "head"],
    )
    @pytest.mark.parametrize("complete", [True, False])
    def test_handshake_head(self, lib: Any, head: bytes, status: int, complete: bool) -> None:
        if complete:
            head = request(start=head) if b"\r" not in head else head + request()[16:]
        for pieces in ([head], one_by_one(head)):
            server = lib.WSConnection(lib.SERVER)
            with pytest.raises(lib.RemoteProtocolError) as caught:
                receive(server, pieces)
            assert caught.value.event_hint.status_code == status
            assert server.send(caught.value.event_hint).startswith(b"HTTP/1.1 %d " % status)
            assert list(server.events()) == []

    @better("no limit of its own", pytest.fail.Exception)
    def test_response_head(self, lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        client = lib.WSConnection(lib.CLIENT)
        monkeypatch.setattr(lib.handshake, "generate_nonce", lambda: KEY)
        client.send(lib.Request(host="x", target="/"))
        with pytest.raises(lib.RemoteProtocolError):
            client.receive_data(http(b"HTTP/1.1 101 ", ANSWER + [(b"X", b"y")] * 98))

    @better("no limit", pytest.fail.Exception)
    def test_a_client_that_does_not_wait(self, lib: Any) -> None:
        server = lib.WSConnection(lib.SERVER)
        server.receive_data(request())
        with pytest.raises(lib.RemoteProtocolError):
            receive(server, [bytes(20_000)] * 100)
        _, kept, _ = held(lambda: receive(server, [bytes(20_000)] * 100))
        assert kept < 100_000


class TestMemory:
    """6. Pieces are joined as they come."""

    @better("no whole messages", TypeError)
    @pytest.mark.parametrize("first", [0x01, 0x02])
    def test_at_most_four_bytes_for_each_that_came(self, lib: Any, first: int) -> None:
        connection = lib.Connection(lib.CLIENT, whole_messages=True)
        start, fragment = frame(first), frame(0x00, b"x")
        connection.receive_data(start)

        def flood() -> None:
            for _ in range(50_000):
                assert take(connection, fragment) == []

        _, kept, peak = held(flood)
        assert peak < 4 * 50_000 * len(fragment)
        assert kept < 4 * 50_000
        [event] = take(connection, frame(0x80, b"!"))
        assert len(event.data) == 50_001
        assert event.frame_finished
        assert event.message_finished

    @better("no whole messages", TypeError)
    def test_text_of_wide_characters_is_held_as_it_came(self, lib: Any) -> None:
        """One of them would make a str of all that is held take four bytes a character."""
        connection = lib.Connection(lib.CLIENT, whole_messages=True)
        take(connection, frame(0x01, "\U0001f600".encode()))
        fragment = frame(0x00, b"x" * 100)

        def flood() -> None:
            for _ in range(2000):
                assert take(connection, fragment) == []

        _, kept, peak = held(flood)
        assert peak < 4 * 2000 * len(fragment)
        assert kept < 2 * 2000 * len(fragment)
        [event] = take(connection, frame(0x80))
        assert event.data == "\U0001f600" + "x" * 200_000

    @BOTH
    def test_bytes_that_nobody_asked_for_yet(self, lib: Any) -> None:
        connection = lib.Connection(lib.CLIENT)
        pieces = one_by_one(frame(0x82, bytes(60_000)))
        _, _, peak = held(lambda: receive(connection, pieces))
        assert peak < 4 * 60_000 + 64 * 1024
        assert list(connection.events()) == [lib.BytesMessage(bytes(60_000))]


class TestCloseCodes:
    """9. Close codes by the registry of IANA."""

    @better("1014 is taken for a violation")
    def test_bad_gateway(self, lib: Any) -> None:
        connection = lib.Connection(lib.CLIENT)
        assert take(connection, frame(0x88, b"\x03\xf6why")) == [lib.CloseConnection(1014, "why")]
        assert lib.CloseReason(1014).name == "BAD_GATEWAY"

    @BOTH
    @pytest.mark.parametrize("code", [1000, 1003, 1007, 1011, 1012, 1013, 3000, 3999, 4000, 4999])
    def test_registered_and_private_codes_are_taken(self, lib: Any, code: int) -> None:
        connection = lib.Connection(lib.CLIENT)
        assert closes(take(connection, frame(0x88, code.to_bytes(2, "big")))) == [code]
        assert connection.send(lib.CloseConnection(code))[2:] != b""

    @BOTH
    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
    def test_reserved_codes_are_refused_on_receipt(self, lib: Any, code: int) -> None:
        connection = lib.Connection(lib.CLIENT)
        assert closes(take(connection, frame(0x88, code.to_bytes(2, "big")))) == [1002]

    @better("it is sent", (pytest.fail.Exception, struct.error))
    @pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1016, 1100, 2999, 5000, 65535, 65536])
    def test_an_illegal_code_is_not_sent(self, lib: Any, code: int) -> None:
        connection = lib.Connection(lib.CLIENT)
        with pytest.raises(lib.LocalProtocolError):
            connection.send(lib.CloseConnection(code))
        assert connection.state is lib.ConnectionState.OPEN
        assert connection.send(lib.CloseConnection(1000))


class TestMaskKeys:
    """10. Mask keys from the system's random source, pooled, safe across fork and threads."""

    @better("a system call for every frame")
    def test_pooled(self, lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn: list[bytes] = []
        real = os.urandom

        def counting(size: int) -> bytes:
            drawn.append(real(size))
            return drawn[-1]

        monkeypatch.setattr(os, "urandom", counting)
        connection = lib.Connection(lib.CLIENT)
        keys = {connection.send(lib.Ping())[2:] for _ in range(3000)}
        assert len(keys) > 2990
        assert 0 < len(drawn) < 30
        # All but what the pool had before is of the system's random source, each byte once.
        source = b"".join(drawn)
        cut = {source[i : i + 4] for i in range(0, len(source), 4)}
        assert len(keys & cut) > 1900

    @BOTH
    def test_threads_share_no_key(self, lib: Any) -> None:
        keys: list[bytes] = []

        def draw() -> None:
            connection = lib.Connection(lib.CLIENT)
            keys.extend([connection.send(lib.Ping())[2:] for _ in range(2000)])

        threads = [threading.Thread(target=draw) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(keys)) > 7990

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    @BOTH
    def test_a_child_process_draws_its_own(self, lib: Any) -> None:
        connection = lib.Connection(lib.CLIENT)
        connection.send(lib.Ping())
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, b"".join(connection.send(lib.Ping())[2:] for _ in range(100)))
            os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        with os.fdopen(reading, "rb") as pipe:
            theirs = pipe.read()
        assert len(theirs) == 400
        ours = {connection.send(lib.Ping())[2:] for _ in range(100)}
        assert len(ours & {theirs[i : i + 4] for i in range(0, 400, 4)}) <= 1


class TestUTF8:
    """11. UTF-8 is checked as it comes, and fails at the first bad byte."""

    @better("half a surrogate waits for its third byte")
    @pytest.mark.parametrize("start", [b"", "h\xe9".encode(), b"long ascii " * 10])
    def test_a_surrogate(self, lib: Any, start: bytes) -> None:
        connection = lib.Connection(lib.CLIENT)
        assert closes(take(connection, frame(0x01, start + b"\xed"))) == []
        assert closes(take(connection, frame(0x00, b"\xa0"))) == [1007]

    @BOTH
    @pytest.mark.parametrize(
        ("data", "known_after"), [case for case in BAD_UTF8 if b"\xed\xa0" not in case[0]]
    )
    def test_others(self, lib: Any, data: bytes, known_after: int) -> None:
        connection = lib.Connection(lib.CLIENT)
        stream = frame(0x01, data + bytes(100))
        start = len(stream) - len(data) - 100
        *before, last = one_by_one(stream[: start + known_after])
        assert closes(take(connection, *before)) == []
        assert closes(take(connection, last)) == [1007]
