"""wsproto and wscore side by side: opening handshakes, good and bad, on both ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from foreign_extensions import reversing, shouting
from hypothesis import example, given
from hypothesis import strategies as st
from packages import ANSWER, FIELDS, KEY, WSCORE, WSPROTO, fields, frame, http, request
from parity import BOTH, FEWER, PIECES, REMOTE, answered, attempt, cut, events_of, plain
from wsproto_differences import NAMES

CHANGES: dict[tuple[tuple[bytes, bytes | None], ...], str | None] = {
    (): None,
    ((b"Host", b"\xe4\xb8\x96.com"),): "bytes beyond ASCII",
    ((b"Host", b"xn--7ks3rz39bh7u"),): None,
    ((b"Host", None),): None,
    ((b"host", b"twice"),): None,
    ((b"Upgrade", None),): None,
    ((b"Upgrade", b"WebSocket"),): None,
    ((b"Upgrade", b"h2c"),): None,
    ((b"Upgrade", b"websocket, h2c"),): "an upgrade to one of several",
    ((b"Connection", None),): None,
    ((b"Connection", b"keep-alive"),): None,
    ((b"Connection", b"keep-alive, UPGRADE"),): None,
    ((b"connection", b"close"),): "a field in several lines",
    ((b"Sec-WebSocket-Key", None),): None,
    ((b"Sec-WebSocket-Key", b"AAAAAAAAAAAAAAAAAAAAAA=="),): None,
    ((b"Sec-WebSocket-Key", b"AAAA"),): "a malformed key",
    ((b"sec-websocket-key", KEY),): "a repeated field",
    ((b"Sec-WebSocket-Version", None),): None,
    ((b"Sec-WebSocket-Version", b"8"),): None,
    ((b"sec-websocket-version", b"13"),): "a repeated field",
    ((b"Sec-WebSocket-Protocol", b"a"),): None,
    ((b"Sec-WebSocket-Protocol", b"a, b ,c"),): None,
    ((b"Sec-WebSocket-Protocol", b"a"), (b"sec-websocket-protocol", b"b")): None,
    ((b"Sec-WebSocket-Protocol", b""),): "empty list members",
    ((b"Sec-WebSocket-Extensions", b"permessage-deflate"),): None,
    ((b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits"),): None,
    ((b"Sec-WebSocket-Extensions", b"x; y=1, permessage-deflate, z"),): None,
    ((b"Sec-WebSocket-Extensions", b'x; y="1,2"'),): "quoted strings",
    ((b"Origin", b"http://a"),): None,
    ((b"Origin", b"http://a"), (b"origin", b"http://b")): "a repeated field",
    ((b"Content-Length", b"0"),): None,
    ((b"Content-Length", b"7"),): "a request with a body",
    ((b"Content-Length", b"x"),): None,
    ((b"X-Latin", b"\xe9"),): None,
    ((b"X-Nul", b"\0"),): None,
    ((b"X-Control", b"\x01"),): None,
    ((b"X-Folded", b"a\r\n b"),): "folded lines",
    ((b"X Y", b"z"),): None,
    ((b"X-Empty", b""),): None,
}
STARTS: dict[bytes, str | None] = {
    b"GET /chat?x=1 HTTP/1.1": None,
    b"GET * HTTP/1.1": None,
    b"GET http://example.com/ HTTP/1.1": None,
    b"GET /chat HTTP/1.2": None,
    b"GET /chat HTTP/1.0": "HTTP/1.0",
    b"POST /chat HTTP/1.1": None,
    b"get /chat HTTP/1.1": None,
    b"GET  /chat HTTP/1.1": None,
    b"GET /ch\xe9t HTTP/1.1": None,
    b"GET /chat": None,
    b" GET /chat HTTP/1.1": None,
    b"": None,
}
ANSWERS: list[Callable[[Any], Any]] = [
    lambda lib: lib.AcceptConnection(),
    lambda lib: lib.AcceptConnection(subprotocol="a"),
    lambda lib: lib.AcceptConnection("b", [lib.PerMessageDeflate()], [(b"X-Mine", b"1")]),
    lambda lib: lib.AcceptConnection(extra_headers=[(b"X", b"a\nb")]),
    lambda lib: lib.RejectConnection(),
    lambda lib: lib.RejectConnection(403, [(b"X-Why", b"so")]),
    lambda lib: lib.RejectConnection(404, [(b"Content-Length", b"3")], has_body=True),
    lambda lib: lib.RejectConnection(status_code=500, has_body=True),
    lambda lib: lib.RejectConnection(status_code=204),
    lambda lib: lib.RejectData(b"abc"),
    lambda lib: lib.Ping(),
]


def test_the_table_has_what_the_changes_show() -> None:
    assert {name for name in [*CHANGES.values(), *STARTS.values()] if name} <= NAMES


def without_class(outcome: Any) -> Any:
    """h11's exceptions out of wsproto count as its own, by their name: "accepting what did not
    come" and others have the rest.
    """
    return "raises" if isinstance(outcome, tuple) and outcome[0].startswith("raises") else outcome


def serve(lib: Any, pieces: list[bytes], answers: list[Callable[[Any], Any]]) -> list[Any]:
    """What a server reports of a request and answers to it."""
    server = lib.WSConnection(lib.SERVER)
    seen: list[Any] = []
    failed = False
    for piece in pieces:
        outcome = attempt(events_of, server, piece)
        seen += [outcome] if outcome else []  # whenever it comes: "a bad head is seen early"
        if isinstance(outcome, tuple):
            failed = True
            break
    for build in answers:
        event = build(lib)
        if failed and isinstance(event, lib.AcceptConnection):
            continue  # "accepting what did not come"
        seen.append(without_class(attempt(server.send, event)))
        if isinstance(seen[-1], str):
            break  # what cannot be sent breaks wsproto: "accepting what was refused"
        seen.append(server.state.name)
    return seen


ONE_CHANGE = st.sampled_from(sorted(CHANGES, key=repr))


class TestServerHandshakes:
    @FEWER
    @given(
        start=st.one_of(st.just(b"GET / HTTP/1.1"), st.sampled_from(list(STARTS))),
        changes=st.lists(ONE_CHANGE, max_size=2),
        steps=st.lists(st.integers(1, 80), max_size=5),
        answers=st.lists(st.sampled_from(ANSWERS), max_size=3),
    )
    def test_requests(
        self, start: bytes, changes: list[Any], steps: list[int], answers: list[Any]
    ) -> None:
        changed = [change for group in changes for change in group]
        head = request(*changed, start=start)
        shown = {CHANGES[group] for group in changes} | {STARTS.get(start)}
        names = [name.lower() for name, _ in dict(changed).items()]
        if shown != {None} or len(names) != len(set(names)):
            return
        pieces = [piece for piece in cut(head, steps) if piece]
        assert serve(WSCORE, pieces, answers) == serve(WSPROTO, pieces, answers)

    @pytest.mark.parametrize("change", CHANGES)
    @pytest.mark.parametrize("answer", ANSWERS)
    def test_each_change(self, change: Any, answer: Any) -> None:
        head = request(*change)
        same = serve(WSCORE, [head], [answer]) == serve(WSPROTO, [head], [answer])
        shown = CHANGES[change]
        if shown is None:
            assert same

    @pytest.mark.parametrize("change", [c for c, name in CHANGES.items() if name])
    def test_each_difference(self, change: Any) -> None:
        accept = ANSWERS[0]
        head = request(*change)
        assert serve(WSCORE, [head], [accept]) != serve(WSPROTO, [head], [accept])

    @pytest.mark.parametrize("start", STARTS)
    def test_each_start(self, start: bytes) -> None:
        head = request(start=start)
        same = serve(WSCORE, [head], ANSWERS[:1]) == serve(WSPROTO, [head], ANSWERS[:1])
        assert same == (STARTS[start] is None)

    @pytest.mark.parametrize("answer", ANSWERS)
    @pytest.mark.parametrize("body", [[], [b""], [b"ab", b"c"], [b"too long"]])
    def test_refusals_with_a_body(self, answer: Any, body: list[bytes]) -> None:
        def reject(lib: Any) -> list[Any]:
            parts = [
                lambda lib, i=i, data=data: lib.RejectData(data, body_finished=i == len(body) - 1)
                for i, data in enumerate(body)
            ]
            return serve(lib, [request()], [answer, *parts])

        assert reject(WSCORE) == reject(WSPROTO)

    @pytest.mark.parametrize("answer", ANSWERS)
    @pytest.mark.parametrize("path", ["/", b"/x?y=z"])
    def test_given_in_parts(self, answer: Any, path: str | bytes) -> None:
        def initiate(lib: Any) -> list[Any]:
            server = lib.WSConnection(lib.SERVER)
            headers = fields((b"Sec-WebSocket-Protocol", b"a, b"), (b"X", b"y"))
            server.initiate_upgrade_connection(headers=headers, path=path)
            events = [plain(event) for event in server.events()]
            sent = [without_class(attempt(server.send, answer(lib)))]
            if isinstance(sent[0], bytes) and server.state.name == "REJECTING":
                sent.append(without_class(attempt(server.send, lib.RejectData(b"abc"))))
            return [events, sent, server.state.name]

        assert initiate(WSCORE) == initiate(WSPROTO)

    @pytest.mark.parametrize("headers", [[("Host", "x")], FIELDS[:2], FIELDS[1:]])
    def test_given_in_parts_and_refused(self, headers: Any) -> None:
        for lib in (WSCORE, WSPROTO):
            server = lib.WSConnection(lib.SERVER)
            outcome = attempt(server.initiate_upgrade_connection, headers, "/")
            assert without_class(outcome) == "raises"
            assert list(server.events()) == []

    @pytest.mark.parametrize("lib", BOTH)
    def test_text_headers(self, lib: Any) -> None:
        """h11 takes str for bytes, so wsproto does."""
        server = lib.WSConnection(lib.SERVER)
        headers = [(name.decode(), value.decode()) for name, value in FIELDS]
        server.initiate_upgrade_connection(headers, "/")
        [event] = server.events()
        assert event.host == "example.com"
        answer = server.send(lib.AcceptConnection(extra_headers=[("X-Mine", "1")]))
        assert b"X-Mine: 1\r\n" in answer


#: Changes to a good response, and which difference they show, if any.
RESPONSES: list[tuple[bytes, list[tuple[bytes, bytes]], bytes, str | None]] = [
    (b"HTTP/1.1 101 Switching Protocols", ANSWER, b"", None),
    (b"HTTP/1.1 101", ANSWER, b"", None),
    (b"HTTP/1.1 101 ", ANSWER, frame(0x81, b"hi") + frame(0x89)[:1], None),
    (b"HTTP/1.1 101 ", [*ANSWER, (b"X", b"y"), (b"Sec-WebSocket-Protocol", b"a")], b"", None),
    (b"HTTP/1.1 101 ", [*ANSWER, (b"Sec-WebSocket-Protocol", b"b")], b"", None),
    (b"HTTP/1.1 101 ", [*ANSWER, (b"Sec-WebSocket-Extensions", b"b")], b"", None),
    (b"HTTP/1.1 101 ", ANSWER[1:], b"", None),
    (b"HTTP/1.1 101 ", ANSWER[:2], b"", None),
    (b"HTTP/1.1 101 ", [ANSWER[0], (b"Connection", b"close"), ANSWER[2]], b"", None),
    (b"HTTP/1.1 101 ", [*ANSWER[:2], (b"Sec-WebSocket-Accept", b"x")], b"", None),
    (b"HTTP/1.1 101 ", [*ANSWER, (b"connection", b"x")], b"", "a field in several lines"),
    (b"HTTP/1.1 100 ", [], b"", None),
    (b"HTTP/1.1 200 OK", [(b"Content-Length", b"5")], b"hello", None),
    (b"HTTP/1.1 200 OK", [(b"Content-Length", b"5")], b"hel", None),
    (b"HTTP/1.1 403 No", [(b"Transfer-Encoding", b"chunked")], b"2\r\nhi\r\n0\r\n\r\n", None),
    (b"HTTP/1.1 403 No", [(b"Transfer-Encoding", b"chunked")], b"x\r\n", None),
    (b"HTTP/1.1 503 No", [], b"until the end", None),
    (b"HTTP/1.0 503 No", [], b"until the end", None),
    (b"HTTP/1.1 302 Found", [(b"Location", b"http://a"), (b"Content-Length", b"0")], b"", None),
    (b"HTTP/1.1 404 No", [(b"Content-Length", b"x")], b"", None),
    (b"HTTP/1.1 9 No", [], b"", None),
    (b"nonsense", [], b"", None),
    (b"", [], b"", None),
]


class TestClientHandshakes:
    @pytest.mark.parametrize(("start", "headers", "rest", "shown"), RESPONSES)
    @pytest.mark.parametrize("size", [None, 1, 7])
    @pytest.mark.parametrize("ends", [False, True])
    def test_responses(
        self,
        start: bytes,
        headers: list[tuple[bytes, bytes]],
        rest: bytes,
        shown: str | None,
        size: int | None,
        ends: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        stream = http(start, headers) + rest
        size = size or len(stream)
        pieces: list[bytes | None] = [stream[i : i + size] for i in range(0, len(stream), size)] + [
            None
        ] * ends
        ours = answered(WSCORE, monkeypatch, *pieces)
        theirs = answered(WSPROTO, monkeypatch, *pieces)
        if shown is not None:
            assert shown in NAMES
            assert ours != theirs
            return
        if ends and b" 100 " in start:  # "a response behind an informational one"
            assert ours[1] == "CLOSED"
        elif isinstance(theirs[0], tuple):  # "a client whose handshake has failed"
            assert ours[0] == theirs[0]
            assert ours[1] == "CLOSED"
        else:
            assert ours == theirs

    @pytest.mark.parametrize(
        "build",
        [
            lambda lib: lib.Request("example.com", "/"),
            lambda lib: lib.Request(host="example.com:80", target="/a?b", subprotocols=["x", "y"]),
            lambda lib: lib.Request("\u829d\u58eb.com", "/"),
            lambda lib: lib.Request("x", "/", [lib.PerMessageDeflate(True, 10)], [(b"A", b"b")]),
            lambda lib: lib.Request("x", "/", [shouting(lib)(), reversing(lib)(3)]),
            lambda lib: lib.Request("x", "/", [], [(b"Cookie", b"a=b"), (b"Cookie", b"c=d")]),
            lambda lib: lib.Request("x", "/", [], [("Origin", "http://x")]),
        ],
    )
    def test_requests(self, build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        for lib in (WSCORE, WSPROTO):
            monkeypatch.setattr(lib.handshake, "generate_nonce", lambda: KEY)
        ours, theirs = (lib.WSConnection(lib.CLIENT).send(build(lib)) for lib in (WSCORE, WSPROTO))
        assert ours == theirs

    @FEWER
    @given(st.binary(max_size=60), PIECES)
    @example(b" folded", [])
    @example(b"X: y\n\r\n", [])
    @example(b"Content-Length: 2\r\n\r\na\0", [17, 1])
    def test_any_response(self, data: bytes, steps: list[int]) -> None:
        stream = b"HTTP/1.1 403 No\r\n" + data
        pieces = [piece for piece in cut(stream, steps) if piece]
        with pytest.MonkeyPatch.context() as patch:
            ours, theirs = (answered(lib, patch, *pieces) for lib in (WSCORE, WSPROTO))
        if is_strange(stream):  # "bare line feeds", "folded lines", "a bad head is seen early"
            assert ours[0][0] == REMOTE
        elif isinstance(theirs[0], tuple):  # "a client whose handshake has failed"
            assert ours == (theirs[0], "CLOSED")
        else:
            assert ours == theirs


def is_strange(stream: bytes) -> bool:
    """Whether the head has what only wsproto lets through, or sees no sooner than its end."""
    head = stream.partition(b"\r\n\r\n")[0].removesuffix(b"\r")
    lines = head.split(b"\r\n")
    return any(
        line[:1] in (b" ", b"\t") or any(byte in line for byte in b"\0\r\n") for line in lines
    )
