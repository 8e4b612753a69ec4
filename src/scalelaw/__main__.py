"""`python -m scalelaw`: the command line, where its script is on no path."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
