"""What can be set about ``wscore chat``, with types and defaults; imports `auth` and `protocol`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from .auth import Algorithm
from .protocol import Limits

_LIMITS = Limits()
_ORIGIN = r"^(null|[A-Za-z][A-Za-z0-9+.-]*://[^/?#@\s]+)$"

NonEmpty = Annotated[str, Meta(min_length=1)]


class Settings(Struct, frozen=True, kw_only=True):
    """What ``wscore chat`` is told; the descriptions are those of ``--help``."""

    host: Annotated[NonEmpty, Meta(description="address or name to listen at")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port; 0 takes a free one")] = 8765
    data: Annotated[
        NonEmpty,
        Meta(
            description="SQLite file with everything that was said, or :memory:",
            extra={"metavar": "PATH"},
        ),
    ] = "chat.db"
    engine: Annotated[
        Annotated[str, Meta(pattern=r"^(redis|rediss|unix)://.")] | None,
        Meta(
            description="Redis that keeps everything in place of a file, for several processes; a"
            " password is better given in the variable",
            extra={
                "metavar": "URL",
                "expected": "a URL like redis://host:6379/0",
                "secret": True,
            },
        ),
    ] = None
    redis_wait: Annotated[
        int,
        Meta(
            ge=0,
            le=100,
            description="replicas that must have a message before it counts as stored",
            extra={"metavar": "N"},
        ),
    ] = 0
    workers: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="processes that share the port; more than one need --engine",
            extra={"metavar": "N"},
        ),
    ] = 1
    origin: Annotated[
        tuple[Annotated[str, Meta(pattern=_ORIGIN)], ...],
        Meta(
            description="pages of this origin may connect too, not only the server's own",
            extra={"expected": "an origin like https://example.com"},
        ),
    ] = ()
    tls_cert: Annotated[
        NonEmpty | None,
        Meta(description="certificate chain (PEM), for HTTPS", extra={"metavar": "FILE"}),
    ] = None
    tls_key: Annotated[
        NonEmpty | None,
        Meta(description="its key (PEM), if it is not in there", extra={"metavar": "FILE"}),
    ] = None
    jwt_key: Annotated[
        NonEmpty | None,
        Meta(
            description="users need a token signed with this; other users of the machine can see"
            " it among the processes, so better use the variable or the file",
            extra={"metavar": "SECRET", "secret": True},
        ),
    ] = None
    jwt_key_file: Annotated[
        NonEmpty | None,
        Meta(description="the same, or a public key (PEM), in a file", extra={"metavar": "FILE"}),
    ] = None
    jwt_algorithm: Annotated[
        tuple[Algorithm, ...],
        Meta(min_length=1, description="how tokens may be signed"),
    ] = ("HS256",)
    jwt_audience: Annotated[
        NonEmpty | None, Meta(description="aud that a token has to name; else it must have none")
    ] = None
    jwt_issuer: Annotated[NonEmpty | None, Meta(description="iss that a token has to have")] = None
    rate: Annotated[
        float,
        Meta(
            ge=0,
            le=1e9,
            description="posts and direct messages per second and connection; 0 lifts the limit",
        ),
    ] = _LIMITS.rate
    burst: Annotated[int, Meta(ge=1, le=10**9, description="posts and direct messages at once")] = (
        _LIMITS.burst
    )
    presence_limit: Annotated[
        int,
        Meta(ge=0, description="users in a room above which only their number is told"),
    ] = _LIMITS.presence
    keep_messages: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="messages kept of each room and inbox; else all"),
    ] = None
    keep_days: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="days that messages are kept; else for ever"),
    ] = None
    max_rooms: Annotated[int, Meta(ge=1, description="rooms in all")] = 100_000
    max_users: Annotated[int, Meta(ge=1, description="users in all")] = 1_000_000
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least severe lines")
    ] = "warning"
    log_format: Annotated[
        Literal["text", "json"], Meta(description="lines for people or for programs")
    ] = "text"

    def key(self) -> bytes | None:
        """The key for tokens, or None; a newline at the end of a file is not part of it.

        Raises:
            SettingError: the file cannot be read.
        """
        if self.jwt_key is not None:
            return self.jwt_key.encode()
        if self.jwt_key_file is None:
            return None
        try:
            return Path(self.jwt_key_file).read_bytes().rstrip(b"\r\n")
        except OSError as error:
            reason = error.strerror or error
            raise SettingError(f"jwt-key-file: cannot read {self.jwt_key_file}: {reason}") from None


class SettingError(ValueError):
    """A setting that cannot be; the message is one line that says where it comes from."""
