"""Run what docs/tuning.md shows and write what it prints, and its figures, into the page. `--check` only compares the words.

In the page, a python block that starts with `# NAME.py` is that file; in a console block, what follows a line `$ COMMAND` is its
output; a figure drawn to NAME.png goes to docs/figures. Everything runs in one new folder. The check passes over numbers, which
differ a little between machines, and asks that every command still runs and leads with the same words.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tuning.md"
FIGURES = ROOT / "docs" / "figures"
_FILE = re.compile(r"```(?:python|toml)\n# (\w+\.\w+)\n.*?```", re.S)
_CONSOLE = re.compile(r"```console\n(.*?)```", re.S)


def blocks(page: str) -> list[list[tuple[str, str]]]:
    """Of each console block the commands and their outputs."""
    found: list[list[tuple[str, str]]] = []
    for body in _CONSOLE.findall(page):
        parts = re.split(r"^\$ (.*)\n", body, flags=re.M)
        found.append(list(zip(parts[1::2], parts[2::2], strict=True)))
    return found


def run(page: str, folder: Path, name: str = PAGE.name) -> list[list[tuple[str, str]]]:
    """The blocks with what their commands print now."""
    for match in _FILE.finditer(page):
        text = match.group(0).partition("\n")[2].removesuffix("```")
        (folder / match.group(1)).write_text(text, encoding="utf-8")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    found: list[list[tuple[str, str]]] = []
    for block in blocks(page):
        found.append([])
        for command, _ in block:
            done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            if done.returncode not in (0, 3):
                raise SystemExit(f"docs/{name}: `{command}` failed.\n{done.stderr}")
            found[-1].append((command, done.stdout))
    return found


def words(output: str) -> list[str]:
    """The words of the first line."""
    return re.findall(r"[A-Za-z_]{3,}", (output.splitlines() or [""])[0])


def main() -> None:
    """Write the page, or check it."""
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        found = run(page, Path(name))
        if "--check" in sys.argv:
            for old, new in zip(blocks(page), found, strict=True):
                for (command, shown), (_, printed) in zip(old, new, strict=True):
                    if words(shown) != words(printed):
                        raise SystemExit(
                            f"docs/tuning.md: `{command}` prints something else.\n{printed}\nRun tools/make_tuning_page.py."
                        )
            return
        fresh = iter(found)

        def filled(_: re.Match[str]) -> str:
            return "```console\n" + "".join(f"$ {command}\n{output}" for command, output in next(fresh)) + "```"

        PAGE.write_text(_CONSOLE.sub(filled, page), encoding="utf-8")
        for figure in Path(name).glob("tuning_*.png"):
            shutil.copy(figure, FIGURES / figure.name)


if __name__ == "__main__":
    main()
