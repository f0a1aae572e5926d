"""Puts this package in wsproto's place in the running interpreter; imports it when asked to."""

from __future__ import annotations

import importlib
import sys

_PACKAGE = __name__.partition(".")[0]
_MODULES = (
    "connection",
    "events",
    "extensions",
    "frame_protocol",
    "handshake",
    "typing",
    "utilities",
)


def install_as_wsproto() -> None:
    """Make ``import wsproto``, and the import of each of its modules, mean this package.

    To be called before anything imports wsproto; calling it again does nothing. It holds for this
    interpreter alone: a worker process that imports the program's main module calls it there, and
    ``python -m wscore.as_wsproto`` sees to those that do not.

    Raises:
        RuntimeError: wsproto was imported already, so that its classes are in use. Nothing was
            changed.
    """
    modules = {
        f"wsproto.{name}": importlib.import_module(f"{_PACKAGE}.{name}") for name in _MODULES
    }
    modules["wsproto"] = sys.modules[_PACKAGE]
    for name in sys.modules:
        if name.partition(".")[0] == "wsproto" and sys.modules[name] is not modules.get(name):
            raise RuntimeError(
                f"{name} is imported already: call install_as_wsproto() before the first import"
                " of anything that uses wsproto"
            )
    sys.modules.update(modules)
