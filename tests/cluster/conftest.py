"""Clusters for the tests of this folder. They run by `make test-cluster`, which installs what they need."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driving import Drive, Drives


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path: the sockets of daemons lie in it, whose names the system keeps short."""
    folder = Path(tempfile.mkdtemp(prefix="sl-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def drives(monkeypatch: pytest.MonkeyPatch) -> Iterator[Drives]:
    """Starts drivers; those that are still there at the end are ended."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    started: list[Drive] = []

    def start(*arguments: Any, **options: Any) -> Drive:
        started.append(Drive(*arguments, **options))
        return started[-1]

    yield start
    for drive in started:
        drive.end()
