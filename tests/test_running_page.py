"""docs/running.md shows what its commands print, and leaves no engine and no trainer out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scalelaw.engines import engines
from scalelaw.trainers import BUILTIN, trainers

ROOT = Path(__file__).resolve().parent.parent


def test_every_command_of_the_walk_prints_what_is_shown() -> None:
    command = [sys.executable, ROOT / "tools" / "make_pages.py", "running", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_every_engine_and_every_trainer_is_on_the_page() -> None:
    page = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    for name in set(engines.names()) - {"local"}:
        assert f"--engine {name}" in page, name
    for name in set(trainers.names()) - {BUILTIN}:
        assert f"\n{name} = " in page or f"    {name} = " in page, name
