"""What wsproto does wrong in the opening handshake: each test passes on wscore and must fail on
wsproto.

A test that runs on both without :func:`better` holds the ground that they share.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable
from typing import Any

import h11
import pytest
from better import BOTH, MASK, better, data_of, one_by_one, receive, take
from packages import (
    ACCEPT,
    ANSWER,
    DEFLATE,
    FIELDS,
    KEY,
    WSPROTO,
    fields,
    frame,
    http,
    request,
    unmasked,
)


class TestHandshake:
    """7. One exception type for any bytes; what must be taken is, and nothing else."""

    @better("the value must be the token alone", WSPROTO.RemoteProtocolError)
    @pytest.mark.parametrize(
        "head",
        [
            request((b"Upgrade", b"h2c, WebSocket")),
            request((b"Upgrade", b"websocket"), (b"upgrade", b"h2c")),
            request((b"Connection", b"Upgrade"), (b"connection", b"keep-alive")),
        ],
        ids=["list-valued Upgrade", "repeated Upgrade", "repeated Connection"],
    )
    def test_taken(self, lib: Any, head: bytes) -> None:
        server = lib.WSConnection(lib.SERVER)
        server.receive_data(head)
        assert isinstance(next(server.events()), lib.Request)
        assert ACCEPT in server.send(lib.AcceptConnection())

    @BOTH
    def test_a_list_valued_connection(self, lib: Any) -> None:
        server = lib.WSConnection(lib.SERVER)
        server.receive_data(request((b"Connection", b"keep-alive, UPGRADE")))
        assert ACCEPT in server.send(lib.AcceptConnection())

    @better("it is taken", (AssertionError, pytest.fail.Exception))
    @pytest.mark.parametrize(
        "head",
        [
            request(start=b"GET /chat HTTP/1.0"),
            request((b"Sec-WebSocket-Key", b"")),
            request((b"Sec-WebSocket-Key", b"short")),
            request((b"Sec-WebSocket-Key", b"!" * 24)),
            request((b"Sec-WebSocket-Key", KEY + b"AAAA")),
            request((b"sec-websocket-key", KEY)),
            request((b"sec-websocket-version", b"13")),
            request((b"Origin", b"http://a"), (b"origin", b"http://b")),
            request((b"Content-Length", b"5")),
            request((b"Transfer-Encoding", b"chunked")),
            http(b"GET /chat HTTP/1.1", FIELDS, end=b"\n"),
            request().replace(b"\r\nHost", b"\nHost"),
            request((b"X-Folded", b"a\r\n b")),
        ],
        ids=[
            "HTTP/1.0",
            "empty key",
            "short key",
            "key not base64",
            "long key",
            "repeated key",
            "repeated version",
            "repeated origin",
            "body",
            "chunked body",
            "line feeds alone",
            "one line feed alone",
            "folded line",
        ],
    )
    def test_refused(self, lib: Any, head: bytes) -> None:
        for pieces in ([head], one_by_one(head)):
            server = lib.WSConnection(lib.SERVER)
            with pytest.raises(lib.RemoteProtocolError) as caught:
                receive(server, pieces)
            assert list(server.events()) == []
            assert server.send(caught.value.event_hint).startswith(b"HTTP/1.1 400 ")

    @BOTH
    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (request(start=b"POST /chat HTTP/1.1"), 400),
            (request((b"Sec-WebSocket-Key", None)), 400),
            (request((b"host", b"other")), 400),
            (request((b"Host", None)), 400),
            (request((b"X", b"a\0b")), 400),
            (request((b"X\0", b"a")), 400),
            (request(start=b"GET /\0 HTTP/1.1"), 400),
            (request((b"Sec-WebSocket-Version", None)), 400),
            (request((b"Sec-WebSocket-Version", b"8")), 426),
        ],
        ids=[
            "method",
            "no key",
            "repeated host",
            "no host",
            "NUL",
            "NUL in a name",
            "NUL in the target",
            "no version",
            "version",
        ],
    )
    def test_refused_by_both(self, lib: Any, head: bytes, status: int) -> None:
        server = lib.WSConnection(lib.SERVER)
        with pytest.raises(lib.RemoteProtocolError) as caught:
            server.receive_data(head)
        answer = server.send(caught.value.event_hint)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert (b"Sec-WebSocket-Version: 13" in answer) == (b"Version: 13" not in head)

    @BOTH
    @pytest.mark.parametrize(
        "name", [b"Upgrade", b"Sec-WebSocket-Version", b"Origin", b"Cookie", b"X-Anything"]
    )
    def test_bytes_beyond_ascii_elsewhere(self, lib: Any, name: bytes) -> None:
        """Taken where the field may have them, else a RemoteProtocolError."""
        server = lib.WSConnection(lib.SERVER)
        with contextlib.suppress(lib.RemoteProtocolError):
            server.receive_data(request((name, b"\xe9\xff")))
            assert server.send(lib.AcceptConnection()).startswith(b"HTTP/1.1 101 ")

    @better("an exception of a codec", UnicodeDecodeError)
    @pytest.mark.parametrize(
        "name", [b"Connection", b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions"]
    )
    def test_bytes_beyond_ascii_in_a_response(
        self, lib: Any, name: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = lib.WSConnection(lib.CLIENT)
        monkeypatch.setattr(lib.handshake, "generate_nonce", lambda: KEY)
        client.send(lib.Request(host="x", target="/"))
        answer = [field for field in ANSWER if field[0] != name] + [(name, b"\xe9\xff")]
        with pytest.raises(lib.RemoteProtocolError):
            client.receive_data(http(b"HTTP/1.1 101 ", answer))

    @better("an exception of int() comes out when it is accepted", ValueError)
    @pytest.mark.parametrize("value", [b"x", b"\xe9", b"", b'"1"', b"1" * 5000])
    def test_parameters_that_are_no_numbers(self, lib: Any, value: bytes) -> None:
        server = lib.WSConnection(lib.SERVER)
        offer = b"permessage-deflate; server_max_window_bits=" + value
        server.receive_data(request((b"Sec-WebSocket-Extensions", offer)))
        answer = server.send(lib.AcceptConnection(extensions=[lib.PerMessageDeflate()]))
        assert b"Extensions" not in answer

    @better("an exception of a codec", UnicodeError)
    @pytest.mark.parametrize(
        "name",
        [b"Host", b"Connection", b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions"],
    )
    def test_bytes_beyond_ascii(self, lib: Any, name: bytes) -> None:
        value = "Upgrade, \xe9\xff".encode("latin-1")
        server = lib.WSConnection(lib.SERVER)
        server.receive_data(request((name, value)))
        server.events()
        assert server.send(lib.AcceptConnection()).startswith(b"HTTP/1.1 101 ")
        server = lib.WSConnection(lib.SERVER)
        server.initiate_upgrade_connection(fields((name, value)), "/")
        assert server.send(lib.AcceptConnection()).startswith(b"HTTP/1.1 101 ")

    @better("h11's exception comes out", (h11.LocalProtocolError, UnicodeEncodeError))
    @pytest.mark.parametrize(
        ("headers", "path"),
        [
            (fields((b"Host", None)), "/"),
            (fields((b"X", b"a\nb")), "/"),
            (FIELDS, "/\xe9"),
            (FIELDS, b"/\xe9"),
            (FIELDS, "/a b"),
        ],
    )
    def test_a_bad_request_that_was_parsed_elsewhere(
        self, lib: Any, headers: Any, path: Any
    ) -> None:
        server = lib.WSConnection(lib.SERVER)
        with pytest.raises(lib.RemoteProtocolError):
            server.initiate_upgrade_connection(headers, path)

    @better(
        "h11's exception, a codec's, or an assertion, comes out",
        (h11.LocalProtocolError, UnicodeError, AssertionError),
    )
    @pytest.mark.parametrize(
        ("kind", "build"),
        [
            ("CLIENT", lambda lib: lib.Request(host="x", target="/a b")),
            ("CLIENT", lambda lib: lib.Request(host="x", target="/\xe9")),
            ("CLIENT", lambda lib: lib.Request(host="a" * 70 + "\xe9", target="/")),
            ("CLIENT", lambda lib: lib.Request(host="x", target="/", subprotocols=["\xe9"])),
            (
                "CLIENT",
                lambda lib: lib.Request(host="x", target="/", extra_headers=[(b"a b", b"c")]),
            ),
            ("CLIENT", lambda lib: lib.AcceptConnection()),
            ("SERVER", lambda lib: lib.AcceptConnection()),
            ("SERVER", lambda lib: lib.Request(host="x", target="/")),
            ("SERVER", lambda lib: lib.RejectConnection(status_code=99)),
            ("SERVER", lambda lib: lib.RejectConnection(headers=[(b"X", b"a\r\nb")])),
        ],
    )
    def test_what_cannot_be_sent(self, lib: Any, kind: str, build: Callable[[Any], Any]) -> None:
        connection = lib.WSConnection(getattr(lib, kind))
        with pytest.raises(lib.LocalProtocolError):
            connection.send(build(lib))

    @better("the connection is broken by it", h11.LocalProtocolError)
    def test_a_header_that_cannot_be_sent_breaks_nothing(self, lib: Any) -> None:
        server = lib.WSConnection(lib.SERVER)
        server.receive_data(request())
        with pytest.raises(lib.LocalProtocolError):
            server.send(lib.AcceptConnection(extra_headers=[(b"X", b"a\r\nb")]))
        assert server.send(lib.AcceptConnection()).startswith(b"HTTP/1.1 101 ")
        client = lib.WSConnection(lib.CLIENT)
        with pytest.raises(lib.LocalProtocolError):
            client.send(lib.Request(host="x", target="/ /"))
        assert client.send(lib.Request(host="x", target="/")).startswith(b"GET / ")

    @better("commas inside quotes divide it")
    def test_quoted_strings(self, lib: Any) -> None:
        value = b'mine; list="1,2; \\"3,4\\"", other'
        server = lib.WSConnection(lib.SERVER)
        server.receive_data(request((b"Sec-WebSocket-Extensions", value)))
        [event] = server.events()
        assert event.extensions == ['mine; list="1,2; \\"3,4\\""', "other"]

    @BOTH
    @pytest.mark.parametrize(
        "member", [b"a; b=1", b'a; b="c"', b'"', b"\\", b";", b"=", b'a; b="\\"']
    )
    def test_parsing_is_linear(self, lib: Any, member: bytes) -> None:
        """Quadratic parsing of this would not end within a day."""
        members = lib.split_comma_header(b",".join([member] * 100_000))
        assert 1 <= len(members) <= 100_000

    @better("the last one counts", pytest.fail.Exception)
    @pytest.mark.parametrize(
        "repeated",
        [
            (b"upgrade", b"websocket"),
            (b"sec-websocket-accept", ACCEPT),
            (b"sec-websocket-protocol", b"a"),
        ],
    )
    def test_a_response_that_repeats_itself(
        self, lib: Any, repeated: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = lib.WSConnection(lib.CLIENT)
        monkeypatch.setattr(lib.handshake, "generate_nonce", lambda: KEY)
        client.send(lib.Request(host="x", target="/", subprotocols=["a"]))
        answer = [*ANSWER, (b"Sec-WebSocket-Protocol", b"a"), repeated]
        with pytest.raises(lib.RemoteProtocolError):
            client.receive_data(http(b"HTTP/1.1 101 ", answer))
        assert list(client.events()) == []


class TestNegotiation:
    """8. RFC 7692, section 7.1, strictly."""

    @better("it is accepted", (AssertionError, ValueError))
    @pytest.mark.parametrize(
        "parameters",
        [
            "unknown",
            "client_no_context_takeover=1",
            "server_no_context_takeover; server_no_context_takeover",
            "server_max_window_bits=10; server_max_window_bits=10",
            "server_max_window_bits",
            "server_max_window_bits=010",
            "server_max_window_bits=+10",
            "server_max_window_bits=1_0",
            "server_max_window_bits=x",
            "client_max_window_bits=",
            "client_max_window_bits=010",
            "client_max_window_bitsy",
        ],
    )
    def test_declined(self, lib: Any, parameters: str) -> None:
        extension = lib.PerMessageDeflate()
        assert lib.server_extensions_handshake([f"{DEFLATE}; {parameters}"], [extension]) is None
        assert not extension.enabled()

    @BOTH
    @pytest.mark.parametrize("side", ["client", "server"])
    @pytest.mark.parametrize("bits", [0, 7, 16, -9, 10**20])
    def test_windows_out_of_range_are_declined(self, lib: Any, side: str, bits: int) -> None:
        extension = lib.PerMessageDeflate()
        offer = f"{DEFLATE}; {side}_max_window_bits={bits}"
        assert lib.server_extensions_handshake([offer], [extension]) is None
        assert not extension.enabled()

    @BOTH
    def test_a_server_cannot_answer_with_a_window_of_8(self, lib: Any) -> None:
        """RFC 7692, section 7.1.2.1: it must answer the same or less, and zlib does neither."""
        extension = lib.PerMessageDeflate()
        assert extension.accept(f"{DEFLATE}; server_max_window_bits=8") is None

    @better("its flags stay")
    @pytest.mark.parametrize("bits", ["server_max_window_bits=7", "client_max_window_bits=16"])
    def test_a_declined_offer_leaves_no_trace(self, lib: Any, bits: str) -> None:
        extension = lib.PerMessageDeflate()
        offers = [
            f"{DEFLATE}; server_no_context_takeover; client_no_context_takeover; {bits}",
            DEFLATE,
        ]
        assert lib.server_extensions_handshake(offers, [extension]) == DEFLATE.encode()
        assert not extension.server_no_context_takeover
        assert not extension.client_no_context_takeover

    @better("the last one wins")
    def test_the_first_acceptable_offer_wins(self, lib: Any) -> None:
        offers = [f"{DEFLATE}; server_max_window_bits=10", f"{DEFLATE}; server_max_window_bits=12"]
        answer = lib.server_extensions_handshake(offers, [lib.PerMessageDeflate()])
        assert answer == f"{DEFLATE}; server_max_window_bits=10".encode()

    @better("the server's own limit is forgotten")
    def test_own_limits_hold(self, lib: Any) -> None:
        extension = lib.PerMessageDeflate(client_max_window_bits=10, server_max_window_bits=11)
        extension.accept(f"{DEFLATE}; client_max_window_bits=15; server_max_window_bits=15")
        assert (extension.client_max_window_bits, extension.server_max_window_bits) == (10, 11)

    @better("it is accepted, or fails by another exception", (pytest.fail.Exception, ValueError))
    @pytest.mark.parametrize(
        "parameters",
        [
            "unknown",
            "server_max_window_bits=12; server_max_window_bits=12",
            "client_no_context_takeover=1",
            "server_max_window_bits=13",
            "server_max_window_bits=012",
            "server_max_window_bits=7",
            "client_max_window_bits=16",
            "client_no_context_takeover",  # and nothing of the window that was asked for
            "server_max_window_bits=12",  # and nothing of server_no_context_takeover
        ],
    )
    def test_a_client_refuses_what_it_did_not_offer(self, lib: Any, parameters: str) -> None:
        extension = lib.PerMessageDeflate(
            server_max_window_bits=12, server_no_context_takeover=True
        )
        with pytest.raises(lib.RemoteProtocolError):
            lib.client_extensions_handshake([f"{DEFLATE}; {parameters}"], [extension])
        assert not extension.enabled()

    @better("the same extension is enabled twice", pytest.fail.Exception)
    def test_an_answer_given_twice(self, lib: Any) -> None:
        with pytest.raises(lib.RemoteProtocolError):
            lib.client_extensions_handshake([DEFLATE, DEFLATE], [lib.PerMessageDeflate()])

    @better("a smaller window than zlib's is refused")
    def test_a_client_window_of_8(self, lib: Any) -> None:
        """Only the client has to keep to it, and ours inflates from any smaller window."""
        extension = lib.PerMessageDeflate()
        assert (
            extension.accept(f"{DEFLATE}; client_max_window_bits=8") == "client_max_window_bits=8"
        )

    @better("a smaller window than zlib's is refused", ValueError)
    def test_a_server_window_of_8(self, lib: Any) -> None:
        extension = lib.PerMessageDeflate()
        extension.finalize(f"{DEFLATE}; server_max_window_bits=8")
        assert extension.enabled()

    @BOTH
    @pytest.mark.parametrize("bits", range(9, 16))
    @pytest.mark.parametrize("side", ["client", "server"])
    def test_windows_are_kept_to(self, lib: Any, bits: int, side: str) -> None:
        """A peer that has no more than the window that was agreed on can inflate it."""
        extension = lib.PerMessageDeflate()
        name = f"{side}_max_window_bits={bits}"
        if side == "client":
            extension.finalize(f"{DEFLATE}; {name}")
            connection = lib.Connection(lib.CLIENT, [extension])
        else:
            assert extension.accept(f"{DEFLATE}; {name}") == name
            connection = lib.Connection(lib.SERVER, [extension])
        data = os.urandom(3000)
        data += os.urandom(2**bits) + data
        [(_, payload)] = unmasked(connection.send(lib.BytesMessage(data)))
        inflated = zlib.decompressobj(-bits).decompress(payload + b"\0\0\xff\xff")
        assert inflated == data

    @BOTH
    @pytest.mark.parametrize("bits", range(9, 16))
    @pytest.mark.parametrize("side", ["client", "server"])
    def test_windows_of_the_peer_are_understood(self, lib: Any, bits: int, side: str) -> None:
        """What a peer deflates with the window that was agreed on, we inflate."""
        extension = lib.PerMessageDeflate()
        name = f"{side}_max_window_bits={bits}"
        if side == "server":
            extension.finalize(f"{DEFLATE}; {name}")
            connection, key = lib.Connection(lib.CLIENT, [extension]), None
        else:
            assert extension.accept(f"{DEFLATE}; {name}") == name
            connection, key = lib.Connection(lib.SERVER, [extension]), MASK
        compressor = zlib.compressobj(wbits=-bits)
        half = os.urandom(2 ** (bits - 1))
        for _ in range(2):
            payload = compressor.compress(half) + compressor.flush(zlib.Z_SYNC_FLUSH)
            assert data_of(take(connection, frame(0xC2, payload[:-4], key))) == [half]
