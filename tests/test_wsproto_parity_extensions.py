"""wsproto and wscore side by side: extensions that were written for wsproto."""

from __future__ import annotations

from typing import Any

import pytest
from foreign_extensions import counting_deflate, reversing, shouting
from hypothesis import given
from hypothesis import strategies as st
from packages import WSCORE, WSPROTO, frame, unmasked
from parity import FEWER, PIECES, cut, events_of, plain, take

WRITTEN_FOR_WSPROTO = {
    "one": [reversing],
    "two": [reversing, shouting],
    "two, the other way": [shouting, reversing],
    "deflate": [counting_deflate],
    "deflate and more": [counting_deflate, shouting],
}


def talk(
    lib: Any, makers: list[Any], said: list[tuple[Any, ...]], steps: list[int]
) -> tuple[list[Any], list[Any]]:
    """A client and a server that both use the extensions: what is heard, and what hooks saw."""
    client, server = lib.WSConnection(lib.CLIENT), lib.WSConnection(lib.SERVER)
    mine, theirs = ([make(lib)() for make in makers] for _ in range(2))
    server.receive_data(client.send(lib.Request(host="x", target="/", extensions=mine)))
    heard = [[plain(event)[1]["extensions"] for event in server.events()]]
    answer = server.send(lib.AcceptConnection(extensions=theirs))
    client.receive_data(answer)
    [accepted] = client.events()
    assert accepted.extensions == mine
    heard.append([line for line in answer.split(b"\r\n") if b"Extensions" in line])
    for here, there in ((client, server), (server, client)):
        stream = b""
        for item in said:
            wire = here.send(getattr(lib, item[0])(*item[1:]))
            heard.append(unmasked(wire))
            stream += wire
        heard += take(there, *cut(stream, steps))
        heard.append((here.state.name, there.state.name))
    seen = [
        (getattr(extension, "log", None), getattr(extension, "saved", None))
        for extension in [*mine, *theirs]
    ]
    return heard, seen


SAID = st.one_of(
    st.tuples(st.just("TextMessage"), st.text(max_size=40)),
    st.tuples(st.just("BytesMessage"), st.binary(max_size=90)),
    st.sampled_from(
        [
            ("Ping", b"x"),
            ("Pong",),
            ("BytesMessage", bytes(66)),
            ("BytesMessage", b"em esufer"),
            ("BytesMessage", b"refuse me!"),
        ]
    ),
)


@pytest.mark.parametrize("makers", WRITTEN_FOR_WSPROTO.values(), ids=WRITTEN_FOR_WSPROTO.keys())
class TestExtensionsWrittenForWsproto:
    @FEWER
    @given(said=st.lists(SAID, max_size=4), steps=PIECES)
    def test_messages(self, makers: Any, said: list[Any], steps: list[int]) -> None:
        refused = [("BytesMessage", b"refuse me!"), ("BytesMessage", bytes(66))]
        refused.append(("BytesMessage", b"em esufer"))
        said = [item for item in said if item not in refused]
        # A header in one piece: "an extension sees each header once".
        ours, theirs = (talk(lib, makers, said, []) for lib in (WSCORE, WSPROTO))
        assert ours == theirs
        (heard, _), (expected, _) = (talk(lib, makers, said, steps) for lib in (WSCORE, WSPROTO))
        assert heard == expected

    @pytest.mark.parametrize("data", [b"refuse me!", b"!em esufer", bytes(66), b"em esufer"])
    def test_refusals(self, makers: Any, data: bytes) -> None:
        def codes(lib: Any) -> Any:
            extensions = [make(lib)() for make in makers]
            for extension in extensions:
                extension.finalize(extension.name)
            client = lib.Connection(lib.CLIENT, extensions)
            events = events_of(client, frame(0x82, data))
            return [shown.get("code", shown.get("data")) for _, shown in events]

        assert codes(WSCORE) == codes(WSPROTO)

    def test_fragments(self, makers: Any) -> None:
        said = [
            ("TextMessage", "h\xe9llo " * 9, True, False),
            ("TextMessage", "", True, False),
            ("TextMessage", "world" * 9),
            ("Ping", b"between"),
            ("BytesMessage", b"end"),
        ]
        for steps in ([], [1] * 400):
            (ours, _), (theirs, _) = (talk(lib, makers, said, steps) for lib in (WSCORE, WSPROTO))
            assert ours == theirs
