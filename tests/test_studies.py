"""The studies that ship: their tables hold what their TOML asks for, and what is declared in code is written as TOML."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path
from typing import Any

import polars
import pytest

from scalelaw import Grid, Study, allocate, load, read_study

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = sorted(path.parent for path in (ROOT / "studies").rglob("study.toml"))


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`benchmarks.studies.record`."""
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    return importlib.import_module("benchmarks.studies.record")


@pytest.mark.parametrize("folder", FOLDERS, ids=[each.relative_to(ROOT / "studies").as_posix() for each in FOLDERS])
def test_the_table_holds_what_the_toml_asks_for(folder: Path) -> None:
    asked = {spec.id for spec in read_study(folder / "study.toml").specs}
    assert set(polars.read_parquet(folder / "trials.parquet")["id"]) == asked
    curves = folder / "curves.parquet"
    if curves.exists():
        assert set(polars.read_parquet(curves, columns=["id"])["id"]) <= asked


def test_a_study_declared_in_code_is_the_same_as_toml(record: Any, tmp_path: Path) -> None:
    grids = (
        Grid({"width": (8,), "steps": (20, 40)}, {"learning_rate": (1e-5, 3e-3), "schedule": ("cosine", "constant")}, (0, 2)),
        Grid({"width": (16,), "depth": (3,), "steps": (20,)}, {"learning_rate": (0.01,)}),
    )
    study = Study("declared", "fashion_mnist", grids, task_options={"pixels": 7, "images": "subset"})
    record.write_toml(record.Part(tmp_path, study=study), "Two grids.")
    assert read_study(tmp_path / "study.toml").specs == study.specs


def test_the_best_size_of_the_largest_budget_is_foretold_from_the_smaller_ones() -> None:
    table = load(ROOT / "studies" / "language")
    top = float(table.numbers("compute").max())
    second = allocate(table, top).approaches[1]
    assert len(second.budgets) == 5
    assert all(each.used and len(each.parameters) >= 5 for each in second.budgets)
    foretold = allocate(table.where(f"compute < {top / 2!r}"), second.budgets[-1].compute).approaches[1].parameters
    assert foretold is not None
    assert foretold.low < math.exp(second.budgets[-1].best) < foretold.high
