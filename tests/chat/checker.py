"""Checks what clients saw of a chat against its promises; pure, so that it can be checked itself.

Everything that clients send and get is told to a `Checker` as it happens, and at the end the whole
of every log. It complains in sentences: of acknowledged messages that are missing, of messages that
are there twice, of readers who do not see the same in the same order, and of holes and jumps that
were not announced as gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Json = dict[str, Any]


class Message(NamedTuple):
    """What a message says, wherever it is seen."""

    sender: str
    to: str | None
    text: str
    id: str

    @classmethod
    def of(cls, json: Mapping[str, Any]) -> Message:
        return cls(json["from"], json.get("to"), json["text"], json["id"])


class Whole(NamedTuple):
    """A whole log, read at the end; ``start`` is the first offset that it has, or would have."""

    epoch: str
    start: int
    messages: list[Message]

    @property
    def end(self) -> int:
        """The offset of the last message."""
        return self.start + len(self.messages) - 1


class _Life:
    """What is known of one epoch of a log."""

    def __init__(self) -> None:
        self.messages: dict[int, Message] = {}
        self.offsets: dict[tuple[str, str], int] = {}


class Checker:
    """Gathers what happened; `complaints` has what should not have.

    Logs are called ``#room`` and ``@user``.

    Args:
        replay: how many messages behind a client may be and still be given a continuation.
    """

    def __init__(self, replay: int = 10_000) -> None:
        self.complaints: list[str] = []
        self.acknowledged = 0
        self.seen = 0
        self.gaps = 0
        self._replay = replay
        self._sent: dict[tuple[str, str], Message] = {}
        self._order: dict[tuple[str, str], list[str]] = {}
        self._reordered: set[tuple[str, str]] = set()
        self._lives: dict[tuple[str, str], _Life] = {}
        self._acks: dict[tuple[str, str, str], tuple[str, int, str]] = {}
        self._jumps: list[tuple[str, str, str, int]] = []

    def complain(self, sentence: str) -> None:
        self.complaints.append(sentence)

    def view(self, reader: str, log: str) -> View:
        """The view that one device has of one log, over all its connections."""
        return View(self, reader, log)

    # --- Posters ----------------------------------------------------------------------------

    def sends(self, log: str, message: Message) -> None:
        """A client is about to send a message for the first time; ``log`` will acknowledge it."""
        self._sent[message.sender, message.id] = message
        self._order.setdefault((log, message.sender), []).append(message.id)

    def refused(self, message: Message) -> None:
        """It was refused for now, so that others may overtake it."""
        self._reordered.add((message.sender, message.id))

    def acknowledges(self, log: str, message: Message, reply: Mapping[str, Any]) -> None:
        """It was acknowledged, perhaps again."""
        self.acknowledged += 1
        key = log, message.sender, message.id
        ack = reply["epoch"], reply["offset"], reply["time"]
        if self._acks.setdefault(key, ack) != ack:
            self.complain(f"{log}: {message.id} was acknowledged as {self._acks[key]} and as {ack}")
        self.fact(log, ack[0], ack[1], message)

    # --- Readers ----------------------------------------------------------------------------

    def fact(self, log: str, epoch: str, offset: int, message: Message) -> None:
        """Somebody was told that this is there."""
        life = self._lives.setdefault((log, epoch), _Life())
        known = life.messages.setdefault(offset, message)
        if known != message:
            self.complain(f"{log}: {known.id} and {message.id} are both at offset {offset}")
        at = life.offsets.setdefault((message.sender, message.id), offset)
        if at != offset:
            self.complain(f"{log}: {message.id} is there twice, at {at} and at {offset}")
        if self._sent.get((message.sender, message.id)) != message:
            self.complain(f"{log}: nobody sent what is at offset {offset}: {message}")

    def jumps(self, log: str, reader: str, epoch: str, offset: int) -> None:
        """A gap was announced to somebody who was at a position of the same epoch."""
        self._jumps.append((log, reader, epoch, offset))

    # --- The end ----------------------------------------------------------------------------

    def finish(self, logs: Mapping[str, Whole], *, may_trim: bool) -> None:
        """Compare everything with the logs as they are at the end."""
        for log, whole in logs.items():
            for offset, message in enumerate(whole.messages, whole.start):
                self.fact(log, whole.epoch, offset, message)
            if whole.start > 1 and not may_trim:
                self.complain(f"{log}: starts at {whole.start}, and nothing was to be trimmed")
            self._check_order(log, whole)
        for (log, epoch), life in self._lives.items():
            self._check_life(log, epoch, life, logs[log])
        for log, reader, epoch, offset in self._jumps:
            whole = logs[log]
            if epoch == whole.epoch and offset + 1 >= whole.start:
                self.complain(f"{log}: {reader} was at {offset} and got a gap without need")
        self._check_pairs(logs)

    def _check_life(self, log: str, epoch: str, life: _Life, whole: Whole) -> None:
        if epoch != whole.epoch:
            self.complain(f"{log}: its epoch {epoch} is now {whole.epoch}")
            return
        for offset, message in life.messages.items():
            if offset > whole.end:
                self.complain(f"{log}: {message.id} is lost, it was at {offset} of {whole.end}")

    def _check_order(self, log: str, whole: Whole) -> None:
        """What one client sent without a refusal is there in the order sent."""
        places = {(m.sender, m.id): n for n, m in enumerate(whole.messages)}
        for (target, sender), ids in self._order.items():
            if target != log:
                continue
            keys = [(sender, id) for id in ids if (sender, id) not in self._reordered]
            found = [places[key] for key in keys if key in places]
            if found != sorted(found):
                self.complain(f"{log}: the messages of {sender} are not in the order sent")

    def _check_pairs(self, logs: Mapping[str, Whole]) -> None:
        """A direct message is in both inboxes, unless one has trimmed it."""
        inboxes = {
            log[1:]: {(m.sender, m.id) for m in whole.messages}
            for log, whole in logs.items()
            if log.startswith("@")
        }
        for user, keys in inboxes.items():
            for key in keys:
                message = self._sent.get(key)
                if message is None or message.to is None:
                    continue
                other = message.to if user == message.sender else message.sender
                if key not in inboxes[other] and logs[f"@{other}"].start == 1:
                    self.complain(f"@{other}: lacks {message.id}, which @{user} has")


class View:
    """What one device sees of one log."""

    def __init__(self, checker: Checker, reader: str, log: str) -> None:
        self._checker = checker
        self._name = f"{log}: {reader}"
        self._reader = reader
        self.log = log
        self.epoch: str | None = None
        self.offset = 0

    @property
    def position(self) -> Json:
        """The field to resume with; none before the first slice."""
        if self.epoch is None:
            return {}
        return {"position": {"epoch": self.epoch, "offset": self.offset}}

    def slice(self, slice: Mapping[str, Any]) -> None:
        """The device resumed from its position and got this."""
        epoch, end, messages = slice["epoch"], slice["offset"], slice["messages"]
        complain = self._checker.complain
        if self.epoch is None or slice["gap"]:
            if slice["gap"]:
                self._gap(epoch, end)
            elif epoch is None:
                complain(f"{self._name} got no epoch")
            self.epoch = epoch
            self.offset = end - len(messages)
            if slice["more"]:
                complain(f"{self._name} got the newest page, and was promised more of it")
        elif epoch != self.epoch:
            complain(f"{self._name} got epoch {epoch} after {self.epoch} without a gap")
            self.epoch, self.offset = epoch, end - len(messages)
        for message in messages:
            self.message(message)
        if self.offset > end:
            complain(f"{self._name} is at {self.offset}, and the log ends at {end}")
        elif slice["more"] is not (self.offset < end):
            complain(f"{self._name} is at {self.offset} of {end}, but more is {slice['more']}")

    def _gap(self, epoch: str, end: int) -> None:
        self._checker.gaps += 1
        if self.epoch is None:
            self._checker.complain(f"{self._name} got a gap without a position")
        elif epoch == self.epoch and self.offset > end:
            self._checker.complain(f"{self._name} was at {self.offset}, the log ends at {end}")
        elif epoch == self.epoch and end - self.offset <= self._checker._replay:
            self._checker.jumps(self.log, self._reader, epoch, self.offset)

    def message(self, json: Mapping[str, Any]) -> None:
        """The next message, in a slice or as a push."""
        self._checker.seen += 1
        assert self.epoch is not None, "a log begins with a slice"
        offset = json["offset"]
        if offset != self.offset + 1:
            kind = "a repeat" if offset <= self.offset else "a hole that was not announced"
            self._checker.complain(f"{self._name} got {offset} after {self.offset}: {kind}")
        self.offset = offset
        self._checker.fact(self.log, self.epoch, offset, Message.of(json))

    def page(self, before: int, messages: Iterable[Mapping[str, Any]]) -> None:
        """A page of history that ends before an offset, or is empty."""
        assert self.epoch is not None, "a log begins with a slice"
        offsets = []
        for json in messages:
            offsets.append(json["offset"])
            self._checker.fact(self.log, self.epoch, json["offset"], Message.of(json))
        if offsets != list(range(before - len(offsets), before)):
            self._checker.complain(f"{self._name} got {offsets} as the history before {before}")
