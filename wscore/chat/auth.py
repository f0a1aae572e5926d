"""Who somebody is and what they may do; imports `model`, `protocol` and wscore.trio.

Both questions are put to callables that an embedding program can replace. Names are normalised
here, behind them, so that no callable has to.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import trio
from msgspec import UNSET

from wscore.trio import HTTPRequest

from .model import Name, parse_name
from .protocol import ChatError, Hello


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is there, as `Authenticate` says; may be subclassed to tell `Authorize` more.

    Attributes:
        user: the user's name.
        session: a secret that has to be the one with which the name was first used. None: who it
            is was proven in another way, and the name cannot be had with a secret.
        expires: when this ends, in seconds since 1970; None: never. The connection is closed with
            4003 then.
        claims: whatever else is known, like the claims of a token.
    """

    user: str
    session: str | None = field(default=None, repr=False)
    expires: float | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)


Authenticate = Callable[[Hello, HTTPRequest], Awaitable[Identity]]
"""Says who sends a hello, given that and the request by which the connection was opened.

Headers of that request have lower-case names; cookies are in ``request.header(b"cookie")``.
Raises `ChatError` (``unauthorized``, say) for somebody who is nobody.
"""

Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip
"""How a token may be signed (RFC 7518 and RFC 8037); ``none`` is no signature."""

Action = Literal["join", "post", "direct"]

Authorize = Callable[[Identity, Action, str], Awaitable[bool]]
"""Says whether somebody may join a room, post in it, or write to a user.

It is given what `Authenticate` returned, the action, and the name of the room or user in the form
in which names are compared: NFC of the casefolded name, so that no other spelling slips through.
"""


async def authenticate_session(hello: Hello, request: HTTPRequest) -> Identity:
    """Believe a name to whoever holds the session that it was first used with.

    Raises:
        ChatError: ``unauthorized`` for a token, since no key is configured.
    """
    del request
    if hello.token is not UNSET or hello.user is UNSET:
        raise ChatError("unauthorized", "this server takes no tokens")
    return Identity(hello.user, session=hello.session or secrets.token_urlsafe(24))


class Admission(NamedTuple):
    """An identity whose name is a name.

    Attributes:
        user: the name.
        session: what the client is told.
        secret: what the store keeps; see `_hash`.
        identity: as it was given.
    """

    user: Name
    session: str
    secret: bytes
    identity: Identity


class Gate:
    """Asks the callables of one server.

    Args:
        authenticate: who is there.
        authorize: what they may do; None: everything.
        clock: the time of day, in seconds since 1970.
    """

    def __init__(
        self,
        authenticate: Authenticate = authenticate_session,
        authorize: Authorize | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._authenticate = authenticate
        self._authorize = authorize
        self._clock = clock

    async def admit(self, hello: Hello, request: HTTPRequest) -> Admission:
        """Find out who says hello; whether the name is free, the store knows.

        Raises:
            ChatError: ``invalid_name``, or what `Authenticate` raised.
            TypeError: `Authenticate` returned no identity.
        """
        identity: object = await self._authenticate(hello, request)
        if not isinstance(identity, Identity):
            kind = type(identity).__name__
            raise TypeError(f"authenticate returns an Identity, not {kind}")
        user = parse_name(identity.user)
        if user is None:
            raise ChatError("invalid_name", "a name has 1-64 letters, digits, marks or - _ .")
        session = identity.session or hello.session or secrets.token_urlsafe(24)
        return Admission(user, session, _hash(user, identity.session), identity)

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything, so that nobody has to be asked."""
        return self._authorize is None

    async def allows(self, identity: Identity, action: Action, target: Name) -> bool:
        """Whether somebody may do something.

        Raises:
            TypeError: `Authorize` returned no bool.
        """
        if self._authorize is None:
            return True
        allowed: object = await self._authorize(identity, action, target.key)
        if not isinstance(allowed, bool):
            raise TypeError(f"authorize returns a bool, not {type(allowed).__name__}")
        return allowed

    async def require(self, identity: Identity, action: Action, target: Name) -> None:
        """See that somebody may do something.

        Raises:
            ChatError: ``forbidden``.
            TypeError: `Authorize` returned no bool.
        """
        if not await self.allows(identity, action, target):
            raise ChatError("forbidden", f"you may not {action} here")

    async def expiry(self, identity: Identity) -> None:
        """Wait until an identity has expired."""
        if identity.expires is None:
            await trio.sleep_forever()
        else:
            # The time of day may have been set meanwhile: look again.
            while (left := identity.expires - self._clock()) > 0:  # noqa: ASYNC110
                await trio.sleep(left)


def _hash(user: Name, session: str | None) -> bytes:
    """What the store keeps of a session: enough to know it again, not to use it.

    A session has at least 22 characters, chosen at random: there is nothing that a slow hash
    would protect. The name is hashed with it, so that equal sessions do not look equal. Without a
    session the secret is empty, which is no session's hash: a name that was proven cannot be
    claimed with a session later, nor the other way round.
    """
    if session is None:
        return b""
    return hashlib.sha256(f"{user.key}\0{session}".encode()).digest()
