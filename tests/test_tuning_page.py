"""docs/tuning.md shows what its commands print, and figures that they drew."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tuning.md"


def test_every_command_of_the_page_runs_and_leads_with_the_words_shown() -> None:
    command = [sys.executable, ROOT / "tools" / "make_pages.py", "tuning", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_figures_are_there_and_small() -> None:
    page = PAGE.read_text(encoding="utf-8")
    figures = re.findall(r"\]\(figures/([^)]+)\)", page)
    assert set(figures) == {path.name for path in (ROOT / "docs" / "figures").glob("tuning_*")}
    for name in figures:
        assert f"-o {name}" in page
        assert (ROOT / "docs" / "figures" / name).stat().st_size < 150_000


def test_what_the_page_says_of_the_truth_is_within_its_intervals() -> None:
    """Each printed value with an interval and a truth: the truth lies inside."""
    page = PAGE.read_text(encoding="utf-8")
    found = re.findall(r"\((-?[\d.]+) to (-?[\d.]+)\)[^\n]*truth (-?[\d.]+\d)", page)
    assert len(found) >= 6
    for low, high, truth in found:
        assert float(low) <= float(truth) <= float(high)
