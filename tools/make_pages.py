"""Run what docs/tuning.md, planning.md, importing.md and running.md show; write what it prints, and its figures, into the page.

    python tools/make_pages.py tuning planning importing running
    python tools/make_pages.py tuning --check                                    compare the words only
    python tools/make_pages.py planning --check --instead "steps = 200" "steps = 20"     see only that every command runs

In a page, a python or toml block that starts with `# NAME.py` or `# NAME.toml` is that file; in a console block, what follows a
line `$ COMMAND` is its output; a figure drawn to PAGE_NAME.png goes to docs/figures. Everything of a page runs in one new folder.
The check passes over numbers, which differ a little between machines, and asks that every command still runs and leads with the
same words; importing.md reads files and prints counts, so that its check is exact. A page that trains networks for a minute is
checked with text that makes them smaller; then any words will do.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Where a page's commands find their files, and pages that print the same on every machine.
START = {"importing": ROOT / "tests" / "fixtures"}
EXACT = ("importing",)
FIGURES = ROOT / "docs" / "figures"
_FILE = re.compile(r"```(?:python|toml)\n(# (\w+\.(?:py|toml))\n.*?)```", re.S)
_CONSOLE = re.compile(r"```console\n(.*?)```", re.S)


def blocks(page: str) -> list[list[tuple[str, str]]]:
    """Of each console block the commands and their outputs."""
    found: list[list[tuple[str, str]]] = []
    for body in _CONSOLE.findall(page):
        parts = re.split(r"^\$ (.*)\n", body, flags=re.M)
        found.append(list(zip(parts[1::2], parts[2::2], strict=True)))
    return found


def run(name: str, page: str, folder: Path) -> list[list[tuple[str, str]]]:
    """The blocks of a page with what their commands print now."""
    for match in _FILE.finditer(page):
        (folder / match.group(2)).write_text(match.group(1), encoding="utf-8")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    found: list[list[tuple[str, str]]] = []
    for block in blocks(page):
        found.append([])
        for command, _ in block:
            done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            if done.returncode not in (0, 3):
                raise SystemExit(f"docs/{name}.md: `{command}` failed.\n{done.stderr}")
            found[-1].append((command, done.stdout))
    return found


def words(output: str) -> list[str]:
    """The words of the first line."""
    return re.findall(r"[A-Za-z_]{3,}", (output.splitlines() or [""])[0])


def compare(name: str, page: str, found: list[list[tuple[str, str]]]) -> None:
    """Leave where a command's first line has other words than the page shows."""
    for old, new in zip(blocks(page), found, strict=True):
        for (command, shown), (_, printed) in zip(old, new, strict=True):
            same = shown == printed if name in EXACT else words(shown) == words(printed)
            if not same:
                raise SystemExit(
                    f"docs/{name}.md: `{command}` prints something else.\n{printed}\nRun tools/make_pages.py {name}."
                )


def write(name: str, page: str, found: list[list[tuple[str, str]]], folder: Path) -> None:
    """Put what was printed and drawn into the page."""
    fresh = iter(found)

    def filled(_: re.Match[str]) -> str:
        return "```console\n" + "".join(f"$ {command}\n{output}" for command, output in next(fresh)) + "```"

    (ROOT / "docs" / f"{name}.md").write_text(_CONSOLE.sub(filled, page), encoding="utf-8")
    for figure in folder.glob(f"{name}_*.png"):
        shutil.copy(figure, FIGURES / figure.name)


def main() -> None:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pages", nargs="+", choices=("tuning", "planning", "importing", "running"))
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--instead", nargs=2, action="append", default=[], metavar=("OLD", "NEW"), help="replace text first")
    asked = parser.parse_args()
    for name in asked.pages:
        page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        for old, new in asked.instead:
            if old not in page:
                raise SystemExit(f"docs/{name}.md does not say {old!r}")
            page = page.replace(old, new)
        with tempfile.TemporaryDirectory() as folder:
            if name in START:
                shutil.copytree(START[name], folder, dirs_exist_ok=True)
            found = run(name, page, Path(folder))
            if not asked.check:
                write(name, page, found, Path(folder))
            elif not asked.instead:
                compare(name, page, found)


if __name__ == "__main__":
    main()
