"""Build the compiled twin, `wscore._framing_c` and the modules below it; all else about the package
is in pyproject.toml.

WSCORE_BUILD_EXT: unset, try to compile and go on without; "1", must compile; "0", pure Python.
WSCORE_SANITIZE: "1" compiles with AddressSanitizer and UndefinedBehaviorSanitizer, for debugging.
"""

from __future__ import annotations

import os
import sys
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

SWITCH = os.environ.get("WSCORE_BUILD_EXT", "")
if SWITCH not in ("", "0", "1"):
    sys.exit(f"WSCORE_BUILD_EXT must be unset, 0 or 1, not {SWITCH!r}")
SANITIZE = os.environ.get("WSCORE_SANITIZE") == "1"
# PyPy runs the Python twin faster than it can call into C.
WANTED = SWITCH == "1" or (SWITCH == "" and sys.implementation.name == "cpython")


def module(name: str, *sources: str) -> Extension:
    """Describe the module of this name."""
    return Extension(
        f"wscore.{name}",
        sources=[f"src_cython/wscore/{name}.pyx", *sources],
        depends=[*glob("src_cython/*.h"), *glob("src_cython/wscore/*.pxd")],
        include_dirs=["src_cython"],
        optional=SWITCH != "1",
    )


# Lowest first: each takes types and functions from those above it here.
FRAMING = [
    module("_primitives_c", "src_cython/xor_mask.c", "src_cython/utf8.c"),
    module("_events_c"),
    module("_decoder_c"),
    module("_framing_c"),
    module("_queue_c"),
    module("_flow_c"),
    module("_fanout_c"),
]


class BuildFraming(build_ext):
    """Translate to C only when building, so that an sdist never carries generated code."""

    unbuilt: str | None = None

    def build_extension(self, ext: Extension) -> None:
        """Cythonize, choose the compiler's flags, compile.

        Raises:
            CompileError: Cython is missing or refused the source, or a module below this one was
                not built (a warning where optional).
        """
        # Where `_framing_c` is there, so is all that it needs; the same of `_fanout_c`.
        if self.unbuilt is not None:
            raise CompileError(f"{self.unbuilt}, which it needs, was not built")
        self.unbuilt = ext.name
        try:
            from Cython.Build import cythonize
            from Cython.Compiler.Errors import CompileError as CythonError
        except ImportError as exc:
            raise CompileError(f"Cython is not installed: {exc}") from exc
        if self.compiler.compiler_type == "msvc":
            ext.extra_compile_args = ["/O2"]
        elif SANITIZE:
            sanitizers = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g", "-O1"]
            ext.extra_compile_args = ext.extra_link_args = sanitizers
        else:
            ext.extra_compile_args = ["-O3"]
        try:
            [translated] = cythonize(
                [ext],
                build_dir="build/cython",
                include_path=["src_cython"],
                compiler_directives={"binding": True, "language_level": 3, "autotestdict": False},
                force=self.force,
            )
        except CythonError as exc:
            raise CompileError(f"Cython refused the source: {exc}") from exc
        ext.sources = translated.sources
        super().build_extension(ext)
        self.unbuilt = None


setup(ext_modules=FRAMING if WANTED else [], cmdclass={"build_ext": BuildFraming})
