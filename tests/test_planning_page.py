"""docs/planning.md shows what its commands print; here they run on networks trained for a few steps."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "planning.md"
SMALLER = (
    ("steps = 200", "steps = 50"),
    ("width = [8, 12, 16, 24, 32, 48, 64]", "width = [4, 8, 12, 16]"),
    ("width = 512", "width = 128"),
    ("width=512", "width=128"),
    ("seeds = 3", "seeds = 1"),
    ("regret < 1 %", "runs >= 20"),
)


def test_every_command_of_the_page_runs() -> None:
    smaller = [word for old, new in SMALLER for word in ("--instead", old, new)]
    command = [sys.executable, ROOT / "tools" / "make_pages.py", "planning", "--check", *smaller]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_figures_are_there_and_small() -> None:
    page = PAGE.read_text(encoding="utf-8")
    figures = re.findall(r"\]\(figures/([^)]+)\)", page)
    assert set(figures) == {path.name for path in (ROOT / "docs" / "figures").glob("planning_*")}
    for name in figures:
        assert f"-o {name}" in page
        assert (ROOT / "docs" / "figures" / name).stat().st_size < 200_000


def test_the_decision_holds_what_it_says() -> None:
    """The regret of the recommended setting, as the page measures it, lies in the band that the plan stated."""
    page = PAGE.read_text(encoding="utf-8")
    plans = re.findall(r"^ +0 +0 +[\d.]+% +([\d.]+)% to ([\d.]+)%", page, flags=re.M)
    recommended = float(re.findall(r"as known now: learning_rate ([\d.]+)", page)[-1])
    regrets = {
        float(rate): float(regret) for rate, regret in re.findall(r"^([\d.e-]+) +loss .* regret ([\d.]+)%", page, flags=re.M)
    }
    nearest = min(regrets, key=lambda rate: abs(rate / recommended - 1))
    assert abs(nearest / recommended - 1) < 0.1
    assert regrets[nearest] <= float(plans[-1][1])
    assert "Extrapolate" in page
