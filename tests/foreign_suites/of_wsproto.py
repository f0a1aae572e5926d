"""Runs wsproto's own tests, from its source distribution, with `wscore` in the place of `wsproto`.

Exit status 0 only if exactly the tests listed below fail: each is an intended difference, with its
reason.
"""

from __future__ import annotations

import importlib
import sys

from suite import Suite

import wscore

VERSION = "1.3.2"
MODULES = (
    "connection",
    "events",
    "extensions",
    "frame_protocol",
    "handshake",
    "typing",
    "utilities",
)

#: The tests that must fail, and why.
INTENDED = {
    "TestPerMessageDeflate::test_accept_ignores_rubbish": (
        "an offer with parameters that RFC 7692 does not know is declined, as section 7.1 demands"
    ),
    "TestPerMessageDeflate::test_finalize_ignores_rubbish": (
        "an answer with unknown parameters fails the handshake, as RFC 7692 section 7.1 demands"
    ),
    "TestPerMessageDeflate::test_inbound_bad_zlib_decoder_end_state": (
        "replaces a private attribute by an object without zlib's interface for bounded inflation"
    ),
}


def alias() -> None:
    """Makes `import wsproto` and its submodules mean `wscore`."""
    sys.modules["wsproto"] = wscore
    for name in MODULES:
        sys.modules[f"wsproto.{name}"] = importlib.import_module(f"wscore.{name}")


SUITE = Suite("wsproto", VERSION, "of_wsproto", INTENDED, passing=200)

if __name__ == "__main__":
    sys.exit(SUITE.run())
