"""Makes ``python -m wscore.chat.terminal`` the command ``wscore chat join``."""

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())
