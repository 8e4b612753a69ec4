"""Write docs/cli.md from `--help`, so that the page is never wrong. `--check` only says whether it is up to date."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cli.md"
HEAD = """# The command line

This page is made from `--help` by `make docs`; a test holds it to the code.

Every command takes `--json`: one JSON object on stdout and nothing else; an enum appears as its name, a number that is not finite
as null. What is told on the side, such as progress and columns that were ignored, goes to stderr. There is no colour where stdout
is no terminal or `NO_COLOR` is set.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | a failure that is not yours; `--debug` anywhere on the line shows the traceback |
| 2 | wrong usage or bad input: one line on stderr says what, where and what to do |
| 3 | `check`: the run, or any of several, is off the law; `watch`: an alarm |
| 130 | interrupted; the same command again goes on |
"""


def text() -> str:
    """The page."""
    from scalelaw.cli._app import PANELS

    parts = [HEAD, "```\n" + _help() + "```\n"]
    for panel, verbs in PANELS.items():
        parts.append(f"## {panel}\n")
        parts += [f"### scalelaw {verb}\n\n```\n{_help(verb)}```\n" for verb in verbs]
    return "\n".join(parts)


def _help(*verb: str) -> str:
    from scalelaw.cli import main as scalelaw

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        scalelaw([*verb, "--help"])
    return "\n".join(line.rstrip() for line in shown.getvalue().splitlines()) + "\n"


def main() -> int:
    """Write the page, or with `--check` compare it."""
    os.environ.update(COLUMNS="110", LINES="50", NO_COLOR="1")
    new = text()
    if "--check" in sys.argv:
        same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == new
        if not same:
            print("docs/cli.md is not what --help says; run: make docs", file=sys.stderr)
        return not same
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
