from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wscore.chat import protocol
from wscore.chat.model import Entry
from wscore.chat.protocol import ChatError, decode_request

LONGEST = "i" * 64
GOOD: list[dict[str, Any]] = [
    {"type": "hello", "id": "1", "user": "a"},
    {"type": "hello", "id": LONGEST, "token": "a.b.c"},
    {"type": "hello", "id": "😀" * 64, "user": "a", "session": "s" * 22},
    {"type": "hello", "id": "1", "user": "a", "session": "s" * 128},
    {"type": "hello", "id": "1", "user": "a", "position": {"epoch": "", "offset": 0}},
    {"type": "hello", "id": "1", "user": "a", "position": {"epoch": "e", "offset": 2**53 - 1}},
    {"type": "rooms", "id": "1"},
    {"type": "join", "id": "1", "room": "r"},
    {"type": "join", "id": "1", "room": "r", "position": {"epoch": "e", "offset": 1, "x": 1}},
    {"type": "leave", "id": "1", "room": "r"},
    {"type": "post", "id": "1", "room": "r", "text": "t"},
    {"type": "direct", "id": "1", "to": "b", "text": "\x00"},
    {"type": "history", "id": "1", "room": "r"},
    {"type": "history", "id": "1", "inbox": True, "before": 1, "limit": 10**15},
    {"type": "history", "id": "1", "room": "r", "inbox": False},
    {"type": "typing", "room": "r"},
    {"type": "typing", "to": "b"},
    {"type": "ping", "id": "1"},
    {"type": "ping", "id": "1", "unknown": [1, {"a": None}]},
]

# Text, the error's code, and the id that can be read.
BAD: list[tuple[str, str, str | None]] = [
    ("", "malformed", None),
    ("ping", "malformed", None),
    ("{", "malformed", None),
    ("[]", "malformed", None),
    ("null", "malformed", None),
    ('"ping"', "malformed", None),
    ("{}", "malformed", None),
    ('{"type":"ping","id":"1"} {}', "malformed", None),
    ('{"type":"ping","id":"1",}', "malformed", None),
    ("{'type':'ping','id':'1'}", "malformed", None),
    ('\ufeff{"type":"ping","id":"1"}', "malformed", None),
    ('{"type":"ping","id":"1","x":NaN}', "malformed", None),
    ('{"type":"ping","id":"1","x":Infinity}', "malformed", None),
    ('{"type":"ping","id":"1","x":"\n"}', "malformed", None),
    ('{"type":"ping","id":"1","x":"\\ud800"}', "malformed", None),
    ('{"type":"post","id":"1","room":"r","text":"\\udc00"}', "malformed", None),
    ('{"type":"ping","id":"1","x":' + "[" * 60_000 + "]" * 60_000 + "}", "malformed", None),
    ("[" * 120_000, "malformed", None),
    ('{"a":' * 20_000, "malformed", None),
    ('{"type":"ping"}', "malformed", None),
    ('{"type":"ping","id":""}', "malformed", None),
    ('{"type":"ping","id":"' + "i" * 65 + '"}', "malformed", None),
    ('{"type":"ping","id":1}', "malformed", None),
    ('{"type":"ping","id":null}', "malformed", None),
    ('{"id":"1"}', "malformed", "1"),
    ('{"id":"1","type":7}', "malformed", "1"),
    ('{"id":"1","type":null}', "malformed", "1"),
    ('{"id":"1","type":["ping"]}', "malformed", "1"),
    ('{"id":"1","type":"shout"}', "unknown_type", "1"),
    ('{"id":"1","type":"Ping"}', "unknown_type", "1"),
    ('{"id":"1","type":""}', "unknown_type", "1"),
    ('{"id":7,"type":"shout"}', "unknown_type", None),
    ('{"type":"shout"}', "unknown_type", None),
    ('{"type":"hello","id":"1"}', "malformed", "1"),
    ('{"type":"hello","id":"1","user":7}', "malformed", "1"),
    ('{"type":"hello","id":"1","user":null}', "malformed", "1"),
    ('{"type":"hello","id":"1","user":"a","session":"' + "s" * 21 + '"}', "malformed", "1"),
    ('{"type":"hello","id":"1","user":"a","session":"' + "s" * 129 + '"}', "malformed", "1"),
    ('{"type":"join","id":"1"}', "malformed", "1"),
    ('{"type":"join","id":"1","room":["r"]}', "malformed", "1"),
    ('{"type":"leave","id":"1"}', "malformed", "1"),
    ('{"type":"post","id":"1","room":"r"}', "malformed", "1"),
    ('{"type":"post","id":"1","text":"t"}', "malformed", "1"),
    ('{"type":"post","id":"1","room":"r","text":""}', "malformed", "1"),
    ('{"type":"post","id":"1","room":"r","text":5}', "malformed", "1"),
    ('{"type":"direct","id":"1","text":"t"}', "malformed", "1"),
    ('{"type":"direct","id":"1","to":"b","text":""}', "malformed", "1"),
    ('{"type":"history","id":"1"}', "malformed", "1"),
    ('{"type":"history","id":"1","inbox":false}', "malformed", "1"),
    ('{"type":"history","id":"1","inbox":1}', "malformed", "1"),
    ('{"type":"history","id":"1","inbox":true,"room":"r"}', "malformed", "1"),
    ('{"type":"history","id":"1","room":"r","limit":0}', "malformed", "1"),
    ('{"type":"history","id":"1","room":"r","limit":-1}', "malformed", "1"),
    ('{"type":"history","id":"1","room":"r","limit":1.5}', "malformed", "1"),
    ('{"type":"history","id":"1","room":"r","limit":true}', "malformed", "1"),
    ('{"type":"history","id":"1","room":"r","before":"9"}', "malformed", "1"),
    ('{"type":"history","id":"1","room":"r","before":-1}', "malformed", "1"),
    ('{"type":"typing"}', "malformed", None),
    ('{"type":"typing","room":"r","to":"b"}', "malformed", None),
    ('{"type":"typing","id":"1","room":5}', "malformed", None),
    ('{"type":"typing","id":"1"}', "malformed", None),
]
BAD += [
    ('{"type":"join","id":"1","room":"r","position":' + position + "}", "malformed", "1")
    for position in (
        "null",
        "5",
        '"e"',
        "[]",
        "{}",
        '{"epoch":"e"}',
        '{"offset":1}',
        '{"epoch":1,"offset":1}',
        '{"epoch":"e","offset":-1}',
        '{"epoch":"e","offset":1.5}',
        '{"epoch":"e","offset":"1"}',
        '{"epoch":"e","offset":true}',
        '{"epoch":"e","offset":9007199254740992}',
    )
]


@pytest.mark.parametrize("fields", GOOD, ids=lambda fields: json.dumps(fields)[:50])
def test_good_requests(fields: dict[str, Any]) -> None:
    for ascii_only in (True, False):
        request = decode_request(json.dumps(fields, ensure_ascii=ascii_only))
        for name in ("id", "user", "room", "text", "to", "inbox", "before", "limit", "session"):
            if name in fields and hasattr(request, name):
                assert getattr(request, name) == fields[name]


@pytest.mark.parametrize(("text", "code", "id"), BAD, ids=lambda value: str(value)[:50])
def test_bad_requests(text: str, code: str, id: str | None) -> None:
    with pytest.raises(ChatError) as caught:
        decode_request(text)
    assert (caught.value.code, caught.value.id) == (code, id)
    # The reason goes to the client: it must not grow with what the client sent.
    assert 0 < len(caught.value.reason) < 300


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
field_names = st.sampled_from(
    ["type", "id", "user", "session", "position", "room", "text", "to", "before", "limit", "inbox"]
)
field_values = json_values | st.sampled_from(
    ["hello", "join", "post", "direct", "history", "typing", "ping", "rooms", "leave"]
)


@given(st.dictionaries(field_names, field_values).map(json.dumps) | st.text())
def test_any_text_is_a_request_or_a_clear_error(text: str) -> None:
    try:
        decode_request(text)
    except ChatError as error:
        found = error
    else:
        return
    assert found.code in ("malformed", "unknown_type")
    assert json.loads(protocol.encode_error(found, found.id).text)["id"] == found.id


@given(st.text(min_size=1))
def test_an_entry_comes_back_as_it_was(text: str) -> None:
    entry = Entry(7, "Anna", "Bob", text, 1_700_000_000_123, "id")
    time = "2023-11-14T22:13:20.123Z"
    assert json.loads(protocol.encode_entry(entry, "Room")) == {
        "type": "message",
        "room": "Room",
        "offset": 7,
        "from": "Anna",
        "text": text,
        "time": time,
        "id": "id",
    }
    assert json.loads(protocol.encode_entry(entry, None)) == {
        "type": "direct",
        "from": "Anna",
        "to": "Bob",
        "offset": 7,
        "text": text,
        "time": time,
        "id": "id",
    }


def test_errors_on_the_wire() -> None:
    plain = protocol.encode_error(ChatError("conflict", "why"), "1")
    assert json.loads(plain.text) == {
        "type": "error",
        "id": "1",
        "code": "conflict",
        "reason": "why",
    }
    limited = protocol.encode_error(ChatError("rate_limited", "why", retry_after=0.5), None)
    assert json.loads(limited.text)["retry_after"] == 0.5
    assert json.loads(limited.text)["id"] is None


def test_size_is_counted_in_bytes() -> None:
    assert protocol.ready('{"é":1}'.encode()) == ('{"é":1}', 8)


@given(st.lists(st.binary(min_size=1, max_size=30)), st.integers(-5, 200))
def test_fit_takes_as_much_as_fits(messages: list[bytes], budget: int) -> None:
    taken = [bytes(raw) for raw in protocol.fit(messages, budget)]
    assert taken == messages[: len(taken)]
    assert sum(len(raw) + 1 for raw in taken) <= max(0, budget)
    if len(taken) < len(messages):
        assert sum(len(raw) + 1 for raw in messages[: len(taken) + 1]) > budget
