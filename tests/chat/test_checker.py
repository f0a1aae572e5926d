"""The checker finds what it is there for: good histories pass, and each kind of fault is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from chat.checker import Checker, Json, Message, View, Whole
from hypothesis import given
from hypothesis import strategies as st


def message(n: int) -> Message:
    return Message("Anna", None, f"text {n}", f"m{n}")


def json(n: int, offset: int | None = None) -> Json:
    fields = {"from": "Anna", "text": f"text {n}", "id": f"m{n}", "time": f"t{n}"}
    return {**fields, "offset": n if offset is None else offset}


def ack(n: int, offset: int | None = None, epoch: str = "e") -> Json:
    return {"epoch": epoch, "offset": n if offset is None else offset, "time": f"t{n}"}


def a_slice(first: int, last: int, end: int | None = None, **fields: Any) -> Json:
    end = last if end is None else end
    messages = [json(n) for n in range(first, last + 1)]
    more = last < end
    return {
        "epoch": "e",
        "offset": end,
        "messages": messages,
        "gap": False,
        "more": more,
        **fields,
    }


class Story:
    """A chat of one room in which ten messages were sent and acknowledged."""

    def __init__(self) -> None:
        self.checker = Checker(replay=5)
        self.view = self.checker.view("Bob", "#r")
        self.whole = Whole("e", 1, [message(n) for n in range(1, 11)])
        self.may_trim = False
        for n in range(1, 11):
            self.checker.sends("#r", message(n))
            self.checker.acknowledges("#r", message(n), ack(n))

    def reads(self, first: int, last: int) -> None:
        for n in range(first, last + 1):
            self.view.message(json(n))

    def end(self) -> list[str]:
        self.checker.finish({"#r": self.whole}, may_trim=self.may_trim)
        return self.checker.complaints


def test_a_good_history() -> None:
    story = Story()
    story.view.slice(a_slice(1, 2))
    story.reads(3, 5)
    story.view.slice(a_slice(6, 7, 9))
    story.reads(8, 10)
    story.view.slice(a_slice(11, 10))
    story.view.page(4, [json(n) for n in (2, 3)])
    story.view.page(1, [])
    other = story.checker.view("Carol", "#r")
    other.slice(a_slice(8, 10))
    story.checker.acknowledges("#r", message(3), ack(3))
    assert story.end() == []


def test_a_good_history_with_an_announced_gap() -> None:
    story = Story()
    story.view.slice(a_slice(1, 2))
    story.view.slice(a_slice(7, 10, gap=True))
    story.whole = Whole("e", 6, story.whole.messages[5:])
    story.may_trim = True
    assert story.end() == []
    # Too far behind to be replayed: nothing was trimmed.
    story = Story()
    story.view.slice(a_slice(1, 2))
    story.view.slice(a_slice(7, 10, gap=True))
    assert story.end() == []


def lost(story: Story) -> None:
    story.whole = story.whole._replace(messages=story.whole.messages[:-1])


def lost_in_the_middle(story: Story) -> None:
    del story.whole.messages[4]


def doubled(story: Story) -> None:
    story.whole.messages.append(message(4))


def swapped(story: Story) -> None:
    messages = story.whole.messages
    messages[3], messages[4] = messages[4], messages[3]


def swapped_for_one_reader(story: Story) -> None:
    story.view.slice(a_slice(1, 2))
    story.view.message(json(4, offset=3))


def changed(story: Story) -> None:
    story.view.slice(a_slice(1, 2))
    story.view.message({**json(3), "text": "something else"})


def invented(story: Story) -> None:
    story.view.slice(a_slice(1, 10))
    story.view.message(json(11))
    story.whole.messages.append(message(11))


def hole(story: Story) -> None:
    story.view.slice(a_slice(1, 2))
    story.reads(4, 10)


def hole_over_a_reconnect(story: Story) -> None:
    story.view.slice(a_slice(1, 2))
    story.view.slice(a_slice(5, 10))


def repeat(story: Story) -> None:
    story.view.slice(a_slice(1, 5))
    story.reads(5, 10)


def repeat_over_a_reconnect(story: Story) -> None:
    story.view.slice(a_slice(1, 5))
    story.view.slice(a_slice(4, 10))


def promised_too_little(story: Story) -> None:
    story.view.slice(a_slice(1, 2))
    story.view.slice(a_slice(3, 5, 9, more=False))


def promised_too_much(story: Story) -> None:
    story.view.slice(a_slice(1, 2))
    story.view.slice(a_slice(3, 9, more=True))


def gap_without_need(story: Story) -> None:
    story.view.slice(a_slice(1, 6))
    story.view.slice(a_slice(9, 10, gap=True))


def went_back(story: Story) -> None:
    story.view.slice(a_slice(1, 8))
    story.view.slice(a_slice(1, 6, gap=True))


def new_epoch_without_a_gap(story: Story) -> None:
    story.view.slice(a_slice(1, 8))
    story.view.slice(a_slice(9, 10, epoch="f"))


def new_epoch(story: Story) -> None:
    story.view.slice(a_slice(1, 8))
    story.whole = story.whole._replace(epoch="f")


def trimmed_unasked(story: Story) -> None:
    story.whole = Whole("e", 6, story.whole.messages[5:])


def acknowledged_twice_in_two_ways(story: Story) -> None:
    story.checker.acknowledges("#r", message(3), ack(3, offset=4))


def bad_history(story: Story) -> None:
    story.view.slice(a_slice(1, 8))
    story.view.page(6, [json(2), json(4), json(5)])


def history_of_the_wrong_place(story: Story) -> None:
    story.view.slice(a_slice(1, 8))
    story.view.page(6, [json(2), json(3)])


def overtaken(story: Story) -> None:
    """Messages 11 and 12, of which nobody saw anything, are in the other order."""
    for n in 11, 12:
        story.checker.sends("#r", message(n))
    story.whole.messages.extend([message(12), message(11)])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lost, "m10 is lost"),
        (lost_in_the_middle, "both at offset"),
        (doubled, "m4 is there twice"),
        (swapped, "both at offset 4"),
        (swapped_for_one_reader, "both at offset 3"),
        (changed, "nobody sent"),
        (invented, "nobody sent"),
        (hole, "got 4 after 2: a hole"),
        (hole_over_a_reconnect, "got 5 after 2: a hole"),
        (repeat, "got 5 after 5: a repeat"),
        (repeat_over_a_reconnect, "got 4 after 5: a repeat"),
        (promised_too_little, "more is False"),
        (promised_too_much, "more is True"),
        (gap_without_need, "a gap without need"),
        (went_back, "was at 8, the log ends at 6"),
        (new_epoch_without_a_gap, "epoch f after e without a gap"),
        (new_epoch, "its epoch e is now f"),
        (trimmed_unasked, "nothing was to be trimmed"),
        (acknowledged_twice_in_two_ways, "was acknowledged as"),
        (bad_history, "as the history before 6"),
        (history_of_the_wrong_place, "as the history before 6"),
        (overtaken, "not in the order sent"),
    ],
)
def test_faults(fault: Callable[[Story], None], said: str) -> None:
    story = Story()
    fault(story)
    assert any(said in sentence for sentence in story.end()), story.checker.complaints


def test_a_refused_message_may_be_overtaken() -> None:
    story = Story()
    overtaken(story)
    story.checker.refused(message(11))
    assert story.end() == []


def direct(bobs: list[Message], *, start: int = 1) -> list[str]:
    checker = Checker()
    sent = [Message("Anna", "Bob", f"text {n}", f"m{n}") for n in range(3)]
    for n, one in enumerate(sent, 1):
        checker.sends("@Anna", one)
        checker.acknowledges("@Anna", one, ack(n))
    logs = {
        "@Anna": Whole("e", 1, sent),
        "@Bob": Whole("f", start, [sent[int(m.id[1:])] for m in bobs]),
    }
    checker.finish(logs, may_trim=True)
    return checker.complaints


def test_direct_messages_are_in_both_inboxes() -> None:
    assert direct([message(n) for n in (0, 1, 2)]) == []
    assert direct([message(n) for n in (1, 2)], start=2) == []
    assert direct([message(n) for n in (0, 2)]) == ["@Bob: lacks m1, which @Anna has"]


@given(st.data())
def test_any_single_change_of_what_a_reader_gets_is_noticed(data: st.DataObject) -> None:
    story = Story()
    got = [json(n) for n in range(1, 11)]
    at = data.draw(st.integers(1, 8))
    match data.draw(st.sampled_from(["lose", "double", "swap", "nothing"])):
        case "lose":
            del got[at]
            is_good = False
        case "double":
            got.insert(at, got[at])
            is_good = False
        case "swap":
            other = data.draw(st.integers(1, 9).filter(lambda n: n != at))
            got[at], got[other] = got[other], got[at]
            is_good = False
        case _:
            is_good = True
    cuts = sorted(data.draw(st.sets(st.integers(1, len(got) - 1), max_size=3)))
    _tell(story.view, got, cuts)
    assert (story.end() == []) is is_good


def _tell(view: View, got: list[Json], cuts: list[int]) -> None:
    """In connections that begin at the cuts, each with a slice of one message."""
    for n, one in enumerate(got):
        if n == 0 or n in cuts:
            end = max(json["offset"] for json in got[: n + 1])
            slice = {"epoch": "e", "offset": end, "messages": [one], "gap": False, "more": False}
            view.slice(slice)
        else:
            view.message(one)
