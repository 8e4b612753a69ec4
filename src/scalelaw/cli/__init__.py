"""The command line: explicit verbs, one file each, and no science.

A verb parses its options, loads the data, calls one public function and prints what came back: sentences and tables for a
person, or with `--json` exactly one JSON object. Everything slow is imported inside the verb that needs it.

Exit codes: 0 done; 2 wrong usage or bad input (one line on stderr); 1 anything else; 3 `check` says OFF_LAW; 130 interrupted;
141 the reader of a pipe has gone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    from ._app import execute

    return execute(list(sys.argv[1:] if argv is None else argv))
