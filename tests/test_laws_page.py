"""docs/laws.md is what the laws say, and every law has its figure."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from scalelaw.laws import laws

ROOT = Path(__file__).resolve().parent.parent


def test_the_page_is_what_the_laws_say_now() -> None:
    command = [sys.executable, ROOT / "tools" / "make_laws_page.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_every_law_has_a_section_and_a_small_figure() -> None:
    page = (ROOT / "docs" / "laws.md").read_text(encoding="utf-8")
    for name in laws.names():
        assert f"\n## {name}\n" in page
        figure = ROOT / "docs" / "figures" / "laws" / f"{name}.svg"
        assert figure.read_text(encoding="utf-8").startswith("<svg ")
        assert figure.stat().st_size < 30_000
    assert all((ROOT / "docs" / path).is_file() for path in re.findall(r"\]\((figures/[^)]+)\)", page))
