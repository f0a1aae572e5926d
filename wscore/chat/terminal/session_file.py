"""The session secrets of this machine's user, one file for each server and name; imports `model`.

The folder is ``$XDG_STATE_HOME/wscore/chat``, by default ``~/.local/state/wscore/chat``; on Windows
it is in ``%LOCALAPPDATA%``. Nobody else can read it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from wscore.chat.model import Name


class UnusableFile(Exception):
    """The file with a session cannot be read or written."""


class SessionFile:
    """Where the secret of a name on a server is kept.

    Args:
        url: of the chat's WebSocket; only scheme, host and port count.
        user: the name.
    """

    def __init__(self, url: str, user: Name) -> None:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        self._server = f"{parts.scheme}://{parts.hostname}:{port}"
        self._user = user.text
        digest = hashlib.sha256(f"{self._server}\0{user.key}".encode()).hexdigest()
        self._path = state_folder() / f"{digest[:32]}.json"

    def load(self) -> tuple[str, bool]:
        """The secret, and whether it is a new one; it is on the disk before anybody hears of it.

        Raises:
            UnusableFile: it cannot be read or written.
        """
        try:
            with suppress(FileNotFoundError):
                return self._read(), False
            return self._create()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnusableFile(f"cannot use {self._path}: {error}") from None

    def forget(self) -> None:
        """Remove it: the server did not accept it."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> str:
        session = json.loads(self._path.read_text(encoding="utf-8"))["session"]
        if not isinstance(session, str):
            raise TypeError("the session is no string")
        return session

    def _create(self) -> tuple[str, bool]:
        """Write a whole file under another name, then give it this one, unless there is one now."""
        folder = self._path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        session = secrets.token_urlsafe(32)
        draft = folder / f"{self._path.name}.{secrets.token_hex(4)}"
        content = {"server": self._server, "user": self._user, "session": session}
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, self._path)
            except FileExistsError:  # another program was faster
                return self._read(), False
        finally:
            draft.unlink()
        return session, True


def state_folder() -> Path:
    """Where programs keep what they have to know the next time."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        # XDG Base Directory Specification: a relative path is to be ignored.
        chosen = Path(os.environ.get("XDG_STATE_HOME", ""))
        base = chosen if chosen.is_absolute() else Path.home() / ".local" / "state"
    return base / "wscore" / "chat"
