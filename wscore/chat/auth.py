"""Who somebody is: from a hello to an identity, or a refusal; imports `model` and `protocol`."""

from __future__ import annotations

import hashlib
import secrets
from typing import NamedTuple

from msgspec import UNSET

from .model import Name, parse_name
from .protocol import ChatError, Hello


class Identity(NamedTuple):
    """A user, and the secret by which the name is theirs."""

    user: Name
    session: str

    def secret_hash(self) -> bytes:
        """What the store keeps of the session: enough to know it again, not to use it.

        A session has at least 22 characters, chosen at random: there is nothing that a slow hash
        would protect. The name is hashed with it, so that equal sessions do not look equal.
        """
        return hashlib.sha256(f"{self.user.key}\0{self.session}".encode()).digest()


def identify(hello: Hello) -> Identity:
    """Read the identity that a hello claims; whether the name is free, the store knows.

    Raises:
        ChatError: ``unauthorized`` for a token, since no key is configured; ``invalid_name``.
    """
    if hello.token is not UNSET or hello.user is UNSET:
        raise ChatError("unauthorized", "this server takes no tokens")
    user = parse_name(hello.user)
    if user is None:
        raise ChatError("invalid_name", "a name has 1-64 letters, digits, marks or - _ .")
    session = secrets.token_urlsafe(24) if hello.session is UNSET else hello.session
    return Identity(user, session)
