"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The gate tries the same examples each time, so that it fails for what a change did; `make explore` draws fresh ones.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of public measurements; the test is skipped, saying so, where there is none."""
    folder = Path(os.environ.get("SCALELAW_REFERENCE_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no public measurements: set SCALELAW_REFERENCE_DATA to their folder")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Where the public measurements are present, a published test that is skipped has failed."""
    report = yield
    folder = Path(os.environ.get("SCALELAW_REFERENCE_DATA") or ROOT.parent / "shared" / "data")
    if report.skipped and item.get_closest_marker("published") and folder.is_dir() and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped although {folder} is there"
    return report
