"""Run what docs/importing.md shows, in a copy of tests/fixtures, and write what it prints into the page. `--check` compares.

The check is exact: what is read is files, and what is printed is counts.
"""

from __future__ import annotations

import itertools
import re
import shutil
import sys
import tempfile
from pathlib import Path

from make_tuning_page import blocks, run

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "importing.md"
_CONSOLE = re.compile(r"```console\n(.*?)```", re.S)


def main() -> None:
    """Write the page, or check it."""
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "fixtures"
        shutil.copytree(ROOT / "tests" / "fixtures", folder)
        found = run(page, folder, PAGE.name)
    if "--check" in sys.argv:
        chain = itertools.chain.from_iterable
        for (command, shown), (_, printed) in zip(chain(blocks(page)), chain(found), strict=True):
            if shown != printed:
                raise SystemExit(f"docs/importing.md: `{command}` prints something else.\n{printed}\nRun {Path(__file__).name}.")
        return
    fresh = iter(found)

    def filled(_: re.Match[str]) -> str:
        return "```console\n" + "".join(f"$ {command}\n{output}" for command, output in next(fresh)) + "```"

    PAGE.write_text(_CONSOLE.sub(filled, page), encoding="utf-8")


if __name__ == "__main__":
    main()
