"""The chat on a terminal or in a pipe: the command ``wscore chat join``."""

from .command import main

__all__ = ["main"]
