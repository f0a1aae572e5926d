"""The exceptions: one tree, and nothing lost in pickling."""

from __future__ import annotations

import copy
import pickle

import pytest

from wscore._codes import CloseReason
from wscore.errors import LocalProtocolError, ParseFailed, ProtocolError, RemoteProtocolError
from wscore.events import RejectConnection


@pytest.mark.parametrize("kind", [LocalProtocolError, RemoteProtocolError, ParseFailed])
def test_one_tree(kind: type[ProtocolError]) -> None:
    assert issubclass(kind, ProtocolError)
    assert str(kind("why")) == "why"


@pytest.mark.parametrize("pass_on", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_passed_on(pass_on: object) -> None:
    assert callable(pass_on)
    hint = RejectConnection(status_code=426)
    remote = pass_on(RemoteProtocolError("why", hint))
    assert (str(remote), remote.event_hint) == ("why", hint)
    failed = pass_on(ParseFailed("why", CloseReason.MESSAGE_TOO_BIG))
    assert (str(failed), failed.code) == ("why", CloseReason.MESSAGE_TOO_BIG)


def test_defaults() -> None:
    assert RemoteProtocolError("why").event_hint is None
    assert ParseFailed("why").code is CloseReason.PROTOCOL_ERROR
