"""Names, ids and texts checked before they are sent; imports the model and the protocol's types."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit, urlunsplit

from wscore.chat.model import parse_name
from wscore.chat.protocol import ChatError, Limits


def new_id() -> str:
    """An id for a message, or a session secret: 22 characters, 128 random bits."""
    return secrets.token_urlsafe(16)


def name_key(name: str) -> str:
    """What a name is compared by.

    Raises:
        ChatError: ``invalid_name``.
    """
    parsed = parse_name(name)
    if parsed is None:
        raise ChatError("invalid_name", "a name has 1-64 letters, digits, marks or - _ .")
    return parsed.key


def message_id(id: str | None) -> str:
    """An id that can be sent, a new one for None.

    Raises:
        ValueError: it is too short or too long.
    """
    if id is None:
        return new_id()
    if not 1 <= len(id) <= Limits().id:
        raise ValueError(f"an id has 1 to {Limits().id} characters")
    return id


def message_text(text: str) -> str:
    """A text that is not empty; how long it may be, the server says.

    Raises:
        ChatError: ``malformed``.
    """
    if not text:
        raise ChatError("malformed", "a text has at least one character")
    return text


def check_session(session: str | None) -> str:
    """A session secret that can be sent, a new one for None.

    Raises:
        ValueError: it is too short or too long.
    """
    if session is None:
        return new_id()
    if not 22 <= len(session) <= 128:
        raise ValueError("a session has 22 to 128 characters")
    return session


def websocket_url(url: str) -> str:
    """The URL of a chat's WebSocket, from it or from that of the page.

    Raises:
        ValueError: it is neither.
    """
    parts = urlsplit(url)
    if parts.scheme in ("ws", "wss"):
        return url
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"the URL of a chat is like ws://host/ws or http://host/, not {url!r}")
    folder = parts.path.rpartition("/")[0]
    scheme = "ws" if parts.scheme == "http" else "wss"
    return urlunsplit((scheme, parts.netloc, f"{folder}/ws", "", ""))
