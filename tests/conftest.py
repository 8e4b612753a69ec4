"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of public measurements; the test is skipped, saying so, where there is none."""
    folder = Path(os.environ.get("SCALELAW_REFERENCE_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no public measurements: set SCALELAW_REFERENCE_DATA to their folder")
    return folder
