"""docs/importing.md shows what its commands print, on the samples that the real tools wrote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scalelaw.importers import importers

ROOT = Path(__file__).resolve().parent.parent


def test_every_command_of_the_page_prints_what_is_shown() -> None:
    command = [sys.executable, ROOT / "tools" / "make_pages.py", "importing", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_every_tracker_has_its_sample_on_the_page() -> None:
    page = (ROOT / "docs" / "importing.md").read_text(encoding="utf-8")
    for folder in (ROOT / "tests" / "fixtures").iterdir():
        if folder.is_dir() and "__" not in folder.name and folder.name != "stores":
            assert f"import {folder.name}" in page, folder.name
    assert len(importers.names()) >= 15


def test_the_samples_are_small() -> None:
    files = [path for path in (ROOT / "tests" / "fixtures").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 1_000_000
