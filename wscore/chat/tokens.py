"""Users by JSON Web Tokens (RFC 7519); imports `auth` and PyJWT, the extra ``jwt``."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, get_args

import jwt

from wscore.trio import HTTPRequest

from .auth import Algorithm, Identity
from .protocol import ChatError, Hello

logger = logging.getLogger("wscore.chat")

_ALGORITHMS = get_args(Algorithm)
_DAY = 86400
# Whatever is not a token: PyJWT lets some of these escape where the header is absurd.
_NOT_A_TOKEN = (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError)


class TokenAuthentication:
    """An `Authenticate` that takes nothing but tokens; ``sub`` is the user's name.

    ``exp`` and ``nbf`` are obeyed where they are in the token. A token with an ``aud`` is
    for this audience or refused (RFC 7519 section 4.1.3).

    Args:
        key: the shared secret, or the public key (PEM) of an asymmetric algorithm.
        algorithms: those that are accepted, of `Algorithm`.
        audience: what ``aud`` has to name; None: there must be none.
        issuer: what ``iss`` has to be; None: anything.
        clock: the time of day, in seconds since 1970.

    Raises:
        ValueError: an algorithm is not known, not secure, or not one for this key.
    """

    def __init__(
        self,
        key: str | bytes,
        *,
        algorithms: Sequence[str] = ("HS256",),
        audience: str | None = None,
        issuer: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._algorithms = _checked(algorithms)
        self._key, weakness = _prepare(key, self._algorithms)
        if weakness:
            logger.warning("%s", weakness)
        self._audience = audience
        self._issuer = issuer
        self._clock = clock

    async def __call__(self, hello: Hello, request: HTTPRequest) -> Identity:
        """Say whose token it is.

        Raises:
            ChatError: ``unauthorized``.
        """
        del request
        if not hello.token:
            raise ChatError("unauthorized", "this server wants a token")
        claims = self._verify(hello.token)
        user, expires = claims.get("sub"), _date(claims, "exp")
        if not isinstance(user, str):
            raise ChatError("unauthorized", "the token names no user: it has no sub")
        now = self._clock()
        if expires is not None and expires <= now:
            raise ChatError("unauthorized", "the token has expired")
        if (_date(claims, "nbf") or 0) > now:
            raise ChatError("unauthorized", "the token is not valid yet")
        return Identity(user, expires=expires, claims=claims)

    def _verify(self, token: str) -> dict[str, Any]:
        try:
            with warnings.catch_warnings():  # of a short key: that was said at the start
                warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
                return jwt.decode(
                    token,
                    self._key,
                    algorithms=self._algorithms,
                    audience=self._audience,
                    issuer=self._issuer,
                    # These compare with a clock that cannot be chosen.
                    options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
                )
        except _NOT_A_TOKEN as error:
            raise ChatError("unauthorized", f"not a valid token: {error}"[:200]) from None


def make_token(
    user: str,
    key: str | bytes,
    *,
    algorithm: str = "HS256",
    seconds: float = _DAY,
    audience: str | None = None,
    issuer: str | None = None,
    clock: Callable[[], float] = time.time,
) -> str:
    """Make a token that `TokenAuthentication` takes.

    Args:
        user: becomes ``sub``.
        key: the shared secret, or the private key (PEM) of an asymmetric algorithm.
        algorithm: one of `Algorithm`.
        seconds: how long it is valid from now on.
        audience: becomes ``aud``.
        issuer: becomes ``iss``.
        clock: the time of day, in seconds since 1970.

    Raises:
        ValueError: the algorithm is not known, or not one for this key.
    """
    [algorithm] = _checked([algorithm])
    prepared, _ = _prepare(key, [algorithm])
    now = int(clock())
    claims = {"sub": user, "iat": now, "exp": math.ceil(now + seconds)}
    optional = {"aud": audience, "iss": issuer}
    claims |= {name: value for name, value in optional.items() if value is not None}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
            return jwt.encode(claims, prepared, algorithm)
    except (TypeError, ValueError, AttributeError) as error:  # it is a public key
        raise ValueError(f"the key cannot sign: {error}") from None


def _checked(algorithms: Sequence[str]) -> list[str]:
    """Algorithms that may be accepted together.

    One key must not serve for both kinds: a public key is no secret (RFC 8725 section 3.1).
    """
    unknown = [algorithm for algorithm in algorithms if algorithm not in _ALGORITHMS]
    if unknown or not algorithms or isinstance(algorithms, str):
        raise ValueError(f"the algorithms are some of {', '.join(_ALGORITHMS)}, not {algorithms}")
    if len({algorithm.startswith("HS") for algorithm in algorithms}) > 1:
        raise ValueError("algorithms with a shared secret and with a public key do not mix")
    return list(algorithms)


def _prepare(key: str | bytes, algorithms: list[str]) -> tuple[Any, str | None]:
    """The key as PyJWT wants it, and what is weak about it."""
    if not key:
        raise ValueError("the key is empty")
    prepared: Any = key
    weakness = None
    for name in algorithms:
        try:
            algorithm = jwt.get_algorithm_by_name(name)
            prepared = algorithm.prepare_key(key)
            weakness = algorithm.check_key_length(prepared)
        except NotImplementedError:
            raise ValueError(f"{name} needs cryptography: pip install 'wscore[jwt]'") from None
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"this is no key for {name}: {error}") from None
    return prepared, weakness


def _date(claims: dict[str, Any], name: str) -> float | None:
    """A time in a token, in seconds since 1970 (RFC 7519 section 2, NumericDate)."""
    value = claims.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = float(value)
            if math.isfinite(seconds):
                return seconds
    except OverflowError:
        pass
    raise ChatError("unauthorized", f"not a valid token: {name} is no time")
