from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wscore.chat.model import parse_name


@pytest.mark.parametrize(
    "raw",
    ["a", "Ann-Marie_2.0", "a" * 64, "张三", "नमस्ते", "٣", "e\u0301" * 64, "ᾂ" * 64, "..", "_"],
)
def test_good_names(raw: str) -> None:
    name = parse_name(raw)
    assert name is not None
    assert name.text == unicodedata.normalize("NFC", raw)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "a" * 65,
        "a b",
        "a\n",
        "a/b",
        "<b>",
        "½",
        "Ⅷ",
        "a\u200b",
        "\u202eabc",
        "😀",
        "\x00",
        "a@b",
    ],
)
def test_bad_names(raw: str) -> None:
    assert parse_name(raw) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Anna", "ANNA"),
        ("Straße", "STRASSE"),
        ("é", "e\u0301"),
        ("É", "e\u0301"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ],
)
def test_spellings_of_one_name(one: str, other: str) -> None:
    first, second = parse_name(one), parse_name(other)
    assert first is not None
    assert second is not None
    assert first.key == second.key


def test_a_hostile_name_costs_no_time() -> None:
    # Marks of alternating classes make canonical reordering quadratic: this took minutes.
    begin = time.process_time()
    assert parse_name("a" + "\u0315\u0316" * 60_000) is None
    assert time.process_time() - begin < 1  # a bound against minutes, not a speed


@given(st.text(max_size=80))
def test_a_name_is_stable(raw: str) -> None:
    name = parse_name(raw)
    if name is not None:
        assert 1 <= len(name.text) <= 64
        assert parse_name(name.text) == name
